package setup

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/sendmailcf"
)

// access has the access map let the users of platforms relay that may, and has platforms make as many
// connections as they want to.
func (g *sendmailSide) access() {
	relaying, bounded := g.mayRelay(), g.bounded()
	if len(relaying) == 0 && len(bounded) == 0 && len(g.demands()) == 0 {
		return
	}
	text, has := g.accessText(relaying, bounded), g.m.Texts[accessScript]
	if g.hasMap() && g.hasAccess(relaying, bounded) && (has == "" || has == text) {
		return
	}
	lines := []string{g.create(accessScript, text), "chmod 755 " + g.path(accessScript), "touch " + g.path("access"), g.path(accessScript)}
	what := "What the map lacks is taken from the lists of the platforms' networks that the daemon keeps; while one is not known yet, the script fails, and is run again later."
	title, undemanded := "Have the access map follow the platforms' networks", strings.Join(sendmailcf.Undemanded(g.Conf.Rules), " ")
	switch {
	case len(relaying)+len(bounded) == 0:
		title, what = "Have the access map demand of servers what [[tls]] says", undemanded
	case len(g.demands()) > 0:
		title += ", and demand of servers what [[tls]] says"
		what = strings.TrimSpace(what + " " + undemanded)
	}
	if len(relaying) > 0 {
		what += " All tenants send from the networks that may relay; coexistd refuses what does not prove ours."
	}
	if len(relaying)+len(bounded) > 0 {
		what += "\nThe lists change: have the script run each day, such as by: ln -s " + g.m.beside(accessScript) + " /etc/cron.daily/"
	}
	g.add(title, what, lines...)
}

// hasMap reports that Sendmail has an access map.
func (g *sendmailSide) hasMap() bool {
	_, is := g.m.Maps["access"]
	return is
}

// accessLines have Sendmail ask an access map, where clients are to be let relay by it.
func (g *sendmailSide) accessLines() []ownLine {
	if len(g.mayRelay()) == 0 && len(g.demands()) == 0 {
		return nil
	}
	g.remakes = g.remakes || !g.hasMap()
	return []ownLine{{"FEATURE(`access_db')dnl", g.hasMap(), "Users of platforms send through here, and servers must meet what [[tls]] demands, by lines of the access map."}}
}

// mayRelay are the platforms whose users may send through us, as far as they have networks.
func (g *sendmailSide) mayRelay() (names []string) {
	for _, platform := range g.Conf.Rules.Routes.Platforms {
		if platform.MayRelay && g.hasNetworks(platform.Name) {
			names = append(names, platform.Name)
		}
	}
	slices.Sort(names)
	return names
}

// bounded are the platforms whose hosts are to be let make more connections than others; none where
// Sendmail does not count them.
func (g *sendmailSide) bounded() (names []string) {
	if len(g.m.ClientBounds(nil)) == 0 {
		return nil
	}
	for _, platform := range g.Conf.Rules.Routes.Platforms {
		if g.hasNetworks(platform.Name) {
			names = append(names, platform.Name)
		}
	}
	slices.Sort(names)
	return names
}

// hasNetworks reports a platform of which networks are known, or will be.
func (g *sendmailSide) hasNetworks(name string) bool {
	known := g.m.Networks[name]
	return known.Pending || known.Networks.Len() > 0
}

// hasAccess reports that the access map has all that it should. What is not known, it has not.
func (g *sendmailSide) hasAccess(relaying, bounded []string) bool {
	access, err := g.m.Table("access")
	isPending := func(name string) bool { return g.m.Networks[name].Pending }
	return err == nil && !slices.ContainsFunc(slices.Concat(relaying, bounded), isPending) && g.letsRelay(relaying) && g.letsConnect(access, bounded) && g.hasDemands(access)
}

// letsRelay reports that all clients of platforms may relay.
func (g *sendmailSide) letsRelay(platforms []string) bool {
	for _, name := range platforms {
		if lacking, _ := g.m.Unrelayed(g.m.Networks[name].Networks.Prefixes()); len(lacking) > 0 {
			return false
		}
	}
	return true
}

// letsConnect reports that no client of platforms reaches the bounds of connections.
func (g *sendmailSide) letsConnect(access map[string]string, platforms []string) bool {
	bounds := g.m.ClientBounds(access)
	for _, name := range platforms {
		for _, network := range g.m.Networks[name].Networks.Prefixes() {
			for _, part := range sendmailcf.Parts(network) {
				if slices.ContainsFunc(bounds, func(b sendmailcf.ClientBound) bool { return b.IsLow(part.Addr()) }) {
					return false
				}
			}
		}
	}
	return true
}

// accessText is the script that writes the lines of the access map anew.
func (g *sendmailSide) accessText(relaying, bounded []string) string {
	export := func(form string, platforms []string) string {
		if len(platforms) == 0 {
			return ""
		}
		return fmt.Sprintf("\tcoexistd networks export -c %s --for %s %s\n", word(cmp.Or(g.m.ConfPath, g.Conf.Path)), form, strings.Join(platforms, " "))
	}
	remake := "make -C ."
	if !g.m.HasMakefile {
		remake = "makemap hash access < access"
	}
	return "#!/bin/sh -e\n" +
		"# Writes the lines for the platforms into Sendmail's access map, between two marks.\n" +
		"cd " + word(filepath.Dir(g.m.Path)) + "\n" +
		"trap 'rm -f access.ours access.coexistd access.before' EXIT\n" +
		"{\n" + export("access", relaying) + export("rates", bounded) + g.printDemands() + "} > access.ours\n" +
		"cp -p access access.coexistd # for its mode and owner\n" + joinAccess +
		"cmp -s access access.coexistd && exit\n" +
		"cp -p access access.before\n" +
		"mv access.coexistd access\n" +
		remake + " || { mv access.before access; touch access; exit 1; }\n"
}

// joinAccess puts our lines behind all others of the access map, in which a key may stand once: what has
// one of ours already is kept where it says the same, and otherwise nothing is changed.
const joinAccess = `awk '
	isOurs { key = tolower($1); ours[key] = $0; keys[++count] = key; next }
	/^` + accessBegin + `/ { between = 1 }
	between { if (/^` + accessEnd + `/) between = 0; next }
	{ print; key = tolower($1) }
	key in ours {
		split(ours[key], words)
		if (tolower($2) != tolower(words[2])) {
			print "access has: " $0 "; for the platforms it must have: " ours[key] "; take out the first, and run this again" > "/dev/stderr"
			failed = 1
		}
		delete ours[key]
	}
	END {
		if (between) {
			print "access lacks the line ` + accessEnd + ` behind the lines that are written here: write it there" > "/dev/stderr"
			failed = 1
		}
		print "` + accessBegin + `: written by ` + accessScript + `"
		for (i = 1; i <= count; i++) if (keys[i] in ours) { print ours[keys[i]]; delete ours[keys[i]] }
		print "` + accessEnd + `"
		exit failed
	}' isOurs=1 access.ours isOurs=0 access > access.coexistd
`

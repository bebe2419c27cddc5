package doctor

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"coexistd/cmd/coexistd/setup"
	"coexistd/cmd/coexistd/zone"
	"coexistd/policy/mail"
	"coexistd/policy/route"
	"coexistd/scanners/networks"
)

// publishedTime bounds the questions about what is published. What was not told by then is not known.
const publishedTime = 10 * time.Second

// byWhat gathers of which domains, or the like, there is the same to say.
type byWhat map[string][]string

func (b byWhat) add(what, name string) { b[what] = append(b[what], name) }

// each goes through them in the order of what there is to say.
func (b byWhat) each(do func(what, names string)) {
	for _, what := range slices.Sorted(maps.Keys(b)) {
		do(what, some(b[what]))
	}
}

// lookAtPublished compares what the DNS has of our domains and of the alternate ones with what the
// configuration makes of them.
func lookAtPublished(ctx context.Context, x *examination, domains []string) []Finding {
	ctx, cancel := context.WithTimeout(ctx, publishedTime)
	defer cancel()
	site := setup.AskDNS(ctx, x.conf, domains)
	var ours []*route.Domain
	for _, name := range domains {
		ours = append(ours, x.conf.Rules.Routes.Domains[name])
	}
	return slices.Concat(lookAtSPF(site, ours), lookAtMX(x, site, ours), lookAtAlternateDomains(site, ours), lookAtRelayHosts(x, site, ours))
}

const runSetupDNS = "run: coexistd setup dns, and publish what it says"

// lookAtSPF looks at records for SPF as receivers do who are not let off early: at all of their
// lookups, and for all sides that send. Domains without a record are told elsewhere.
func lookAtSPF(site *setup.Site, domains []*route.Domain) []Finding {
	var findings []Finding
	broken, lacking, unknown := make(byWhat), make(byWhat), make(byWhat)
	for _, d := range domains {
		texts := site.DNS[d.Name].SPF()
		switch len(texts) {
		case 0:
			continue
		case 1:
		default:
			findings = append(findings, warning("%s has %d records for SPF, so that receivers use none of them", d.Name, len(texts)).do("run: coexistd setup dns, which makes one of them, and publish that alone"))
			continue
		}
		reckoned := site.DNS.Reckon(d.Name, texts[0])
		switch err := reckoned.Err(); {
		case zone.IsUnknown(err):
			unknown.add(mail.Printable(err.Error()), d.Name)
			continue
		case err != nil && reckoned.Lookups() > networks.MaxLookups:
			broken.add(mail.Printable(err.Error())+", so that receivers use none of it", d.Name)
		case err != nil:
			broken.add("receivers use none of it: "+mail.Printable(err.Error()), d.Name)
		}
		for _, sender := range site.Lacking(d, reckoned) {
			switch {
			case sender.Err != nil:
				unknown.add(sender.Err.Error(), d.Name)
			case sender.Name == "":
				lacking.add("this host ("+strings.Join(sender.Terms, " ")+")", d.Name)
			default:
				lacking.add(sender.Name+" ("+strings.Join(sender.Terms, " ")+")", d.Name)
			}
		}
	}
	broken.each(func(why, names string) {
		findings = append(findings, warning("the record for SPF of %s: %s", names, why).do("run: coexistd setup dns, which says what to take out, or gives a record without it"))
	})
	lacking.each(func(side, names string) {
		findings = append(findings, warning("the record for SPF of %s does not let %s send, so that others mark or refuse mail from there", names, side).do(runSetupDNS))
	})
	unknown.each(func(why, names string) {
		findings = append(findings, warning("whether SPF of %s lets all sides send cannot be told: %s", names, why).do("see to that, and ask the doctor again"))
	})
	return findings
}

// lookAtMX sees whether the Internet's mail goes where mx says.
func lookAtMX(x *examination, site *setup.Site, domains []*route.Domain) []Finding {
	var findings []Finding
	right := 0
	none := make(byWhat)
	for _, d := range domains {
		records := site.DNS[d.Name]
		switch {
		case records.Err != nil:
			none.add(mail.Printable(records.Err.Error()), d.Name)
			continue
		case len(records.MX) == 0:
			none.add("the DNS has none", d.Name)
			continue
		}
		found, ok := judgeMX(x, site, d, records.MX)
		if ok {
			right++
			continue
		}
		findings = append(findings, found)
	}
	none.each(func(why, names string) {
		findings = append(findings, warning("whether the MX of %s points where mx says cannot be told: %s", names, why).do(runSetupDNS))
	})
	if right > 0 {
		findings = append(findings, fine("domains of ours whose MX points where mx says: %d", right))
	}
	return findings
}

// judgeMX looks for hosts of a domain's MX records that are not of the side that mx names. Of a host
// that is neither ours nor a platform's, a gateway's say, nothing is known.
func judgeMX(x *examination, site *setup.Site, d *route.Domain, hosts []string) (_ Finding, ok bool) {
	var wrong []string
	other := "" // where they are
	for _, host := range hosts {
		at := site.Takes(host)
		isThere := slices.ContainsFunc(at, func(p *route.Platform) bool { return p.Name == d.MX })
		switch {
		case d.MX == "" && len(at) > 0 && !site.IsOurs(host), d.MX != "" && len(at) > 0 && !isThere:
			other = at[0].Name
			wrong = append(wrong, host)
		case d.MX != "" && !isThere && site.IsOurs(host):
			other = "here"
			wrong = append(wrong, host)
		}
	}
	if len(wrong) == 0 {
		return Finding{}, true
	}
	says, points := d.MX, "to "+other
	if says == "" {
		says = "here"
	}
	if other == "here" {
		points = other
	}
	remedy := "coexistd setup dns says what to publish; when the DNS is right, set mx = \"" + other + "\" in [domain.\"" + d.Name + "\"] of " + x.conf.Path + ", and run: systemctl reload coexistd"
	if len(wrong) < len(hosts) {
		return warning("mx of %s is %s, and some of its MX records point %s: %s", d.Name, says, points, some(wrong)).do("%s", remedy), false
	}
	return failure("mx of %s is %s, and its MX points %s: %s. Mail from the Internet is judged as if it came another way, or is refused", d.Name, says, points, some(wrong)).do("%s", remedy), false
}

// lookAtAlternateDomains sees whether mail for the mailboxes elsewhere has a way: where no relay takes
// it, by the MX of the alternate domain. Whether it comes back, lookAtReturns sees.
func lookAtAlternateDomains(site *setup.Site, domains []*route.Domain) []Finding {
	var findings []Finding
	there := 0
	for _, d := range domains {
		for _, name := range slices.Sorted(maps.Keys(d.Alternates)) {
			alternate := d.Alternates[name]
			records := site.DNS[alternate]
			switch {
			case site.Conf.Rules.Routes.Platform(name).Relay != "":
			case records.Err != nil:
				findings = append(findings, warning("whether mail for %s gets to %s cannot be told: %s", alternate, name, mail.Printable(records.Err.Error())).do("see that the servers of resolver answer for it"))
			case len(records.MX) == 0:
				findings = append(findings, warning("%s, the alternate domain of %s at %s, has no MX: mail for the mailboxes there has no way, unless the MTA has a route of its own", alternate, d.Name, name).
					do("see that it is spelled as at %s; where it is a domain of your own, %s; or name the host that takes its mail: platform.%s.relay in %s", name, runSetupDNS, name, site.Conf.Path))
			default:
				there++
			}
		}
	}
	if there > 0 {
		findings = append(findings, fine("alternate domains with an MX: %d", there))
	}
	return findings
}

// lookAtRelayHosts compares the relay of each platform with the MX of its alternate domains. It is
// not always called as it used to be: Microsoft gives newer domains names below mx.microsoft.
func lookAtRelayHosts(x *examination, site *setup.Site, domains []*route.Domain) []Finding {
	var findings []Finding
	for _, p := range x.conf.Rules.Routes.Platforms {
		host := setup.RelayHost(p)
		if !setup.IsName(host) {
			continue
		}
		relays := []string{host}
		if !strings.HasPrefix(p.Relay, "[") && len(site.DNS[host].MX) > 0 {
			relays = site.DNS[host].MX
		}
		records := site.DNS[relays[0]]
		if records.Err == nil && len(records.Addresses) == 0 {
			findings = append(findings, warning("the relay of %s, %s, has no address in the DNS: mail for the mailboxes there is put off, unless the MTA knows it otherwise", p.Name, p.Relay).do("correct platform.%s.relay in %s%s", p.Name, x.conf.Path, exchanges(site, p, domains)))
			continue
		}
		if !setup.Office365(site, p) && !setup.Google(site, p) {
			continue // whose hosts have names of any kind
		}
		for _, d := range domains {
			mx := site.DNS[d.Alternates[p.Name]].MX
			if len(mx) > 0 && !slices.ContainsFunc(mx, func(one string) bool { return site.AreSame(one, relays[0]) }) {
				findings = append(findings, warning("the relay of %s is %s, and mail for its alternate domain %s goes to %s by the DNS", p.Name, p.Relay, d.Alternates[p.Name], some(mx)).
					do("set platform.%s.relay = \"[%s]:25\" in %s, unless a host of a provider is meant to be on the way: by its certificate, connectors over there do not know it for yours", p.Name, mx[0], x.conf.Path))
			}
		}
	}
	return findings
}

// exchanges says what the DNS has for the alternate domains of a platform.
func exchanges(site *setup.Site, p *route.Platform, domains []*route.Domain) string {
	for _, d := range domains {
		if mx := site.DNS[d.Alternates[p.Name]].MX; len(mx) > 0 {
			return "; the DNS has " + mx[0] + " for " + d.Alternates[p.Name]
		}
	}
	return ""
}

package doctor

import (
	"fmt"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/sendmailcf"
	"coexistd/policy/config/files"
	"coexistd/policy/mail"
	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

// localAliases are those of aliases(5), by name in lower case, with their members.
type localAliases struct {
	paths   []string
	members map[string][]string
}

// aliases reads the texts of aliases(5). An error says that there may be more of them.
func (s *sendmail) aliases() (a localAliases, err error) {
	a.members = make(map[string][]string)
	budget := int64(sendmailcf.MaxTables)
	for _, one := range strings.FieldsFunc(s.Option("AliasFile", "/etc/mail/aliases"), func(c rune) bool { return strings.ContainsRune(", \t", c) }) {
		class, path, is := strings.Cut(one, ":")
		if !is {
			path = one
		}
		if !filepath.IsAbs(path) || is && !slices.Contains([]string{"hash", "btree", "dbm", "cdb", "implicit", "text", "files"}, strings.ToLower(class)) {
			return a, fmt.Errorf("%s is no file", one)
		}
		text, _, err := files.Read(path, budget)
		if err != nil {
			return a, fmt.Errorf("%s %w", path, err)
		}
		budget -= int64(len(text))
		a.paths = append(a.paths, path)
		a.read(text)
	}
	return a, nil
}

// read takes the lines of a text of aliases(5). One that begins with a blank goes on with the
// one before.
func (a *localAliases) read(text string) {
	name := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		goesOn := strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")
		switch {
		case strings.TrimSpace(line) == "" || line[0] == '#':
			continue
		case !goesOn:
			name, line, _ = strings.Cut(line, ":")
			name = strings.ToLower(strings.Trim(strings.TrimSpace(name), `"`))
		}
		if name == "" {
			continue
		}
		// What stands between quotes is a command or the like.
		members := strings.FieldsFunc(quoted.ReplaceAllString(line, `"`), func(c rune) bool { return strings.ContainsRune(", \t", c) })
		for _, member := range members {
			a.members[name] = append(a.members[name], strings.ToLower(member))
		}
		if a.members[name] == nil {
			a.members[name] = []string{}
		}
	}
}

// isAccount reports a name that an account of this host has.
func isAccount(name string) bool {
	_, err := user.Lookup(name)
	return err == nil
}

// lookAtSendmailAliases looks at the aliases of the domains of class w, and at those of the
// virtusertable.
func lookAtSendmailAliases(x *examination) []Finding {
	s := x.sendmail
	asked := &aliases{x: x, set: x.lists().Set(), myorigin: s.hostname(x), all: make(map[string]bool)}
	virtual, virtualErr := s.Table("virtuser")
	findings := x.lookAtVirtual(asked, virtual)
	var local, strict []string // of class w, all of ours and those where nobody is unlisted
	for _, domain := range x.domains() {
		if s.Class("w").Has(domain) {
			local = append(local, domain)
			if x.conf.Rules.Routes.Domains[domain].Unlisted.Kind == route.Nowhere {
				strict = append(strict, domain)
			}
		}
	}
	list, err := s.aliases()
	if err != nil {
		return findings // It cannot be told.
	}
	for name := range list.members {
		asked.all[name] = true
	}
	findings = append(findings, s.lookAtAliasFiles(list)...)
	findings = append(findings, s.lookForCircles(list)...)
	findings = append(findings, lookAtMembers(asked, list)...)
	findings = append(findings, asked.dualMembers(list)...)
	findings = append(findings, lookAtBareMembers(asked, list, virtual)...)
	findings = append(findings, lookAtMovedAliases(asked, list, local)...)
	findings = append(findings, lookAtUnreached(asked, list, virtual, strict)...)
	if virtualErr == nil && s.needsAccounts() {
		findings = append(findings, lookForRoles(asked, list, virtual, strict)...)
	}
	return findings
}

// needsAccounts reports that mail for names of this host that neither aliases(5) nor an account has
// is refused.
func (s *sendmail) needsAccounts() bool {
	mailer, known := s.Mailers["local"]
	return s.Macros["L"] == "" && s.Macros["H"] == "" && s.Macros["R"] == "" && (!known || strings.Contains(mailer.Flags, "w"))
}

// lookForRoles looks for postmasters and the like whose mail Sendmail refuses, as it has no mailbox
// for them.
func lookForRoles(asked *aliases, list localAliases, virtual map[string]string, local []string) []Finding {
	var lost []string
	lines := make(map[string]bool)
	for _, domain := range local {
		for _, role := range route.Roles {
			p, _, _ := asked.place(role + "@" + domain)
			if p.Residence.Kind != route.Here || list.members[role] != nil || virtual[role+"@"+domain] != "" || virtual["@"+domain] != "" || isAccount(role) {
				continue
			}
			lost, lines[role] = append(lost, role+"@"+domain), true
		}
	}
	if len(lost) == 0 {
		return nil
	}
	var names []string
	for _, role := range route.Roles {
		if lines[role] {
			names = append(names, role+": root")
		}
	}
	return []Finding{warning("mail to %s is refused (550), which each domain must take: neither aliases(5) nor an account has the name", some(lost)).
		do("write into %s who reads it, such as a line %s; then run: newaliases", list.paths[0], strings.Join(names, " and a line "))}
}

// lookAtAliasFiles looks for a database that was not made anew.
func (s *sendmail) lookAtAliasFiles(list localAliases) (findings []Finding) {
	for _, path := range list.paths {
		text, err := files.Look(path)
		made, madeErr := files.Look(path + ".db")
		if err == nil && madeErr == nil && text.ModTime().After(made.ModTime()) {
			findings = append(findings, warning("%s was changed after %s.db was made of it: what it says is not in force", path, path).do("run: newaliases"))
		}
	}
	return findings
}

// lookForCircles looks for aliases that lead to nothing but each other. Where one of them has an
// account, Sendmail delivers to that.
func (s *sendmail) lookForCircles(list localAliases) []Finding {
	const most = 1000 // accounts that are asked for
	users := make(map[string][]string)
	var alive []string
	for name, members := range list.members {
		ends := len(members) == 0
		for _, member := range members {
			local, domain, is := strings.Cut(member, "@")
			isAlias := list.members[local] != nil && local != name && (!is || s.Class("w").Has(domain))
			if isAlias {
				users[local] = append(users[local], name)
			}
			ends = ends || !isAlias
		}
		if ends {
			alive = append(alive, name)
		}
	}
	dead := beside(alive, users, list)
	if len(dead) > most {
		return nil
	}
	dead = beside(slices.Concat(alive, slices.DeleteFunc(slices.Clone(dead), func(name string) bool { return !isAccount(name) })), users, list)
	if len(dead) == 0 {
		return nil
	}
	return []Finding{failure("aliases lead to nothing but each other: mail to %s comes back (554)", some(dead)).
		do("correct their lines in %s; then run: newaliases", list.paths[0])}
}

// beside are the aliases that are neither alive nor use one that is, sorted.
func beside(alive []string, users map[string][]string, list localAliases) (dead []string) {
	seen := make(map[string]bool)
	for left := slices.Clone(alive); len(left) > 0; {
		name := left[len(left)-1]
		left = left[:len(left)-1]
		if !seen[name] {
			seen[name] = true
			left = append(left, users[name]...)
		}
	}
	for name := range list.members {
		if !seen[name] {
			dead = append(dead, name)
		}
	}
	slices.Sort(dead)
	return dead
}

// lookAtMembers looks for members whose address the directory lacks.
func lookAtMembers(asked *aliases, list localAliases) []Finding {
	var lost []string
	for name, members := range list.members {
		for _, member := range members {
			if p, _, ours := asked.place(member); ours && isRefused(p) {
				lost = append(lost, member+" of "+name)
			}
		}
	}
	if len(lost) == 0 {
		return nil
	}
	slices.Sort(lost)
	return []Finding{failure("aliases have members that the directory lacks, so that mail to them comes back: %s", some(lost)).
		do("list each in the directory, or take it out of %s and run: newaliases", list.paths[0])}
}

// isRefused reports an address that nobody has.
func isRefused(p route.Place) bool {
	return p.Residence.Kind == route.Nowhere && p.Refused.Code != "" && p.Refused.Code != verdict.DirectoryFailed
}

// lookAtUnreached looks for aliases to which no mail from outside comes. Those of the host itself, and
// those that others name, need none.
func lookAtUnreached(asked *aliases, list localAliases, virtual map[string]string, local []string) []Finding {
	named := map[string]bool{"mailer-daemon": true}
	for _, members := range list.members {
		for _, member := range members {
			named[member] = true
		}
	}
	for _, value := range virtual {
		named[strings.ToLower(value)] = true
	}
	var unreached []string
	for name := range list.members {
		isReached := func(domain string) bool {
			p, _, _ := asked.place(name + "@" + domain)
			return !isRefused(p) && p.Residence.Kind != route.Moving
		}
		if len(local) > 0 && !named[name] && !slices.ContainsFunc(local, isReached) && !isAccount(name) {
			unreached = append(unreached, name+"@"+local[0])
		}
	}
	if len(unreached) == 0 {
		return nil
	}
	slices.Sort(unreached)
	return []Finding{warning("%s has aliases that the directory lacks, or has as moving, so that mail to them is refused or put off: %s", list.paths[0], some(unreached)).
		do("list each in the directory with the residence here, or set unlisted = \"here\" in the domain's section, unless nobody outside writes to it")}
}

// lookAtVirtual looks for lines of the virtusertable to which no mail comes.
func (x *examination) lookAtVirtual(asked *aliases, table map[string]string) (findings []Finding) {
	var refused, moved []string
	for key, value := range table {
		address, err := mail.ParseAddress(key, x.conf.Rules.Delimiters)
		if err != nil || strings.Contains(key, "*") || !x.sendmail.Class("w").Has(address.Domain) && !x.sendmail.Class("VirtHost").Has(address.Domain) {
			continue
		}
		switch p, _, ours := asked.place(key); {
		case ours && (isRefused(p) || p.Residence.Kind == route.Moving):
			refused = append(refused, key)
		case ours && p.Residence.Kind == route.There && !strings.EqualFold(value, p.Elsewhere):
			moved = append(moved, key)
		}
	}
	slices.Sort(refused)
	slices.Sort(moved)
	if len(refused) > 0 {
		findings = append(findings, failure("the virtusertable has addresses that the directory lacks, or has as moving, so that mail to them is refused or put off: %s", some(refused)).
			do("list each in the directory with the residence here, set unlisted = \"here\" in the domain's section, or take it out of the virtusertable; then run: make -C /etc/mail"))
	}
	if len(moved) > 0 {
		findings = append(findings, warning("the virtusertable has addresses that live elsewhere by the directory or by unlisted, so that their mail goes there and not to its line: %s", some(moved)).
			do("list each in the directory with the residence here, or take it out of the virtusertable; then run: make -C /etc/mail"))
	}
	return findings
}

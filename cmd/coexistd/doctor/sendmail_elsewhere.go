package doctor

import (
	"slices"
	"strings"

	"coexistd/policy/route"
)

// lookAtBareMembers looks for members of aliases without a domain who live elsewhere, and whom Sendmail
// takes for users of this host.
func lookAtBareMembers(asked *aliases, list localAliases, virtual map[string]string) []Finding {
	var lost []lostMember
	look := func(name, value string) {
		for _, member := range bareMembers(value) {
			if p, listed, _ := asked.place(member + "@" + asked.myorigin); !listed && !asked.failed(p) {
				lost = append(lost, asked.lost(name, member)...)
			}
		}
	}
	for name, members := range list.members {
		look(name, strings.Join(members, " "))
	}
	for key, value := range virtual {
		look(key, value)
	}
	if len(lost) == 0 {
		return nil
	}
	slices.SortFunc(lost, func(a, b lostMember) int { return strings.Compare(a.text, b.text) })
	return []Finding{failure("aliases have members without a domain whom Sendmail takes for names of this host (%s), where nobody of the directory lives: their mail does not reach them: %s", asked.myorigin, some(textsOf(lost))).
		do("%s", asked.reached(lost, list.paths[0]))}
}

// lookAtMovedAliases looks for names of aliases(5) whose mail goes elsewhere, in our domains of class w:
// coexistd is asked first. Names that nobody outside may write to count only if they are listed.
func lookAtMovedAliases(asked *aliases, list localAliases, local []string) []Finding {
	var moved []string
	for name, members := range list.members {
		i := slices.IndexFunc(local, func(domain string) bool {
			p, listed, _ := asked.place(name + "@" + domain)
			leadsThere := len(members) == 1 && strings.EqualFold(members[0], p.Elsewhere)
			return p.Residence.Kind == route.There && !leadsThere && (listed || !isAccount(name) && name != "mailer-daemon")
		})
		if i >= 0 {
			moved = append(moved, name+"@"+local[i])
		}
	}
	if len(moved) == 0 {
		return nil
	}
	slices.Sort(moved)
	return []Finding{warning("%s has aliases that live elsewhere by the directory or by unlisted, so that their mail goes there and not to the alias: %s", list.paths[0], some(moved)).
		do("list each in the directory with the residence here, or take it out of %s and run: newaliases", list.paths[0])}
}

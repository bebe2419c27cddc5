package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/sendmailcf"
)

// sendmailStandings are the filters of a listener of Sendmail's, in their order.
func (x *examination) sendmailStandings(d sendmailcf.Daemon) (list []standing) {
	for _, name := range x.sendmail.FiltersOf(d) {
		for _, f := range x.sendmail.Filters {
			if f.Name == name {
				kind, address := sendmailcf.Socket(f.Address)
				list = append(list, standing{address: f.Address, filter: f, isUs: f.LeadsTo(x.conf.Listeners), known: knownAs(f.Name, kind+":"+address)})
			}
		}
	}
	return list
}

// sendmailAsked are the filters of all listeners, each once.
func (x *examination) sendmailAsked() (list []standing) {
	told := make(map[string]bool)
	for _, d := range x.sendmail.Listening() {
		for _, m := range x.sendmailStandings(d) {
			if !told[m.filter.Name] {
				told[m.filter.Name] = true
				list = append(list, m)
			}
		}
	}
	return list
}

// lookAtOtherFilters looks at those beside ours, as lookAtOtherMilters does with Postfix.
func lookAtOtherFilters(x *examination) []Finding {
	return slices.Concat(together("daemon", x.sendmail.Listening(), daemonName, x.judgeSendmailOrder), x.refusing(), x.askedTwice(x.sendmailAsked()))
}

// judgeSendmailOrder looks at the order of a listener's filters. It reads on from the listener's name.
func (x *examination) judgeSendmailOrder(d sendmailcf.Daemon) (f Finding, wrong bool) {
	list := x.sendmailStandings(d)
	if inTurn(list) {
		return f, false
	}
	said := names(list)
	slices.SortStableFunc(list, func(a, b standing) int { return cmp.Compare(a.place(), b.place()) })
	var right []string
	for _, m := range list {
		right = append(right, m.filter.Name)
	}
	line := listLine(d, right)
	if !d.Own {
		line += " behind the lines of these filters"
	}
	return warning("asks %s, and each %s", said, orderMatters).inMC("%s", line), true
}

// refusing looks for others while which are away mail is refused for good.
func (x *examination) refusing() (findings []Finding) {
	for _, m := range x.sendmailAsked() {
		if f := m.filter; !m.isUs && strings.Contains(f.Flags, "R") {
			findings = append(findings, warning("while %s is away, mail is refused for good (F=R)", m).
				inMC("%s in place of its line, or the same without F=T where mail may go on without it", x.sendmail.filterLine(f.Name, f.Address, sendmailcf.UsualTimes)))
		}
	}
	return findings
}

// lookAtDeafFilters looks for others without which no mail goes on, and where nobody listens.
func lookAtDeafFilters(ctx context.Context, x *examination) (findings []Finding) {
	for _, m := range x.sendmailAsked() {
		if m.isUs || !strings.ContainsAny(m.filter.Flags, "RT4") || !isDeaf(ctx, m.address) {
			continue
		}
		becomes := "put off"
		if strings.Contains(m.filter.Flags, "R") {
			becomes = "refused for good"
		}
		findings = append(findings, failure("nobody listens at %s, and without it no mail goes on (F=%s): all of it is %s", m, m.filter.Flags, becomes).
			do("start it; or, where mail may go on without it, put into sendmail.mc: %s in place of its line%s", x.sendmail.passingLine(m.filter), remade))
	}
	return findings
}

// isDeaf reports an address of a filter where nobody listens, as far as we may see that.
func isDeaf(ctx context.Context, filter string) bool {
	kind, address := sendmailcf.Socket(filter)
	if kind == "unix" {
		return listens(ctx, address) == deaf
	}
	return knock(ctx, "tcp", address) == deaf
}

// passingLine is the line of a filter without which mail goes on.
func (s *sendmail) passingLine(f sendmailcf.Filter) string {
	return fmt.Sprintf("%s(`%s', `S=%s')dnl", s.filterMacro(f.Name), f.Name, f.Address)
}

package setup

import (
	"cmp"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
	"coexistd/policy/config"
	"coexistd/policy/verdict"
)

// milters gives coexistd every message.
func (g *postfixSide) milters() {
	general, users := g.listeners()
	var wanted []pair
	if !g.isBesideOthers() {
		wanted = append(wanted, pair{"milter_default_action", "tempfail"})
	}
	wanted = append(wanted, pair{"smtpd_milters", g.withUs(nil, "smtpd_milters", general)})
	// What refers to smtpd_milters has us with them.
	if raw := g.p.Raw["non_smtpd_milters"]; !strings.Contains(raw, "$smtpd_milters") && !strings.Contains(raw, "${smtpd_milters}") {
		value := "$smtpd_milters"
		if g.others(g.p.Main["smtpd_milters"]) || g.p.Main["non_smtpd_milters"] != "" {
			value = g.withUs(nil, "non_smtpd_milters", general)
		}
		wanted = append(wanted, pair{"non_smtpd_milters", value})
	}
	wanted = append(wanted, pair{"milter_protocol", "6"})
	if strings.EqualFold(g.p.Main["enable_original_recipient"], "no") {
		// cleanup(8) would take out the address that the milter adds, and nobody would get the mail.
		wanted = append(wanted, pair{"enable_original_recipient", "yes"})
	}
	if !strings.Contains(postconf.Characters(g.p.Main["message_strip_characters"]+g.p.Main["message_reject_characters"]), "\x00") {
		wanted = append(wanted, pair{"message_reject_characters", g.p.Raw["message_reject_characters"] + `\0`})
	}
	text := "While it is away, clients are told to try again: nothing passes by."
	if wanted[len(wanted)-1].name == "message_reject_characters" {
		text += " Mail with a NUL is refused, as scanners and mail programs make different things of it."
	}
	lines := g.set(wanted...)
	for _, s := range g.p.Filtered() {
		_, has := s.Own["smtpd_milters"]
		if isForUsers := users != "" && g.isSubmission(s); !isForUsers && (has || g.waits(nil) && !g.waits(s)) {
			lines = append(lines, g.option(s, pair{"smtpd_milters", g.withUs(s, "smtpd_milters", general)})...)
		}
	}
	g.add("Give coexistd every message", text, lines...)
}

// submission has what only those who are logged in may use ask the listener for our users.
func (g *postfixSide) submission() {
	_, users := g.listeners()
	if users == "" {
		return
	}
	var lines []string
	found := false
	for _, s := range g.p.Filtered() {
		if g.isSubmission(s) {
			found = true
			lines = append(lines, g.option(s, pair{"smtpd_milters", g.withUs(s, "smtpd_milters", users)})...)
		}
	}
	text := "There, whoever is not logged in is refused."
	if !found && !g.isServed(postconf.SubmissionPort) {
		text += " Passwords are checked by Dovecot: contrib/postfix has the lines for it."
		lines = g.newSubmission(g.withUs(&postconf.Service{}, "smtpd_milters", users))
		g.restart = true
	}
	g.add("Give the mail of users who log in to a listener of its own", text, lines...)
}

// isSubmission reports a service for submission, by its port, where users can log in.
func (g *postfixSide) isSubmission(s *postconf.Service) bool {
	port := s.Port()
	return (port == postconf.SubmissionPort || port == postconf.SubmissionsPort) && strings.EqualFold(g.p.Value(s, "smtpd_sasl_auth_enable"), "yes")
}

// listeners finds the addresses of two listeners: general judges each message by itself, where there is
// such a listener, and users is for services where all are logged in; empty: there is none.
func (g *postfixSide) listeners() (general, users string) {
	of := func(point verdict.Checkpoint) string {
		i := slices.IndexFunc(g.Conf.Listeners, func(l config.Listener) bool { return l.Checkpoint == point })
		if i < 0 {
			return ""
		}
		return g.Conf.Listeners[i].Address
	}
	users = of(verdict.S2)
	return cmp.Or(of(verdict.Undecided), users, g.Conf.Listeners[0].Address), users
}

// withUs is a list of milters, of main.cf or of a service, that has the listener at an address and waits for
// it. A listener of ours that stands in the list of the service itself is kept; the one of main.cf
// makes room for that of a service. Others keep their places. Where none is ours, ours comes first.
func (g *postfixSide) withUs(s *postconf.Service, setting, address string) string {
	list, isOwn := postconf.List(g.p.Raw[setting]), s == nil
	if s == nil && g.leadsToUs(g.p.Main[setting]) && !g.leadsToUs(g.p.Raw[setting]) {
		list = postconf.List(g.p.Main[setting]) // A parameter of its own has ours.
	}
	if s != nil {
		_, isOwn = s.Own[setting]
		list = postconf.List(g.p.Value(s, setting))
	}
	at := slices.IndexFunc(list, g.leadsToUs)
	ours := address
	switch {
	case at < 0:
		list, at = slices.Insert(list, 0, ""), 0
	case isOwn && g.waitsForUs(s, list[at]):
		if s == nil {
			return g.p.Raw[setting]
		}
		return s.Own[setting]
	case isOwn:
		ours = list[at]
	}
	if g.p.IsFrom(3) && (g.isBesideOthers() || !g.waits(s) || strings.HasPrefix(ours, "{")) {
		ours = postconf.WaitingFor(ours)
	}
	list[at] = ours
	return joined(list...)
}

// waitsForUs reports that mail waits for the milter of an entry, of a service or, where that is nil, of main.cf.
func (g *postfixSide) waitsForUs(s *postconf.Service, entry string) bool {
	action := postconf.Milters(entry)[0].DefaultAction
	return action == "tempfail" || action == "" && g.waits(s)
}

// waits reports that milter_default_action, as it will be, has mail wait for the milters of a service; nil: of
// main.cf.
func (g *postfixSide) waits(s *postconf.Service) bool {
	action := "tempfail"
	if g.isBesideOthers() {
		action = g.p.Main["milter_default_action"]
	}
	if s != nil {
		action = cmp.Or(s.Own["milter_default_action"], action)
	}
	return action == "tempfail"
}

// leadsToUs reports that a list of milters has one of our listeners.
func (g *postfixSide) leadsToUs(milters string) bool { return g.p.HaveOurs(milters, g.Conf.Listeners) }

// others reports that a list of milters has further ones.
func (g *postfixSide) others(milters string) bool {
	return slices.ContainsFunc(postconf.Milters(milters), func(m postconf.Milter) bool { return !g.p.LeadsTo(m.Address, g.Conf.Listeners) })
}

// isBesideOthers reports that there are further milters, to which milter_default_action is left. Before 3.0
// Postfix knows one action for all milters.
func (g *postfixSide) isBesideOthers() bool {
	lists := []string{g.p.Main["smtpd_milters"], g.p.Main["non_smtpd_milters"]}
	for _, s := range g.p.Filtered() {
		lists = append(lists, s.Own["smtpd_milters"])
	}
	return g.p.IsFrom(3) && slices.ContainsFunc(lists, g.others)
}

// retireMilters takes our listeners out of all lists of milters.
func (g *postfixSide) retireMilters() {
	lines := g.retireMain("smtpd_milters")
	left := joined(g.foreign(g.p.Main["smtpd_milters"])...)
	if g.p.Raw["non_smtpd_milters"] != "$smtpd_milters" {
		lines = append(lines, g.retireMain("non_smtpd_milters")...)
	} else if len(lines) > 0 && left == "" {
		lines = append(lines, "postconf -X 'non_smtpd_milters'")
	}
	if len(lines) > 0 && !g.isBesideOthers() && g.p.IsWritten("milter_default_action") {
		lines = append(lines, "postconf -X 'milter_default_action'")
	}
	for _, s := range g.p.Running("smtpd") {
		own := s.Own["smtpd_milters"]
		if !g.leadsToUs(own) {
			continue
		}
		if remaining := joined(g.foreign(own)...); remaining == left || remaining == "" {
			lines = append(lines, "postconf -PX "+quote(s.Name+"/"+s.Kind+"/smtpd_milters"))
		} else {
			lines = append(lines, g.option(s, pair{"smtpd_milters", remaining})...)
		}
	}
	g.add("Give coexistd no more messages", "", lines...)
}

// foreign are the milters of a list that are not ours.
func (g *postfixSide) foreign(milters string) []string {
	return slices.DeleteFunc(postconf.List(milters), g.leadsToUs)
}

// retireMain returns the command that takes our listeners out of a setting of main.cf.
func (g *postfixSide) retireMain(setting string) []string {
	value := g.p.Raw[setting]
	if !g.leadsToUs(value) {
		value = g.p.Main[setting] // in which parameters of its own are written out
	}
	return g.without(setting, postconf.List(value), g.foreign(value))
}

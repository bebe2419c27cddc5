package doctor

import (
	"cmp"
	"context"
	"net"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
	"coexistd/cmd/coexistd/sendmailcf"
)

// knownMilter is a milter that administrators run beside ours. Each sees what those before it have
// made of a message.
type knownMilter struct {
	name string
	// word is in the name of its socket as a rule; ports are those that it has by default or by most guides.
	word  string
	ports []string
	turn  turn
}

// turn says when a milter's turn is: the lower, the earlier.
type turn int

const (
	ours   turn = iota // It writes the recipients and the results that those behind it go by.
	judges             // It may write into the Subject what a signer signs.
	signs              // It signs, or verifies before OpenDMARC.
	aligns             // It reads the results of the verifier.
)

var knownMilters = [...]knownMilter{
	{"rspamd", "rspamd", []string{"11332"}, judges},
	{"amavis", "amavis", nil, judges},
	{"clamav-milter", "clamav", nil, judges},
	{"spamass-milter", "spamass", nil, judges},
	{"OpenDKIM", "opendkim", []string{"8891", "12301"}, signs},
	{"OpenDMARC", "opendmarc", []string{"8893", "54321"}, aligns},
}

// standing is an entry of a list of milters, as far as we know what it is.
type standing struct {
	address string
	known   *knownMilter // nil: one that nobody can tell
	isUs    bool
	// defaultAction is its own in Postfix, or "". filter is what Sendmail has of it.
	defaultAction string
	filter        sendmailcf.Filter
}

func (m standing) String() string {
	switch {
	case m.isUs:
		return "coexistd (" + m.address + ")"
	case m.known == nil:
		return m.address
	}
	return m.known.name + " (" + m.address + ")"
}

// turn is when its turn is; known is false when nobody can tell.
func (m standing) turn() (t turn, known bool) {
	switch {
	case m.isUs:
		return ours, true
	case m.known == nil:
		return 0, false
	}
	return m.known.turn, true
}

// standings reads a list of milters.
func (s *survey) standings(text string) (list []standing) {
	for _, entry := range postconf.Milters(text) {
		list = append(list, standing{
			address: entry.Address, defaultAction: entry.DefaultAction,
			isUs: s.mta.LeadsTo(entry.Address, s.conf.Listeners), known: knownAs("", entry.Address),
		})
	}
	return list
}

// knownAs is the milter that has a name, or "", and an address as Postfix writes it; nil where nobody can tell.
func knownAs(name, address string) *knownMilter {
	text := strings.ToLower(name + " " + address)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(address, "inet:"))
	i := slices.IndexFunc(knownMilters[:], func(k knownMilter) bool {
		return strings.Contains(text, k.word) || slices.Contains(k.ports, port)
	})
	if i < 0 {
		return nil
	}
	return &knownMilters[i]
}

// surveyMilters looks at the other milters: whether all mail meets them, their order, and what
// becomes of mail while one is away.
func surveyMilters(_ context.Context, s *survey) []Finding {
	findings := together("smtpd", s.mta.Running("smtpd"), serviceName, s.judgeList)
	if s.mta.Raw["non_smtpd_milters"] != "$smtpd_milters" {
		findings = append(findings, together("cleanup", s.mta.Running("cleanup"), serviceName, func(service *postconf.Service) (Finding, bool) {
			return s.judgeOrder(service, "non_smtpd_milters")
		})...)
	}
	return slices.Concat(findings, s.judgeDefaults(), surveyOriginal(s))
}

// judgeList says of a service by which milters its mail goes. It reads on from the service's name.
func (s *survey) judgeList(service *postconf.Service) (Finding, bool) {
	switch maps := s.mta.Value(service, "smtpd_milter_maps"); {
	case s.mta.IsReturn(service):
		return Finding{}, false // surveyFilters tells of it.
	case !s.mta.AsksMilters(service):
		return failure("asks no milter, as receive_override_options has no_milters: its mail will pass by coexistd, and that for users who live elsewhere goes astray").
			do("take no_milters out of %s, save for a service on loopback that takes mail back from a content filter", service.Where("receive_override_options")), true
	case maps != "":
		return failure("has other milters, or none, for the clients that smtpd_milter_maps (%s) names: their mail will pass by coexistd", maps).
			do("take smtpd_milter_maps out, or let it name coexistd for each client"), true
	}
	return s.judgeOrder(service, "smtpd_milters")
}

// judgeOrder looks at the order of a service's milters.
func (s *survey) judgeOrder(service *postconf.Service, setting string) (Finding, bool) {
	list := s.standings(s.mta.Value(service, setting))
	if len(list) == 0 {
		return Finding{}, false
	}
	var names, addresses []string
	for _, m := range list {
		names = append(names, m.String())
	}
	if inTurn(list) {
		return fine("asks %s: coexistd setup postfix puts coexistd before them, so that they see what it makes of a message", strings.Join(names, ", ")), true
	}
	right := slices.Clone(list)
	slices.SortStableFunc(right, func(a, b standing) int { return cmp.Compare(a.place(), b.place()) })
	for _, m := range right {
		addresses = append(addresses, m.String())
	}
	return warning("asks %s, and each %s", strings.Join(names, ", "), orderMatters).
		do("put them into this order in %s of %s: %s", setting, service.Where(setting), strings.Join(addresses, ", ")), true
}

// orderMatters says why milters are to stand in their order.
const orderMatters = "sees only what those before it have made of a message: what a signer has signed must not be changed behind it, and OpenDMARC reads what OpenDKIM has found"

// place is where it stands in the right order. Whom nobody knows is taken for one that judges.
func (m standing) place() turn {
	if t, known := m.turn(); known {
		return t
	}
	return judges
}

// inTurn reports that those that are known stand in the right order.
func inTurn(list []standing) bool {
	last := ours
	for _, m := range list {
		t, known := m.turn()
		switch {
		case !known:
		case t < last:
			return false
		default:
			last = t
		}
	}
	return true
}

// judgeDefaults looks for other milters without a default action of their own.
func (s *survey) judgeDefaults() []Finding {
	values := []string{s.mta.Main["smtpd_milters"], s.mta.Main["non_smtpd_milters"]}
	for _, service := range s.mta.Running("smtpd") {
		values = append(values, service.Own["smtpd_milters"])
	}
	var names, right []string
	list := s.standings(strings.Join(values, " "))
	for _, m := range list {
		if !m.isUs && m.defaultAction == "" && !slices.Contains(names, m.String()) {
			names = append(names, m.String())
			right = append(right, postconf.Passing(m.address))
		}
	}
	findings := s.askedTwice(list)
	if len(names) == 0 {
		return findings
	}
	action := s.mta.Main["milter_default_action"]
	found := warning("milter_default_action (%s) says what becomes of mail while a milter without an action of its own is away: %s. Mail must wait for coexistd, so coexistd setup postfix gives it tempfail of its own", action, some(names))
	if !s.mta.IsFrom(3) {
		return append(findings, found.do("Postfix before 3.0 has one for all milters: put into main.cf: milter_default_action = tempfail"))
	}
	return append(findings, found.do("give each its own: write %s where mail may go on without it, and default_action=tempfail where it is to wait", some(right)))
}

// askedTwice looks for rspamd among some milters, where coexistd asks it as well.
func (s *survey) askedTwice(list []standing) []Finding {
	isRspamd := func(m standing) bool { return m.known != nil && m.known.name == "rspamd" }
	if s.conf.Rspamd == nil || !slices.ContainsFunc(list, isRspamd) {
		return nil
	}
	return []Finding{warning("rspamd is asked as a milter of the MTA, and by coexistd as well ([scanner.rspamd]): each message is judged twice, and rspamd learns of it twice").
		do("take its milter out of the MTA's list, unless it signs (dkim_signing) or greylists; or take [scanner.rspamd] out of %s", s.conf.Path)}
}

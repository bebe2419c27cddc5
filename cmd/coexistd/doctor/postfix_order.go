package doctor

import (
	"cmp"
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
	{"OpenARC", "openarc", nil, signs},
	{"a signer", "dkim", nil, signs},
	{"OpenDMARC", "opendmarc", []string{"8893", "54321"}, aligns},
}

// standing is an entry of a list of milters, as far as we know what it is.
type standing struct {
	// entry is how it stands in Postfix's list.
	entry, address string
	known          *knownMilter // nil: one that nobody can tell
	isUs           bool
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

// place is where it stands in the right order. Whom nobody knows is taken for one that judges.
func (m standing) place() turn {
	if t, known := m.turn(); known {
		return t
	}
	return judges
}

// standings reads a list of milters of Postfix's.
func (x *examination) standings(text string) (list []standing) {
	for _, one := range postconf.Milters(text) {
		list = append(list, standing{
			entry: one.Entry, address: one.Address, defaultAction: one.DefaultAction,
			isUs: x.mta.LeadsTo(one.Address, x.conf.Listeners), known: knownAs("", one.Address),
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

// names are the milters in words.
func names(list []standing) string {
	var all []string
	for _, m := range list {
		all = append(all, m.String())
	}
	return strings.Join(all, ", ")
}

// lookAtOtherMilters looks at those beside ours: their order, what becomes of mail while one is away, and whether
// one does what we have done already.
func lookAtOtherMilters(x *examination) []Finding {
	return slices.Concat(x.ofLists(x.judgeOrder), x.ofLists(x.judgeOthers), x.askedTwice(x.asked()))
}

// ofLists judges the list of milters of each service that has one.
func (x *examination) ofLists(judge func(s *postconf.Service, setting string) (Finding, bool)) []Finding {
	findings := together("smtpd", x.mta.Filtered(), serviceName, func(s *postconf.Service) (Finding, bool) { return judge(s, "smtpd_milters") })
	if x.mta.Raw["non_smtpd_milters"] == "$smtpd_milters" {
		return findings // and there is nothing else to say
	}
	return append(findings, together("cleanup", x.mta.Running("cleanup"), serviceName, func(s *postconf.Service) (Finding, bool) { return judge(s, "non_smtpd_milters") })...)
}

// orderMatters says why milters are to stand in their order.
const orderMatters = "sees only what those before it have made of a message: coexistd takes out results (Authentication-Results) that others have written in this host's name before it, what a signer has signed must not be changed behind it, and OpenDMARC reads what OpenDKIM has found"

// judgeOrder looks at the order of a service's milters. It reads on from the service's name.
func (x *examination) judgeOrder(s *postconf.Service, setting string) (f Finding, wrong bool) {
	list := x.standings(x.mta.Value(s, setting))
	if inTurn(list) {
		return f, false
	}
	return warning("asks %s, and each %s", names(list), orderMatters).
		do("%s", x.putMilters(s, setting)), true
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

// judgeOthers looks for other milters without a default action of their own, for which mail waits, or is refused, by
// the action that is for all. It reads on from the service's name. Before 3.0, Postfix knows only that one.
func (x *examination) judgeOthers(s *postconf.Service, setting string) (f Finding, wrong bool) {
	action := x.mta.Value(s, "milter_default_action")
	becomes, known := map[string]string{"tempfail": "put off", "shutdown": "put off", "reject": "bounced", "quarantine": "held"}[action]
	var bound []string
	for _, m := range x.standings(x.mta.Value(s, setting)) {
		if !m.isUs && m.defaultAction == "" {
			bound = append(bound, m.String())
		}
	}
	if len(bound) == 0 || !known || !x.mta.IsFrom(3) {
		return f, false
	}
	return warning("asks %s with no default action of its own: while such a milter is away, all mail is %s (milter_default_action is %s)", some(bound), becomes, action).
		do("%s; write default_action=tempfail instead for a milter without which no mail is to go on", x.putMilters(s, setting)), true
}

// putMilters says that the milters of a service are to stand in their order, each with an action of its own.
func (x *examination) putMilters(s *postconf.Service, setting string) string {
	list := x.standings(x.mta.Value(s, setting))
	if !inTurn(list) {
		slices.SortStableFunc(list, func(a, b standing) int { return cmp.Compare(a.place(), b.place()) })
	}
	passes := x.mta.Value(s, "milter_default_action") == "accept"
	var entries []string
	for _, m := range list {
		switch {
		case !x.mta.IsFrom(3):
		case m.isUs && x.conf.Rules.ObservesAll():
			m.entry = postconf.Passing(m.entry)
		case m.isUs && m.defaultAction != "tempfail" && (m.defaultAction != "" || passes || x.isBesideOthers()):
			m.entry = postconf.WaitingFor(m.entry)
		case !m.isUs && m.defaultAction == "" && !passes:
			m.entry = postconf.Passing(m.entry)
		}
		entries = append(entries, m.entry)
	}
	return put(s, setting, strings.Join(entries, ", "))
}

// isBesideOthers reports that Postfix asks other milters, too, to which milter_default_action is left.
func (x *examination) isBesideOthers() bool {
	return slices.ContainsFunc(x.asked(), func(m standing) bool { return !m.isUs })
}

// asked are the milters of all services.
func (x *examination) asked() []standing {
	lists := x.mta.Main["non_smtpd_milters"]
	for _, s := range x.mta.Filtered() {
		lists += " " + x.mta.Value(s, "smtpd_milters")
	}
	return x.standings(lists)
}

// askedTwice looks for rspamd among some milters, where coexistd asks it as well.
func (x *examination) askedTwice(list []standing) []Finding {
	isRspamd := func(m standing) bool { return m.known != nil && m.known.name == "rspamd" }
	if x.conf.Rspamd == nil || !slices.ContainsFunc(list, isRspamd) {
		return nil
	}
	return []Finding{warning("rspamd is asked as a milter of the MTA, and by coexistd as well ([scanner.rspamd]): each message is judged twice, and rspamd learns of it twice").
		do("take its milter out of the MTA's list, unless it signs (dkim_signing) or greylists; or take [scanner.rspamd] out of %s", x.conf.Path)}
}

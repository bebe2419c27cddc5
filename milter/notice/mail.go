package notice

import (
	_ "embed"
	"fmt"
	"net/netip"
	"strings"
	"text/template"
	"time"

	"coexistd/milter/ownmail"
	"coexistd/policy/rate"
	"coexistd/policy/verdict"
)

//go:embed templates/limit.txt
var limitText string

// page is what a notice shows.
type page struct {
	Account, Hostname string
	Rule              string
	Limit             string // "200 recipients an hour, 50 of them at once"
	By, Key           string
	Reached           string
	Effect            string
	Until             string // empty: it is not held back, or nobody knows
	Since             string // empty: nothing is known to have been sent
	Sent              string
	Recent            []line
	Search            string // what finds the account's lines in the log
	Login             bool   // the account has a password
	Period            string // "an hour"
	Dropped           int64
}

// line is one message as people see it.
type line struct{ ID, Time, From, To, About, Size string }

// letter writes the mail to one administrator.
func (s *Settings) letter(n told, dropped int64, to string, now time.Time) (*ownmail.Letter, error) {
	text, err := filled(limitText, s.page(n, dropped))
	return &ownmail.Letter{
		Kind: "limit", Name: "Mail limits", From: s.From, To: to,
		Subject: fmt.Sprintf("Limit reached: %s (%s)", n.who(), ownmail.OneLine(n.Rule.Name)),
		Date:    now.In(s.Zone), Text: text,
	}, err
}

// filled is a template filled in with what it shows.
func filled(text string, page any) (string, error) {
	t, err := template.New("").Funcs(template.FuncMap{"wrap": ownmail.Wrap}).Parse(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, page)
	return b.String(), err
}

func (s *Settings) page(n told, dropped int64) page {
	_, err := netip.ParseAddr(n.Account)
	p := page{
		Account: ownmail.Unlinked(n.who()), Hostname: s.Post.Hostname, Login: err != nil && n.Account != "",
		Rule:  n.Rule.Name,
		Limit: fmt.Sprintf("%s %s, %s of that at once", amount(n.Limit, n.Rule.Count), period(n.Rule.Per, "in "), amount(n.Burst, n.Rule.Count)),
		By:    n.Rule.By.String(), Key: shown(n.Key),
		Reached: s.clock(n.at) + ", at " + n.Point.String(),
		Effect:  effect(n.Rule.OnLimit), Until: s.until(n),
		Period: period(n.Rule.Per, ""), Dropped: dropped,
	}
	// What is searched for is to be copied, so there are no invisible spaces in it
	// unless a mail program could make a link of it.
	switch name := n.who(); {
	case n.Account == "":
		p.Search = `login=""`
	case !p.Login:
		p.Search = "client=" + name
	case strings.ContainsAny(name, "/:"):
		p.Search = "login=" + p.Account
	default:
		p.Search = "login=" + name
	}
	if n.Client.IsValid() {
		p.Reached += ", by the client " + n.Client.String()
	}
	if n.sum.messages > 0 {
		p.Since = s.clock(n.sum.since)
		p.Sent = fmt.Sprintf("%s to %s, %s", amount(n.sum.messages, rate.Messages), amount(n.sum.recipients, rate.Recipients), amount(n.sum.bytes, rate.Bytes))
	}
	for _, m := range n.recent {
		p.Recent = append(p.Recent, s.line(m))
	}
	return p
}

func (s *Settings) line(m Message) line {
	l := line{
		ID: shown(m.QueueID), Time: s.clock(m.Time), From: shown(m.Sender),
		About: ownmail.Unlinked(ownmail.Readable(m.Subject)), Size: ownmail.Bytes(m.Size),
	}
	if m.Sender == "" {
		l.From = "nobody (like a bounce)"
	}
	if l.About == "" {
		l.About = "(no subject)"
	}
	to := make([]string, 0, maxNamed+1)
	for _, recipient := range m.Recipients {
		to = append(to, shown(recipient))
	}
	if more := m.Count - len(to); more > 0 {
		to = append(to, fmt.Sprintf("and %d more", more))
	}
	l.To = strings.Join(to, ", ")
	return l
}

// who is how people know the account.
func (n told) who() string {
	if n.Account == "" {
		return "(this host)"
	}
	return ownmail.OneLine(n.Account)
}

// until says how long the account is held back, or is empty.
func (s *Settings) until(n told) string {
	switch {
	case n.Wait == 0, n.Rule.OnLimit == verdict.Tag:
		return ""
	case n.Wait == rate.Never:
		return "never: the message asks for more than the limit lets through at once"
	}
	at := n.at.Add(time.Duration(n.Wait) * time.Microsecond)
	return s.clock(at) + ", for a message like the one that was over the limit"
}

func (s *Settings) clock(t time.Time) string { return t.In(s.Zone).Format("Mon 2 Jan 2006, 15:04 MST") }

// effect says what becomes of mail that is over a limit.
func effect(v verdict.Verdict) string {
	switch v {
	case verdict.Tempfail:
		return "what is over the limit is put off; who sends it is told to try again later"
	case verdict.Reject:
		return "what is over the limit is refused"
	}
	return "what is over the limit goes on, with a header that says so"
}

// amount writes how much of a unit: "1 message", "200 recipients", "4.1 KB".
func amount(n int64, unit rate.Unit) string {
	switch {
	case unit == rate.Bytes:
		return ownmail.Bytes(n)
	case n == 1:
		return "1 " + strings.TrimSuffix(unit.String(), "s")
	}
	return fmt.Sprintf("%d %s", n, unit)
}

// period writes a number of seconds for people: "an hour", or with what goes
// before a number, "in 90 minutes".
func period(seconds int64, before string) string {
	for _, unit := range [...]struct {
		seconds   int64
		one, many string
	}{{86400, "a day", "days"}, {3600, "an hour", "hours"}, {60, "a minute", "minutes"}} {
		if seconds == unit.seconds {
			return unit.one
		}
		if seconds%unit.seconds == 0 {
			return fmt.Sprintf("%s%d %s", before, seconds/unit.seconds, unit.many)
		}
	}
	if seconds == 1 {
		return "a second"
	}
	return fmt.Sprintf("%s%d seconds", before, seconds)
}

// shown makes a stranger's text fit to be shown.
func shown(s string) string { return ownmail.Unlinked(ownmail.OneLine(s)) }

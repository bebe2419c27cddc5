package notice

import (
	"cmp"
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

//go:embed templates/unproven.txt
var unprovenText string

//go:embed templates/observed.txt
var observedText string

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

// letter writes the mail to one administrator, with the counts as they are then.
func (u *Unproven) letter(s *Settings, to string, now time.Time) (*ownmail.Letter, error) {
	u.mu.Lock()
	list := u.kept.putOff(now)
	u.mu.Unlock()
	var names []string
	var all []page
	for _, one := range list {
		names = append(names, one.Platform)
		all = append(all, page{
			"Name": one.Platform, "Count": fmt.Sprintf("%d in the last 24 hours, %d in the last seven days", one.Day, one.Week),
			"Time": s.clock(one.Last.Time), "Client": one.Last.Client.String(), "Sender": sender(one.Last.Sender),
		})
	}
	text, err := filled(unprovenText, page{"Hostname": s.Post.Hostname, "Platforms": all})
	return &ownmail.Letter{
		Kind: "proof", Name: "Mail without proof", From: s.From, To: to,
		Subject: "Put off: mail in our own name without proof, from " + ownmail.OneLine(strings.Join(names, ", ")),
		Date:    now.In(s.Zone), Text: text,
	}, err
}

// letter writes the summary to one administrator, with the counts as they are then.
func (o *Observed) letter(s *Settings, to string, now time.Time) (*ownmail.Letter, error) {
	o.mu.Lock()
	sum := o.kept.summary(now, o.settings.Ready)
	o.mu.Unlock()
	var kinds []page
	for _, one := range sum.Kinds {
		var senders []string
		for _, from := range one.Senders {
			senders = append(senders, fmt.Sprintf("%s (%d)", sender(from.Address), from.Count))
		}
		kinds = append(kinds, page{"What": one.String(), "Count": one.Counts(), "Senders": strings.Join(senders, ", ")})
	}
	subject := "Observed mail: not ready to enforce"
	if sum.Ready {
		subject = "Observed mail: ready to enforce"
	}
	text, err := filled(observedText, page{"Hostname": s.Post.Hostname, "Since": s.clock(sum.Since), "Kinds": kinds, "Ready": sum.Readiness(s.clock) + "."})
	return &ownmail.Letter{Kind: "observe", Name: "Observed mail", From: s.From, To: to, Subject: subject, Date: now.In(s.Zone), Text: text}, err
}

// page is what a mail shows, by the names that its template has for it.
type page map[string]any

// filled is a template filled in with a page.
func filled(text string, p page) (string, error) {
	t, err := template.New("").Option("missingkey=error").Funcs(template.FuncMap{"wrap": ownmail.Wrap}).Parse(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, p)
	return b.String(), err
}

func (s *Settings) page(n told, dropped int64) page {
	account := ownmail.Address(n.who())
	_, err := netip.ParseAddr(n.Account)
	login := err != nil && n.Account != "" // it has a password
	// What is searched for is to be copied, so it is as the log has it unless a mail
	// program could make a link of it.
	search := "login=" + n.who()
	switch {
	case n.Account == "":
		search = `login=""`
	case !login:
		search = "client=" + n.who()
	case strings.ContainsAny(n.who(), "/:"):
		search = "login=" + account
	}
	reached := s.clock(n.at) + ", at " + n.Point.String()
	if n.Client.IsValid() {
		reached += ", by the client " + n.Client.String()
	}
	since, sent := "", "" // unless something is known to have been sent
	if n.sum.messages > 0 {
		since = s.clock(n.sum.since)
		sent = fmt.Sprintf("%s to %s, %s", amount(n.sum.messages, rate.Messages), amount(n.sum.recipients, rate.Recipients), amount(n.sum.bytes, rate.Bytes))
	}
	var recent []line
	for _, m := range n.recent {
		recent = append(recent, s.line(m))
	}
	return page{
		"Account": account, "Hostname": s.Post.Hostname, "Login": login, "Rule": n.Rule.Name,
		"Limit": fmt.Sprintf("%s %s, %s of that at once", amount(n.Limit, n.Rule.Count), period(n.Rule.Per, "in "), amount(n.Burst, n.Rule.Count)),
		"By":    n.Rule.By.String(), "Key": shown(n.Key), "Reached": reached, "Effect": effect(n.Rule.OnLimit), "Until": s.until(n),
		"Since": since, "Sent": sent, "Recent": recent, "Search": search, "Period": period(n.Rule.Per, ""), "Dropped": dropped,
	}
}

func (s *Settings) line(m Message) line {
	l := line{
		ID: shown(m.QueueID), Time: s.clock(m.Time), From: sender(m.Sender),
		About: cmp.Or(ownmail.Unlinked(ownmail.Readable(m.Subject)), "(no subject)"), Size: ownmail.Bytes(m.Size),
	}
	var to []string
	for _, recipient := range m.Recipients {
		to = append(to, shown(recipient))
	}
	if more := m.Count - len(to); more > 0 {
		to = append(to, fmt.Sprintf("and %d more", more))
	}
	l.To = strings.Join(to, ", ")
	return l
}

func sender(path string) string {
	if path == "" {
		return "nobody (like a bounce)"
	}
	return shown(path)
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

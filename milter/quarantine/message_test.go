package quarantine

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	gomail "github.com/emersion/go-message/mail"

	"coexistd/contrib/fake"
	"coexistd/contrib/lab"
	"coexistd/milter/ownmail"
	"coexistd/policy"
	"coexistd/policy/mail"
	"coexistd/policy/route"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

// parsed is a report as its reader gets it.
type parsed struct {
	header     gomail.Header
	text, html string
}

// parse reads a report back.
func parse(t *testing.T, content []byte) parsed {
	t.Helper()
	if i := bytes.Index(bytes.ReplaceAll(content, []byte("\r\n"), []byte("  ")), []byte("\n")); i >= 0 {
		t.Errorf("the mail has a bare LF at %d", i)
	}
	for line := range bytes.Lines(content) {
		if len(line) > 200 {
			t.Errorf("the mail has a line of %d bytes: %.80q", len(line), line)
		}
	}
	reader, err := gomail.CreateReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	p := parsed{header: reader.Header}
	if kind, _, _ := p.header.ContentType(); kind != "multipart/alternative" {
		t.Errorf("the mail is %s", kind)
	}
	for {
		part, err := reader.NextPart()
		if err == io.EOF {
			return p
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(part.Body)
		if err != nil {
			t.Fatal(err)
		}
		header, _ := part.Header.(*gomail.InlineHeader)
		switch kind, _, _ := header.ContentType(); {
		case kind == "text/plain" && p.html == "":
			p.text = strings.ReplaceAll(string(body), "\r\n", "\n")
		case kind == "text/html":
			p.html = strings.ReplaceAll(string(body), "\r\n", "\n")
		default:
			t.Errorf("a part is %s", kind)
		}
	}
}

// written returns a report as it is given to the MTA.
func written(t *testing.T, r *Reporter, report *Mail) []byte {
	t.Helper()
	letter, err := r.letter(report, reportTime)
	if err != nil {
		t.Fatal(err)
	}
	var content bytes.Buffer
	if err := r.Post.Write(&content, letter); err != nil {
		t.Fatal(err)
	}
	return content.Bytes()
}

func TestAReportIsACorrectMail(t *testing.T) {
	t.Parallel()
	r := reporter(t)
	for name, entries := range map[string][]Entry{"ordinary": ordinary(), "hostile": hostile()} {
		report := reportOf(r, entries)
		content := written(t, r, &report)
		p := parse(t, content)
		names := make(map[string]int)
		for fields := p.header.Fields(); fields.Next(); {
			names[fields.Key()]++
		}
		want := []string{seal.PassHeader, "Auto-Submitted", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Reply-To", "Subject", "To", "X-Auto-Response-Suppress"}
		for _, field := range want {
			if names[field] != 1 {
				t.Errorf("%s: the header has %d fields %s", name, names[field], field)
			}
			delete(names, field)
		}
		if len(names) > 0 {
			t.Errorf("%s: the header has %v besides", name, names)
		}
		if from, err := p.header.AddressList("From"); err != nil || len(from) != 1 || from[0].Address != "postmaster@acmecorp.com" {
			t.Errorf("%s: From is %v (%v)", name, from, err)
		}
		if to, err := p.header.AddressList("To"); err != nil || len(to) != 1 || to[0].Address != "alice@acmecorp.com" {
			t.Errorf("%s: To is %v (%v)", name, to, err)
		}
		if date, err := p.header.Date(); err != nil || !date.Equal(reportTime) {
			t.Errorf("%s: Date is %v (%v)", name, date, err)
		}
		if p.header.Get("Auto-Submitted") != "auto-generated" {
			t.Errorf("%s: Auto-Submitted is %q", name, p.header.Get("Auto-Submitted"))
		}
		text, _ := report.Text()
		html, _ := report.HTML()
		if p.text != text || p.html != html {
			t.Errorf("%s: the parts are not what was written", name)
		}
	}
}

func TestAReportsPassHoldsForItsRecipientAlone(t *testing.T) {
	t.Parallel()
	r := reporter(t)
	report := reportOf(r, ordinary())
	content := written(t, r, &report)
	if !bytes.HasPrefix(content, []byte(seal.PassHeader+":")) {
		t.Error("the pass does not stand on top")
	}
	fields := parse(t, content).header
	var header mail.Header
	for each := fields.Fields(); each.Next(); {
		header.Add([]byte(each.Key()), []byte(each.Value()))
	}
	marks := seal.MarksOf(&header)
	pass, ok := r.Post.Keys.OpenPass(header.Values(seal.PassHeader), marks, reportTime.Unix())
	if !ok || pass.ID != seal.PassReport || !slices.Equal(pass.Checks, []string{verdict.CheckSpam}) || pass.Point != verdict.S2 {
		t.Errorf("the pass is %+v (%v)", pass, ok)
	}
	if _, ok := r.Post.Keys.OpenPass(header.Values(seal.PassHeader), marks, reportTime.Add(time.Hour).Unix()); ok {
		t.Error("the pass holds after an hour")
	}
	checks := []policy.Check{{Name: verdict.CheckSpam}, {Name: verdict.CheckVirus}}
	p := policy.New(&policy.Rules{Points: policy.Points{verdict.S2: {Checks: checks}}}, r.Post.Keys, nil)
	for address, want := range map[string][]string{"alice@acmecorp.com": {"virus"}, "Alice+tag@acmecorp.com": {"virus"}, "bob@acmecorp.com": {"spam", "virus"}} {
		to, err := mail.ParseAddress(address, "+")
		if err != nil {
			t.Fatal(err)
		}
		m := policy.Message{Entry: policy.Entry{Point: verdict.S2}, Recipients: []route.Recipient{{Path: address, Address: to}}, Header: &header, Now: reportTime.Unix()}
		if got := p.Open(m).Asks().Scans; !slices.Equal(got, want) {
			t.Errorf("the mail to %s is checked for %q, right is %q", address, got, want)
		}
	}
}

func TestAStrangersTextMakesNoLink(t *testing.T) {
	t.Parallel()
	r := reporter(t)
	for name, report := range map[string]Mail{"report": reportOf(r, hostile()), "summary": summaryOf(r, hostile())} {
		text, err := report.Text()
		if err != nil {
			t.Fatal(err)
		}
		html, err := report.HTML()
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{text, html} {
			for _, bad := range []string{"://", "www.evil", "evil.example", "@evil", "\u202E", "\u2067", "\nBcc", "<script", "<img"} {
				if body == text && strings.HasPrefix(bad, "<") {
					continue // there, it is text
				}
				if strings.Contains(body, bad) {
					t.Errorf("%s: %q stands in\n%s", name, bad, body)
				}
			}
		}
		rest := html
		for {
			_, after, found := strings.Cut(rest, `href="`)
			if !found {
				break
			}
			link, after, _ := strings.Cut(after, `"`)
			rest = after
			if u, err := url.Parse(link); err != nil || u.Scheme != "mailto" || !strings.HasPrefix(link, "mailto:helpdesk@acmecorp.com?subject=") {
				t.Errorf("%s: a link leads to %q (%v)", name, link, err)
			}
		}
	}
}

func TestALinkAsksForOneMessageByItsID(t *testing.T) {
	t.Parallel()
	r := reporter(t)
	e := ordinary()[0]
	e.Address = "a&b=c?d%41\r\ne@acmecorp.com"
	u, err := url.Parse(r.line(&e).Link)
	if err != nil {
		t.Fatal(err)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || len(query) != 2 || query.Get("subject") != "Release "+e.ID ||
		query.Get("body") != "Please release the message "+e.ID+", which is held in quarantine for a&b=c?d%41 e@acmecorp.com." {
		t.Errorf("the link asks %q (%v)", query, err)
	}
	if u.Opaque != "helpdesk@acmecorp.com" {
		t.Errorf("the link goes to %q", u.Opaque)
	}
}

func TestAFloodMakesOneReportOfABoundedSize(t *testing.T) {
	t.Parallel()
	r := reporter(t)
	n := notice{owner: "alice@acmecorp.com"}
	for range 5000 {
		n.add(hostile()[3])
	}
	report := r.compose(&n)
	content := written(t, r, &report)
	if len(content) > 4<<20 || len(report.IDs) != 5000 || report.Subject != "Quarantine: 5000 messages held for you" {
		t.Errorf("the report %q of %d entries has %d bytes", report.Subject, len(report.IDs), len(content))
	}
	if text, _ := report.Text(); !strings.Contains(text, "And 4800 more") {
		t.Error("the report does not count what it leaves out")
	}
}

// stocked returns a reporter whose store holds a message for each recipient, and
// the sink that is its MTA.
func stocked(t *testing.T, sink lab.SinkConfig, recipients ...Recipient) (*Reporter, *lab.Sink) {
	t.Helper()
	r := reporter(t)
	r.Store = open(t, Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	for i, recipient := range recipients {
		item := Item{Time: reportTime.Add(-time.Duration(i+1) * time.Hour), Point: verdict.S0, Sender: "x@evil.example", From: "x@evil.example", Subject: "for " + recipient.Address}
		if _, err := r.Store.Put(item, []Recipient{recipient}, strings.NewReader("Subject: x\r\n\r\n"+recipient.Address)); err != nil {
			t.Fatal(err)
		}
	}
	mta, err := lab.StartSink(sink)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mta.Close() })
	r.Post.MTA = mta.Addr()
	return r, mta
}

func spamFor(address, owner string, report bool) Recipient {
	return Recipient{Address: address, Owner: owner, Checks: []string{"spam"}, Found: []string{""}, Report: report}
}

// sent lists the recipients of what a sink has got since the first so many.
func sent(sink *lab.Sink, since int) string {
	var to []string
	for _, delivery := range sink.All()[since:] {
		to = append(to, delivery.To()...)
	}
	return strings.Join(to, " ")
}

func TestEachRecipientIsToldOnceOfWhatIsNew(t *testing.T) {
	t.Parallel()
	r, sink := stocked(t, lab.SinkConfig{},
		spamFor("Bob@acmecorp.com", "bob@acmecorp.com", true), spamFor("alice+a@acmecorp.com", "alice@acmecorp.com", true),
		spamFor("alice@acmecorp.com", "alice@acmecorp.com", true), spamFor("quiet@acmecorp.com", "quiet@acmecorp.com", false))
	if err := r.Run(t.Context(), reportTime); err != nil {
		t.Fatal(err)
	}
	if got := sent(sink, 0); got != "alice@acmecorp.com bob@acmecorp.com postmaster@acmecorp.com" {
		t.Fatalf("reports went to %s", got)
	}
	first := sink.All()[0]
	if first.From != "" {
		t.Errorf("the report's sender is %q", first.From)
	}
	p := parse(t, first.Data)
	if subject, _ := p.header.Subject(); subject != "Quarantine: 2 messages held for you" || !strings.Contains(p.text, "for alice+a") {
		t.Errorf("alice was told %q:\n%s", subject, p.text)
	}
	if last, err := r.Store.LastReport(); err != nil || !last.Equal(reportTime) {
		t.Errorf("the last report was at %v (%v)", last, err)
	}

	next := reportTime.Add(24 * time.Hour)
	if _, err := r.Store.Put(Item{Time: next.Add(-time.Hour), Point: verdict.S0, Sender: "x@evil.example"}, []Recipient{spamFor("bob@acmecorp.com", "bob@acmecorp.com", true)}, strings.NewReader("another\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if got := sent(sink, 3); got != "bob@acmecorp.com postmaster@acmecorp.com" {
		t.Errorf("on the next day reports went to %s", got)
	}
	if p := parse(t, sink.All()[4].Data); !strings.Contains(p.text, "Held now    5\nNew         1 since Mon 23 Nov 2026, 07:00 CET") {
		t.Errorf("the summary says\n%s", p.text)
	}
}

func TestOthersAreToldInARecipientsPlace(t *testing.T) {
	t.Parallel()
	info := spamFor("info@acmecorp.com", "info@acmecorp.com", true)
	info.ReportTo = []string{"bob@acmecorp.com", "alice@acmecorp.com"}
	r, sink := stocked(t, lab.SinkConfig{}, info, spamFor("bob@acmecorp.com", "bob@acmecorp.com", true))
	if err := r.Run(t.Context(), reportTime); err != nil {
		t.Fatal(err)
	}
	if got := sent(sink, 0); got != "bob@acmecorp.com alice@acmecorp.com bob@acmecorp.com postmaster@acmecorp.com" {
		t.Fatalf("reports went to %s", got)
	}
	for i, d := range sink.All()[:3] {
		if of := []string{"bob", "info", "info"}[i]; !strings.Contains(parse(t, d.Data).text, "It was sent to "+of+"@acmecorp.com") {
			t.Errorf("report %d does not tell of what was sent to %s:\n%s", i, of, d.Data)
		}
	}
	if mails, err := r.Compose(reportTime.Add(time.Hour)); err != nil || len(mails) != 1 {
		t.Errorf("they are told again: %+v, %v", mails, err)
	}
}

func TestAnEmptyQuarantineIsNotReported(t *testing.T) {
	t.Parallel()
	r, sink := stocked(t, lab.SinkConfig{})
	if err := r.Run(t.Context(), reportTime); err != nil || len(sink.All()) > 0 {
		t.Errorf("reports went to %q (%v)", sent(sink, 0), err)
	}
	if due, err := r.Due(reportTime.Add(time.Hour)); due || err != nil {
		t.Errorf("reports are due again: %v (%v)", due, err)
	}
}

func TestARefusedReportIsTriedAgainUnlessItIsRefusedForGood(t *testing.T) {
	t.Parallel()
	refuse := func(recipient string) *lab.Reply {
		switch recipient {
		case "gone@acmecorp.com":
			return &lab.Reply{Code: 550, Enhanced: "5.1.1", Text: "no such user"}
		case "later@acmecorp.com":
			return &lab.Reply{Code: 451, Enhanced: "4.3.0", Text: "try again"}
		}
		return nil
	}
	r, sink := stocked(t, lab.SinkConfig{Refuse: refuse},
		spamFor("gone@acmecorp.com", "gone@acmecorp.com", true), spamFor("later@acmecorp.com", "later@acmecorp.com", true), spamFor("zoe@acmecorp.com", "zoe@acmecorp.com", true))
	log := fake.NewLog()
	r.Log = log.Logger
	if err := r.Run(t.Context(), reportTime); err != nil {
		t.Error(err)
	}
	for _, part := range []string{"refused for good", "550 5.1.1 no such user", "not taken", "451 4.3.0"} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("the log does not say %q:\n%s", part, log)
		}
	}
	if got := sent(sink, 0); got != "zoe@acmecorp.com postmaster@acmecorp.com" {
		t.Errorf("reports went to %s", got)
	}
	mails, err := r.Compose(reportTime.Add(24 * time.Hour))
	if err != nil || len(mails) != 2 || mails[0].To != "later@acmecorp.com" || !mails[1].Summary {
		t.Errorf("the next reports are %+v (%v)", mails, err)
	}
}

func TestReportsStayDueWhileTheMTAIsAway(t *testing.T) {
	t.Parallel()
	r, sink := stocked(t, lab.SinkConfig{}, spamFor("a@acmecorp.com", "a@acmecorp.com", true), spamFor("b@acmecorp.com", "b@acmecorp.com", true),
		spamFor("c@acmecorp.com", "c@acmecorp.com", true), spamFor("d@acmecorp.com", "d@acmecorp.com", true))
	sink.Close()
	err := r.Run(t.Context(), reportTime)
	if err == nil || !strings.Contains(err.Error(), "of 5 quarantine reports the MTA has taken 0: ") || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("the error is %v", err)
	}
	if due, err := r.Due(reportTime); !due || err != nil {
		t.Errorf("reports are due: %v (%v)", due, err)
	}
	if mails, err := r.Compose(reportTime); err != nil || len(mails) != 5 {
		t.Errorf("the next reports are %+v (%v)", mails, err)
	}
}

func TestAnMTAThatWouldNotHaveTheConnectionIsAway(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string][2]string{
		"at the greeting, for now":  {"greeting", "421 4.7.0 too many connections"},
		"at the greeting, for good": {"greeting", "554 5.7.0 too many connections"},
		"after EHLO":                {"EHLO", "550 5.7.1 go away"},
		"before the recipient":      {"RCPT", "421 4.7.0 too many connections"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var held []Recipient
			for _, name := range []string{"a", "b", "c", "d", "e"} {
				held = append(held, spamFor(name+"@acmecorp.com", name+"@acmecorp.com", true))
			}
			r, _ := stocked(t, lab.SinkConfig{}, held...)
			m := &mta{}
			m.taken = func(string) { m.answer(refusal[0], refusal[1]) }
			r.Post.MTA = startMTA(t, m).Addr().String()
			if err := r.Run(t.Context(), reportTime); err == nil || !strings.Contains(err.Error(), "of 6 quarantine reports the MTA has taken 1: ") {
				t.Errorf("the error is %v", err)
			}
			if due, err := r.Due(reportTime); !due || err != nil {
				t.Errorf("reports are due: %v (%v)", due, err)
			}
			if mails, err := r.Compose(reportTime); err != nil || len(mails) != 5 || mails[0].To != "b@acmecorp.com" {
				t.Errorf("the next reports are %+v (%v)", mails, err)
			}
		})
	}
}

func TestWhoWasNotReachedInARunIsToldInTheNext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	recipients := 0
	r, sink := stocked(t, lab.SinkConfig{Refuse: func(string) *lab.Reply {
		if recipients++; recipients == 2 {
			cancel()
			return &lab.Reply{Code: 451, Enhanced: "4.3.2", Text: "closing"}
		}
		return nil
	}}, spamFor("a@acmecorp.com", "a@acmecorp.com", true), spamFor("b@acmecorp.com", "b@acmecorp.com", true), spamFor("c@acmecorp.com", "c@acmecorp.com", true))
	if err := r.Run(ctx, reportTime); err == nil {
		t.Error("a run that was ended has no error")
	}
	if due, err := r.Due(reportTime); !due || err != nil {
		t.Errorf("reports are due: %v (%v)", due, err)
	}
	if err := r.Run(t.Context(), reportTime); err != nil {
		t.Error(err)
	}
	if got := sent(sink, 0); got != "a@acmecorp.com b@acmecorp.com c@acmecorp.com postmaster@acmecorp.com" {
		t.Errorf("reports went to %s", got)
	}
}

func TestAReportCountsAsSentWhenTheMTAHasTakenIt(t *testing.T) {
	t.Parallel()
	r, _ := stocked(t, lab.SinkConfig{})
	if err := r.Run(t.Context(), reportTime); err != nil {
		t.Fatal(err)
	}
	last, _ := r.Store.LastReport()
	if at, err := r.Store.LastSent(); !at.IsZero() || err != nil || !last.Equal(reportTime) {
		t.Errorf("with nothing to report, one was sent at %v (%v), and they were last due at %v", at, err, last)
	}
	if _, err := r.Store.Put(Item{Time: reportTime, Point: verdict.S0, Sender: "x@evil.example"}, []Recipient{spamFor("bob@acmecorp.com", "bob@acmecorp.com", true)}, strings.NewReader("another\r\n")); err != nil {
		t.Fatal(err)
	}
	next := reportTime.Add(24 * time.Hour)
	if err := r.Run(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if at, err := r.Store.LastSent(); !at.Equal(next) || err != nil {
		t.Errorf("a report was sent at %v (%v)", at, err)
	}
}

func TestReportsThatWereMissedAreSentOnce(t *testing.T) {
	t.Parallel()
	r, _ := stocked(t, lab.SinkConfig{})
	at := func(day, hour int) time.Time { return time.Date(2026, 11, day, hour, 0, 0, 0, berlin(t)) }
	for _, c := range []struct {
		last, now time.Time
		want      bool
	}{
		{time.Time{}, at(23, 5), true},
		{at(23, 7), at(24, 6), false},
		{at(23, 7), at(24, 7), true},
		{at(20, 7), at(23, 5), true},
		{at(23, 5), at(23, 6), false},
		{at(23, 5), at(23, 7), true},
		{at(30, 7), at(23, 9), true}, // the clock was wrong
	} {
		if !c.last.IsZero() {
			if err := r.Store.SetLastReport(c.last); err != nil {
				t.Fatal(err)
			}
		}
		if due, err := r.Due(c.now); due != c.want || err != nil {
			t.Errorf("at %v, after those of %v, reports are due: %v (%v)", c.now, c.last, due, err)
		}
	}
}

func TestARunThatIsEndedSendsNothingMore(t *testing.T) {
	t.Parallel()
	r, sink := stocked(t, lab.SinkConfig{}, spamFor("a@acmecorp.com", "a@acmecorp.com", true))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Run(ctx, reportTime); !errors.Is(err, context.Canceled) || len(sink.All()) > 0 {
		t.Errorf("the error is %v, and reports went to %q", err, sent(sink, 0))
	}
}

func TestAnAddressBeyondASCIIIsWrittenAsItIs(t *testing.T) {
	t.Parallel()
	r, sink := stocked(t, lab.SinkConfig{}, spamFor("jörg@acmecorp.com", "jörg@acmecorp.com", true), spamFor("root", "root@", true))
	r.Summary = nil
	if err := r.Run(t.Context(), reportTime); err != nil {
		t.Fatal(err)
	}
	if got := sent(sink, 0); got != "jörg@acmecorp.com root" || !sink.All()[0].UTF8 {
		t.Errorf("reports went to %s", got)
	}
	p := parse(t, sink.All()[0].Data)
	if to := p.header.Get("To"); to != "<jörg@acmecorp.com>" {
		t.Errorf("To is %q", to)
	}
}

// encoded is a subject in one encoded word.
func encoded(subject string) string {
	return "=?utf-8?b?" + base64.StdEncoding.EncodeToString([]byte(subject)) + "?="
}

func FuzzReport(f *testing.F) {
	f.Add("<a@b>", "a@b", "x\r\nBcc: y\r\n\r\n.", "Eicar")
	f.Add(encoded("\u202E\r\nTo: x"), "", "{{.}}<a href=x>", "")
	f.Fuzz(func(t *testing.T, from, sender, subject, found string) {
		r := &Reporter{Post: ownmail.Post{Hostname: "h.example"}, From: "p@h.example", Contact: "c@h.example", Zone: time.UTC}
		report := reportOf(r, []Entry{heldFor("id", 1, from, sender, subject, "virus", found), heldFor("id", 1, from, sender, subject, "spam", found)})
		content := written(t, r, &report)
		p := parse(t, content)
		if n := strings.Count(p.html, "<a "); n != 2 {
			t.Errorf("the report has %d links:\n%s", n, p.html)
		}
		if n := strings.Count(p.text, "\nID  "); n != 2 {
			t.Errorf("the report shows %d entries:\n%s", n, p.text)
		}
	})
}

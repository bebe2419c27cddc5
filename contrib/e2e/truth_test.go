package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coexistd/contrib/lab"
)

// atOnce is how many clients send side by side.
const atOnce = 8

const (
	// limited is the limit of fromLimited's messages, which are given back too slowly for a test to
	// see.
	limited     = 5
	fromLimited = "127.0.5.1"
	// bound is how many connections a client may have at once, and begin in a minute.
	bound = 4
)

// truthTOML is the usual configuration with everything that counts, and checks of each sort. A
// program is held when it comes from the Internet, and thrown away when a user sends it; spam
// that a user sends is held for the Internet alone.
func truthTOML(clamd, rspamd string) string {
	toml := checkedTOML(clamd, rspamd, neverReport, metricsTOML, "[messages]\nmta_log = \""+lab.MailLog+`"

[checkpoint.S2]
checks = ["auth", "spoof", "virus", "malware"]

[checkpoint.S2.malware]
on_hit = "discard"

[checkpoint.S3]
checks = ["spam"]

[[rate]]
name        = "clients of the Internet"
checkpoints = ["S0"]
by          = "client"
count       = "messages"
limit       = `+fmt.Sprint(limited)+`
per         = "1d"
overrides   = { "`+lab.FromInternet+`" = "unlimited", "`+lab.FromOffice365+`" = "unlimited" }
`)
	toml = strings.Replace(toml, "smtp = \"{mta}\"\n", "", 1) // letters of coexistd's own would count, too
	return strings.Replace(toml, `exempt = ["127.0.0.0/8"]`, `exempt = ["127.0.0.0/21"]`+fmt.Sprintf("\nconnections = %d\nper_minute = %d", bound, bound), 1)
}

// sample is a kind of message: who sends it, and what may become of it.
type sample struct {
	about, client, from string
	to                  []string
	data                func(n int) []byte // nil: the transaction is broken off
	fates               []fate
}

// fate is what becomes of a message, and all that it counts as.
type fate struct {
	// said are the codes of the answers to its recipients and to the message. By them it is
	// known which fate it is.
	said    string
	arrives []string // each as "PLACE ADDRESS"

	// Without a point, it never came to coexistd, or has left no trace.
	point, platform, verdict, check string
	early                           bool // it did not come to its end
	recipients                      []rcptFate
	// scanned and told are what checks saw of it that a scanner makes and that none makes, each as
	// "CHECK STATE", and steps are those of its end, but for scanning.
	scanned, told, steps []string
	unproven             string   // the platform whose proof it lacks
	mtaRefuses           []string // the recipients that the MTA refuses by itself
}

// rcptFate is what becomes of it for one recipient.
type rcptFate struct{ to, flow, verdict, check string }

// numbers are what it counts as in the metrics.
func (f *fate) numbers() (names []string) {
	if f.point == "" {
		return nil
	}
	names = append(names, aMessage(f.point, f.platform, f.verdict, f.check, !f.early))
	for _, r := range f.recipients {
		names = append(names, aRecipient(f.point, r.flow, r.verdict, r.check))
	}
	for _, list := range [][]string{f.scanned, f.told} {
		for _, one := range list {
			check, state, _ := strings.Cut(one, " ")
			names = append(names, aFinding(check, state))
		}
	}
	for _, one := range f.scanned {
		check, _, _ := strings.Cut(one, " ")
		names = append(names, aScan(check))
	}
	if len(f.scanned) > 0 {
		names = append(names, aStep("scan"))
	}
	for _, step := range f.steps {
		names = append(names, aStep(step))
	}
	if f.unproven != "" {
		names = append(names, fmt.Sprintf(`coexistd_unproven_messages_total{platform=%q}`, f.unproven))
	}
	return names
}

// counted is what it counts as in the table of minutes.
func (f *fate) counted() countedMessages {
	var flows []string
	for _, r := range f.recipients {
		for _, flow := range strings.Split(r.flow, ", ") {
			if flow != "" && !slices.Contains(flows, flow) {
				flows = append(flows, flow)
			}
		}
	}
	return countedMessages{Point: f.point, Flow: strings.Join(flows, ", "), Verdict: f.verdict, Check: f.check, Messages: 1, Recipients: len(f.recipients)}
}

// found are what messages find tells of it, a line each.
func (f *fate) found(s *sample, id string) (lines []string) {
	for _, to := range f.mtaRefuses {
		lines = append(lines, fmt.Sprintf("the MTA: <%s> reject %s", s.from, to))
	}
	if f.point == "" {
		return lines
	}
	if f.early {
		id = ""
	}
	line := fmt.Sprintf("%s <%s> %s %s %q %s:", f.point, s.from, s.client, f.verdict, f.check, id)
	for _, r := range f.recipients {
		line += fmt.Sprintf(" %s %s %s", r.to, r.flow, r.verdict)
	}
	return append(lines, line)
}

// tells is what found is of what messages find has printed.
func tells(m foundMessage) string {
	if m.MTA != "" {
		line := fmt.Sprintf("the MTA: <%s> %s", m.From, m.Verdict)
		for _, r := range m.Recipients {
			line += " " + r.Address
		}
		return line
	}
	line := fmt.Sprintf("%s <%s> %s %s %q %s:", m.Point, m.From, m.Client, m.Verdict, m.Check, m.MessageID)
	for _, r := range m.Recipients {
		line += fmt.Sprintf(" %s %s %s", r.Address, r.Flow, r.Verdict)
	}
	return line
}

// theSamples are messages of each fate, from each side.
func theSamples(mta lab.MTA) []sample {
	const eve, alice, bob, carol, gail, hugo, outside = "eve@example.net", "alice@acmecorp.com", "bob@acmecorp.com", "carol@acmecorp.com", "gail@globex.example", "hugo@globex.example", "x@example.org"
	const there, nobody, dave = "office365 alice@acmecorp-com.onmicrosoft.com", "nobody@acmecorp.com", "dave@acmecorp.com"
	plain := func(from, to string) func(int) []byte {
		return func(n int) []byte { return lab.Plain(from, to, fmt.Sprint("number ", n)) }
	}
	with := func(line string, letter func(int) []byte) func(int) []byte {
		return func(n int) []byte { return append(letter(n), line+"\r\n"...) }
	}
	tenant := func(letter func(int) []byte) func(int) []byte {
		return func(n int) []byte { return fromTenant(lab.OfficeTenant, letter(n)) }
	}
	program := func(from string) func(int) []byte {
		return func(n int) []byte {
			return []byte(strings.ReplaceAll(string(programFor(bob, fmt.Sprint("program ", n), 5000)), eve, from))
		}
	}
	page := func(n int) []byte {
		head, _, _ := strings.Cut(string(plain(eve, bob)(n)), "\r\n\r\n")
		return []byte(head + "\r\nMIME-Version: 1.0\r\nContent-Type: text/html; name=\"page.html\"\r\nContent-Disposition: attachment; filename=\"page.html\"\r\n\r\n" +
			"<html><script>a.href = URL.createObjectURL(new Blob([x])); a.click()</script></html>\r\n")
	}
	accept := func(to, flow string) rcptFate { return rcptFate{to, flow, "accept", ""} }
	// s0 and s2 are the fates of what comes from the Internet and from a user, with what the
	// scanners see of it.
	s0 := func(f fate, spam, virus, malware string) fate {
		f.point, f.scanned = "S0", []string{"spam " + spam, "virus " + virus, "malware " + malware}
		f.told = append(f.told, "rate clean")
		if !slices.ContainsFunc(f.told, func(one string) bool { return strings.HasPrefix(one, "spoof ") }) {
			f.told = append(f.told, "spoof clean")
		}
		return f
	}
	s2 := func(f fate, virus, malware string, more ...string) fate {
		f.point, f.scanned, f.told = "S2", append(more, "virus "+virus, "malware "+malware), []string{"auth clean", "spoof clean"}
		return f
	}
	one := func(f fate) []fate { return []fate{f} }
	clean := func(f fate) []fate { f.verdict = "accept"; return one(s0(f, "clean", "clean", "clean")) }
	// Whom the MTA itself refuses by the lookup, the milter does not see: Postfix those who are
	// unknown, Sendmail those who are being moved.
	refused, how, code, three := dave, "tempfail", "450", fate{
		said: "550 450 250, 250", mtaRefuses: to(nobody), recipients: []rcptFate{{dave, "", "tempfail", ""}, accept(bob, "S0=>LD")}}
	if mta == lab.SendmailMTA {
		refused, how, code = nobody, "reject", "550"
		three.mtaRefuses, three.recipients = to(dave), []rcptFate{{nobody, "", "reject", ""}, accept(bob, "S0=>LD")}
	}
	three.arrives = to("here " + bob)
	overLimit := fate{said: "250, 450", point: "S0", verdict: "tempfail", check: "rate", told: to("rate hit"), steps: to("charge"), recipients: []rcptFate{{bob, "", "tempfail", "rate"}}}
	inLimit := clean(fate{said: "250, 250", arrives: to("here " + bob), recipients: []rcptFate{accept(bob, "S0=>LD")}, steps: to("charge")})[0]
	return []sample{
		{"Internet to here", lab.FromInternet, eve, to(bob), plain(eve, bob), clean(fate{said: "250, 250", arrives: to("here " + bob), recipients: []rcptFate{accept(bob, "S0=>LD")}})},
		{"Internet to there", lab.FromInternet, eve, to(alice, gail), plain(eve, alice),
			clean(fate{said: "250 250, 250", arrives: to(there, "google gail@gapps.globex.example"), recipients: []rcptFate{accept(alice, "S0=>S4=>O1=>LD"), accept(gail, "S0=>S4=>G1=>LD")}})},
		{"Internet to both sides", lab.FromInternet, eve, to(bob, alice), plain(eve, bob),
			clean(fate{said: "250 250, 250", arrives: to("here "+bob, there), recipients: []rcptFate{accept(bob, "S0=>LD"), accept(alice, "S0=>S4=>O1=>LD")}})},
		{"a bounce", lab.FromInternet, "", to(bob), plain("mailer-daemon@example.net", bob), clean(fate{said: "250, 250", arrives: to("here " + bob), recipients: []rcptFate{accept(bob, "S0=>LD")}})},
		{"user to each side", lab.FromUser, bob, to(alice, bob, carol, outside), plain(bob, alice),
			one(s2(fate{said: "250 250 250 250, 250", verdict: "accept", arrives: to(there, "here "+bob, "here "+carol, "office365 carol@acmecorp-com.onmicrosoft.com", "Internet "+outside),
				recipients: []rcptFate{accept(alice, "S2=>S4=>O1=>LD"), accept(bob, "S2=>LD"), accept(carol, "S2=>LD, S2=>S4=>O1=>LD"), accept(outside, "S2=>S3=>ED")}}, "clean", "clean", "spam clean"))},
		{"platform to here and on", lab.FromOffice365, alice, to(bob, outside), tenant(plain(alice, bob)),
			one(fate{said: "250 250, 250", point: "S1", platform: "office365", verdict: "accept", arrives: to("here "+bob, "Internet "+outside), scanned: to("spam clean", "virus clean"),
				recipients: []rcptFate{accept(bob, "O2=>O3=>S1=>LD"), accept(outside, "O2=>O3=>S1=>S3=>ED")}})},
		{"tagged", lab.FromInternet, eve, to(bob), page, one(s0(fate{said: "250, 250", verdict: "tag", check: "malware", arrives: to("here " + bob),
			recipients: []rcptFate{{bob, "S0=>LD", "tag", "malware"}}}, "clean", "clean", "hit"))},
		{"a program that is held", lab.FromInternet, eve, to(bob, alice), program(eve), one(s0(fate{said: "250 250, 250", verdict: "quarantine", check: "malware", steps: to("hold"),
			recipients: []rcptFate{{bob, "S0=>LD", "quarantine", "malware"}, {alice, "S0=>S4=>O1=>LD", "quarantine", "malware"}}}, "clean", "clean", "hit"))},
		{"spam that is held", lab.FromInternet, eve, to(bob), with(lab.GTUBE, plain(eve, bob)), one(s0(fate{said: "250, 250", verdict: "quarantine", check: "spam", steps: to("hold"),
			recipients: []rcptFate{{bob, "S0=>LD", "quarantine", "spam"}}}, "hit", "clean", "clean"))},
		{"spam that is held for some", lab.FromUser, bob, to(carol, outside), with(lab.GTUBE, plain(bob, carol)),
			one(s2(fate{said: "250 250, 250", verdict: "accept", steps: to("hold"), arrives: to("here "+carol, "office365 carol@acmecorp-com.onmicrosoft.com"),
				recipients: []rcptFate{accept(carol, "S2=>LD, S2=>S4=>O1=>LD"), {outside, "S2=>S3=>ED", "quarantine", "spam"}}}, "clean", "clean", "spam hit"))},
		{"discarded", lab.FromUser, bob, to(alice), program(bob), one(s2(fate{said: "250, 250", verdict: "discard", check: "malware", recipients: []rcptFate{{alice, "S2=>S4=>O1=>LD", "discard", "malware"}}}, "clean", "hit"))},
		{"a virus from the Internet", lab.FromInternet, eve, to(bob, alice), with(lab.EICAR, plain(eve, bob)), one(s0(fate{said: "250 250, 554", verdict: "reject", check: "virus",
			recipients: []rcptFate{{bob, "", "reject", "virus"}, {alice, "", "reject", "virus"}}}, "clean", "hit", "clean"))},
		{"a virus of a user", lab.FromUser, bob, to(alice), with(lab.EICAR, plain(bob, alice)), one(s2(fate{said: "250, 554", verdict: "reject", check: "virus", recipients: []rcptFate{{alice, "", "reject", "virus"}}}, "hit", "clean"))},
		{"put off for want of proof", lab.FromOffice365, alice, to(bob), plain(alice, bob), one(s0(fate{said: "250, 451", verdict: "tempfail", check: "spoof", unproven: "office365", told: to("spoof unknown"),
			recipients: []rcptFate{{bob, "", "tempfail", "spoof"}}}, "clean", "clean", "clean"))},
		{"refused as forged", lab.FromInternet, alice, to(bob, hugo), plain(alice, bob), one(s0(fate{said: "250 250, 550", verdict: "reject", check: "spoof", told: to("spoof hit"),
			recipients: []rcptFate{{bob, "", "reject", "spoof"}, {hugo, "", "reject", "spoof"}}}, "clean", "clean", "clean"))},
		{"over the limit", fromLimited, eve, to(bob), plain(eve, bob), []fate{inLimit, overLimit}},
		{"one taken of three", lab.FromInternet, eve, to(nobody, dave, bob), plain(eve, bob), clean(three)},
		{"all refused at RCPT", lab.FromInternet, eve, to(refused, refused), plain(eve, bob),
			one(fate{said: code + " " + code, point: "S0", verdict: how, early: true, recipients: []rcptFate{{refused, "", how, ""}, {refused, "", how, ""}}})},
		{"refused by the MTA", lab.FromInternet, eve, to("x@elsewhere.example"), plain(eve, bob), one(fate{said: waysOf[mta].noRelay[:3], mtaRefuses: to("x@elsewhere.example")})},
		{"broken off", lab.FromInternet, eve, to(bob), nil, one(fate{said: "250"})},
		{"broken off after a refusal", lab.FromInternet, eve, to(bob, refused), nil, one(fate{said: "250 " + code, point: "S0", verdict: how, early: true, recipients: []rcptFate{{refused, "", how, ""}}})},
		{"a loop", lab.FromOffice365, bob, to(alice), tenant(plain(bob, alice)),
			one(fate{said: "250, 554", point: "S1", platform: "office365", verdict: "reject", check: "loop", recipients: []rcptFate{{alice, "", "reject", "loop"}}})},
	}
}

// sentSample is a message that was sent, with what became of it by the answers.
type sentSample struct {
	*sample
	*fate
	id string // its Message-Id
}

// saidOf are the codes of the answers to a message.
func saidOf(r lab.Result) string {
	var codes []string
	for _, reply := range r.To {
		codes = append(codes, fmt.Sprint(reply.Code))
	}
	said := strings.Join(codes, " ")
	if r.Data.Code != 0 {
		said += ", " + fmt.Sprint(r.Data.Code)
	}
	return said
}

// sendSamples sends so many messages, as many of each kind as of the others, and tells what was
// answered to them.
func (s *site) sendSamples(kinds []sample, total int) []sentSample {
	s.t.Helper()
	order := make([]*sample, total)
	for n := range order {
		order[n] = &kinds[n%len(kinds)]
	}
	rand.New(rand.NewPCG(15, 1000)).Shuffle(total, func(a, b int) { order[a], order[b] = order[b], order[a] })
	list := make([]sentSample, total)
	s.each(total, func(n int) {
		k := order[n]
		m := lab.Mail{From: k.from, To: lab.To(k.to...)}
		if k.data != nil {
			m.Data = k.data(n)
		}
		r, err := lab.Client{Server: s.Addr("public"), Local: k.client}.Send(deadline(s.t), m)
		at := slices.IndexFunc(k.fates, func(f fate) bool { return f.said == saidOf(r) })
		if err != nil || at < 0 {
			s.t.Errorf("%s: it is answered with %q: %+v, %v", k.about, saidOf(r), r, err)
			at = 0
		}
		list[n] = sentSample{k, &k.fates[at], messageID(m.Data)}
	})
	return list
}

// each does something so many times, by some side by side.
func (s *site) each(total int, do func(n int)) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for n := int(next.Add(1) - 1); n < total; n = int(next.Add(1) - 1) {
				do(n)
			}
		})
	}
	workers.Wait()
}

// mustHaveArrived compares where messages have arrived with where those must that were sent.
func (s *site) mustHaveArrived(list []sentSample) {
	s.t.Helper()
	s.settle()
	lacks := make(map[string]int)
	for _, one := range list {
		for _, at := range one.arrives {
			lacks[one.about+" "+one.id+" at "+at]++
		}
	}
	about := make(map[string]string)
	for _, one := range list {
		about[one.id] = one.about
	}
	for place, sink := range s.sinks() {
		for _, d := range sink.All() {
			id := messageID(d.Data)
			for _, to := range d.To() {
				lacks[about[id]+" "+id+" at "+place+" "+to]--
			}
		}
	}
	s.mustBeNone(lacks, "that have arrived")
}

// mustBeNone complains of what was sent oftener than it is told of, or less often.
func (s *site) mustBeNone(lacks map[string]int, where string) {
	s.t.Helper()
	for _, what := range slices.Sorted(maps.Keys(lacks)) {
		if n := lacks[what]; n != 0 {
			s.t.Errorf("%d more were sent than %s: %s", n, where, what)
		}
	}
}

// mustHaveCounted compares the table of minutes with what was sent, and when.
func (s *site) mustHaveCounted(list []sentSample, since time.Time) {
	s.t.Helper()
	lacks, recipients := make(map[string]int), make(map[string]int)
	for _, one := range list {
		if c := one.counted(); c.Point != "" {
			fate := fmt.Sprintf("%s %q %s %q", c.Point, c.Flow, c.Verdict, c.Check)
			lacks[fate]++
			recipients[fate] += c.Recipients
		}
	}
	for _, c := range s.counted() {
		fate := fmt.Sprintf("%s %q %s %q", c.Point, c.Flow, c.Verdict, c.Check)
		lacks[fate] -= c.Messages
		recipients[fate] -= c.Recipients
		if c.Time.Before(since.Truncate(time.Minute)) || c.Time.After(time.Now()) {
			s.t.Errorf("counted at %v are %+v; all were sent from %v on", c.Time, c, since)
		}
	}
	s.mustBeNone(lacks, "messages counts tells")
	s.mustBeNone(recipients, "messages counts tells of recipients")
}

// awaitFound waits until messages find tells of so many: what the MTA's log says is read by and by.
func (s *site) awaitFound(count int, flags ...string) (list []foundMessage) {
	s.t.Helper()
	for ctx := deadline(s.t); ; {
		if list = s.find(flags...); len(list) >= count || ctx.Err() != nil {
			return list
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// mustFindAll compares what messages find tells with what was sent.
func (s *site) mustFindAll(list []sentSample) {
	s.t.Helper()
	lacks, count := make(map[string]int), 0
	for _, one := range list {
		for _, line := range one.found(one.sample, one.id) {
			lacks[line]++
			count++
		}
	}
	for _, m := range s.awaitFound(count) {
		lacks[tells(m)]--
	}
	s.mustBeNone(lacks, "messages find tells")
	for flag, has := range map[string]func(f *fate, word string) bool{
		"--point": func(f *fate, word string) bool { return f.point == word },
		"--verdict": func(f *fate, word string) bool {
			return f.verdict == word || slices.ContainsFunc(f.recipients, func(r rcptFate) bool { return r.verdict == word })
		},
		"--check": func(f *fate, word string) bool {
			return f.check == word || slices.ContainsFunc(f.recipients, func(r rcptFate) bool { return r.check == word }) ||
				slices.Contains(append(slices.Clone(f.scanned), f.told...), word+" hit")
		},
	} {
		for _, word := range strings.Fields("S0 S1 S2 accept tag quarantine discard tempfail reject spam virus malware spoof rate loop auth ddos") {
			want := 0
			for _, one := range list {
				if one.point != "" && has(one.fate, word) {
					want++
				}
			}
			if want == 0 {
				continue
			}
			found := slices.DeleteFunc(s.find(flag, word), func(m foundMessage) bool { return m.MTA != "" })
			if len(found) != want {
				s.t.Errorf("messages find %s %s finds %d; %d were sent", flag, word, len(found), want)
			}
		}
	}
}

// mustTurnAway has clients connect oftener than they may, through the MTA and past it, and one
// hold as many connections as it may. It returns how many were refused.
func (s *site) mustTurnAway() (refused int) {
	s.t.Helper()
	var shut atomic.Int64
	s.each(60, func(int) {
		session, err := lab.Client{Server: s.Addr("public"), Local: "127.0.9.1"}.Dial(deadline(s.t))
		switch {
		case err == nil:
			session.Close()
		case strings.HasSuffix(err.Error(), "refused the connection: "+s.shut):
			shut.Add(1)
		default:
			s.t.Error(err)
		}
	})
	flood := lab.Flood{Socket: filepath.Join(s.Dir, "milter.sock"), Client: netip.MustParseAddr("192.0.2.77"), Rate: 200, AtOnce: 10}
	flooded, err := flood.Run(s.t.Context(), time.Second)
	s.do(err)
	if shut.Load() == 0 || flooded.Refused == 0 {
		s.t.Errorf("%d connections were refused through the MTA, and %+v past it", shut.Load(), flooded)
	}
	for range bound {
		s.enter("127.0.10.1")
	}
	s.mustBeShutOut("127.0.10.1")
	s.awaitNumber(fmt.Sprintf(`coexistd_connections{address="unix:%s/milter.sock",use="milter"}`, s.Dir), bound)
	if away := s.numbers()["coexistd_ddos_turned_away"]; away < 1 || away > 3 { // those of the floods are let in again a minute later
		list, _ := ask(s.t, "clients", "list", "-c", s.Config())
		s.t.Errorf("%v are turned away:\n%s", away, list)
	}
	return int(shut.Load()) + flooded.Refused + 1
}

// awaitNumber waits until a gauge has a value.
func (s *site) awaitNumber(name string, want float64) {
	s.t.Helper()
	for ctx := deadline(s.t); ; {
		got := s.numbers()[name]
		if got == want {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			s.t.Errorf("%s is %v; right is %v", name, got, want)
			return
		}
	}
}

func TestEveryNumberIsWhatWasSent(t *testing.T) {
	clamd, rspamd := startClamd(t, lab.ClamdConfig{}), startRspamd(t, lab.RspamdConfig{})
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: truthTOML(clamd.Addr(), rspamd.URL())})
		total := 1000
		if mta != lab.PostfixMTA {
			total = 200 // it takes fewer in a second, and counts by the same code
		}
		since := time.Now()
		list := s.sendSamples(theSamples(mta), total)
		s.mustHaveArrived(list)

		want := make(map[string]float64)
		entries, over := 0.0, 0
		for _, one := range list {
			for _, name := range one.fate.numbers() {
				want[name]++
			}
			for _, r := range one.recipients {
				if r.verdict == "quarantine" {
					entries++
				}
			}
			if one.check == "rate" {
				over++
			}
		}
		if sent := len(slices.DeleteFunc(slices.Clone(list), func(one sentSample) bool { return one.client != fromLimited })); over != sent-limited {
			t.Errorf("%d of %d were over the limit of %d", over, sent, limited)
		}
		s.mustCount(want)
		want[`coexistd_ddos_excesses_total{at="connection"}`] = float64(s.mustTurnAway())
		s.mustCount(want)
		s.mustFindAll(list)
		s.mustHaveCounted(list, since)

		s.awaitNumber("coexistd_quarantine_entries", entries)
		all := s.numbers()
		if all["coexistd_quarantine_bytes"] < entries/2*1000 || time.Since(time.Unix(int64(all["coexistd_quarantine_oldest_timestamp_seconds"]), 0)) > time.Since(since)+time.Second {
			t.Errorf("the quarantine has %v bytes, the oldest of %v", all["coexistd_quarantine_bytes"], all["coexistd_quarantine_oldest_timestamp_seconds"])
		}
	})
}

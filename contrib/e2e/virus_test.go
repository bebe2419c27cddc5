package e2e

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/json"
	"io"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-message/mail"

	"coexistd/contrib/lab"
	"coexistd/milter/quarantine"
	"coexistd/policy"
	"coexistd/policy/verdict"
)

// attachment is a file of a message.
type attachment struct {
	name    string
	media   string // empty: application/octet-stream
	content []byte
}

// attaching makes the fields and the body of a message with a text and files.
// Those of another message are written as they are, all others in base64.
func attaching(t *testing.T, files ...attachment) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := mail.CreateWriter(&b, mail.Header{})
	if err != nil {
		t.Fatal(err)
	}
	var text mail.InlineHeader
	text.SetContentType("text/plain", map[string]string{"charset": "utf-8"})
	part, err := w.CreateSingleInline(text)
	if err != nil {
		t.Fatal(err)
	}
	write := func(content []byte) {
		if _, err := part.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := part.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write([]byte("The files are attached.\r\n"))
	for _, file := range files {
		var h mail.AttachmentHeader
		h.SetContentType("application/octet-stream", nil)
		if file.media != "" {
			h.SetContentType(file.media, nil)
		}
		if file.media == "message/rfc822" {
			h.Set("Content-Transfer-Encoding", "7bit")
		}
		h.SetFilename(file.name)
		if part, err = w.CreateAttachment(h); err != nil {
			t.Fatal(err)
		}
		write(file.content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// zipped makes a zip archive of one file.
func zipped(t *testing.T, name string, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) { return flate.NewWriter(out, flate.BestSpeed) })
	file, err := w.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// random is content that no compression makes smaller, the same at each run.
func random(seed byte, size int) []byte {
	content := make([]byte, size)
	rand.NewChaCha8([32]byte{seed}).Read(content)
	return content
}

// carrier is a way to hide something in a message.
type carrier struct {
	name string
	form []byte // a message without the fields that letter makes
	// held are the checks that hold it at S0.
	held []string
}

// eicarCarriers hide EICAR in every way in which the virus scanner must find it.
// Only one of them has a file name that is a hit by itself.
func eicarCarriers(t *testing.T) []carrier {
	t.Helper()
	eicar := []byte(lab.EICAR)
	inner := carrier{form: attaching(t, attachment{name: "report.txt", content: eicar})}.letter("forwarded")
	virus, both := []string{verdict.CheckVirus}, []string{verdict.CheckVirus, verdict.CheckMalware}
	return []carrier{
		{"plain", []byte("\r\n" + lab.EICAR + "\r\n"), virus},
		{"base64", attaching(t, attachment{name: "report.txt", content: eicar}), virus},
		{"zip", attaching(t, attachment{name: "reports.zip", content: zipped(t, "report.txt", eicar)}), virus},
		{"nested-zip", attaching(t, attachment{name: "all.zip", content: zipped(t, "reports.zip", zipped(t, "report.txt", eicar))}), virus},
		{"zip-of-program", attaching(t, attachment{name: "eicar.zip", content: zipped(t, "eicar.com", eicar)}), both},
		{"forwarded", attaching(t, attachment{name: "forwarded.eml", media: "message/rfc822", content: inner}), virus},
	}
}

// largeEicarCarrier hides EICAR in the middle of a message of 20 MB.
func largeEicarCarrier(t *testing.T) carrier {
	t.Helper()
	form := attaching(t,
		attachment{name: "before.bin", content: random(1, 7_500_000)},
		attachment{name: "report.txt", content: []byte(lab.EICAR)},
		attachment{name: "after.bin", content: random(2, 7_500_000)})
	if len(form) < 20_000_000 {
		t.Fatalf("the large message has %d octets only", len(form))
	}
	return carrier{"20MB", form, []string{verdict.CheckVirus}}
}

// letter makes a message that carries it.
func (c carrier) letter(subject string) []byte {
	return slices.Concat(bytes.TrimSuffix(letter(subject, "", ""), []byte("\r\n")), c.form)
}

const virusTOML = `[checkpoint.S0.virus]
on_hit = "quarantine"
[checkpoint.S1.virus]
on_hit = "reject"
[checkpoint.S2.virus]
on_hit = "{S2}"
`

// virusSite is a site with a clamd. With on its configuration says what S2 does
// with a virus.
func virusSite(t *testing.T, mta lab.MTA, s2 string) (s *site, on func(s2 string)) {
	t.Helper()
	clamd := startClamd(t, lab.ClamdConfig{})
	toml := func(s2 string) string {
		return strings.Replace(withHost(checkedTOML(clamd.Addr(), "", strings.Replace(virusTOML, "{S2}", s2, 1))),
			"[scanner.clamd]\n", "[scanner.clamd]\nmax_size = \"64M\"\n", 1)
	}
	s = startSite(t, lab.SiteConfig{MTA: mta, TOML: toml(s2), Main: map[string]string{"message_size_limit": "40000000"}})
	return s, func(s2 string) {
		t.Helper()
		if err := s.WriteTOML(toml(s2)); err != nil {
			t.Fatal(err)
		}
		if line := s.reload(); !strings.Contains(line, "msg=reloaded") {
			t.Fatal(line)
		}
	}
}

// held lists what the quarantine holds of a message.
func (s *site) held(message []byte) []quarantine.Entry {
	s.t.Helper()
	status, out, complaint := run(s.t, "quarantine", "list", "--json", "-c", s.Config())
	if status != exitYes {
		s.t.Fatalf("coexistd quarantine list: status %d: %s", status, complaint)
	}
	var entries []quarantine.Entry
	if err := json.Unmarshal([]byte(out), &entries); err != nil {
		s.t.Fatal(err)
	}
	return slices.DeleteFunc(entries, func(e quarantine.Entry) bool {
		return strings.TrimSpace(e.MessageID) != messageID(message)
	})
}

// mustHold checks that the quarantine holds a message for these recipients, each
// for these checks, and that what it holds is the message to the last byte. It
// returns the entries' IDs.
func (s *site) mustHold(message []byte, point string, checks []string, to ...string) (ids []string) {
	s.t.Helper()
	var got []string
	for _, e := range s.held(message) {
		ids, got = append(ids, e.ID), append(got, e.Address)
		if e.Point.String() != point || !slices.Equal(e.Checks, checks) || e.Found[0] != lab.EICARName {
			s.t.Errorf("the entry for %s is of %s, held by %q for %q; it must be of %s, held by %q for %s first",
				e.Address, e.Point, e.Checks, e.Found, point, checks, lab.EICARName)
		}
		status, raw, complaint := run(s.t, "quarantine", "show", "--raw", "-c", s.Config(), e.ID)
		if status != exitYes {
			s.t.Errorf("coexistd quarantine show --raw: status %d: %s", status, complaint)
		}
		if strings.HasPrefix(raw, "Received: (from root@localhost)\r\n\tby mta.lab.test ") {
			raw = string(lab.Below([]byte(raw), "Received")) // Sendmail's, of its command
		}
		if raw != string(message) {
			s.t.Errorf("the entry for %s holds %d octets %.1000q; it must be the message of %d", e.Address, len(raw), raw, len(message))
		}
	}
	slices.Sort(got)
	slices.Sort(to)
	if !slices.Equal(got, to) {
		s.t.Errorf("the message is held for %q; it must be held for %q", got, to)
	}
	return ids
}

// mustLog checks the log line of the message from a sender.
func (s *site) mustLog(sender string, want ...string) {
	s.t.Helper()
	line := s.waitDaemonLog(`msg=message .*from=` + regexp.QuoteMeta(sender) + ` `)
	for _, part := range append(want, "virus hit "+lab.EICARName) {
		if !strings.Contains(line, part) {
			s.t.Errorf("the log line lacks %s: %s", part, line)
		}
	}
}

// mustReply checks the reply to a message.
func (s *site) mustReply(r lab.Result, code int, enhanced, text string) {
	s.t.Helper()
	if r.Data.Code != code || r.Data.Enhanced != enhanced || !strings.Contains(r.Data.Text, text) {
		s.t.Errorf("the reply is %s; it must be %d %s with %q", r.Data, code, enhanced, text)
	}
}

func TestAVirusIsFoundInEveryFormAtEveryPointAndTheirActionsFollow(t *testing.T) {
	t.Parallel()
	carriers := append(eicarCarriers(t), largeEicarCarrier(t))
	s, s2Does := virusSite(t, lab.PostfixMTA, "tag")
	const to = "bob@acmecorp.com"
	for _, c := range carriers {
		sender := c.name + "@example.net"
		m := c.letter("from the Internet")
		r := s.send(lab.FromInternet, lab.Mail{From: sender, To: lab.To(to), Data: m})
		s.mustReply(r, 250, "2.0.0", "")
		s.mustArrive(m)
		ids := s.mustHold(m, "S0", c.held, to)
		s.mustLog(sender, "point=S0", "verdict=quarantine", "check=virus", "held="+strings.Join(ids, ", "))

		sender = "alice+" + c.name + "@acmecorp.com"
		m = fromTenant(lab.OfficeTenant, c.letter("from the other platform"))
		r = s.send(lab.FromOffice365, lab.Mail{From: sender, To: lab.To(to), Data: m})
		s.mustReply(r, 554, "5.7.1", "Virus found: "+lab.EICARName)
		s.mustArrive(m)
		s.mustHold(m, "S1", nil)
		s.mustLog(sender, "point=S1", "verdict=reject", "check=virus", `reply="554 5.7.1 Virus found: `+lab.EICARName+`"`)
	}
	for _, action := range []struct {
		name     string
		code     int
		enhanced string
		text     string
		arrives  bool
		tags     []string
	}{
		{"tag", 250, "2.0.0", "", true, []string{"virus; " + lab.EICARName}},
		{"discard", 250, "2.0.0", "", false, nil},
		{"tempfail", 451, "4.7.1", "The message is not taken at the moment, try again later", false, nil},
		{"accept", 250, "2.0.0", "", true, nil},
	} {
		s2Does(action.name)
		if action.name != "tag" {
			carriers = eicarCarriers(t)
		}
		for _, c := range carriers {
			sender := "bob+" + action.name + "-" + c.name + "@acmecorp.com"
			m := c.letter("from our own user")
			r := s.send(lab.FromUser, lab.Mail{From: sender, To: lab.To(to), Data: m})
			s.mustReply(r, action.code, action.enhanced, action.text)
			s.mustLog(sender, "point=S2", "verdict="+action.name)
			s.mustHold(m, "S2", nil)
			if action.arrives {
				s.mustArriveTagged(m, action.tags, "here "+to)
			} else {
				s.mustArrive(m)
			}
		}
	}
}

// mustArriveTagged is mustArrive for a message that has these tags on top, and is
// the same to the last byte below them.
func (s *site) mustArriveTagged(message []byte, tags []string, want ...string) {
	s.t.Helper()
	if err := s.WaitEmpty(deadline(s.t)); err != nil {
		s.t.Fatal(err)
	}
	copies, arrivals := s.copies(message)
	slices.Sort(want)
	if !slices.Equal(arrivals, want) {
		s.t.Errorf("the message arrived at %q; it must arrive at %q", arrivals, want)
	}
	for place, copies := range copies {
		for _, copied := range copies {
			above, whole := bytes.CutSuffix(copied, message)
			if !whole {
				s.t.Errorf("the message was changed on its way to %s: %.2000q", place, copied)
			}
			var got []string
			for line := range strings.Lines(string(above)) {
				if value, found := strings.CutPrefix(line, policy.TagHeader+":"); found {
					got = append(got, strings.TrimSpace(value))
				}
			}
			if !slices.Equal(got, tags) {
				s.t.Errorf("at %s the message has the tags %q; it must have %q", place, got, tags)
			}
		}
	}
}

func TestAVirusForAMailboxOnTheOtherPlatformIsHeldAndNotSentOn(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s, _ := virusSite(t, mta, "quarantine")
		const alice, carol = "alice@acmecorp.com", "carol@acmecorp.com"
		for _, c := range eicarCarriers(t) {
			sender := c.name + "@example.net"
			m := c.letter("for the other platform")
			r := s.send(lab.FromInternet, lab.Mail{From: sender, To: lab.To(alice, carol), Data: m})
			s.mustReply(r, 250, "2.0.0", "")
			s.mustArrive(m)
			s.mustHold(m, "S0", c.held, alice, carol)
			s.mustLog(sender, "point=S0", "verdict=quarantine", "S0=>S4=>O1=>LD")
		}
	})
}

func TestAVirusFromTheSendmailCommandIsHeldOrBounces(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s, s2Does := virusSite(t, mta, "quarantine")
		carriers := eicarCarriers(t)
		for _, c := range carriers {
			sender := "bob+" + c.name + "@acmecorp.com"
			m := c.letter("from the host")
			s.sendmail(sender, m, "alice@acmecorp.com", "bob@acmecorp.com", "eve@example.net")
			s.mustLog(sender, "point=S2", "verdict=quarantine", "check=virus")
			s.mustArrive(m)
			s.mustHold(m, "S2", []string{verdict.CheckVirus}, "alice@acmecorp.com", "bob@acmecorp.com", "eve@example.net")
		}
		s2Does("reject")
		m := carriers[1].letter("refused")
		s.sendmail("bob@acmecorp.com", m, "alice@acmecorp.com", "eve@example.net")
		if s.checksBounces {
			s.waitDaemonLog(`msg=message .* from="" .*verdict=reject .*Virus found`)
		} else {
			s.mustBounce(m, s.Here, "bob@acmecorp.com", "Virus found: "+lab.EICARName)
		}
		s.mustArrive(m)
		s.mustHold(m, "S2", nil)
	})
}

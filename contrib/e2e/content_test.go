package e2e

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
	"coexistd/policy/seal"
)

// fourPlaces are recipients here, there, at both and in the Internet, with
// where their copies must arrive.
var (
	fourRecipients = lab.To("bob@acmecorp.com", "alice@acmecorp.com", "carol@acmecorp.com", "eve@example.net")
	fourPlaces     = []string{
		"here bob@acmecorp.com",
		"office365 alice@acmecorp-com.onmicrosoft.com",
		"here carol@acmecorp.com",
		"office365 carol@acmecorp-com.onmicrosoft.com",
		"Internet eve@example.net",
	}
)

// letter makes a message of fields and a body, both with LF line ends.
func letter(subject, fields, body string) []byte {
	head := lab.Plain("eve@example.net", "alice@acmecorp.com", subject)
	head = head[:bytes.Index(head, []byte("\r\n\r\n"))+2]
	return slices.Concat(head, []byte(strings.ReplaceAll(fields+"\n"+body, "\n", "\r\n")))
}

func multipart(t *testing.T, size int) []byte {
	t.Helper()
	m, err := lab.Multipart("eve@example.net", "alice@acmecorp.com", "multipart", size)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// ordinary are messages that Postfix passes on as they are.
func ordinary(t *testing.T) map[string][]byte {
	const from, to = "bob@acmecorp.com", "alice@acmecorp.com"
	large := multipart(t, 3_700_000)
	if len(large) < 5_000_000 {
		t.Fatalf("the large message has %d octets only", len(large))
	}
	return map[string][]byte{
		"plain":                  lab.Plain(from, to, "plain"),
		"8-bit":                  lab.EightBit(from, to, "8-bit"),
		"multipart":              multipart(t, 40_000),
		"5 MB":                   large,
		"lines of 998":           lab.LongLines(from, to, "long lines", 998),
		"a folded field":         letter("folded", "X-Folded: one\n\ttwo\n   three \n\tfour\n", "text\n"),
		"a field line of 998":    letter("long", "X-Long: "+strings.Repeat("x", 990)+"\n", "text\n"),
		"a field of many lines":  letter("many", "X-Many: 0"+strings.Repeat("\n "+strings.Repeat("y", 900), 40)+"\n", "text\n"),
		"trailing spaces":        letter("spaces", "X-Trailing: value \t  \n", "text  \n \n"),
		"no value":               letter("empty", "X-Empty:\nX-Space: \nX-Last:\n", "text\n"),
		"a field twice":          letter("twice", "X-Twice: 1\nReceived: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\nX-Twice: 2\nX-Twice: 1\n", "text\n"),
		"no space behind colon":  letter("colon", "X-Tight:value\nX-Wide:    value\nX-tAb:\tvalue\n", "text\n"),
		"UTF-8 in a field":       letter("utf-8", "X-Raw: Grüße, καλημέρα\n", "text\n"),
		"8-bit, no character":    letter("latin", "X-Latin: \xe4\xf6\xfc\xff\n", "\x80\xfe\n"),
		"percent signs":          letter("percent", "X-Percent: 100%s %d %n\n", "%s\n"),
		"an empty body":          letter("empty body", "X-A: b\n", ""),
		"empty lines at the end": letter("lines", "X-A: b\n", "text\n\n\n\n"),
		"dots":                   letter("dots", "X-A: .\n", ".\n..\n...text\n.\n"),
		"TNEF":                   letter("tnef", "Content-Type: application/ms-tnef; name=\"winmail.dat\"\nContent-Transfer-Encoding: base64\n", "eJ8+IgAAAQaQCAAEAAAAAAAB\n"),
	}
}

func TestAMessageReachesEachOfFourPlacesOnceAndUnchanged(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		startSite(t, lab.SiteConfig{MTA: mta}).mustCarryUnchanged(t)
	})
}

// mustCarryUnchanged sends each kind of message to each of the four places.
func (s *site) mustCarryUnchanged(t *testing.T) {
	t.Helper()
	messages := ordinary(t)
	for about, m := range messages {
		if r := s.send(lab.FromUser, lab.Mail{From: "bob@acmecorp.com", Args: "BODY=8BITMIME", To: fourRecipients, Data: m}); !r.Accepted() {
			t.Errorf("%s: not taken: %+v", about, r)
		}
	}
	for about, m := range messages {
		want := slices.Sorted(slices.Values(fourPlaces))
		if got := s.arrivals(m); !slices.Equal(got, want) {
			t.Errorf("%s: it arrived at %q; it must arrive at %q", about, got, want)
		}
		copies, _ := s.copies(m)
		for place, copies := range copies {
			for _, copied := range copies {
				// Anything else above it would be ours, too.
				if above := bytes.TrimSuffix(copied, m); len(above) == len(copied) || !onlyTraceAndReceived(above) {
					t.Errorf("%s: at %s there stands above it %q", about, place, above)
				}
			}
		}
	}
}

// onlyTraceAndReceived reports that header fields are one trace header of ours
// and nothing else but the servers' own.
func onlyTraceAndReceived(fields []byte) bool {
	rest := lab.Below(fields, "Received", seal.TraceHeader, "Return-Path", "Delivered-To", "X-Original-To")
	return len(rest) == 0 && bytes.Count(fields, []byte(seal.TraceHeader+":")) == 1
}

// copies are the octets of a message's copies as they arrived, by place, and
// the recipients as mustArrive names them.
func (s *site) copies(message []byte) (copies map[string][][]byte, arrivals []string) {
	id := messageID(message)
	copies = map[string][][]byte{}
	for place, sink := range s.sinks() {
		for _, d := range sink.All() {
			if messageID(d.Data) != id {
				continue
			}
			copies[place] = append(copies[place], d.Data)
			for _, to := range d.To() {
				arrivals = append(arrivals, place+" "+to)
			}
		}
	}
	slices.Sort(arrivals)
	return copies, arrivals
}

// startAlone starts an MTA without coexistd that sends all mail to a next hop.
func startAlone(t *testing.T, mta lab.MTA, nextHop string) lab.Host {
	t.Helper()
	p := lab.Lend(t)
	var alone lab.Host
	var err error
	if mta == lab.SendmailMTA {
		alone, err = p.StartSendmail(deadline(t), lab.SendmailConfig{
			Services: map[string]string{"public": ""},
			MC:       []string{"RELAY_DOMAIN(`127')dnl"},
			Routes:   map[string]string{".": nextHop},
		})
	} else {
		alone, err = p.Start(deadline(t), lab.Config{
			Services: []lab.Service{{Name: "public"}},
			Main:     map[string]string{"mynetworks": "127.0.0.0/8"},
			Routes:   map[string]string{"*": nextHop},
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := alone.Stop(); err != nil {
			t.Error(err)
		}
	})
	return alone
}

// Some messages an MTA itself changes or wraps. What arrives then must be
// what arrives without coexistd.
func TestAnOddMessageArrivesAsTheMTAAloneWouldPassItOn(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		plain, err := lab.StartSink(lab.SinkConfig{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { plain.Close() })
		s := startSite(t, lab.SiteConfig{
			MTA:  mta,
			Main: map[string]string{"mynetworks": "127.0.0.0/8"},
		})
		alone := startAlone(t, mta, plain.NextHop())
		for about, m := range map[string][]byte{
			"a line of 5000":            lab.LongLines("bob@acmecorp.com", "alice@acmecorp.com", "long", 5000),
			"a field line of 5000":      letter("field", "X-Long: "+strings.Repeat("x", 5000)+"\n", "text\n"),
			"no body and no empty line": bytes.TrimSuffix(letter("bare", "X-A: b\n", ""), []byte("\r\n")),
			"no line end at the end":    []byte(strings.TrimSuffix(string(letter("end", "X-A: b\n", "text\n")), "\r\n")),
			"bare CR":                   append(letter("cr", "X-Cr: a\rb\n", "text\rtext\n"), "\r\r\n"...),
			"bare LF":                   append(letter("lf", "X-A: b\n", ""), "one\ntwo\n\nthree\r\n"...),
			"NUL":                       letter("nul", "X-Nul: a\x00b\n", "text\x00text\n"),
			"a space before the colon":  letter("colon", "X-Odd : value\nX-Odd\t: value\n", "text\n"),
			"a field that is none":      letter("none", "this is no header field\nX-After: it\n", "text\n"),
			"only spaces in a fold":     letter("fold", "X-Fold: a\n \n b\n\t\nX-Next: c\n", "text\n"),
			"mbox's From":               letter("mbox", "X-A: b\n>From here\n", "From here\n"),
			"a forged trace header":     letter("forged", seal.TraceHeader+": v=2; by=mail.acmecorp.com; id=00; 1=a; sig=b\n", "text\n"),
		} {
			mail := lab.Mail{From: "bob@acmecorp.com", Args: "BODY=8BITMIME", To: fourRecipients, Data: m}
			ours := s.send(lab.FromUser, mail)
			r, err := lab.Client{Server: alone.Addr("public"), Local: lab.FromUser}.Send(deadline(t), mail)
			if strings.HasPrefix(about, "bare ") && !s.bareLineEnds {
				if err != nil || r.Accepted() || ours.Data != r.Data {
					t.Errorf("%s: it was answered %+v; the MTA alone answers %+v, %v", about, ours, r, err)
				}
				s.mustArrive(m)
				continue
			}
			if !ours.Accepted() {
				t.Fatalf("%s: not taken: %+v", about, ours)
			}
			if err != nil || !r.Accepted() {
				t.Fatalf("%s: the MTA alone did not take it: %+v, %v", about, r, err)
			}
			if err := s.WaitEmpty(deadline(t)); err != nil {
				t.Fatal(err)
			}
			id := messageID(m)
			reference, err := plain.Wait(deadline(t), func(d lab.Delivery) bool { return messageID(d.Data) == id })
			if err != nil {
				t.Fatal(err)
			}
			copies, arrivals := s.copies(m)
			for place, copies := range copies {
				for _, copied := range copies {
					if !bytes.Equal(below(copied), below(reference.Data)) {
						t.Errorf("%s: at %s arrived\n%.2000q\nwithout coexistd it is\n%.2000q", about, place, copied, reference.Data)
					}
				}
			}
			if want := slices.Sorted(slices.Values(fourPlaces)); !slices.Equal(arrivals, want) {
				t.Errorf("%s: it arrived at %q; it must arrive at %q", about, arrivals, want)
			}
		}
	})
}

// A milter is given a header field up to its first NUL, whatever stands behind it.
func TestAMessageWithANULIsRefusedAsContribPostfixAdvises(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{Main: map[string]string{"message_reject_characters": `\0`}})
	message := lab.Plain("eve@example.net", "bob@acmecorp.com", "nul")
	hidden := withHeader("Content-Type: multipart/mixed;\x00 boundary=x", message)
	r := s.send(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("bob@acmecorp.com"), Data: hidden})
	if r.Accepted() || r.Data.Code != 550 {
		t.Errorf("the message with a NUL in its header was answered %+v", r)
	}
	s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("bob@acmecorp.com"), Data: message})
	s.mustArrive(message, "here bob@acmecorp.com")
}

package e2e

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
	"coexistd/policy/mail"
	"coexistd/policy/seal"
)

func TestWhatAPlatformSendsBackEndsAtItsFirstReturn(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		r := officeRing(t, officeServer, lab.OfficeTenant, lab.SiteConfig{MTA: mta, RefuseHere: func(to string) *lab.Reply {
			if to == "hugo@globex.example" {
				return &lab.Reply{Code: 550, Enhanced: "5.2.1", Text: "hugo is away"}
			}
			return nil
		}})
		refusal := []string{"554 5.4.6 Mail loop: " + aliceIsThere + ", but office365 sent the message here", "Status: 5.4.6", "Original-Recipient: rfc822;alice@acmecorp.com"}

		got := r.round(lab.FromUser, note("bob@acmecorp.com", "alice@acmecorp.com"), bounceToBob)
		mustTell(t, got[bounceToBob], refusal...)
		r.visits(1)

		got = r.round(lab.FromInternet, note("eve@example.net", "alice@acmecorp.com"), bounceToEve)
		mustTell(t, got[bounceToEve], refusal...)
		r.visits(1)

		// The others' copies go where they belong, and only alice's comes back.
		got = r.round(lab.FromUser, note("bob@acmecorp.com", "alice@acmecorp.com", "bob@acmecorp.com", "eve@example.net"),
			bounceToBob, "here <bob@acmecorp.com> bob@acmecorp.com", "Internet <bob@acmecorp.com> eve@example.net")
		mustTell(t, got[bounceToBob], refusal...)
		r.visits(1)

		// A looping bounce ends without another: one from outside, and one that
		// Postfix makes here for alice, which no milter sees on its way out.
		r.round(lab.FromInternet, note("", "alice@acmecorp.com"))
		r.visits(1)
		m := note("alice@acmecorp.com", "hugo@globex.example")
		m.Data = fromTenant(lab.OfficeTenant, m.Data)
		r.round(lab.FromOffice365, m)
		r.visits(1)
		if n := strings.Count(r.sites[0].Daemon.Log(), "a looping bounce is dropped"); n != 2 {
			t.Errorf("%d looping bounces were dropped, want 2", n)
		}

		// Who has a mailbox here as well gets what comes back into it.
		carol := "here <bob@acmecorp.com> carol@acmecorp.com"
		r.round(lab.FromUser, note("bob@acmecorp.com", "carol@acmecorp.com"), carol, carol)
		r.visits(1)
	})
}

func TestALoopThroughAnotherHostEndsAfterMaxPasses(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		r := officeRing(t, anotherServer, "", lab.SiteConfig{MTA: mta, TOML: unguarded})
		for _, max := range []int{3, 1, 5} {
			if max != 3 { // the default
				r.sites[0].configure(fmt.Sprintf("max_passes = %d\n%s", max, unguarded))
			}
			refusal := fmt.Sprintf("554 5.4.6 Mail loop: %s; the message was sent on there %d times and came back", aliceIsThere, max)
			got := r.round(lab.FromUser, note("bob@acmecorp.com", "alice@acmecorp.com"), bounceToBob)
			mustTell(t, got[bounceToBob], refusal)
			r.visits(max)
			got = r.round(lab.FromInternet, note("eve@example.net", "alice@acmecorp.com"), bounceToEve)
			mustTell(t, got[bounceToEve], refusal)
			r.visits(max)
			r.round(lab.FromInternet, note("", "alice@acmecorp.com"))
			r.visits(max)

			// The first server on the way adds From, Date and Message-Id.
			bare := note("eve@example.net", "alice@acmecorp.com")
			bare.Data = []byte("Subject: bare\r\n\r\nbody\r\n")
			r.round(lab.FromInternet, bare, bounceToEve)
			r.visits(max)

			copies := slices.Repeat([]string{"here <bob@acmecorp.com> carol@acmecorp.com"}, max)
			got = r.round(lab.FromUser, note("bob@acmecorp.com", "carol@acmecorp.com"), append(copies, bounceToBob)...)
			mustTell(t, got[bounceToBob], "554 5.4.6", "the directory says that carol@acmecorp.com lives at both (here and office365)")
			r.visits(max)
		}
	})
}

// traceOf returns the trace header that a message got last, with its folds.
func traceOf(t *testing.T, d lab.Delivery) string {
	t.Helper()
	_, rest, found := bytes.Cut(d.Data, []byte(seal.TraceHeader+": "))
	if !found {
		t.Fatalf("the message has no %s:\n%s", seal.TraceHeader, d.Data)
	}
	value, _, _ := bytes.Cut(rest, []byte("sig="))
	sig, _, _ := bytes.Cut(rest[len(value):], []byte("\r\n"))
	return string(value) + string(sig)
}

// forgeries are sets of a hundred trace headers for one message to alice that
// its sender puts there. Copied are genuine ones, of other messages to her.
func forgeries(t *testing.T, message []byte, copied []string) map[string][]string {
	t.Helper()
	address, err := mail.ParseAddress("alice@acmecorp.com", "+")
	if err != nil {
		t.Fatal(err)
	}
	var header mail.Header
	header.Add([]byte("Message-Id"), []byte(messageID(message)))
	stranger, marks := seal.NewKeys([]byte("a key that is another organisation's")), seal.MarksOf(&header)
	sets := map[string][]string{}
	for i := range 100 {
		genuine := copied[i%len(copied)]
		body, sig, _ := strings.Cut(genuine, "sig=")
		_, otherSig, _ := strings.Cut(copied[(i+1)%len(copied)], "sig=")
		another := stranger.SignTrace(seal.Traces{}, "mail.acmecorp.com", [8]byte{byte(i)}, marks, []string{address.Owner})
		for name, value := range map[string]string{
			"copied":              genuine,
			"another id":          strings.Replace(genuine, "id=", fmt.Sprintf("id=%02x", i), 1),
			"another host":        strings.Replace(genuine, "by=mail", "by=mx", 1),
			"another's signature": body + "sig=" + otherSig,
			"no signature":        body + "sig=",
			"half a signature":    body + "sig=" + sig[:len(sig)/2],
			"another key":         strings.ReplaceAll(another, "\n", "\r\n"),
		} {
			sets[name] = append(sets[name], value)
		}
	}
	return sets
}

// withTraces puts trace headers on top of a message.
func withTraces(message []byte, traces []string) []byte {
	for _, value := range traces {
		message = withHeader(seal.TraceHeader+": "+value, message)
	}
	return message
}

func TestAForgedTraceNeitherStopsAMessageNorHidesALoop(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		r := officeRing(t, anotherServer, "", lab.SiteConfig{MTA: mta, TOML: unguarded})
		s := r.sites[0]
		// bob gets a copy of each message, and so the traces of what alice is sent.
		var copied []string
		for range 5 {
			got := r.round(lab.FromInternet, note("eve@example.net", "alice@acmecorp.com", "bob@acmecorp.com"),
				"here <eve@example.net> bob@acmecorp.com", bounceToEve)
			copied = append(copied, traceOf(t, got["here <eve@example.net> bob@acmecorp.com"]))
			r.visits(3)
		}
		for name := range forgeries(t, nil, copied) {
			m := note("eve@example.net", "alice@acmecorp.com")
			m.Data = withTraces(m.Data, forgeries(t, m.Data, copied)[name])
			s.deliver(lab.FromInternet, m)
			got := r.mustHave(bounceToEve)
			mustTell(t, got[bounceToEve], aliceIsThere+"; the message was sent on there 3 times and came back")
			r.visits(3)
			if t.Failed() {
				t.Fatalf("that was with a hundred traces of this kind: %s", name)
			}
		}
	})
}

func TestALoopThroughThreeServersEnds(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		first, second, third := freeAddress(), freeAddress(), freeAddress()
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: unguarded, Routes: map[string]string{"acmecorp-com.onmicrosoft.com": nextHop(first)}})
		on := func(to string) map[string]string {
			return map[string]string{"acmecorp.com": to, "*": s.Outside.NextHop()}
		}
		last := startHop(t, hop{name: "third.lab.test", address: third, from: officeServer, tenant: lab.OfficeTenant, routes: on(nextHop(s.Addr("public")))})
		r := newRing(t, []*site{s},
			startHop(t, hop{name: "first.lab.test", address: first, routes: on(nextHop(second)),
				aliases: map[string]string{"@acmecorp-com.onmicrosoft.com": "@acmecorp.com"}}),
			startHop(t, hop{name: "second.lab.test", address: second, routes: on(nextHop(third))}), last)

		rounds := func(passes int) {
			t.Helper()
			got := r.round(lab.FromUser, note("bob@acmecorp.com", "alice@acmecorp.com"), bounceToBob)
			mustTell(t, got[bounceToBob], "554 5.4.6 Mail loop: "+aliceIsThere)
			r.visits(passes, passes, passes)
			got = r.round(lab.FromInternet, note("eve@example.net", "alice@acmecorp.com"), bounceToEve)
			mustTell(t, got[bounceToEve], "554 5.4.6 Mail loop: "+aliceIsThere)
			r.visits(passes, passes, passes)
			r.round(lab.FromInternet, note("", "alice@acmecorp.com"))
			r.visits(passes, passes, passes)
		}
		rounds(1)
		if err := last.Restart(deadline(t), map[string]string{"smtp_bind_address": anotherServer, "smtp_header_checks": ""}); err != nil {
			t.Fatal(err)
		}
		rounds(3)
	})
}

func TestWhatGooglesCatchAllSendsBackEnds(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		const (
			bounceToHugo = "here <> hugo@globex.example"
			gailIsThere  = "the directory says that gail@globex.example lives at google"
			tenantHeader = "regexp:$config_directory/stamp"
		)
		address := freeAddress()
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: unguarded, Routes: map[string]string{"gapps.globex.example": nextHop(address)}})
		back := nextHop(s.Addr("public"))
		google := startHop(t, hop{
			name: "google.lab.test", address: address, from: googleServer, tenant: lab.GoogleTenant,
			routes: map[string]string{"gapps.globex.example": back, "globex.example": back, "*": s.Outside.NextHop()},
		})
		r := newRing(t, []*site{s}, google)
		asGlobex := inlineTable(map[string]string{"@gapps.globex.example": "@globex.example"})
		for _, c := range []struct {
			about, aliases, from, stamp string
			passes                      int
			reply                       string
		}{
			{"our tenant, our domain", asGlobex, googleServer, tenantHeader, 1, "554 5.4.6 Mail loop: " + gailIsThere + ", but google sent the message here"},
			{"our tenant, alternate domain", "", googleServer, tenantHeader, 1, "554 5.4.6 Mail loop: " + gailIsThere + ", but google sent the message for gail@gapps.globex.example here"},
			{"another host, our domain", asGlobex, anotherServer, "", 3, "554 5.4.6 Mail loop: " + gailIsThere + "; the message was sent on there 3 times and came back"},
			// A stranger is not told who lives where; the first return ends it.
			{"another host, alternate domain", "", anotherServer, "", 1, "554 5.7.1"},
			{"no tenant named, our domain", asGlobex, googleServer, "", 3, "554 5.4.6 Mail loop: " + gailIsThere},
			{"no tenant named, alternate domain", "", googleServer, "", 1, "554 5.7.1 Relay access denied: an alternate domain takes mail at its platform only"},
		} {
			changes := map[string]string{"virtual_alias_maps": c.aliases, "smtp_bind_address": c.from, "smtp_header_checks": c.stamp}
			if err := google.Restart(deadline(t), changes); err != nil {
				t.Fatal(err)
			}
			t.Log(c.about)
			got := r.round(lab.FromUser, note("hugo@globex.example", "gail@globex.example"), bounceToHugo)
			mustTell(t, got[bounceToHugo], c.reply)
			r.visits(c.passes)
			got = r.round(lab.FromInternet, note("eve@example.net", "Gail+x@globex.example"), bounceToEve)
			mustTell(t, got[bounceToEve], "554 5.", "Original-Recipient: rfc822;Gail+x@globex.example")
			r.visits(c.passes)
		}
	})
}

func TestAMailingListsCopyIsNoLoop(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		address := freeAddress()
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: unguarded, Routes: map[string]string{"lists.example.net": nextHop(address)}})
		list := startHop(t, hop{
			name: "lists.lab.test", address: address, from: anotherServer, senders: "list-owner@lists.example.net",
			aliases: map[string]string{"list@lists.example.net": "alice@acmecorp.com carol@acmecorp.com bob@acmecorp.com gail@globex.example eve@example.net"},
			routes:  map[string]string{"acmecorp.com": nextHop(s.Addr("public")), "globex.example": nextHop(s.Addr("public")), "*": s.Outside.NextHop()},
		})
		r := newRing(t, []*site{s}, list)
		const (
			direct = "<bob@acmecorp.com> "
			byList = "<list-owner@lists.example.net> "
		)
		m := note("bob@acmecorp.com", "alice@acmecorp.com", "carol@acmecorp.com", "list@lists.example.net")
		got := r.round(lab.FromUser, m,
			"office365 "+direct+"alice@acmecorp-com.onmicrosoft.com", "office365 "+byList+"alice@acmecorp-com.onmicrosoft.com",
			"office365 "+direct+"carol@acmecorp-com.onmicrosoft.com", "office365 "+byList+"carol@acmecorp-com.onmicrosoft.com",
			"here "+direct+"carol@acmecorp.com", "here "+byList+"carol@acmecorp.com",
			"here "+byList+"bob@acmecorp.com", "google "+byList+"gail@gapps.globex.example", "Internet "+byList+"eve@example.net")
		r.visits(1)
		for key, d := range got {
			if string(below(d.Data)) != string(below(m.Data)) {
				t.Errorf("%s is not the message that bob wrote:\n%s", key, d.Data)
			}
		}
		// The list keeps all headers, so alice's second copy shows that she had the first.
		second := got["office365 "+byList+"alice@acmecorp-com.onmicrosoft.com"]
		if n := strings.Count(string(second.Data), "X-Coexist-Trace: "); n != 1 || len(traceHashes(t, second)["2"]) != 2 {
			t.Errorf("the list's copy has %d traces, want 1 that counts two passes of alice and carol:\n%s", n, second.Data)
		}
	})
}

// traceHashes takes a trace header apart: the hashes by their number of passes.
func traceHashes(t *testing.T, d lab.Delivery) map[string][]string {
	t.Helper()
	trace := strings.Join(strings.Fields(traceOf(t, d)), "")
	m := regexp.MustCompile(`^v=2;by=mail\.acmecorp\.com;id=[0-9a-f]{16};((?:[0-9]+=[A-Za-z0-9_,-]+;)+)sig=[A-Za-z0-9_-]{22}$`).FindStringSubmatch(trace)
	if m == nil {
		t.Fatalf("the trace header is %q", trace)
	}
	hashes := map[string][]string{}
	for group := range strings.SplitSeq(strings.TrimSuffix(m[1], ";"), ";") {
		passes, list, _ := strings.Cut(group, "=")
		hashes[passes] = strings.Split(list, ",")
	}
	return hashes
}

func TestABccDoesNotShowInTheTrace(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		directory := lab.SiteDirectory
		hidden := make([]string, 6)
		for i := range hidden {
			hidden[i] = fmt.Sprintf("hidden%d@acmecorp.com", i)
			directory += hidden[i] + ",office365,\n"
		}
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: unguarded, Directory: directory})
		r := newRing(t, []*site{s})
		seen := map[string]bool{}
		for _, c := range []struct{ bcc, hashes int }{{0, 4}, {0, 4}, {1, 4}, {3, 4}, {4, 8}, {6, 8}} {
			m := note("bob@acmecorp.com", append([]string{"alice@acmecorp.com", "bob@acmecorp.com"}, hidden[:c.bcc]...)...)
			want := []string{"here <bob@acmecorp.com> bob@acmecorp.com", "office365 <bob@acmecorp.com> alice@acmecorp-com.onmicrosoft.com"}
			for _, address := range hidden[:c.bcc] {
				want = append(want, "office365 <bob@acmecorp.com> "+strings.Replace(address, "acmecorp.com", "acmecorp-com.onmicrosoft.com", 1))
			}
			got := r.round(lab.FromUser, m, want...)["here <bob@acmecorp.com> bob@acmecorp.com"]
			if strings.Contains(string(got.Data), "hidden") || strings.Contains(traceOf(t, got), "alice") {
				t.Errorf("bob's copy names somebody:\n%s", got.Data)
			}
			hashes := traceHashes(t, got)["1"]
			if len(hashes) != c.hashes {
				t.Errorf("alice and %d others show as %d hashes, want %d", c.bcc, len(hashes), c.hashes)
			}
			// What stands twice would tell that two messages had one recipient.
			for _, hash := range hashes {
				if seen[hash] {
					t.Errorf("the hash %s stands twice", hash)
				}
				seen[hash] = true
			}
		}
	})
}

func TestSitesThatShareTheSecretCountTogether(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		var addresses []string
		var sites []*site
		for i := range 2 {
			addresses = append(addresses, freeAddress())
			sites = append(sites, startSite(t, lab.SiteConfig{MTA: mta, TOML: unguarded, Routes: map[string]string{"acmecorp-com.onmicrosoft.com": nextHop(addresses[i])}}))
		}
		var hops []*lab.Postfix
		for i := range 2 {
			hops = append(hops, startHop(t, hop{
				name: fmt.Sprintf("office%d.lab.test", i), address: addresses[i], from: anotherServer,
				aliases: map[string]string{"@acmecorp-com.onmicrosoft.com": "@acmecorp.com"},
				routes:  map[string]string{"acmecorp.com": nextHop(sites[1-i].Addr("public")), "*": sites[0].Outside.NextHop()},
			}))
		}
		r := newRing(t, sites, hops...)
		m := func() lab.Mail { return note("eve@example.net", "alice@acmecorp.com") }

		r.round(lab.FromInternet, m(), bounceToEve)
		r.visits(3, 3)

		secret := filepath.Join(t.TempDir(), "shared.key")
		key := make([]byte, 32)
		rand.Read(key)
		if err := os.WriteFile(secret, key, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, s := range sites {
			s.configure(fmt.Sprintf("secret_file = %q\n%s", secret, unguarded))
		}
		got := r.round(lab.FromInternet, m(), bounceToEve)
		mustTell(t, got[bounceToEve], aliceIsThere+"; the message was sent on there 3 times and came back")
		r.visits(2, 1)
	})
}

// forwarded is what a server makes of a message that it forwards, and that keeps only
// one of several fields of a name: the first, or the last.
func forwarded(message []byte, keepsFirst bool) []byte {
	head, body, _ := bytes.Cut(message, []byte("\r\n\r\n"))
	trace := regexp.MustCompile(`(?m)^X-Coexist-Trace:.*\r?\n(?:[ \t].*\r?\n)*`)
	head = append(head, "\r\n"...)
	kept := trace.FindAll(head, -1)
	if len(kept) == 0 {
		return message
	}
	one := kept[len(kept)-1]
	if keepsFirst {
		one = kept[0]
	}
	return slices.Concat(one, trace.ReplaceAll(head, nil), []byte("\r\n"), body)
}

// TestACircleOfForwardersEnds hands each copy in again for whom its mailbox forwards to.
func TestACircleOfForwardersEnds(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: unguarded})
		const alice, gail, hugo = "alice@acmecorp.com", "gail@globex.example", "hugo@globex.example"
		places := map[string]*lab.Sink{alice: s.Office, gail: s.Google, hugo: s.Here}
		for name, circle := range map[string][]string{
			"there and there": {alice, gail},
			"here and there":  {hugo, alice},
			"all three":       {hugo, alice, gail},
		} {
			for _, keepsFirst := range []bool{true, false} {
				m := note("eve@example.net", alice)
				id := messageID(m.Data)
				passes := map[string]int{}
				for i := 0; ; i++ {
					to := circle[i%len(circle)]
					m.To = lab.To(to)
					r := s.send(lab.FromInternet, m)
					if !r.Accepted() {
						if code(r.Data) != "554 5.4.6" || passes[to] != 3 {
							t.Errorf("%s: after %v it is refused for %s with %v; it must be 554 5.4.6 after three passes", name, passes, to, r.Data)
						}
						break
					}
					if passes[to]++; passes[to] > 4 {
						t.Errorf("%s: the message goes round: %v", name, passes)
						break
					}
					s.settle()
					all := places[to].All()
					last := all[len(all)-1]
					if messageID(last.Data) != id {
						t.Fatalf("%s: the message for %s is not there", name, to)
					}
					m.Data = forwarded(last.Data, keepsFirst)
				}
			}
		}
	})
}

package policy_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"coexistd/policy"
)

// toAlice is a message from the Internet to alice, who lives at Office 365.
func toAlice(traces ...string) mail {
	return mail{client: internetClient, from: stranger, to: []string{"alice@acmecorp.com"}, traces: traces}
}

// tracesOf sends a message round so often, each time with the traces that it
// has by then.
func tracesOf(t testing.TB, w *world, m mail, passes int) []string {
	t.Helper()
	m.traces = nil
	for range passes {
		m.nonce++
		got := w.send(t, m)
		if got.Trace == "" {
			t.Fatalf("pass %d leaves no trace: %+v", m.nonce, got.Decision)
		}
		m.traces = append([]string{got.Trace}, m.traces...)
	}
	return m.traces
}

// loops reports whether a message with these traces is refused as a loop.
func loops(t testing.TB, w *world, m mail) bool {
	t.Helper()
	got := w.send(t, m)
	switch {
	case got.Verdict == policy.Accept:
		return false
	case got.Verdict == policy.Reject && got.Reply.Code == 554 && got.Reply.Enhanced == "5.4.6" && got.Check == policy.CheckLoop:
		return true
	}
	t.Fatalf("neither accepted nor a loop: %+v", got.Decision)
	return false
}

func TestAMessageIsRefusedWhenItComesBackAfterMaxPasses(t *testing.T) {
	for _, maxPasses := range []int{1, 2, 3, 20} {
		w := newWorld()
		w.MaxPasses = maxPasses
		all := tracesOf(t, w, toAlice(), maxPasses)
		for passes := range maxPasses + 1 {
			if got := loops(t, w, toAlice(all[maxPasses-passes:]...)); got != (passes == maxPasses) {
				t.Errorf("max_passes %d, sent on %d times: loop is %v", maxPasses, passes, got)
			}
		}
	}
}

func TestALoopNamesTheDirectorysEntryAndTheNumberOfPasses(t *testing.T) {
	w := newWorld()
	got := w.send(t, toAlice(tracesOf(t, w, toAlice(), 3)...))
	want(t, "reply", got.Reply.String(), "554 5.4.6 Mail loop: the directory says that alice@acmecorp.com lives at office365; the message was sent on there 3 times and came back")
}

func TestALoopOfABounceIsDropped(t *testing.T) {
	w := newWorld()
	m := toAlice(tracesOf(t, w, toAlice(), 3)...)
	m.from = "<>"
	want(t, "verdict", w.send(t, m).Verdict.String(), "discard")
}

func TestTheLoopRuleHoldsForEveryWayInAndEveryWayOfWriting(t *testing.T) {
	w := newWorld()
	tagged := toAlice()
	tagged.to = []string{"alice+other@acmecorp.com"}
	genuine := tracesOf(t, w, tagged, 3)
	for _, m := range []mail{
		{client: internetClient}, {client: officeClient}, {client: ourClient}, {onHost: true}, {client: googleClient, proven: true},
	} {
		for _, path := range []string{"alice@acmecorp.com", "ALICE@acmecorp.com", "alice+tag@acmecorp.com", `"alice"@ACMECORP.com.`} {
			m.from, m.to, m.traces = stranger, []string{path}, genuine
			if !loops(t, w, m) {
				t.Errorf("%+v goes on", m)
			}
		}
	}
}

func TestATraceCountsForItsRecipientsOnly(t *testing.T) {
	w := newWorld().with(map[string]string{"anna@acmecorp.com": "office365"})
	genuine := tracesOf(t, w, toAlice(), 3)
	for _, path := range []string{"anna@acmecorp.com", "alice@acme.net", "carol@acmecorp.com", "bob@acmecorp.com"} {
		if loops(t, w, mail{client: internetClient, from: stranger, to: []string{path}, traces: genuine}) {
			t.Errorf("alice's traces stop the message for %s", path)
		}
	}
}

func TestBothCountsAsSentOn(t *testing.T) {
	w := newWorld()
	m := mail{client: internetClient, from: stranger, to: []string{"carol@acmecorp.com"}}
	m.traces = tracesOf(t, w, m, 3)
	if !loops(t, w, m) {
		t.Error("a message for both goes round without end")
	}
}

func TestATraceIsLeftOnlyWhenSomethingIsSentOn(t *testing.T) {
	for path, leaves := range map[string]bool{
		"bob@acmecorp.com": false, "x@far.example": false, "alice@acmecorp.com": true, "carol@acmecorp.com": true,
	} {
		if got := newWorld().send(t, mail{client: ourClient, from: stranger, to: []string{path}}); (got.Trace != "") != leaves {
			t.Errorf("%s: trace %q", path, got.Trace)
		}
	}
}

func TestWhatHopsDoToATraceChangesNothing(t *testing.T) {
	w := newWorld()
	w.MaxPasses = 1
	genuine := tracesOf(t, w, toAlice(), 1)[0]
	flat := strings.Join(strings.Fields(genuine), " ")
	for name, value := range map[string]string{
		"as it was":               genuine,
		"a leading space":         " " + genuine,
		"CRLF for LF":             strings.ReplaceAll(genuine, "\n", "\r\n"),
		"unfolded":                flat,
		"folded at every space":   strings.ReplaceAll(flat, " ", "\r\n    "),
		"folded inside a hash":    genuine[:70] + "\r\n\t" + genuine[70:],
		"without any white space": strings.ReplaceAll(flat, " ", ""),
		"trailing white space":    genuine + " \r\n",
	} {
		if !loops(t, w, toAlice(value)) {
			t.Errorf("%s: the trace is no longer recognised: %q", name, value)
		}
	}
}

func TestTheOrderOfTracesDoesNotMatter(t *testing.T) {
	w := newWorld()
	all := tracesOf(t, w, toAlice(), 3)
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}} {
		if !loops(t, w, toAlice("forged", all[order[0]], "", all[order[1]], all[order[2]])) {
			t.Errorf("order %v goes on", order)
		}
	}
}

func TestADoubledTraceIsOnePass(t *testing.T) {
	w := newWorld()
	one := tracesOf(t, w, toAlice(), 1)[0]
	refolded := strings.Join(strings.Fields(one), "\r\n ")
	if loops(t, w, toAlice(one, one, refolded, " "+one, one)) {
		t.Error("copies of one trace are counted one by one")
	}
}

func TestAForgedAlteredOrForeignTraceCountsForNothing(t *testing.T) {
	w := newWorld()
	w.MaxPasses = 1
	genuine := tracesOf(t, w, toAlice(), 1)[0]
	foreign := newWorld()
	foreign.TraceKey = []byte("another organisation's key")
	unkeyed := newWorld()
	unkeyed.TraceKey = nil
	body, sig, _ := strings.Cut(genuine, "sig=")
	other := tracesOf(t, w, mail{client: internetClient, from: stranger, to: []string{"gina@acmecorp.com"}}, 1)[0]
	otherBody, otherSig, _ := strings.Cut(other, "sig=")
	for name, value := range map[string]string{
		"empty":               "",
		"no signature":        body,
		"an empty signature":  body + "sig=",
		"half a signature":    body + "sig=" + sig[:len(sig)/2],
		"a longer signature":  genuine + "A",
		"two signatures":      genuine + "; sig=" + sig,
		"another's signature": body + "sig=" + otherSig,
		"another's body":      otherBody + "sig=" + sig,
		"another host":        strings.Replace(genuine, "mail.acmecorp.com", "mail.evil.example", 1),
		"another version":     strings.Replace(genuine, "v=1", "v=2", 1),
		"another id":          strings.Replace(genuine, "id=0", "id=1", 1),
		"a hash more":         strings.Replace(genuine, "to=", "to=AAAAAAAAAAA,", 1),
		"in upper case":       strings.ToUpper(genuine),
		"text after it":       genuine + " (checked)",
		"text before it":      "x" + genuine,
		"a foreign key":       tracesOf(t, foreign, toAlice(), 1)[0],
		"no key":              tracesOf(t, unkeyed, toAlice(), 1)[0],
		"only separators":     ";;;,,,===sig=;sig=sig=",
		"very long":           strings.Repeat("to=,", 100_000) + "sig=x",
	} {
		if loops(t, w, toAlice(value)) {
			t.Errorf("%s counts: %.200q", name, value)
		}
		if !loops(t, w, toAlice(value, genuine)) {
			t.Errorf("%s hides the genuine trace", name)
		}
	}
	// Each single byte that is altered breaks the trace.
	for i := range len(genuine) {
		if strings.ContainsRune(" \t\n", rune(genuine[i])) {
			continue
		}
		if loops(t, w, toAlice(genuine[:i]+string(genuine[i]^1)+genuine[i+1:])) {
			t.Errorf("byte %d may be altered", i)
		}
	}
}

func TestATraceHoldsForItsMessageOnly(t *testing.T) {
	const id, date, from = "Message-Id", "Date", "From"
	for _, c := range []struct {
		about       string
		first, then map[string]string
		counts      bool
	}{
		{"the same", map[string]string{id: " <one@far.example>"}, map[string]string{id: "\r\n\t<one@far.example> "}, true},
		{"another", map[string]string{id: "<one@far.example>"}, map[string]string{id: "<two@far.example>"}, false},
		{"another of that date", map[string]string{id: "<1@x>", date: "Mon"}, map[string]string{id: "<2@x>", date: "Mon"}, false},
		{"a list's From", map[string]string{id: "<1@x>", from: "a@x"}, map[string]string{id: "<1@x>", from: "list@y"}, true},
		{"Message-Id lost", map[string]string{id: "<1@x>"}, nil, false},
		{"Message-Id added", map[string]string{date: "Mon", from: "a@x"}, map[string]string{id: "<1@x>", date: "Mon", from: "a@x"}, true},
		{"Message-Id and Date added", map[string]string{from: "a@x"}, map[string]string{id: "<1@x>", date: "Mon", from: "a@x"}, true},
		{"all added", nil, map[string]string{id: "<1@x>", date: "Mon", from: "a@x"}, true},
		{"another date", map[string]string{date: "Mon"}, map[string]string{id: "<1@x>", date: "Tue"}, false},
		{"the value in another field", map[string]string{date: "Mon"}, map[string]string{from: "Mon"}, false},
	} {
		w := newWorld()
		w.MaxPasses = 1
		m := toAlice()
		m.fields = c.first
		m.traces = tracesOf(t, w, m, 1)
		m.fields = c.then
		if got := loops(t, w, m); got != c.counts {
			t.Errorf("%s: the trace counts: %v, want %v", c.about, got, c.counts)
		}
	}
}

// hashesOf returns the recipients' hashes of a trace.
func hashesOf(t testing.TB, trace string) []string {
	t.Helper()
	flat := strings.Join(strings.Fields(trace), "")
	found := regexp.MustCompile(`^v=1;by=mail\.acmecorp\.com;id=[0-9a-f]{16};to=([A-Za-z0-9_,-]+);sig=[A-Za-z0-9_-]{22}$`).FindStringSubmatch(flat)
	if found == nil {
		t.Fatalf("not a trace: %q", trace)
	}
	return strings.Split(found[1], ",")
}

func TestTwoTracesOfOneRecipientHaveNothingInCommon(t *testing.T) {
	w := newWorld()
	seen := map[string]bool{}
	for _, trace := range tracesOf(t, w, toAlice(), 3) {
		for _, hash := range hashesOf(t, trace) {
			if seen[hash] {
				t.Errorf("the hash %s stands twice", hash)
			}
			seen[hash] = true
		}
		_, sig, _ := strings.Cut(trace, "sig=")
		if seen[sig] {
			t.Errorf("the signature %s stands twice", sig)
		}
		seen[sig] = true
	}
}

func TestATraceHidesWhoAndHowMany(t *testing.T) {
	w := newWorld()
	m := mail{client: ourClient, from: "bob@acmecorp.com"}
	for i := range 40 {
		path := fmt.Sprintf("secret%d@acmecorp.com", i)
		w.words[path] = "office365"
		// The second writing of one mailbox needs no hash of its own.
		m.to = append(m.to, path, strings.ToUpper(path))
		got := w.send(t, m)
		hashes := hashesOf(t, got.Trace)
		padded := 4
		for padded < i+1 {
			padded *= 2
		}
		if len(hashes) != padded {
			t.Errorf("%d recipients show as %d hashes, want %d", i+1, len(hashes), padded)
		}
		unique := map[string]bool{}
		for _, hash := range hashes {
			unique[hash] = true
		}
		if len(unique) != len(hashes) {
			t.Errorf("%d recipients: a hash stands twice", i+1)
		}
		if strings.Contains(got.Trace, "secret") || strings.Contains(got.Trace, "office365") {
			t.Errorf("the trace names somebody: %q", got.Trace)
		}
		for line := range strings.SplitSeq(policy.TraceHeader+": "+got.Trace, "\n") {
			if len(line) > 78 {
				t.Errorf("a line has %d characters: %q", len(line), line)
			}
		}
	}
}

func TestABccCannotBeGuessedWithoutTheKey(t *testing.T) {
	w, attacker := newWorld(), newWorld()
	attacker.TraceKey = []byte("a guess")
	// The attacker knows host, id and candidate; only the key is secret.
	theirs := hashesOf(t, tracesOf(t, attacker, toAlice(), 1)[0])
	for _, hash := range hashesOf(t, tracesOf(t, w, toAlice(), 1)[0]) {
		for _, guess := range theirs {
			if hash == guess {
				t.Errorf("the hash %s does not depend on the key", hash)
			}
		}
	}
}

func FuzzTraces(f *testing.F) {
	w := newWorld()
	w.MaxPasses = 1
	genuine := tracesOf(f, w, toAlice(), 1)[0]
	f.Add(genuine, "")
	f.Add(strings.ReplaceAll(genuine, "\n", "\r\n"), genuine)
	f.Add("v=1; by=x; id=; to=,,; sig=", "sig=sig=;;to=")
	f.Fuzz(func(t *testing.T, one, two string) {
		flat := func(s string) string {
			return strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "").Replace(s)
		}
		expected := flat(one) == flat(genuine) || flat(two) == flat(genuine)
		if got := loops(t, w, toAlice(one, two)); got != expected {
			t.Errorf("loop is %v, want %v", got, expected)
		}
	})
}

package policy_test

import (
	"slices"
	"strings"
	"testing"

	"coexistd/policy"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

// toAlice is a message from the Internet to alice, who lives at Office 365.
func toAlice(traces ...string) message {
	return message{client: internetClient, from: stranger, to: []string{"alice@acmecorp.com"}, traces: traces}
}

// applied returns the traces that a message has after a decision, as an MTA applies it.
func applied(t testing.TB, traces []string, d policy.Decision) []string {
	t.Helper()
	traces = slices.Clone(traces)
	var top []string
	for _, e := range d.Edits {
		if e.Name != seal.TraceHeader {
			continue
		}
		switch e.Kind {
		case policy.InsertField:
			top = append([]string{e.Value}, top...)
		case policy.ChangeField:
			traces[e.Index-1] = e.Value
		case policy.DeleteField:
			traces = slices.Delete(traces, e.Index-1, e.Index)
		}
	}
	return append(top, traces...)
}

// sentOn sends a message round so often, each time with the trace that it has by then.
func sentOn(t testing.TB, w *world, m message, passes int) []string {
	t.Helper()
	m.traces = nil
	for range passes {
		m.nonce++
		got := w.send(t, m)
		if trace(got.Decision) == "" {
			t.Fatalf("pass %d leaves no trace: %+v", m.nonce, got.Decision)
		}
		m.traces = applied(t, m.traces, got.Decision)
		if len(m.traces) != 1 {
			t.Fatalf("pass %d leaves the traces %q", m.nonce, m.traces)
		}
	}
	return m.traces
}

// loops reports whether a message with these traces is refused as a loop.
func loops(t testing.TB, w *world, m message) bool {
	t.Helper()
	got := w.send(t, m)
	switch {
	case got.Verdict == verdict.Accept:
		return false
	case got.Verdict == verdict.Reject && got.Reply.Code == 554 && got.Reply.Enhanced == "5.4.6" && got.Check == verdict.CheckLoop:
		return true
	}
	t.Fatalf("neither accepted nor a loop: %+v", got.Decision)
	return false
}

func TestAMessageIsRefusedWhenItComesBackAfterMaxPasses(t *testing.T) {
	for _, maxPasses := range []int{1, 2, 3, 20} {
		w := newWorld()
		w.Routes.MaxPasses = maxPasses
		for passes := range maxPasses + 1 {
			if got := loops(t, w, toAlice(sentOn(t, w, toAlice(), passes)...)); got != (passes == maxPasses) {
				t.Errorf("max_passes %d, sent on %d times: loop is %v", maxPasses, passes, got)
			}
		}
	}
}

// An MTA that changes no header fields keeps each trace, and so may hops before us that
// run an older version.
func TestAMessageThatGathersTracesIsRefusedAfterMaxPassesAsWell(t *testing.T) {
	w := newWorld()
	m := toAlice()
	m.oldMTA = true
	for passes := range 3 {
		m.nonce++
		got := w.send(t, m)
		if m.traces = applied(t, m.traces, got.Decision); len(m.traces) != passes+1 {
			t.Fatalf("pass %d leaves %d traces: %+v", passes+1, len(m.traces), got.Decision)
		}
	}
	if !loops(t, w, m) {
		t.Error("it goes on")
	}
	// One that changes fields leaves one of them, beside those that are not genuine.
	w.Routes.MaxPasses = 20
	m.oldMTA = false
	m.traces = append([]string{" forged"}, append(m.traces, " forged too")...)
	got := w.send(t, m)
	m.traces = applied(t, m.traces, got.Decision)
	if len(m.traces) != 3 || m.traces[0] != " forged" || m.traces[2] != " forged too" {
		t.Errorf("it leaves the traces %q", m.traces)
	}
	w.Routes.MaxPasses = 4
	if !loops(t, w, m) {
		t.Error("the one trace does not hold the count of all")
	}
}

func TestALoopNamesTheDirectorysEntryAndTheNumberOfPasses(t *testing.T) {
	w := newWorld()
	got := w.send(t, toAlice(sentOn(t, w, toAlice(), 3)...))
	want(t, "reply", got.Reply.String(), "554 5.4.6 Mail loop: the directory says that alice@acmecorp.com lives at office365; the message was sent on there 3 times and came back")
}

func TestALoopOfABounceIsDropped(t *testing.T) {
	w := newWorld()
	m := toAlice(sentOn(t, w, toAlice(), 3)...)
	m.from = "<>"
	want(t, "verdict", w.send(t, m).Verdict.String(), "discard")
}

func TestTheLoopRuleHoldsForEveryWayInAndEveryWayOfWriting(t *testing.T) {
	w := newWorld()
	tagged := toAlice()
	tagged.to = []string{"alice+other@acmecorp.com"}
	genuine := sentOn(t, w, tagged, 3)
	for _, m := range []message{
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
	genuine := sentOn(t, w, toAlice(), 3)
	for _, path := range []string{"anna@acmecorp.com", "alice@acme.net", "carol@acmecorp.com", "bob@acmecorp.com"} {
		if loops(t, w, message{client: internetClient, from: stranger, to: []string{path}, traces: genuine}) {
			t.Errorf("alice's traces stop the message for %s", path)
		}
	}
}

func TestBothCountsAsSentOn(t *testing.T) {
	w := newWorld()
	m := message{client: internetClient, from: stranger, to: []string{"carol@acmecorp.com"}}
	m.traces = sentOn(t, w, m, 3)
	if !loops(t, w, m) {
		t.Error("a message for both goes round without end")
	}
}

func TestATraceIsLeftOnlyWhenSomethingIsSentOn(t *testing.T) {
	for path, leaves := range map[string]bool{
		"bob@acmecorp.com": false, "x@far.example": false, "alice@acmecorp.com": true, "carol@acmecorp.com": true,
	} {
		if got := newWorld().send(t, message{client: ourClient, from: stranger, to: []string{path}}); (trace(got.Decision) != "") != leaves {
			t.Errorf("%s: trace %q", path, trace(got.Decision))
		}
	}
}

// Four names show as four, and a fifth as eight.
func TestTwoWaysOfWritingAMailboxAreOneName(t *testing.T) {
	names := func(to ...string) int {
		value := trace(newWorld().with(map[string]string{"anna@acmecorp.com": "office365", "amy@acmecorp.com": "office365"}).
			send(t, message{client: ourClient, from: stranger, to: to}).Decision)
		return strings.Count(value, ",")
	}
	four := []string{"alice@acmecorp.com", "anna@acmecorp.com", "amy@acmecorp.com", "gina@acmecorp.com"}
	if names(four...) != names(append(four, "ALICE@acmecorp.com", `"Alice"@acmecorp.com`, "alice+x@acmecorp.com")...) {
		t.Error("a second way of writing a mailbox has a name of its own")
	}
	if names(four...) == names(append(four, "carol@acmecorp.com")...) {
		t.Error("a fifth mailbox has no name")
	}
}

// Each platform says that the mailbox is at the other, by the address that it has there.
func TestAMessageThatTwoPlatformsSendToEachOthersOwnAddressesEnds(t *testing.T) {
	w := newWorld()
	for _, platform := range w.Routes.Platforms {
		platform.MayRelay = true
	}
	hops := []message{
		{client: officeClient, to: []string{"zoe@gapps.acmecorp.com"}},
		{client: googleClient, to: []string{"zoe@acmecorp-com.onmicrosoft.com"}},
	}
	var traces []string
	for round := range 6 {
		m := hops[round%2]
		m.proven, m.from, m.nonce, m.traces = true, stranger, byte(round), traces
		m.fields = []string{"Message-Id: <1@far.example>"}
		got := w.send(t, m)
		want(t, "verdict", got.Verdict.String(), "accept")
		want(t, "changed recipients", added(got.Decision)+deleted(got.Decision), "")
		traces = applied(t, m.traces, got.Decision)[:1]
	}
	for _, m := range hops {
		m.proven, m.from, m.traces = true, stranger, traces
		m.fields = []string{"Message-Id: <1@far.example>"}
		platform := "office365"
		if m.client == officeClient {
			platform = "google"
		}
		want(t, "reply", w.send(t, m).Reply.String(), "554 5.4.6 Mail loop: "+m.to[0]+" is an address at "+platform+"; the message was sent on there 3 times and came back")
		m.from = ""
		want(t, "a bounce", w.send(t, m).Verdict.String(), "discard")
	}
}

// alice's rule there sends to bob, who lives at the other platform and whose rule sends
// back to alice. Both hops keep one trace field only, the one that they saw last.
func TestAMessageThatGoesRoundThroughTwoPlatformsEnds(t *testing.T) {
	for _, maxPasses := range []int{1, 3, 20} {
		w := newWorld()
		w.Routes.MaxPasses = maxPasses
		hops := []message{
			{client: officeClient, proven: true, to: []string{"gina@acmecorp.com"}},
			{client: googleClient, proven: true, to: []string{"alice@acmecorp.com"}},
		}
		m := toAlice()
		rounds := 0
		for ; rounds < 100; rounds++ {
			m.from, m.nonce = stranger, byte(rounds)
			m.fields = []string{"Message-Id: <1@far.example>"}
			got := w.send(t, m)
			if got.Verdict != verdict.Accept {
				want(t, "reply", got.Reply.String()[:9], "554 5.4.6")
				break
			}
			traces := applied(t, m.traces, got.Decision)
			m = hops[rounds%2]
			m.traces = traces[:1]
		}
		// alice and gina take turns, and alice was first.
		if rounds != 2*maxPasses {
			t.Errorf("max_passes %d: the message was sent on %d times", maxPasses, rounds)
		}
	}
}

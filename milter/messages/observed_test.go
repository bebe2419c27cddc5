package messages

import (
	"slices"
	"testing"

	"coexistd/milter/record"
	"coexistd/policy"
	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

// observedRecord is one of a message with a ruling that is only observed.
func observedRecord(n int, change func(*policy.Ruling)) *record.Record {
	r := numbered(10 * n)
	to := &r.Decision.Recipients[0]
	to.Observed = true
	change(to)
	r.Decision.Observed = &policy.Outcome{Verdict: to.Verdict, Check: to.Check, Reasons: to.Reasons, Reply: to.Reply}
	return r
}

func TestWhatIsOnlyObservedIsFoundByWhatWouldHaveBeenDoneAndNotAsDone(t *testing.T) {
	t.Parallel()
	x, o, _ := begin(t)
	why := verdict.Why(verdict.Unlisted, "acmecorp.com", "x@acmecorp.com")
	moves := observedRecord(1, func(*policy.Ruling) {})
	passes := observedRecord(2, func(r *policy.Ruling) { r.Elsewhere, r.Residence = "", route.Residence{Kind: route.Here} })
	spoofs := observedRecord(3, func(r *policy.Ruling) {
		r.Verdict, r.Check, r.Reply, r.Reasons, r.Elsewhere, r.Ways = verdict.Reject, verdict.CheckSpoof, why.Reply(), verdict.Because(why), "", nil
	})
	held := observedRecord(4, func(r *policy.Ruling) {
		r.Verdict, r.Check, r.Held = verdict.Quarantine, verdict.CheckSpam, []string{verdict.CheckSpam}
	})
	whole := numbered(50)
	whole.Decision.Recipients, whole.Paths = nil, []string{"bob@acmecorp.com"}
	whole.Decision.Observed = &policy.Outcome{Verdict: verdict.Tempfail, Check: verdict.CheckRate}
	refused := numbered(60)
	refused.Refused = []policy.Ruling{{Address: "x@acmecorp.com", Verdict: verdict.Reject, Reasons: verdict.Because(why), Observed: true}}
	refused.Decision.Observed = &policy.Outcome{Verdict: verdict.Reject}
	send(t, x, moves, passes, spoofs, held, whole, refused, numbered(2), numbered(3))
	for name, c := range map[string]struct {
		query Query
		want  []string
	}{
		"something":               {Query{Observed: true}, []string{"4Q60", "4Q50", "4Q40", "4Q30", "4Q10"}},
		"refused":                 {Query{Observed: true, Verdict: verdict.Reject}, []string{"4Q60", "4Q30"}},
		"rewritten":               {Query{Observed: true, Verdict: verdict.Accept}, []string{"4Q10"}},
		"by a check":              {Query{Observed: true, Check: verdict.CheckSpoof}, []string{"4Q30"}},
		"by a check that holds":   {Query{Observed: true, Check: verdict.CheckSpam}, []string{"4Q40"}},
		"as a whole":              {Query{Observed: true, Verdict: verdict.Tempfail, Check: verdict.CheckRate}, []string{"4Q50"}},
		"done: refused":           {Query{Verdict: verdict.Reject}, []string{"4Q2"}},
		"done: held":              {Query{Verdict: verdict.Quarantine}, []string{"4Q3"}},
		"done: by a check":        {Query{Check: verdict.CheckSpoof}, nil},
		"done: by its recipient":  {Query{To: "alice10@acmecorp.com", Observed: true}, []string{"4Q40", "4Q10"}},
		"done: sent to elsewhere": {Query{To: "alice10+tag@acmecorp-com.onmicrosoft.com"}, nil},
	} {
		var got []string
		for _, m := range all(t, o, c.query) {
			got = append(got, m.QueueID)
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q are found; right are %q", name, got, c.want)
		}
	}
	m := all(t, o, Query{ID: "4Q40"})[0]
	if r := m.Recipients[0]; !r.Observed || r.Held != "" || r.Side != "" || r.Verdict != verdict.Quarantine || m.Verdict != verdict.Accept || m.Observed.Check != verdict.CheckSpam {
		t.Errorf("what would have been held is %+v", m)
	}
	if m := all(t, o, Query{ID: "4Q60"})[0]; m.Recipients[0].Refused || !m.Recipients[0].Observed {
		t.Errorf("who would have been refused is %+v", m.Recipients[0])
	}
	if flows := (&Message{Recipients: []Recipient{{Flow: "S0=>LD", Observed: true}}}).flows(); flows != "" {
		t.Errorf("what is only observed counts as the flow %s", flows)
	}
}

package record

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"coexistd/policy"
	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

func TestLogLinesAreBounded(t *testing.T) {
	rulings := make([]policy.Ruling, 5000)
	for i := range rulings {
		rulings[i] = policy.Ruling{Address: strings.Repeat("a", 5000), Ways: route.Ways{{route.Ours(verdict.S0), route.LD}}}
	}
	list := recipients{rulings: rulings, refused: rulings[:60]}
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("message", "recipients", list)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("message", "recipients", list)
	if b.Len() > 2*MaxRecipients*(maxText+100) {
		t.Errorf("the log has %d bytes", b.Len())
	}
}

func TestTextLogSaysWhatBecameOfEachRecipient(t *testing.T) {
	list := recipients{
		rulings: []policy.Ruling{{Address: "a@b", Verdict: verdict.Accept, Residence: route.Residence{Kind: route.There, Platform: "office365"},
			Ways: route.Ways{{route.Ours(verdict.S0), route.Ours(verdict.S4), {Side: "O", Number: 1}, route.LD}}, Elsewhere: "a@c"}},
		refused: []policy.Ruling{{Address: "x@b", Verdict: verdict.Reject, Reply: verdict.Reply{Code: 550, Enhanced: "5.1.1", Text: "No"}}},
	}
	got, _ := list.MarshalText()
	if want := "<x@b> reject: 550 5.1.1 No; <a@b> office365 S0=>S4=>O1=>LD -> a@c"; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := fmt.Sprint(recipients{}); got == "" {
		t.Error("nothing is printed")
	}
}

func TestALineTellsWhatWasObserved(t *testing.T) {
	refused := policy.Refuse("x@b", verdict.Why(verdict.BadRecipient))
	refused.Observed = true
	there := policy.Ruling{
		Address: "a@b", Verdict: verdict.Accept, Residence: route.Residence{Kind: route.There, Platform: "office365"}, Observed: true,
		Ways: route.Ways{{route.Ours(verdict.S0), route.Ours(verdict.S4), {Side: "O", Number: 1}, route.LD}}, Elsewhere: "a@c",
	}
	r := &Record{Count: 2, Refused: []policy.Ruling{refused}, Decision: policy.Decision{
		Checkpoint: verdict.S0, Verdict: verdict.Accept, Recipients: []policy.Ruling{there},
		Observed: &policy.Outcome{Verdict: verdict.Reject, Check: "spoof", Reply: refused.Reply, Reasons: refused.Reasons},
	}}
	for _, c := range []struct {
		handler func(*strings.Builder) slog.Handler
		want    string
	}{
		{func(b *strings.Builder) slog.Handler { return slog.NewTextHandler(b, nil) },
			` flow="" verdict=accept check="" reply="" reason="" proof="" findings="" held="" recipient_count=2` +
				` recipients="<x@b> would be reject: 501 5.1.3 Bad recipient address syntax; <a@b> would be office365 S0=>S4=>O1=>LD -> a@c"` +
				` observed.verdict=reject observed.check=spoof observed.reply="501 5.1.3 Bad recipient address syntax" observed.reason="Bad recipient address syntax"`},
		{func(b *strings.Builder) slog.Handler { return slog.NewJSONHandler(b, nil) },
			`"recipients":[{"address":"x@b","verdict":"reject","reply":"501 5.1.3 Bad recipient address syntax","observed":true},` +
				`{"address":"a@b","residence":"office365","flow":"S0=\u003eS4=\u003eO1=\u003eLD","rewritten":["a@c"],"verdict":"accept","observed":true}],` +
				`"observed":{"verdict":"reject","check":"spoof","reply":"501 5.1.3 Bad recipient address syntax","reason":"Bad recipient address syntax"}}`},
	} {
		var b strings.Builder
		Log{Logger: slog.New(c.handler(&b))}.Record(r)
		if !strings.HasSuffix(strings.TrimSpace(b.String()), c.want) {
			t.Errorf("the log says\n%s\nright is\n%s", b.String(), c.want)
		}
	}
}

func TestALineNamesTheRouteThatTookARecipient(t *testing.T) {
	list := recipients{rulings: []policy.Ruling{{Address: "a@b", Verdict: verdict.Accept, Elsewhere: "a@c", Rule: `the "large"`}}}
	text, err := list.MarshalText()
	if want := `<a@b> -> a@c by the route "the \"large\""`; string(text) != want || err != nil {
		t.Errorf("got %s, %v; want %s", text, err, want)
	}
	object, err := list.MarshalJSON()
	if want := `[{"address":"a@b","rewritten":["a@c"],"route":"the \"large\"","verdict":"accept"}]`; string(object) != want || err != nil {
		t.Errorf("got %s, %v; want %s", object, err, want)
	}
}

func TestEachWayOfTheRecipientsStandsInTheFlowOnce(t *testing.T) {
	here, there := route.Way{route.Ours(verdict.S0), route.LD}, route.Way{route.Ours(verdict.S0), route.Ours(verdict.S4), {Side: "O", Number: 1}, route.LD}
	list := recipients{rulings: []policy.Ruling{{Ways: route.Ways{there}}, {}, {Ways: route.Ways{here}}, {Ways: route.Ways{here, there}}}}
	if got, want := list.flows(), "S0=>S4=>O1=>LD, S0=>LD"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestALineHasItsKeysInOrderAndTheSubjectIfThatIsWanted(t *testing.T) {
	r := &Record{
		QueueID: "4QID", Client: netip.MustParseAddr("192.0.2.1"), Sender: "x@example.org",
		MessageID: " <1@example.org>", Subject: " a\r\n\tb\u202Ec " + strings.Repeat("x", 1000), Count: 1, Paths: []string{"bob@acmecorp.com"},
		Decision: policy.Decision{Checkpoint: verdict.S0, Verdict: verdict.Accept},
	}
	subject := ` subject=" a\r\n\tb\u202ec ` + strings.Repeat("x", maxText-len(" a\r\n\tb\u202Ec ")) + `..."`
	for wanted, middle := range map[bool]string{false: "", true: subject} {
		var b strings.Builder
		Log{slog.New(slog.NewTextHandler(&b, nil)), wanted}.Record(r)
		_, line, _ := strings.Cut(strings.TrimSuffix(b.String(), "\n"), " ")
		want := `level=INFO msg=message queue_id=4QID client=192.0.2.1 login="" from=x@example.org message_id=<1@example.org>` + middle +
			` point=S0 platform="" flow="" verdict=accept check="" reply="" reason="" proof="" findings="" held="" recipient_count=1 recipients=<bob@acmecorp.com>`
		if line != want {
			t.Errorf("the log says\n%s\nright is\n%s", line, want)
		}
	}
}

package quarantine

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"coexistd/milter/audit"
	"coexistd/milter/senders"
	"coexistd/policy/route"
	policy "coexistd/policy/senders"
	"coexistd/policy/verdict"
)

// ourRoutes have one domain of ours, and its alternate domain at a platform.
var ourRoutes = &route.Rules{
	Platforms: []*route.Platform{{Name: "google", Letter: "G"}},
	Domains:   map[string]*route.Domain{"acmecorp.com": {Name: "acmecorp.com", Alternates: map[string]string{"google": "gapps.acmecorp.com"}}},
}

// heldEntry is an entry for alice that spam holds at S0, changed by change.
func heldEntry(change func(*Entry)) *Entry {
	item, _ := spam(1)
	e := &Entry{ID: "vb3kq7x2ma", Item: item, Recipient: heldForSpam("alice@acmecorp.com"), State: Held}
	e.Proven = "eve@partner.example"
	change(e)
	return e
}

func TestOnlyAProvenSenderOfSpamIsAllowed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		about  string
		change func(*Entry)
		want   string // "" means allowed
	}{
		{"spam", func(*Entry) {}, ""},
		{"spam that was released, and is held by another check", func(e *Entry) { e.Checks, e.Passed = []string{verdict.CheckSpoof}, e.Checks }, ""},
		{"nothing is proven", func(e *Entry) { e.Proven = "" }, "neither SPF nor DKIM proves"},
		{"at a point where nobody looks", func(e *Entry) { e.Proven, e.Point = "", verdict.S1 }, "at S1, where nobody asks"},
		{"a virus", func(e *Entry) { e.Checks = []string{verdict.CheckSpam, verdict.CheckVirus} }, "the check virus holds it"},
		{"malware that was released", func(e *Entry) { e.Passed = []string{verdict.CheckMalware} }, "the check malware holds it"},
		{"a forged sender", func(e *Entry) { e.Checks = []string{verdict.CheckSpoof} }, "spared the check spam alone"},
		{"a blocked sender", func(e *Entry) { e.Checks = []string{verdict.CheckBlock, verdict.CheckSpam} }, "coexistd senders remove"},
	} {
		got, err := heldEntry(c.change).Allowing(ourRoutes, false)
		switch {
		case c.want == "" && (err != nil || got != policy.Sender{Owner: "alice@acmecorp.com", Name: "@partner.example", Kind: policy.Allowed}):
			t.Errorf("%s: %+v, %v", c.about, got, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: the error is %v", c.about, err)
		}
	}
	if got, err := heldEntry(func(*Entry) {}).Allowing(ourRoutes, true); err != nil || got.Name != "eve@partner.example" {
		t.Errorf("their address alone: %+v, %v", got, err)
	}
	there := heldEntry(func(e *Entry) { e.Owner = "alice@gapps.acmecorp.com" })
	if got, err := there.Allowing(ourRoutes, false); err != nil || got.Owner != "alice@acmecorp.com" {
		t.Errorf("by the alternate domain: %+v, %v", got, err)
	}
}

func TestWhoIsBlockedIsTheAuthorOrElseTheSenderOfTheEnvelope(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		about, from, sender string
		point               verdict.Checkpoint
		want                string // an address, or a part of the error
	}{
		{"the author", `"Eve" <Eve@Partner.example>`, "bounces@mailer.example", verdict.S0, "eve@partner.example"},
		{"two authors", "a@far.example, b@far.example", "bounces@mailer.example", verdict.S0, "bounces@mailer.example"},
		{"no author", "", "x@far.example", verdict.S1, "x@far.example"},
		{"an author in our name", "ceo@acmecorp.com", "x@far.example", verdict.S0, "x@far.example"},
		{"all in our name", "ceo@acmecorp.com", "ceo@gapps.acmecorp.com", verdict.S0, "not of our own domains"},
		{"the null sender", "mailer-daemon@far.example", "", verdict.S0, "null sender"},
		{"our own user", "x@far.example", "x@far.example", verdict.S2, "our own users"},
	} {
		e := heldEntry(func(e *Entry) { e.From, e.Sender, e.Point = c.from, c.sender, c.point })
		got, err := e.Blocking(ourRoutes, false)
		if err != nil {
			got.Name = err.Error()
		}
		if got.Name != c.want && (err == nil || !strings.Contains(got.Name, c.want)) {
			t.Errorf("%s: it is %q, not %q", c.about, got.Name, c.want)
		}
	}
	if got, err := heldEntry(func(*Entry) {}).Blocking(ourRoutes, true); err != nil || got.Name != "@example.org" || got.Kind != policy.Blocked {
		t.Errorf("the domain: %+v, %v", got, err)
	}
}

func TestASenderIsListedUntilTheirTimeOrTheirRemoval(t *testing.T) {
	t.Parallel()
	s := newTestStore(t)
	id := put(t, s, 1, "alice@acmecorp.com")[0]
	book := senders.New(s.file)
	if v, err := book.Version(t.Context()); err != nil || v != (senders.Version{}) {
		t.Errorf("before anybody is listed the version is %+v, %v", v, err)
	}
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	eve := policy.Sender{Owner: "alice@acmecorp.com", Name: "eve@partner.example", Kind: policy.Blocked}
	for _, one := range []policy.Sender{eve, {Owner: eve.Owner, Name: eve.Name, Kind: policy.Allowed}, {Owner: eve.Owner, Name: "@far.example", Kind: policy.Blocked}} {
		if _, err := s.AddSender(id, one, until); err != nil {
			t.Fatal(err)
		}
	}
	all, err := book.All(t.Context())
	if err != nil || len(all) != 2 || all[0].Name != "@far.example" || all[1].Kind != policy.Allowed || all[1].Entry != id || !all[1].Until.Equal(until) {
		t.Fatalf("there are %+v, %v", all, err)
	}
	before, _ := book.Version(t.Context())
	if found, err := book.Remove(t.Context(), eve.Owner, "@far.example", "root"); err != nil || !found {
		t.Errorf("it is not removed: %v", err)
	}
	if found, err := book.Remove(t.Context(), eve.Owner, "@far.example", "root"); err != nil || found {
		t.Errorf("it is removed twice: %v", err)
	}
	if after, _ := book.Version(t.Context()); after.File != before.File || after.Changes != before.Changes+1 {
		t.Errorf("a change makes %+v of %+v", after, before)
	}
	if err := book.Prune(t.Context(), until.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if all, err := book.All(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("after their time there are %+v, %v", all, err)
	}
	var done []string
	for e, err := range audit.New(s.file).All(t.Context(), audit.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		done = append(done, e.What+" "+e.Object+" "+e.Whose)
	}
	const of = " alice@acmecorp.com"
	if got := strings.Join(done, "\n"); got != "remove @far.example"+of+"\nblock @far.example"+of+"\nallow eve@partner.example"+of+"\nblock eve@partner.example"+of {
		t.Errorf("the audit has\n%s", got)
	}
}

func TestOneRecipientDoesNotFillTheListOfSenders(t *testing.T) {
	t.Parallel()
	s := newTestStore(t)
	id := put(t, s, 1, "alice@acmecorp.com")[0]
	book := senders.New(s.file)
	full := make([]senders.Sender, policy.MostOfOne)
	for i := range full {
		full[i].Sender = policy.Sender{Owner: "alice@acmecorp.com", Name: "@" + strings.Repeat("x", i+1) + ".example", Kind: policy.Blocked}
	}
	if err := book.Restore(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	if all, err := book.All(t.Context()); err != nil || len(all) != len(full) {
		t.Fatalf("of %d there are %d, %v", len(full), len(all), err)
	}
	until := time.Now().Add(time.Hour)
	if _, err := s.AddSender(id, full[0].Sender, until); err != nil {
		t.Errorf("one that is there cannot be said again: %v", err)
	}
	if _, err := s.AddSender(id, policy.Sender{Owner: "alice@acmecorp.com", Name: "@one.more", Kind: policy.Blocked}, until); err == nil || !strings.Contains(err.Error(), "remove some first") {
		t.Errorf("one more is answered with %v", err)
	}
	if _, err := s.AddSender(id, policy.Sender{Owner: "bob@acmecorp.com", Name: "@one.more", Kind: policy.Blocked}, until); err != nil {
		t.Errorf("another recipient's is answered with %v", err)
	}
}

// The daemon has the list from before the damage, and rows of the file's may be lost.
func TestAFileThatWasMendedIsAnotherToTheListOfSenders(t *testing.T) {
	t.Parallel()
	s := newTestStore(t)
	id, book := put(t, s, 1, "alice@acmecorp.com")[0], senders.New(s.file)
	if _, err := s.AddSender(id, policy.Sender{Owner: "alice@acmecorp.com", Name: "@far.example", Kind: policy.Blocked}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	before, _ := book.Version(t.Context())
	if err := s.file.Update(t.Context(), func(tx *sql.Tx) error { _, err := mended(tx); return err }); err != nil {
		t.Fatal(err)
	}
	all, err := book.All(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("there are %+v, %v", all, err)
	}
	if err := book.Restore(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if after, err := book.Version(t.Context()); err != nil || after.File == before.File || after.File == "" {
		t.Errorf("the version is %+v after %+v, %v", after, before, err)
	}
	if again, err := book.All(t.Context()); err != nil || len(again) != 1 {
		t.Errorf("there are %+v, %v", again, err)
	}
}

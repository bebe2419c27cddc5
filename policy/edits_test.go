package policy_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"coexistd/policy"
	"coexistd/policy/mail"
	"coexistd/policy/route"
	"coexistd/policy/seal"
	"coexistd/policy/spoof"
	"coexistd/policy/tenant"
	"coexistd/policy/verdict"
)

// changes writes the edits of header fields: "-Name 2" for one that is deleted,
// "Name 2: value" for one that is changed, "+Name: value" for one that is inserted. The
// trace's value is left out.
func changes(d policy.Decision) string {
	var all []string
	for _, e := range d.Edits {
		if e.Name == seal.TraceHeader {
			e.Value = "…"
		}
		switch e.Kind {
		case policy.InsertField:
			all = append(all, "+"+e.Name+": "+e.Value)
		case policy.ChangeField:
			all = append(all, fmt.Sprintf("%s %d: %s", e.Name, e.Index, e.Value))
		case policy.DeleteField:
			all = append(all, fmt.Sprintf("-%s %d", e.Name, e.Index))
		}
	}
	return strings.ReplaceAll(strings.Join(all, " | "), "\n\t", " ")
}

func toBob(fields ...string) message {
	return message{client: internetClient, from: stranger, to: []string{"bob@acmecorp.com"}, fields: fields}
}

func TestAnUnfitChangePutsTheMessageOff(t *testing.T) {
	w := newWorld()
	w.domain().Alternates["office365"] = "bad>.example"
	got := w.send(t, toAlice())
	want(t, "reply", got.Reply.String(), "451 4.3.0 The message cannot be handled at the moment, try again later")
	want(t, "reason", got.Reasons.String(), `a change to the message is not fit for the MTA: the recipient "alice@bad>.example" cannot be added`)
	w = newWorld()
	w.Header = "X Bad"
	want(t, "a bad name", w.send(t, toBob()).Reply.String(), "451 4.3.0 The message cannot be handled at the moment, try again later")
}

func TestTheResultHeaderReplacesForgedOnes(t *testing.T) {
	w := newWorld()
	w.Header = "X-Coexist"
	const result = "+X-Coexist: point=S0; verdict=accept"
	want(t, "forged ones", changes(w.send(t, toBob("X-COEXIST: point=S2", "Subject: x", "x-coexist: point=S1")).Decision),
		"-X-Coexist 2 | -X-Coexist 1 | "+result)
	want(t, "none", changes(w.send(t, toBob("Subject: x")).Decision), result)
	// An MTA that lets no field be removed must not show a forged one as ours beside ours.
	old := toBob("X-Coexist: forged")
	old.oldMTA = true
	want(t, "at an MTA that changes nothing", changes(w.send(t, old).Decision), "")
	old.fields = nil
	want(t, "at an MTA that changes nothing, none", changes(w.send(t, old).Decision), result)

	m := policy.Message{Entry: policy.Entry{Point: verdict.S2}, Header: header(), Recipients: []route.Recipient{w.recipient(t, "bob@acmecorp.com")}}
	for id, shown := range map[string]string{"4QID": "; id=4QID", "evil\r\nid": "", "": "", strings.Repeat("a", 65): "", "4bX-y_z.1": "; id=4bX-y_z.1"} {
		m.QueueID = id
		want(t, fmt.Sprintf("the queue id %q", id), changes(w.decide(m)), "+X-Coexist: point=S2; verdict=accept"+shown)
	}
}

func TestVeryManyFieldsThatAreRemovedAreRefused(t *testing.T) {
	w := newWorld()
	w.Header = "X-Coexist"
	w.Tenants["google"] = tenant.Proofs{Header: "X-Secret"}
	for _, name := range []string{"X-Coexist", "x-secret", spoof.ResultsHeader, seal.PassHeader} {
		many := slices.Repeat([]string{name + ": x"}, 100)
		want(t, "100 of "+name, w.send(t, toBob(many...)).Verdict.String(), "accept")
		got := w.send(t, toBob(append(many, name+": x")...))
		if reply := got.Reply.String(); !strings.EqualFold(reply, "554 5.6.0 The message has too many header fields named "+name) {
			t.Errorf("101 of %s: %s", name, reply)
		}
	}
	want(t, "of another", w.send(t, toBob(slices.Repeat([]string{"Received: x"}, 101)...)).Verdict.String(), "accept")
}

func TestWhatCannotBeDecidedOnIsRefusedWhateverItsRecipientsAre(t *testing.T) {
	w := newWorld().checking()
	bob := []route.Recipient{w.recipient(t, "bob@acmecorp.com")}
	large := &mail.Header{}
	for range mail.MaxHeaderFields + 1 {
		large.Add([]byte("X"), nil)
	}
	host := policy.Entry{Point: verdict.S2, OnHost: true}
	for about, c := range map[string]struct {
		m     policy.Message
		reply string
	}{
		"a large header":     {policy.Message{Entry: host, Recipients: bob, Header: large}, "552 5.3.4 The message's header is too large"},
		"many on host":       {policy.Message{Entry: host, Recipients: bob, Header: header(), TooMany: true}, "554 5.5.3 The message has too many recipients"},
		"nobody":             {policy.Message{Entry: host, Header: header()}, "451 4.3.0 The message cannot be handled at the moment, try again later"},
		"trouble":            {policy.Message{Entry: host, Recipients: bob, Header: header(), Needs: policy.Needs{Trouble: verdict.Why(verdict.SpoolFailed, "it is full")}}, "452 4.3.1 The mail system is out of storage, try again later"},
		"nothing is known":   {policy.Message{Recipients: bob, Header: header()}, "451 4.3.5 The mail system is not set up, try again later"},
		"nothing of foreign": {policy.Message{Recipients: []route.Recipient{w.recipient(t, "x@far.example")}, Header: header()}, "451 4.3.5 The mail system is not set up, try again later"},
	} {
		open := w.open(c.m)
		if asks := open.Asks(); len(asks.Scans) > 0 && c.m.Trouble.Code == "" || open.Unproven() {
			t.Errorf("%s: it asks for %+v", about, asks)
		}
		d := open.Decide()
		want(t, about, d.Reply.String(), c.reply)
		if d.Verdict < verdict.Tempfail || len(d.Edits) > 0 || d.Drop {
			t.Errorf("%s: %+v", about, d)
		}
	}
	ruling := w.policy().Admit(policy.Entry{}, w.address(t, stranger), 0, bob[0])
	want(t, "nothing is known, at RCPT", ruling.Reply.String(), "451 4.3.5 The mail system is not set up, try again later")
}

func TestSecretsGoOnWithNobody(t *testing.T) {
	w := newWorld()
	w.Tenants["google"] = tenant.Proofs{Header: "X-Proof-G", Secret: sha256.Sum256([]byte("g"))}
	w.Tenants["office365"] = tenant.Proofs{Header: "X-Proof-O", Secret: sha256.Sum256([]byte("o"))}
	m := toBob("x-proof-o: o", "X-Proof-G: wrong", "X-Proof-O: two", "Subject: x")
	want(t, "from a stranger", changes(w.send(t, m).Decision), "-X-Proof-G 1 | -X-Proof-O 2 | -X-Proof-O 1")
	m = toBob("X-Proof-G: g")
	m.client = googleClient
	got := w.send(t, m)
	want(t, "that prove", changes(got.Decision), "-X-Proof-G 1")
	want(t, "the point", got.Checkpoint.String(), "S1")
	m.oldMTA = true
	want(t, "at an MTA that changes nothing", changes(w.send(t, m).Decision), "")
	m = toBob()
	m.client, m.pass = ourClient, w.pass(released(), "bob@acmecorp.com")
	want(t, "a pass", changes(w.send(t, m).Decision), "-"+seal.PassHeader+" 1")
	open := w.open(policy.Message{Entry: policy.Entry{Point: verdict.S2}, Header: m.header(), Recipients: []route.Recipient{w.recipient(t, "bob@acmecorp.com")}})
	want(t, "what is scanned and held without", strings.Join(open.Secrets(), " "), "X-Coexist-Pass X-Proof-G X-Proof-O")
}

func TestResultsInOurNameAreReplacedByOurs(t *testing.T) {
	w := newWorld().spoofing()
	m := toBob("From: x@far.example", "Authentication-Results: mail.acmecorp.com; spf=pass", "authentication-results: other.example; spf=pass", "Authentication-Results: (c) MAIL.acmecorp.com 1; none")
	m.authentication = authentication(spoof.AuthNeutral, "far.example")
	m.authentication.DMARC = []spoof.DMARC{{Domain: "far.example"}}
	const removed = "-Authentication-Results 3 | -Authentication-Results 1"
	want(t, "with the DNS", changes(w.send(t, m).Decision),
		removed+" | +Authentication-Results: mail.acmecorp.com; spf=neutral smtp.mailfrom=someone@far.example; dmarc=none header.from=far.example; dkim=none")
	m.authentication = nil
	want(t, "without", changes(w.send(t, m).Decision), removed)
	m.client = ourClient
	want(t, "of our own users", changes(w.send(t, m).Decision), removed)
	m.oldMTA = true
	want(t, "at an MTA that changes nothing", changes(w.send(t, m).Decision), "")
}

func TestFieldsAreChangedInOneOrder(t *testing.T) {
	w := newWorld().spoofing().at(verdict.S4, policy.Check{Name: verdict.CheckSpam, OnHit: verdict.Tag})
	w.Header = "X-Coexist"
	w.Tenants["google"] = tenant.Proofs{Header: "X-Secret"}
	m := toAlice()
	m.fields = []string{"X-Secret: s", "Authentication-Results: mail.acmecorp.com", "X-Coexist: x", "Message-Id: <1@x>", "From: x@elsewhere.example"}
	first := w.send(t, m)
	m.traces = []string{"forged", trace(first.Decision)}
	m.findings = []verdict.Finding{hit(verdict.CheckSpam, "s")}
	m.authentication = authentication(spoof.AuthPass, "elsewhere.example")
	got := w.send(t, m)
	want(t, "recipients", deleted(got.Decision)+" > "+added(got.Decision), "alice@acmecorp.com > alice@acmecorp-com.onmicrosoft.com")
	want(t, "fields", changes(got.Decision), "X-Coexist-Trace 2: … | +X-Coexist-Tag: spam; s | +X-Spam-Flag: YES | -X-Secret 1 | "+
		"-Authentication-Results 1 | +Authentication-Results: mail.acmecorp.com; spf=pass smtp.mailfrom=someone@elsewhere.example; dkim=none | "+
		"-X-Coexist 1 | +X-Coexist: point=S0; verdict=tag")
}

// Recipients that are no addresses are the MTA's alone: it delivers to them or bounces.
func TestRecipientsThatAreNoAddressesAreNeverDropped(t *testing.T) {
	w := newWorld().at(verdict.S2, malware)
	host := policy.Entry{Point: verdict.S2, OnHost: true, Known: true}
	m := policy.Message{Entry: host, Header: header(), Unread: 1}
	d := w.decide(m)
	checkEnvelope(t, m, d)
	want(t, "alone", d.Verdict.String(), "accept")
	m.Recipients = []route.Recipient{w.recipient(t, "bob@acmecorp.com")}
	m.Findings = found(hit(verdict.CheckMalware, "m"))
	d = w.decide(m)
	checkEnvelope(t, m, d)
	want(t, "beside one for whom it is held", d.Verdict.String(), "quarantine")
	want(t, "who is taken out", deleted(d), "bob@acmecorp.com bob")
}

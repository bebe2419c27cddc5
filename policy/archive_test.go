package policy_test

import (
	"slices"
	"strings"
	"testing"

	"coexistd/policy"
	"coexistd/policy/route"
	"coexistd/policy/seal"
	"coexistd/policy/tenant"
	"coexistd/policy/verdict"
)

const theArchive = "copies-7q@archive.example"

// archiving is a world with an archive at an address.
func (w *world) archiving(t testing.TB, address string, set ...func(*policy.Archive)) *world {
	t.Helper()
	w.Archive = &policy.Archive{Address: w.address(t, address)}
	for _, one := range set {
		one(w.Archive)
	}
	return w
}

// copiesOf are the copies for the archive that a decision adds.
func copiesOf(d policy.Decision) (all []policy.Edit) {
	for _, e := range d.Edits {
		if e.Kind == policy.AddRecipient && e.Notify == "NEVER" {
			all = append(all, e)
		}
	}
	return all
}

func TestTheArchiveGetsOneCopyOfWhatMeetsItsConditions(t *testing.T) {
	t.Parallel()
	at := func(points ...verdict.Checkpoint) func(*policy.Archive) {
		return func(a *policy.Archive) { a.Points = points }
	}
	by := func(ways ...route.Hop) func(*policy.Archive) { return func(a *policy.Archive) { a.Ways = ways } }
	of := func(domains ...string) func(*policy.Archive) { return func(a *policy.Archive) { a.Domains = domains } }
	s3, s4 := route.Ours(verdict.S3), route.Ours(verdict.S4)
	fromOutside := message{client: internetClient, from: stranger, to: []string{"bob@acmecorp.com"}}
	toAlice := message{client: internetClient, from: stranger, to: []string{"alice@acmecorp.com"}}
	toCarol := message{client: internetClient, from: stranger, to: []string{"carol@acmecorp.com"}}
	toMany := message{client: ourClient, from: "bob@acmecorp.com", to: []string{"alice@acmecorp.com", "carol@acmecorp.com", "bob@acmecorp.com", "x@far.example", "gina@acmecorp.com"}}
	toOutside := message{client: ourClient, from: "bob@acmecorp.com", to: []string{"x@far.example"}}
	fromThere := message{client: officeClient, proven: true, from: "alice@acmecorp.com", to: []string{"bob@acmecorp.com"}}
	bounce := message{client: internetClient, to: []string{"bob@acmecorp.com"}}
	onHost := message{onHost: true, from: "bob@acmecorp.com", to: []string{"alice@acmecorp.com"}}
	for about, c := range map[string]struct {
		m    message
		set  func(*policy.Archive)
		want bool
	}{
		"from the Internet":               {fromOutside, at(), true},
		"to a platform":                   {toAlice, at(), true},
		"to both":                         {toCarol, at(), true},
		"to many":                         {toMany, at(), true},
		"to the Internet":                 {toOutside, at(), true},
		"from a platform":                 {fromThere, at(), true},
		"a bounce":                        {bounce, at(), true},
		"on the host":                     {onHost, at(), true},
		"at that point":                   {fromOutside, at(verdict.S1, verdict.S0), true},
		"at another point":                {fromOutside, at(verdict.S1, verdict.S2), false},
		"from a platform, at that point":  {fromThere, at(verdict.S1), true},
		"from a platform, at another":     {fromThere, at(verdict.S0, verdict.S2), false},
		"by that way":                     {toAlice, by(s4), true},
		"a mailbox there is not one here": {toAlice, by(route.LD), false},
		"by one of two ways":              {toCarol, by(route.LD), true},
		"by the other of two ways":        {toCarol, by(s4), true},
		"by neither":                      {toCarol, by(s3), false},
		"by one recipient's way":          {toMany, by(s3), true},
		"to the Internet, by no such way": {toOutside, by(s4, route.LD), false},
		"of the sender's domain":          {toOutside, of("acmecorp.com"), true},
		"of the recipient's domain":       {fromOutside, of("acmecorp.com"), true},
		"of another's domain":             {fromOutside, of("acme.net"), false},
		"below a domain":                  {message{client: internetClient, from: stranger, to: []string{"alice@eu.acmecorp.com"}}, of(".acmecorp.com"), true},
		"not below it":                    {fromOutside, of(".acmecorp.com"), false},
		"the null sender has no domain":   {bounce, of("far.example"), false},
		"an alternate is the domain":      {message{client: ourClient, from: "x@far.example", to: []string{"alice@acmecorp-com.onmicrosoft.com"}}, of("acmecorp.com"), true},
		"domain and way of one recipient": {message{client: ourClient, from: "x@far.example", to: []string{"bob@acmecorp.com", "y@far.example"}}, func(a *policy.Archive) { a.Ways, a.Domains = []route.Hop{s3}, []string{"acmecorp.com"} }, false},
		"all conditions":                  {toOutside, func(a *policy.Archive) { at(verdict.S2)(a); by(s3)(a); of("acmecorp.com")(a) }, true},
		"to the archive itself":           {message{client: ourClient, from: "bob@acmecorp.com", to: []string{"bob@acmecorp.com", "Copies-7q+x@archive.example"}}, at(), false},
		"from the archive":                {message{client: internetClient, from: theArchive, to: []string{"bob@acmecorp.com"}}, at(), false},
		"nothing of it goes on":           {message{client: internetClient, from: stranger, to: []string{"alice@acmecorp-com.onmicrosoft.com"}}, at(), false},
		"only the one who is not refused": {message{client: internetClient, from: stranger, to: []string{"nobody@acmecorp.com", "bob@acmecorp.com"}}, at(), true},
		"the loop is dropped":             {message{client: officeClient, proven: true, to: []string{"alice@acmecorp.com"}}, at(), false},
	} {
		got := newWorld().archiving(t, theArchive, c.set).send(t, c.m)
		copies := copiesOf(got.Decision)
		switch {
		case !c.want:
			if got.Archived != "" || len(copies) > 0 {
				t.Errorf("%s: it is archived as %q: %+v", about, got.Archived, copies)
			}
			continue
		case len(copies) != 1 || copies[0].Address != theArchive || copies[0].ORcpt != "rfc822;"+theArchive || got.Archived != theArchive:
			t.Errorf("%s: the copies are %+v, and %q is told", about, copies, got.Archived)
		}
		for _, e := range got.Edits {
			if strings.Contains(e.Value, "copies-7q") {
				t.Errorf("%s: the header tells of the archive: %+v", about, e)
			}
		}
	}
}

func TestTheArchiveIsWhereTheDirectorySaysThatItLives(t *testing.T) {
	t.Parallel()
	words := map[string]string{"here@acmecorp.com": "here", "there@acmecorp.com": "google", "moving@acmecorp.com": "moving", "double@acmecorp.com": "both:office365"}
	m := message{client: officeClient, proven: true, from: "alice@acmecorp.com", to: []string{"bob@acmecorp.com"}}
	for address, wanted := range map[string]string{
		"here@acmecorp.com":                  "here@acmecorp.com",
		"there@acmecorp.com":                 "there@gapps.acmecorp.com",
		"There@gapps.acmecorp.com":           "There@gapps.acmecorp.com",
		"there+x@acmecorp.com":               "there+x@gapps.acmecorp.com",
		"double@acmecorp.com":                "double@acmecorp.com",
		"alice@acmecorp.com":                 "", // the sender
		"postmaster@acmecorp.com":            "postmaster@acmecorp.com",
		"copies@acmecorp-com.example":        "copies@acmecorp-com.example",
		"alice@acmecorp-com.onmicrosoft.com": "", // the sender
	} {
		got := newWorld().with(words).archiving(t, address).send(t, m)
		want(t, address, got.Archived, wanted)
		want(t, address+": verdict", got.Verdict.String(), "accept")
		if wanted != "" && (len(copiesOf(got.Decision)) != 1 || addition(got.Decision).Address != wanted) {
			t.Errorf("%s: added are %q", address, added(got.Decision))
		}
	}
	for _, lost := range []string{"moving@acmecorp.com", "nobody@acmecorp.com"} {
		got := newWorld().with(words).archiving(t, lost).send(t, m)
		if got.Verdict != verdict.Tempfail || !got.Reasons.HasCode(verdict.ArchiveLost) || got.Archived != "" || len(got.Edits) > 0 {
			t.Errorf("with the archive %s it is %v: %v, %q", lost, got.Verdict, got.Reasons, got.Archived)
		}
	}
	w := newWorld().archiving(t, "copies@acmecorp.com")
	w.failed = true
	if got := w.send(t, message{client: ourClient, from: "x@far.example", to: []string{"y@far.example"}}); got.Verdict != verdict.Tempfail {
		t.Errorf("while the directory cannot tell where the archive is, it is %v", got.Verdict)
	}
}

func TestARecipientAtTheArchivesMailboxIsItsCopy(t *testing.T) {
	t.Parallel()
	w := newWorld().with(map[string]string{"archive@acmecorp.com": "google"}).archiving(t, "archive@gapps.acmecorp.com")
	got := w.send(t, message{client: ourClient, from: "bob@acmecorp.com", to: []string{"archive@acmecorp.com", "bob@acmecorp.com"}})
	want(t, "added", added(got.Decision), "archive@gapps.acmecorp.com")
	want(t, "archived", got.Archived, "")
}

func TestWhatIsHeldIsArchivedOnce(t *testing.T) {
	t.Parallel()
	spam := found(hit("spam", "s"))
	m := message{client: internetClient, from: stranger, to: []string{"bob@acmecorp.com", "alice@acmecorp.com"}, findings: spam}
	for _, held := range []bool{false, true} {
		w := newWorld().checking().archiving(t, theArchive, func(a *policy.Archive) { a.Held = held })
		got := w.send(t, m)
		want(t, "verdict", got.Verdict.String(), "quarantine")
		if got.Drop == held || len(copiesOf(got.Decision)) == 1 != held {
			t.Errorf("held = %v: dropped is %v, and the edits are %+v", held, got.Drop, got.Edits)
		}
		if held {
			want(t, "removed", deleted(got.Decision), "bob@acmecorp.com alice@acmecorp.com")
		}
		// Released, it goes on to one of them.
		for _, passed := range []bool{false, true} {
			pass := released()
			if passed {
				pass.Checks = append(pass.Checks, policy.PassedArchive)
			}
			one := w.send(t, message{client: ourClient, from: stranger, to: m.to[:1], findings: spam, pass: w.pass(pass, "bob@acmecorp.com")})
			if one.Verdict != verdict.Accept || one.Archived == "" != passed {
				t.Errorf("held = %v: released with %q, it is %v, and archived as %q", held, pass.Checks, one.Verdict, one.Archived)
			}
			if !passed {
				continue
			}
			one = w.send(t, message{client: ourClient, from: stranger, to: m.to[:1], findings: found(hit("malware", "m")), pass: w.pass(pass, "bob@acmecorp.com")})
			if one.Verdict != verdict.Quarantine || one.Archived != "" || !slices.Contains(one.Passed, policy.PassedArchive) {
				t.Errorf("held again, it is %v, archived as %q, and let past %q", one.Verdict, one.Archived, one.Passed)
			}
		}
		for _, findings := range [][]verdict.Finding{found(hit("virus", "v"))} {
			if refused := w.send(t, message{client: internetClient, from: stranger, to: m.to, findings: findings}); refused.Verdict != verdict.Reject || refused.Archived != "" {
				t.Errorf("held = %v: refused, it is %v, archived as %q", held, refused.Verdict, refused.Archived)
			}
		}
	}
}

func TestOurOwnMailIsNotArchived(t *testing.T) {
	t.Parallel()
	w := newWorld().checking().archiving(t, theArchive)
	report := seal.Pass{ID: seal.PassReport, Checks: []string{"spam"}, Point: verdict.S2, Until: 1000}
	got := w.send(t, message{client: ourClient, from: "", to: []string{"bob@acmecorp.com"}, findings: clean("spam", "virus", "malware"), pass: w.pass(report, "bob@acmecorp.com")})
	if got.Verdict != verdict.Accept || got.Archived != "" {
		t.Errorf("a report is %v, archived as %q", got.Verdict, got.Archived)
	}
}

func TestATraceTellsThatAMessageWasArchived(t *testing.T) {
	t.Parallel()
	mark := []string{"Message-Id: <1@far.example>"}
	w := newWorld().archiving(t, theArchive)
	first := message{client: ourClient, from: "bob@acmecorp.com", to: []string{"alice@acmecorp.com"}, fields: mark}
	traces := sentOn(t, w, first, 1)
	for about, c := range map[string]struct {
		m    message
		want bool
	}{
		"it comes back from a platform":  {message{client: officeClient, proven: true, from: "bob@acmecorp.com", to: []string{"bob@acmecorp.com"}, traces: traces}, false},
		"a host of ours hands it on":     {message{client: ourClient, from: "bob@acmecorp.com", to: []string{"bob@acmecorp.com"}, traces: traces}, false},
		"an author has the trace":        {message{client: ourClient, login: "bob", from: "bob@acmecorp.com", to: []string{"bob@acmecorp.com"}, traces: traces}, true},
		"the sendmail command has it":    {message{onHost: true, from: "bob@acmecorp.com", to: []string{"bob@acmecorp.com"}, traces: traces}, true},
		"a stranger has it":              {message{client: internetClient, from: stranger, to: []string{"bob@acmecorp.com"}, traces: traces}, true},
		"a platform without a trace":     {message{client: officeClient, proven: true, from: "bob@acmecorp.com", to: []string{"bob@acmecorp.com"}}, true},
		"a trace that is another's mark": {message{client: officeClient, proven: true, from: "bob@acmecorp.com", to: []string{"bob@acmecorp.com"}, traces: traces, fields: []string{"Message-Id: <2@far.example>"}}, true},
	} {
		if c.m.fields == nil {
			c.m.fields = mark
		}
		if got := w.send(t, c.m); got.Archived == "" == c.want {
			t.Errorf("%s: it is archived as %q", about, got.Archived)
		}
	}
	// What the archive sends round comes to an end.
	round := message{client: internetClient, from: stranger, to: []string{"bob@acmecorp.com"}, fields: mark}
	round.traces = sentOn(t, w, round, 3)
	if got := w.send(t, round); got.Verdict != verdict.Accept || got.Archived != "" {
		t.Errorf("the fourth time it is %v, archived as %q", got.Verdict, got.Archived)
	}
}

func TestAPlatformsReportsToTheArchivePassUnchecked(t *testing.T) {
	t.Parallel()
	const address = "copies@acmecorp.com"
	everything := found(hit("spam", "s"), hit("virus", "v"), hit("malware", "m"))
	report := message{client: officeClient, from: "", to: []string{"Copies+x@acmecorp.com"}, findings: everything, fields: []string{"From: eve@far.example", "Sender: <x@acmecorp-com.onmicrosoft.com>"}}
	with := func(change func(*message)) message { m := report; change(&m); return m }
	for about, c := range map[string]struct {
		m    message
		want string
	}{
		"a report":           {report, "accept S1"},
		"of a proven tenant": {with(func(m *message) { m.proven = true }), "accept S1"},
		"of another tenant": {with(func(m *message) {
			m.fields = append(slices.Clone(m.fields), tenant.CrossTenantHeader+": "+anotherTenant)
		}), "reject S0"},
		"from the Internet":        {with(func(m *message) { m.client = internetClient }), "reject S0"},
		"of a platform without it": {with(func(m *message) { m.client = googleClient }), "reject S0"},
		"to another as well":       {with(func(m *message) { m.from, m.to = stranger, []string{address, "bob@acmecorp.com"} }), "reject S0"},
		"to another":               {with(func(m *message) { m.to = []string{"bob@acmecorp.com"} }), "reject S0"},
	} {
		w := newWorld().checking().with(map[string]string{address: "here"}).archiving(t, address, func(a *policy.Archive) { a.Journals = []string{"office365"} })
		got := w.send(t, c.m)
		want(t, about, got.Verdict.String()+" "+got.Checkpoint.String(), c.want)
		if c.want == "accept S1" && (got.Archived != "" || added(got.Decision) != "" || strings.Join(got.Checks, " ") != "loop") {
			t.Errorf("%s: added are %q, and the checks %q are made", about, added(got.Decision), got.Checks)
		}
		if got.refused[c.m.to[0]].Verdict != verdict.None {
			t.Errorf("%s: it is refused at RCPT", about)
		}
	}
	// Where the MX is at the platform, and past_mx refuses what comes past it, reports come all the same.
	w := newWorld().checking().withMX("office365").with(map[string]string{address: "here"}).archiving(t, address, func(a *policy.Archive) { a.Journals = []string{"office365"} })
	w.domain().RefusePastMX = true
	want(t, "past the MX", w.send(t, report).Verdict.String(), "accept")
}

func TestObservedMailIsNotArchived(t *testing.T) {
	t.Parallel()
	m := message{client: ourClient, from: "bob@acmecorp.com", to: []string{"bob@acmecorp.com", "alice@acme.net"}}
	for _, c := range []struct {
		observed []string
		set      func(*policy.Archive)
		want     bool
	}{
		{[]string{"acmecorp.com"}, func(*policy.Archive) {}, true},
		{[]string{"acmecorp.com"}, func(a *policy.Archive) { a.Ways = []route.Hop{route.LD} }, false},
		{[]string{"acmecorp.com"}, func(a *policy.Archive) { a.Ways = []route.Hop{route.Ours(verdict.S4)} }, true},
		{[]string{"acmecorp.com", "acme.net"}, func(*policy.Archive) {}, false},
	} {
		got := newWorld().archiving(t, theArchive, c.set).observing(c.observed...).send(t, m)
		if len(copiesOf(got.Decision)) == 1 != c.want || got.Archived == "" == c.want {
			t.Errorf("with %q observed, and %s, it is archived as %q", c.observed, "the ways", got.Archived)
		}
	}
}

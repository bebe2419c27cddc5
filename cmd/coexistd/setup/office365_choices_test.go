package setup_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"coexistd/cmd/coexistd/setup"
	"coexistd/contrib/lab"
	"coexistd/contrib/powershell"
	"coexistd/policy"
	"coexistd/policy/mail"
)

// applied are what an administrator fills in who has written the script anew: nothing.
var applied = answers{"Apply": "$true"}

// asKnown are answers, without a certificate where the guide knows it.
func asKnown(site *setup.Site, more answers) answers {
	with := filledIn(more)
	if len(site.CertificateNames) > 0 {
		delete(with, "Certificate")
	}
	return with
}

func TestAChoiceThatIsNotMadeStaysAsItStands(t *testing.T) {
	for name, with := range map[string]answers{
		"as it comes": nil, "with all choices": everything,
		"opportunistic": {"Tls": "'opportunistic'", "Internal": "'connector'"}, "encrypted": {"Tls": "'encrypted'"},
		"all names": {"SameName": "@('*')"},
	} {
		t.Run(name, func(t *testing.T) {
			eachTenant(t, func(t *testing.T, site *setup.Site, a *administrator) {
				a.mustRun(t, site, false, asKnown(site, with))
				before := a.state("")
				if changes := a.mustRun(t, site, false, applied); len(changes) > 0 {
					t.Errorf("it did %q", changes)
				}
				if after := a.state(""); !slices.Equal(before, after) {
					t.Errorf("it left\n%s\nof\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
				}
			})
		})
	}
}

func TestAChoiceThatIsTakenBackIsUndone(t *testing.T) {
	t.Parallel()
	site := readSite(t, "skyconnect-office365")
	a := newAdministrator(lab.LendPowerShell(t), newTenant(site))
	a.mustRun(t, site, false, everything)
	rules := &site.Conf.Rules.Routes
	rules.Platform("office365").MayRelay = true
	a.mustRun(t, site, false, everything)
	rules.Platform("office365").MayRelay = false
	a.mustRun(t, site, false, takenBack)
	for _, gone := range []string{"TransportRule/coexistd same name", "TransportRule/coexistd clean", "TransportRule/coexistd out by here", "OutboundConnector/coexistd to here by rule", "OutboundConnector/coexistd out by here", "JournalRule/coexistd journal"} {
		kind, name, _ := strings.Cut(gone, "/")
		if one, _ := a.find(kind, name); one != nil {
			t.Errorf("%s is still there", gone)
		}
	}
	if one, _ := a.find("InboundConnector", "coexistd from here"); one.Get("EFSkipLastIP") != true {
		t.Errorf("the connector is %v", one)
	}
}

func TestAGroupThatIsNoLongerToBeOpenIsClosed(t *testing.T) {
	t.Parallel()
	site := readSite(t, "skyconnect-office365")
	a := newAdministrator(lab.LendPowerShell(t), newTenant(site))
	theirs := powershell.NewTable("Identity", "press", "Name", "press", "PrimarySmtpAddress", "press@acmecorp.com", "RequireSenderAuthenticationEnabled", false)
	a.objects["distributiongroup"] = append(a.objects["distributiongroup"], theirs)
	closed := func() (names []string) {
		for _, one := range slices.Concat(a.objects["distributiongroup"], a.objects["unifiedgroup"]) {
			if one.Get("RequireSenderAuthenticationEnabled") == true {
				names = append(names, powershell.Text(one.Get("Name")))
			}
		}
		return names
	}
	for _, step := range []struct {
		with answers
		want []string
	}{
		{answers{"Internal": "'groups'", "Groups": "@('*')"}, []string{"hq"}},
		{nil, []string{"hq"}},
		{answers{"Internal": "'groups'", "Groups": "@('sales@acmecorp.com')"}, []string{"board", "hq", "team_1a2b"}},
		{answers{"Internal": "'no'"}, []string{"sales", "board", "hq", "team_1a2b"}},
	} {
		a.mustRun(t, site, false, filledIn(step.with))
		if said := strings.Join(a.world.Printed, "\n"); strings.Contains(step.with["Groups"], "*") && !strings.Contains(said, "! DistributionGroup 'hq' comes from a directory elsewhere") {
			t.Errorf("of a group that it cannot open it says %s", said)
		}
		if got := closed(); !slices.Equal(got, step.want) {
			t.Errorf("with %v %q are closed, not %q", step.with, got, step.want)
		}
	}
	said := strings.Join(a.world.Printed, "\n")
	if !strings.Contains(said, "~ DistributionGroup 'sales': RequireSenderAuthenticationEnabled becomes 'True', as it was") {
		t.Errorf("it did not say so: %s", said)
	}
	if changes := a.mustRun(t, site, false, filledIn(answers{"Internal": "'no'"})); len(changes) > 0 {
		t.Errorf("the second run did %q", changes)
	}
	if said := strings.Join(a.world.Printed, "\n"); !strings.Contains(said, "= DistributionGroup : nothing is recorded that would be put back") {
		t.Errorf("it did not say that it knows of none: %s", said)
	}
}

func TestWhatTheAccountMayNotSeeIsSaidAndPassed(t *testing.T) {
	eachTenant(t, func(t *testing.T, site *setup.Site, a *administrator) {
		const unseen = "! JournalRule was not looked at"
		journal := make(map[string]powershell.Cmdlet)
		for name, cmdlet := range a.world.Cmdlets {
			if strings.HasSuffix(name, "-journalrule") {
				journal[name] = cmdlet
			}
		}
		hide := func() {
			for name := range journal {
				delete(a.world.Cmdlets, name)
			}
		}
		hide()
		a.mustRun(t, site, false, filledIn(nil))
		if said := strings.Join(a.world.Printed, "\n"); strings.Contains(said, unseen) || !strings.Contains(said, "= $JournalTo is not set") {
			t.Errorf("of a journal that nobody asked for it says %s", said)
		}
		for _, with := range []answers{everything, takenBack} {
			a.mustRun(t, site, false, with)
			if said := strings.Join(a.world.Printed, "\n"); !strings.Contains(said, unseen) || !strings.Contains(said, "RejectDirectSend") {
				t.Errorf("it said %s", said)
			}
		}
		for name, cmdlet := range journal {
			a.world.Cmdlets[name] = cmdlet
		}
		a.mustRun(t, site, false, everything)
		hide()
		a.mustRun(t, site, true, applied)
		if said := strings.Join(a.world.Printed, "\n"); !strings.Contains(said, unseen) || !strings.Contains(said, "is kept, for what was not looked at") || len(a.world.Files) != 1 {
			t.Errorf("it kept %v, and said %s", a.world.Files, said)
		}
	})
}

func TestTheRecordIsOneOfTheTenantInTheHomeFolder(t *testing.T) {
	eachTenant(t, func(t *testing.T, site *setup.Site, a *administrator) {
		want := powershell.Home + "/coexistd-" + ourTenant + "-before.xml"
		for _, retire := range []bool{false, true} {
			a.mustRun(t, site, retire, filledIn(answers{"Apply": fmt.Sprintf("$%t", !retire)}))
			if a.world.Files[want] == nil || len(a.world.Files) != 1 {
				t.Errorf("it kept %v", a.world.Files)
			}
			if said := strings.Join(a.world.Printed, "\n"); strings.Contains(said, "nothing is known of what was before") || !retire && !strings.Contains(said, want) {
				t.Errorf("it said %s", said)
			}
		}
	})
}

// The proof reaches no stranger, at no moment of a run.
func TestTheProofIsAddedOnlyWhereItIsTakenOut(t *testing.T) {
	t.Parallel()
	site := readSite(t, "mx-both")
	a := newAdministrator(lab.LendPowerShell(t), newTenant(site))
	inOrder := func(changes []string, wants ...string) {
		t.Helper()
		last := -1
		for _, want := range wants {
			at := slices.Index(changes, want)
			if at <= last {
				t.Errorf("%q is not done in its place: %q", want, changes)
			}
			last = at
		}
	}
	const (
		way, outside = "OutboundConnector coexistd out by here", "TransportRule coexistd out by here"
		stays, proof = "TransportRule coexistd proof stays", "TransportRule coexistd proof"
	)
	inOrder(a.mustRun(t, site, false, filledIn(nil)), "New-"+way, "New-"+outside, "New-"+proof)
	site.Conf.Rules.Routes.Platform("office365").MayRelay = false
	inOrder(a.mustRun(t, site, false, filledIn(nil)), "New-"+stays, "Remove-"+outside, "Remove-"+way)
	site.Conf.Rules.Routes.Platform("office365").MayRelay = true
	inOrder(a.mustRun(t, site, false, filledIn(nil)), "New-"+way, "New-"+outside, "Remove-"+stays)

	first := readSite(t, "skyconnect-office365")
	b := newAdministrator(a.PowerShell, newTenant(first))
	inOrder(b.mustRun(t, first, false, filledIn(nil)), "New-"+stays, "New-"+proof)
	for i, name := range []string{"coexistd proof", "coexistd proof stays"} {
		if rule, _ := b.find("TransportRule", name); rule.Get("Priority") != i {
			t.Errorf("%s is at %v", name, rule.Get("Priority"))
		}
	}
}

// A cmdlet that looks right after another has made something may not see it yet.
func TestATenantThatTellsLateIsSetUpInAFewRuns(t *testing.T) {
	eachTenant(t, func(t *testing.T, site *setup.Site, a *administrator) {
		a.slow = true
		var said string
		for runs, done := 0, false; !done; runs++ {
			changes, err := a.run(t, site, false, everything)
			if err != nil && !strings.Contains(err.Error(), "run this again in some minutes") || runs > 4 {
				t.Fatalf("run %d did %q, and ended with %v", runs, changes, err)
			}
			said += strings.Join(a.world.Printed, "\n")
			done = err == nil && len(changes) == 0
		}
		if !strings.Contains(said, "! RemoteDomain 'coexistd acmecorp.com' was made, and is not told yet") {
			t.Errorf("it said %s", said)
		}
		prompt := newAdministrator(a.PowerShell, newTenant(site))
		prompt.mustRun(t, site, false, everything)
		unordered := func(state []string) []string {
			for i, one := range state {
				state[i] = regexp.MustCompile(` Priority=\d+`).ReplaceAllString(one, "")
			}
			return state
		}
		if at, once := unordered(a.state("")), unordered(prompt.state("")); !slices.Equal(at, once) {
			t.Errorf("it became\n%s\nnot\n%s", strings.Join(at, "\n"), strings.Join(once, "\n"))
		}
	})
}

func TestEnhancedFilteringLooksPastWhatStandsBefore(t *testing.T) {
	t.Parallel()
	p := lab.LendPowerShell(t)
	for name, test := range map[string]struct {
		site      string
		mx        string
		with      answers
		last, ips string
	}{
		"the MX is here":             {"skyconnect-office365", "", nil, "True", ""},
		"clean mail is trusted":      {"skyconnect-office365", "", answers{"TrustClean": "$true"}, "False", ""},
		"no MX is here":              {"skyconnect-office365", "office365", nil, "False", ""},
		"a gateway that is known":    {"office365-connector-google-gateway", "", answers{"Addresses": "@('192.0.2.25')", "Gateways": "@('198.51.100.0/24')"}, "False", "192.0.2.25 198.51.100.0/24"},
		"a gateway that is not":      {"office365-connector-google-gateway", "", answers{"Gateways": "@()"}, "False", ""},
		"a gateway that nobody said": {"office365-connector-google-gateway", "", nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site := readSite(t, test.site)
			site.Conf.Rules.Routes.Domains["acmecorp.com"].MX = test.mx
			a := newAdministrator(p, newTenant(site))
			a.mustRun(t, site, false, asKnown(site, test.with))
			one, _ := a.find("InboundConnector", "coexistd from here")
			if last, ips := powershell.Text(one.Get("EFSkipLastIP")), powershell.Text(one.Get("EFSkipIPs")); last != test.last || ips != test.ips {
				t.Errorf("it skips the last: %q, and %q", last, ips)
			}
			if changes := a.mustRun(t, site, false, applied); len(changes) > 0 {
				t.Errorf("the second run did %q", changes)
			}
		})
	}
}

func TestNamesThatARuleCannotHoldAreRefusedBeforeAnythingIsLost(t *testing.T) {
	t.Parallel()
	p := lab.LendPowerShell(t)
	many := make([]string, 400)
	for i := range many {
		many[i] = fmt.Sprintf("'user%d@acmecorp.com'", i)
	}
	for name, test := range map[string]struct{ names, want string }{
		"a long one": {"@('" + strings.Repeat("x", 120) + "@acmecorp.com')", "longer than the 128 characters"},
		"many":       {"@(" + strings.Join(many, ", ") + ")", "more than a rule may have"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site := readSite(t, "skyconnect-office365")
			a := newAdministrator(p, newTenant(site))
			a.mustRun(t, site, false, everything)
			if _, err := a.run(t, site, false, filledIn(answers{"SameName": test.names})); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("it ended with %v", err)
			}
			if rule, _ := a.find("TransportRule", "coexistd same name"); powershell.Text(rule.Get("RecipientAddressMatchesPatterns")) != `^bob@acmecorp\.com$ ^dora@acmecorp\.com$` {
				t.Errorf("the rule is %v", rule)
			}
		})
	}
}

func TestADecisionAboutOurDomainsLeavesTheOthersAsTheyWere(t *testing.T) {
	t.Parallel()
	p := lab.LendPowerShell(t)
	for _, kind := range []string{"Authoritative", "InternalRelay"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			site := readSite(t, "skyconnect-office365")
			a := newAdministrator(p, newTenant(site))
			alternate, _ := a.find("AcceptedDomain", "acmecorp-com.onmicrosoft.com")
			alternate.Set("DomainType", "InternalRelay")
			a.mustRun(t, site, false, filledIn(nil))
			if alternate.Get("DomainType") != "Authoritative" {
				t.Errorf("the alternate is %v", alternate)
			}
			a.mustRun(t, site, true, answers{"Apply": "$true", "DomainType": "'" + kind + "'"})
			ours, _ := a.find("AcceptedDomain", "acmecorp.com")
			if ours.Get("DomainType") != kind || alternate.Get("DomainType") != "InternalRelay" {
				t.Errorf("it left %v and %v", ours, alternate)
			}
		})
	}
}

func TestWhatWouldHaveMailRefusedIsTold(t *testing.T) {
	t.Parallel()
	site := readSite(t, "skyconnect-office365")
	a := newAdministrator(lab.LendPowerShell(t), newTenant(site))
	alternate, _ := a.find("AcceptedDomain", "acmecorp-com.onmicrosoft.com")
	alternate.Set("SendingToDomainDisabled", true)
	const (
		closed = "! the domain acmecorp-com.onmicrosoft.com takes no mail (SendingToDomainDisabled)"
		few    = "! 1 mailboxes of acmecorp.com have no address in acmecorp-com.onmicrosoft.com, such as alice@acmecorp.com"
		ipv6   = "! this side has the IPv6 addresses 2001:db8::25, which $Addresses cannot hold"
	)
	tells := func(with answers, wants map[string]bool) {
		t.Helper()
		a.mustRun(t, site, false, filledIn(with))
		said := strings.Join(a.world.Printed, "\n")
		for line, is := range wants {
			if strings.Contains(said, line) != is {
				t.Errorf("it does not keep to %q, %t: %s", line, is, said)
			}
		}
	}
	tells(nil, map[string]bool{closed: true, few: true, ipv6: false})
	alternate.Set("SendingToDomainDisabled", false)
	alice, _ := a.find("Mailbox", "alice")
	alice.Set("EmailAddresses", []any{"SMTP:alice@acmecorp.com", "smtp:alice@acmecorp-com.onmicrosoft.com"})
	tells(answers{"TrustClean": "$true"}, map[string]bool{closed: false, few: false, ipv6: true})
	tells(answers{"TrustClean": "$false", "Tls": "'encrypted'"}, map[string]bool{ipv6: true})
}

func TestARunThatStoppedIsGoneOnWith(t *testing.T) {
	t.Parallel()
	p := lab.LendPowerShell(t)
	for name, test := range map[string]struct {
		tls, want string
	}{
		"a certificate is the usual": {"$null", ""},
		"by a certificate":           {"'certificate'", ""},
		"by addresses":               {"'encrypted'", "fill in $Tls"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site := readSite(t, "skyconnect-office365")
			a := newAdministrator(p, newTenant(site))
			a.disabled = true
			if _, err := a.run(t, site, false, filledIn(answers{"Tls": test.tls})); err == nil || !strings.Contains(err.Error(), "switched off") {
				t.Fatalf("it ended with %v", err)
			}
			a.disabled = false
			connector, _ := a.find("InboundConnector", "coexistd from here")
			connector.Set("Enabled", true)
			before := fmt.Sprint(connector)
			_, err := a.run(t, site, false, applied)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("it ended with %v, not %q", err, test.want)
			}
			if after := fmt.Sprint(connector); after != before {
				t.Errorf("the connector became %s, and was %s", after, before)
			}
		})
	}
}

func TestTheJournalGoesToTheArchiveOfTheConfiguration(t *testing.T) {
	t.Parallel()
	site := readSite(t, "skyconnect-office365")
	archive, err := mail.ParseAddress("copies-7qk2xw@archive.example", "")
	if err != nil {
		t.Fatal(err)
	}
	site.Conf.Rules.Archive = &policy.Archive{Address: archive, Journals: []string{"office365"}}
	a := newAdministrator(lab.LendPowerShell(t), newTenant(site))
	if _, err := a.run(t, site, false, filledIn(nil)); err == nil || !strings.Contains(err.Error(), "fill in $JournalFailed") {
		t.Errorf("without an address for what the archive does not take, the script ends with %v", err)
	}
	a.mustRun(t, site, false, filledIn(answers{"JournalFailed": "'failed@elsewhere.example'"}))
	var to string
	for _, rule := range a.objects["journalrule"] {
		if powershell.Text(rule.Get("Name")) == "coexistd journal" {
			to = powershell.Text(rule.Get("JournalEmailAddress"))
		}
	}
	if to != archive.Path {
		t.Errorf("the journal goes to %q", to)
	}
}

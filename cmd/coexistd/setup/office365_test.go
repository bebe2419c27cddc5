package setup_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"coexistd/cmd/coexistd/setup"
	"coexistd/contrib/lab"
	"coexistd/contrib/powershell"
)

// office365Sites are those that have a platform of that kind.
var office365Sites = []string{"hybrid-onmicrosoft", "mx-both", "office365-connector-google-gateway", "skyconnect-office365"}

const ourTenant = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"

// newTenant is a tenant that has the site's domains.
func newTenant(site *setup.Site) *exchange {
	routes := &site.Conf.Rules.Routes
	var domains []string
	for name, domain := range routes.Domains {
		domains = append(domains, name)
		domains = append(domains, domain.Alternates["office365"])
	}
	domains = append(domains, routes.Platform("office365").TargetDomains...)
	domains = slices.DeleteFunc(domains, func(name string) bool { return name == "" })
	slices.Sort(domains)
	return newExchange(ourTenant, slices.Compact(domains)...)
}

// answers are what an administrator fills in: variables with their values.
type answers map[string]string

// filledIn are those that every site goes on with.
func filledIn(more answers) answers {
	all := answers{"Apply": "$true", "Certificate": "'mail.acmecorp.com'"}
	for name, value := range more {
		all[name] = value
	}
	return all
}

// takenBack has each choice be taken back.
var takenBack = filledIn(answers{"SameName": "@()", "TrustClean": "$false", "Internal": "'no'", "JournalTo": "''", "RejectDirectSend": "$false"})

// everything has each choice be made.
var everything = filledIn(answers{
	"SameName": "@('bob@acmecorp.com', 'dora@acmecorp.com')", "TrustClean": "$true", "Internal": "'groups'", "Groups": "@('*')", "TestRecipient": "'bob@acmecorp.com'",
	"JournalTo": "'journal@acmecorp.com'", "JournalFailed": "'failed@acmecorp.com'", "RejectDirectSend": "$true",
	"Copies": "@{ 'alice@acmecorp.com' = 'alice@here.acmecorp.com' }",
})

// fillIn changes a script's variables as an administrator would. What it does not have stays out.
func fillIn(script string, a answers) string {
	for name, value := range a {
		line := regexp.MustCompile(`(?m)^\$` + name + ` = .*?(  +# .*)?$`)
		script = line.ReplaceAllLiteralString(script, "$"+name+" = "+value)
	}
	return script
}

// administrator runs scripts against a tenant.
type administrator struct {
	*lab.PowerShell
	*exchange
	world *powershell.World
}

func newAdministrator(p *lab.PowerShell, e *exchange) *administrator {
	a := &administrator{PowerShell: p, exchange: e}
	a.world = &powershell.World{Cmdlets: e.cmdlets(), Answer: func(string) string {
		e.asked++
		return proofSecret + "\n"
	}}
	return a
}

// scripts are those that were read, by their texts: many tests run the same ones, and the grammar
// takes longer than the run.
var scripts sync.Map

func readScript(t *testing.T, p *lab.PowerShell, text string) *powershell.Script {
	t.Helper()
	once, _ := scripts.LoadOrStore(text, sync.OnceValues(func() (*powershell.Script, error) {
		tree, err := p.Parse(context.Background(), text)
		if err != nil {
			return nil, err
		}
		return powershell.Read(text, tree)
	}))
	script, err := once.(func() (*powershell.Script, error))()
	if err != nil {
		t.Fatal(err)
	}
	return script
}

// run runs a site's script with what is filled in, and returns what it has changed.
func (a *administrator) run(t *testing.T, site *setup.Site, retire bool, with answers) ([]string, error) {
	t.Helper()
	a.changes, a.world.Printed = nil, nil
	clear(a.made)
	script := readScript(t, a.PowerShell, fillIn(guideText(site, "office365", retire), with))
	err := a.world.Run(script)
	return a.changes, err
}

func (a *administrator) mustRun(t *testing.T, site *setup.Site, retire bool, with answers) []string {
	t.Helper()
	changes, err := a.run(t, site, retire, with)
	if err != nil {
		t.Fatalf("%v\nafter\n%s", err, strings.Join(a.world.Printed, "\n"))
	}
	return changes
}

// eachTenant runs a test for each site with a fresh tenant.
func eachTenant(t *testing.T, test func(t *testing.T, site *setup.Site, a *administrator)) {
	t.Parallel()
	p := lab.LendPowerShell(t)
	for _, name := range office365Sites {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site := readSite(t, name)
			test(t, site, newAdministrator(p, newTenant(site)))
		})
	}
}

func TestEachScriptIsPowerShell(t *testing.T) {
	eachTenant(t, func(t *testing.T, site *setup.Site, a *administrator) {
		readScript(t, a.PowerShell, guideText(site, "office365", false))
		readScript(t, a.PowerShell, guideText(site, "office365", true))
	})
}

func TestATenantIsSetUpOnceAndStaysAsItIs(t *testing.T) {
	for name, with := range map[string]answers{
		"as it comes": filledIn(nil), "with all choices": everything,
		"opportunistic": filledIn(answers{"Tls": "'opportunistic'"}), "encrypted": filledIn(answers{"Tls": "'encrypted'", "Internal": "'connector'"}),
		"all names": filledIn(answers{"SameName": "@('*')"}),
	} {
		t.Run(name, func(t *testing.T) {
			eachTenant(t, func(t *testing.T, site *setup.Site, a *administrator) {
				if changes := a.mustRun(t, site, false, with); len(changes) < 6 {
					t.Errorf("only %q was done", changes)
				}
				if changes := a.mustRun(t, site, false, with); len(changes) > 0 {
					t.Errorf("the second run did %q", changes)
				}
				for _, line := range a.world.Printed {
					if !strings.HasPrefix(line, "=") && !strings.HasPrefix(line, "! ") && !strings.HasPrefix(line, "If all has succeeded") {
						t.Errorf("the second run says %q", line)
					}
				}
				if a.asked != 1 {
					t.Errorf("the secret was asked for %d times", a.asked)
				}
			})
		})
	}
}

func TestADryRunSaysAllAndChangesNothing(t *testing.T) {
	eachTenant(t, func(t *testing.T, site *setup.Site, a *administrator) {
		before := a.state("")
		dry := answers{}
		for name, value := range everything {
			dry[name] = value
		}
		dry["Apply"] = "$false"
		if changes := a.mustRun(t, site, false, dry); len(changes) > 0 || a.asked > 0 || len(a.world.Files) > 0 {
			t.Errorf("it did %q, asked %d times and kept %v", changes, a.asked, a.world.Files)
		}
		if after := a.state(""); !slices.Equal(before, after) {
			t.Errorf("it left\n%s\nof\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
		}
		said := strings.Join(a.world.Printed, "\n")
		for _, want := range []string{
			"+ InboundConnector 'coexistd from here' is made", "+ OutboundConnector 'coexistd to here' is made", "+ TransportRule 'coexistd proof' is made",
			"~ AcceptedDomain 'acmecorp.com': DomainType is 'Authoritative', and becomes 'InternalRelay'", "! inbound connector 'Scanner' is not ours",
			"~ DistributionGroup 'sales': RequireSenderAuthenticationEnabled is 'True', and becomes 'False'", "~ undeliverable journal reports go to 'failed@acmecorp.com'",
		} {
			if !strings.Contains(said, want) {
				t.Errorf("it did not say %q but\n%s", want, said)
			}
		}
	})
}

func TestWhatOthersHaveSetUpStays(t *testing.T) {
	eachTenant(t, func(t *testing.T, site *setup.Site, a *administrator) {
		theirs := func() []string {
			return slices.DeleteFunc(a.state("coexistd "), func(one string) bool {
				kind, _, _ := strings.Cut(one, " ")
				return !slices.Contains([]string{"inboundconnector", "outboundconnector", "journalrule", "remotedomain"}, kind)
			})
		}
		before := theirs()
		a.mustRun(t, site, false, everything)
		if after := theirs(); !slices.Equal(before, after) {
			t.Errorf("it left\n%s\nof\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
		}
		for i, name := range []string{"Disclaimer", "Old"} {
			rule, _ := a.find("TransportRule", name)
			if at := rule.Get("Priority").(int); at < i+1 || (rule.Get("State") == "Enabled") != (name == "Disclaimer") {
				t.Errorf("%s is %v at %d", name, rule.Get("State"), at)
			}
		}
	})
}

func TestRetiringLeavesWhatWasThereBefore(t *testing.T) {
	eachTenant(t, func(t *testing.T, site *setup.Site, a *administrator) {
		before := a.state("")
		a.mustRun(t, site, false, filledIn(nil))
		a.mustRun(t, site, false, everything)
		a.mustRun(t, site, false, filledIn(answers{"Tls": "'opportunistic'"}))
		if changes := a.mustRun(t, site, true, nil); len(changes) > 0 {
			t.Errorf("the dry run did %q", changes)
		}
		a.mustRun(t, site, true, filledIn(nil))
		if after := a.state(""); !slices.Equal(before, after) {
			t.Errorf("it left\n%s\nof\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
		}
		if len(a.world.Files) > 0 {
			t.Errorf("it kept %v", a.world.Files)
		}
		if changes := a.mustRun(t, site, true, filledIn(nil)); len(changes) > 0 {
			t.Errorf("the second run did %q", changes)
		}
	})
}

func TestRetiringWithoutTheRecordTakesOursAwayAlone(t *testing.T) {
	eachTenant(t, func(t *testing.T, site *setup.Site, a *administrator) {
		a.mustRun(t, site, false, everything)
		ours, others := a.state(""), a.state("coexistd ")
		clear(a.world.Files)
		a.mustRun(t, site, true, filledIn(answers{"DomainType": "'Authoritative'"}))
		after := a.state("")
		if len(after) != len(others) || len(after) == len(ours) {
			t.Errorf("it left\n%s", strings.Join(after, "\n"))
		}
		for domain := range site.Conf.Rules.Routes.Domains {
			if one, _ := a.find("AcceptedDomain", domain); one.Get("DomainType") != "Authoritative" {
				t.Errorf("%s is %v", domain, one.Get("DomainType"))
			}
		}
	})
}

func TestTheSecretIsNeitherShownNorKept(t *testing.T) {
	eachTenant(t, func(t *testing.T, site *setup.Site, a *administrator) {
		check := func(want string) {
			t.Helper()
			if rule, _ := a.find("TransportRule", "coexistd proof"); rule.Get("SetHeaderValue") != want {
				t.Errorf("the rule sets %q", rule.Get("SetHeaderValue"))
			}
			said := strings.Join(a.world.Printed, "\n")
			for _, rows := range a.world.Files {
				for _, row := range rows {
					said += fmt.Sprint(powershell.Text(row.(*powershell.Table).Get("Value")))
				}
			}
			if strings.Contains(said, want) {
				t.Errorf("it was told: %s", said)
			}
		}
		a.mustRun(t, site, false, filledIn(nil))
		check(proofSecret)
		const next = "another-secret-of-this-site"
		a.world.Answer = func(string) string { return next }
		clear(a.world.Files) // run elsewhere
		a.mustRun(t, site, false, filledIn(answers{"NewSecret": "$true"}))
		check(next)
	})
}

// What the mail flow hangs on, as the tenant has it in the end.
func TestTheSettingsOfEachScenarioAreThere(t *testing.T) {
	t.Parallel()
	p := lab.LendPowerShell(t)
	for site, wants := range map[string][]string{
		"skyconnect-office365": {
			"InboundConnector/coexistd from here/TlsSenderCertificateName=mail.acmecorp.com", "InboundConnector/coexistd from here/EFSkipLastIP=True",
			"OutboundConnector/coexistd to here/SmartHosts=mail.acmecorp.com", "OutboundConnector/coexistd to here/TlsSettings=DomainValidation",
			"TransportRule/coexistd proof/RecipientDomainIs=acmecorp.com", "TransportRule/coexistd proof/Priority=0", "TransportRule/coexistd proof stays/RemoveHeader=X-Coexist-Proof",
			`TransportRule/coexistd proof stays/ExceptIfRecipientAddressMatchesPatterns=@acmecorp\.com$`, "TransportRule/coexistd spam/SetSCL=6",
			"AcceptedDomain/acmecorp.com/DomainType=InternalRelay", "AcceptedDomain/acmecorp-com.onmicrosoft.com/DomainType=Authoritative", "RemoteDomain/coexistd acmecorp.com/TNEFEnabled=False",
		},
		"mx-both": {
			"OutboundConnector/coexistd to here/RecipientDomains=acmecorp.com acmecorp.net", "OutboundConnector/coexistd out by here/IsTransportRuleScoped=True", "TransportRule/coexistd out by here/RouteMessageOutboundConnector=coexistd out by here",
			"OutboundConnector/coexistd out by here/RouteAllMessagesViaOnPremises=False", "OutboundConnector/coexistd out by here/SenderRewritingEnabled=True",
			"TransportRule/coexistd out by here/SentToScope=NotInOrganization", "AcceptedDomain/acmecorp.net/DomainType=InternalRelay",
		},
		"hybrid-onmicrosoft": {
			"OutboundConnector/coexistd to here/SmartHosts=mail.acmecorp.com mx1.acmecorp.com", "AcceptedDomain/acmecorp.mail.onmicrosoft.com/DomainType=Authoritative",
		},
		"office365-connector-google-gateway": {
			"OutboundConnector/coexistd to here/SmartHosts=mail.acmecorp.com", "InboundConnector/coexistd from here/TlsSenderCertificateName=*.acmecorp.com",
		},
	} {
		t.Run(site, func(t *testing.T) {
			t.Parallel()
			s := readSite(t, site)
			a := newAdministrator(p, newTenant(s))
			a.mustRun(t, s, false, asKnown(s, nil))
			for _, want := range wants {
				path, value, _ := strings.Cut(want, "=")
				parts := strings.Split(path, "/")
				one, _ := a.find(parts[0], parts[1])
				if one == nil || powershell.Text(one.Get(parts[2])) != value {
					t.Errorf("%s is not so: %v", want, one)
				}
			}
		})
	}
}

// A certificate that Microsoft does not trust is not demanded, unless somebody says so.
func TestTheFirstRunDemandsOfTLSWhatTheCertificateFulfils(t *testing.T) {
	t.Parallel()
	s := readSite(t, "skyconnect-office365")
	a := newAdministrator(lab.LendPowerShell(t), newTenant(s))
	tls := func(want string) {
		t.Helper()
		if one, _ := a.find("OutboundConnector", "coexistd to here"); powershell.Text(one.Get("TlsSettings")) != want {
			t.Errorf("the connector to here demands %v, and not %s", one.Get("TlsSettings"), want)
		}
	}
	s.CertificateErr = errors.New("it is signed by itself")
	if text := strings.ReplaceAll(guideText(s, "office365", false), "\n# ", " "); !strings.Contains(text, "At first it is 'encrypted', since of the certificate of this host is to be said: it is signed by itself. With") {
		t.Errorf("it does not say why:\n%s", text)
	}
	a.mustRun(t, s, false, asKnown(s, nil))
	tls("EncryptionOnly")
	a.mustRun(t, s, false, asKnown(s, answers{"Tls": "'certificate'"}))
	tls("DomainValidation")
	a.mustRun(t, s, false, asKnown(s, nil))
	tls("DomainValidation")
}

func TestTheScriptStopsBeforeItDoesHarm(t *testing.T) {
	t.Parallel()
	p := lab.LendPowerShell(t)
	for name, test := range map[string]struct {
		site    string
		with    answers
		prepare func(*exchange)
		want    string
	}{
		"no certificate":       {"hybrid-onmicrosoft", answers{"Apply": "$true"}, nil, "fill in $Certificate"},
		"no addresses":         {"skyconnect-office365", answers{"Tls": "'opportunistic'", "Addresses": "@()"}, nil, "fill in $Addresses"},
		"no hosts":             {"skyconnect-office365", answers{"Hosts": "@()"}, nil, "fill in $Hosts"},
		"another tenant":       {"skyconnect-office365", filledIn(nil), func(e *exchange) { e.id = "11111111-2222-3333-4444-555555555555" }, "and not to " + ourTenant},
		"a domain is missing":  {"skyconnect-office365", filledIn(nil), func(e *exchange) { delete(e.objects, "accepteddomain") }, "acmecorp.com is no accepted domain"},
		"another's name":       {"skyconnect-office365", filledIn(answers{"Certificate": "'mail.provider.example'"}), nil, "mail.provider.example is in no accepted domain"},
		"a short secret":       {"skyconnect-office365", filledIn(nil), nil, "16 characters or more"},
		"made switched off":    {"skyconnect-office365", filledIn(nil), func(e *exchange) { e.disabled = true }, "switched off"},
		"nowhere for journals": {"skyconnect-office365", filledIn(answers{"JournalTo": "'a@acmecorp.com'"}), nil, "fill in $JournalFailed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site := readSite(t, test.site)
			e := newTenant(site)
			if test.prepare != nil {
				test.prepare(e)
			}
			a := newAdministrator(p, e)
			a.world.Answer = func(string) string { return "short" }
			_, err := a.run(t, site, false, test.with)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("it ended with %v, not %q", err, test.want)
			}
			if one, _ := e.find("OutboundConnector", "coexistd to here"); one != nil && name != "a short secret" {
				t.Error("it had gone on")
			}
		})
	}
}

func TestARemoteDomainThatIsThereIsChangedAndPutBack(t *testing.T) {
	t.Parallel()
	site := readSite(t, "skyconnect-office365")
	a := newAdministrator(lab.LendPowerShell(t), newTenant(site))
	a.objects["remotedomain"] = append(a.objects["remotedomain"], powershell.NewTable("Identity", "Acme", "Name", "Acme", "DomainName", "acmecorp.com", "TNEFEnabled", true))
	a.mustRun(t, site, false, filledIn(nil))
	if one, _ := a.find("RemoteDomain", "Acme"); one.Get("TNEFEnabled") != false || len(a.objects["remotedomain"]) != 2 {
		t.Errorf("there is %v", a.objects["remotedomain"])
	}
	a.mustRun(t, site, true, filledIn(nil))
	if one, _ := a.find("RemoteDomain", "Acme"); one == nil || one.Get("TNEFEnabled") != true {
		t.Errorf("it was left as %v", one)
	}
}

func TestARuleThatWasSwitchedOffIsSwitchedOn(t *testing.T) {
	t.Parallel()
	site := readSite(t, "skyconnect-office365")
	a := newAdministrator(lab.LendPowerShell(t), newTenant(site))
	a.mustRun(t, site, false, filledIn(nil))
	rule, _ := a.find("TransportRule", "coexistd proof")
	rule.Set("State", "Disabled")
	if changes := a.mustRun(t, site, false, filledIn(nil)); !slices.Equal(changes, []string{"Enable-TransportRule coexistd proof"}) {
		t.Errorf("it did %q", changes)
	}
}

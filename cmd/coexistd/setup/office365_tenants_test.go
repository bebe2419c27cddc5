package setup_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"coexistd/cmd/coexistd/setup"
	"coexistd/contrib/lab"
	"coexistd/contrib/powershell"
	"coexistd/policy/route"
	"coexistd/policy/tenant"
)

const otherTenant = "11111111-2222-3333-4444-555555555555"

// siteOfTwo has a tenant for acmecorp.com and one for acmecorp.net.
func siteOfTwo(t *testing.T) *setup.Site {
	t.Helper()
	site := readSite(t, "skyconnect-office365")
	rules := site.Conf.Rules
	rules.Routes.Platforms = append(rules.Routes.Platforms, &route.Platform{Name: "second", MayRelay: true})
	rules.Routes.Domains["acmecorp.net"] = &route.Domain{Name: "acmecorp.net", Alternates: map[string]string{"second": "acmecorp-net.onmicrosoft.com"}}
	rules.Tenants["second"] = tenant.Proofs{Tenant: otherTenant, Header: "X-Second-Proof"}
	site.CertificateNames = append(site.CertificateNames, "mail.acmecorp.net")
	return site
}

// twoTenants are those of siteOfTwo, with a world in which an administrator signs in to one after
// the other.
func twoTenants(t *testing.T) (first, second *exchange, world *powershell.World) {
	t.Helper()
	first = newExchange(ourTenant, "acmecorp.com", "acmecorp-com.onmicrosoft.com")
	second = newExchange(otherTenant, "acmecorp.net", "acmecorp-net.onmicrosoft.com")
	var now *exchange
	next := map[*exchange]*exchange{nil: first, first: second, second: first}
	world = &powershell.World{Cmdlets: make(map[string]powershell.Cmdlet)}
	for name := range first.cmdlets() {
		world.Cmdlets[name] = func(args *powershell.Table) ([]any, error) {
			switch {
			case name == "connect-exchangeonline":
				now = next[now]
			case now == nil || len(now.connections) == 0:
				if name == "get-connectioninformation" || name == "disconnect-exchangeonline" {
					return nil, nil
				}
				return nil, fmt.Errorf("%s without a connection", name)
			}
			return now.cmdlets()[name](args)
		}
	}
	world.Answer = func(string) string {
		now.asked++
		return "the-secret-of-" + now.id
	}
	return first, second, world
}

func TestTwoTenantsAreSetUpAndRetiredEachByItself(t *testing.T) {
	t.Parallel()
	site := siteOfTwo(t)
	p := lab.LendPowerShell(t)
	first, second, world := twoTenants(t)
	before := [][]string{first.state(""), second.state("")}
	run := func(retire bool) (changes []string) {
		t.Helper()
		world.Printed, first.changes, second.changes = nil, nil, nil
		if err := world.Run(readScript(t, p, fillIn(guideText(site, "office365", retire), answers{"Apply": "$true"}))); err != nil {
			t.Fatalf("%v\nafter\n%s", err, strings.Join(world.Printed, "\n"))
		}
		return slices.Concat(first.changes, second.changes)
	}
	run(false)
	for _, want := range []struct {
		tenant                             *exchange
		certificate, header, domain, other string
		relays                             bool
	}{
		{first, "mail.acmecorp.com", "X-Coexist-Proof", "acmecorp.com", "acmecorp.net", false},
		{second, "mail.acmecorp.net", "X-Second-Proof", "acmecorp.net", "acmecorp.com", true},
	} {
		connector, _ := want.tenant.find("InboundConnector", "coexistd from here")
		rule, _ := want.tenant.find("TransportRule", "coexistd proof")
		if connector.Get("TlsSenderCertificateName") != want.certificate || rule.Get("SetHeaderName") != want.header || rule.Get("SetHeaderValue") != "the-secret-of-"+want.tenant.id {
			t.Errorf("%s has %v and %v", want.tenant.id, connector, rule)
		}
		if domain, _ := want.tenant.find("AcceptedDomain", want.domain); domain.Get("DomainType") != "InternalRelay" {
			t.Errorf("%s is %v", want.domain, domain)
		}
		if out, _ := want.tenant.find("OutboundConnector", "coexistd out by here"); (out != nil) != want.relays {
			t.Errorf("the way of %s to the Internet is %v", want.tenant.id, out)
		}
		if world.Files[powershell.Home+"/coexistd-"+want.tenant.id+"-before.xml"] == nil || want.tenant.asked != 1 {
			t.Errorf("%s was asked for %d times, and there is %v", want.tenant.id, want.tenant.asked, world.Files)
		}
	}
	if changes := run(false); len(changes) > 0 {
		t.Errorf("the second run did %q", changes)
	}
	run(true)
	for i, after := range [][]string{first.state(""), second.state("")} {
		if !slices.Equal(before[i], after) {
			t.Errorf("it left\n%s\nof\n%s", strings.Join(after, "\n"), strings.Join(before[i], "\n"))
		}
	}
	if len(world.Files) > 0 {
		t.Errorf("it kept %v", world.Files)
	}
}

func TestTheWrongOneOfTwoTenantsIsLeftAlone(t *testing.T) {
	t.Parallel()
	first, second, world := twoTenants(t)
	first.id, second.id = second.id, first.id
	before := slices.Concat(first.state(""), second.state(""))
	err := world.Run(readScript(t, lab.LendPowerShell(t), fillIn(guideText(siteOfTwo(t), "office365", false), answers{"Apply": "$true"})))
	if err == nil || !strings.Contains(err.Error(), "and not to "+ourTenant) {
		t.Errorf("it ended with %v", err)
	}
	if after := slices.Concat(first.state(""), second.state("")); !slices.Equal(before, after) {
		t.Errorf("it left\n%s", strings.Join(after, "\n"))
	}
}

package config

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"coexistd/policy/tenant"
)

// proofWays are the keys of which each table of proof has one.
var proofWays = []string{"header", "certificate", "dkim"}

// proofs reads how a message proves that it comes from our tenant: tenant and
// proof.
func (r *reader) proofs(t *table) tenant.Proofs {
	var p tenant.Proofs
	p.Tenant, _ = parsed(t, "tenant", aString, parseTenant)
	first := make(map[string]place) // by way
	for _, one := range t.proofTables() {
		ways := slices.DeleteFunc(slices.Clone(proofWays), func(way string) bool { return !one.has(way) })
		switch {
		case len(ways) == 1:
			way, at := ways[0], one.at(ways[0])
			if other, taken := first[way]; taken {
				r.fail(at, "%s is there twice, on line %d first; keep one of them", way, other.line)
				continue
			}
			first[way] = at
			r.proof(one, way, &p)
		case len(ways) > 1:
			r.fail(one.place, "has %s, and each of them would be enough; write a table for each: proof = [{ … }, { … }]", strings.Join(ways, " and "))
		case one.has("secret_file"):
			one.fail("secret_file", `has no header that would bear the secret; add header = "X-Coexist-Proof"`)
		case len(one.entries) == 0: // other keys are said to be unknown
			r.fail(one.place, "proves nothing; it needs header and secret_file, or certificate, or dkim")
		}
	}
	return p
}

// proofTables returns the tables of proof: one, or a list.
func (t *table) proofTables() []*table {
	const like = `{ header = "X-Coexist-Proof", secret_file = "proof.key" }`
	keys := append([]string{"secret_file"}, proofWays...)
	switch t.entries["proof"].(type) {
	case []any, []map[string]any:
		t.refuseEmpty("proof", "is an empty list; write "+like+", or leave it out")
		return t.array("proof", keys...)
	}
	if one := t.table("proof", "a table, like "+like+", or a list of them"); one != nil {
		one.only(keys...)
		return []*table{one}
	}
	return nil
}

// proof reads one way of proof.
func (r *reader) proof(t *table, way string, p *tenant.Proofs) {
	if way != "header" && t.has("secret_file") {
		t.fail("secret_file", "has no meaning beside %s; leave it out", way)
	}
	switch way {
	case "header":
		p.Header = r.proofHeader(t)
		if !t.has("secret_file") {
			t.fail("header", "has no secret, and anybody can write a header; add secret_file with the value that the rule over there gives it")
		} else if text := t.secretText("secret_file", 16, "make one with: openssl rand -hex 24 > FILE; chgrp coexistd FILE; chmod 0640 FILE"); text != "" {
			p.Secret = sha256.Sum256([]byte(text))
		}
	case "certificate":
		p.Certificate, _ = parsed(t, way, "a certificate's common name in quotes", commonName)
	case "dkim":
		p.Domains = t.dkimDomains()
	}
}

// proofHeader reads the name of the header that bears a secret. No two platforms
// share one: a message is rid of those of all.
func (r *reader) proofHeader(t *table) string {
	name := t.headerName("X-Coexist-Proof", "a header that proves a tenant")
	if name == "" {
		return ""
	}
	if strings.EqualFold(name, r.config.Rules.Header) {
		t.fail("header", "%s is the result header, which is put into each message; choose another", quote(name))
	}
	for _, platform := range r.config.Rules.Routes.Platforms {
		if strings.EqualFold(name, r.config.Rules.Tenants[platform.Name].Header) {
			t.fail("header", "%s is what proves platform %s; each platform needs a header of its own", quote(name), platform.Name)
		}
	}
	return name
}

// dkimDomains reads one domain, or a list of them.
func (t *table) dkimDomains() []string {
	items := t.oneOrMore("dkim")
	if items != nil && len(items) == 0 {
		t.fail("dkim", `names no domain; write the one that the platform signs with, like "example.com"`)
	}
	return eachOnce(t.r, items, domainName)
}

// commonName reads the common name of a certificate and puts it in lower case.
func commonName(text string) (string, error) {
	if text == "" || len(text) > maxCommonName || strings.TrimSpace(text) != text || printable(text) != text {
		return "", fmt.Errorf(`%s is not the common name of a certificate; write it like "relay.example.com"`, quote(text))
	}
	return strings.ToLower(text), nil
}

package config

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"coexistd/policy/config/document"
	"coexistd/policy/config/mistakes"
	"coexistd/policy/config/schema"
	"coexistd/policy/config/secret"
	"coexistd/policy/config/wording"
	"coexistd/policy/tenant"
)

// proofWays are the keys of which each table of proof has one.
var proofWays = []string{"header", "certificate", "dkim"}

func proofKeys() schema.Section {
	return schema.Section{Path: "platform.*.proof", Keys: []schema.Key{
		{Name: "header", Kind: headerName("X-Coexist-Proof", "a header that proves a tenant"),
			Meaning: "`{ header = \"X-Coexist-Proof\", secret_file = \"proof.key\" }`: a header that a routing rule over there adds, with the secret as its value. The header is taken out of every message. No two platforms share one"},
		{Name: "secret_file", Kind: schema.Text("a path in quotes", schema.As[string]),
			Meaning: "goes with `header`: a file with one line of 16 to 512 printable ASCII characters, not readable by others; white space at its end does not count"},
		{Name: "dkim", Kind: schema.OneOrMore(domainName, schema.Rules{Empty: `names no domain; write the one that the platform signs with, like "example.com"`, Twice: schema.Refused}),
			Meaning: "`{ dkim = \"acmecorp.com\" }`: a DKIM signature of this domain that verifies; a list names several. Not of a domain whose mail anybody else signs"},
		{Name: "certificate", Kind: schema.Text("a certificate's common name in quotes", commonName),
			Meaning: "`{ certificate = \"relay.example.com\" }`: the common name of the TLS client certificate, whose issuer the MTA trusts. All tenants of Office 365 share `mail.protection.outlook.com`, so that this proves only the platform; a note says so"},
	}}
}

// proofs reads how a message proves that it comes from our tenant: tenant and
// proof.
func (r *reader) proofs(t *schema.Table) tenant.Proofs {
	var p tenant.Proofs
	p.Tenant = schema.Value[string](t, "tenant")
	first := make(map[string]mistakes.Place) // by way
	for _, one := range proofTables(t) {
		ways := slices.DeleteFunc(slices.Clone(proofWays), func(way string) bool { return !one.Has(way) })
		switch {
		case len(ways) == 1:
			way, at := ways[0], one.At(ways[0])
			if other, taken := first[way]; taken {
				r.Fail(at, "%s is there twice, on line %d first; keep one of them", way, other.Line)
				continue
			}
			first[way] = at
			r.proof(one, way, &p)
		case len(ways) > 1:
			r.Fail(one.Place, "has %s, and each of them would be enough; write a table for each: proof = [{ … }, { … }]", strings.Join(ways, " and "))
		case one.Has("secret_file"):
			one.Fail("secret_file", `has no header that would bear the secret; add header = "X-Coexist-Proof"`)
		case len(one.Entries) == 0: // other keys are said to be unknown
			r.Fail(one.Place, "proves nothing; it needs header and secret_file, or certificate, or dkim")
		}
	}
	return p
}

const likeProof = `{ header = "X-Coexist-Proof", secret_file = "proof.key" }`

// proofTables returns the tables of proof: one, or a list.
func proofTables(t *schema.Table) (all []*schema.Table) {
	switch t.Entries["proof"].(type) {
	case []any, []map[string]any:
		if t.HasEmpty("proof") {
			t.Fail("proof", "is an empty list; write %s, or leave it out", likeProof)
		}
		all = t.Array("proof")
	default:
		if one := t.Inner("proof", t.Entries["proof"], "a table, like "+likeProof+", or a list of them"); one != nil {
			all = []*schema.Table{one}
		}
	}
	for _, one := range all {
		one.ReadSection()
	}
	return all
}

// proof reads one way of proof.
func (r *reader) proof(t *schema.Table, way string, p *tenant.Proofs) {
	if way != "header" && t.Has("secret_file") {
		t.Fail("secret_file", "has no meaning beside %s; leave it out", way)
	}
	switch way {
	case "header":
		p.Header = schema.Value[string](t, way)
		r.refuseTakenHeader(t, p.Header)
		r.proofSecret(t, p)
	case "certificate":
		p.Certificate = schema.Value[string](t, way)
	case "dkim":
		p.Domains = schema.Value[[]string](t, way)
	}
}

// proofSecret reads the secret that a header bears.
func (r *reader) proofSecret(t *schema.Table, p *tenant.Proofs) {
	if !t.Has("secret_file") {
		t.Fail("header", "has no secret, and anybody can write a header; add secret_file with the value that the rule over there gives it")
	}
	file, said := schema.Said[string](t, "secret_file")
	if !said {
		return
	}
	r.names(t.At("secret_file").Key, r.path(file), true)
	text, err := secret.Read(r.path(file), 16, "make one with: openssl rand -hex 24 > FILE; chgrp coexistd FILE; chmod 0640 FILE")
	if err != nil {
		t.Fail("secret_file", "%v", err)
	}
	p.Secret = sha256.Sum256([]byte(text))
}

// refuseTakenHeader refuses a header that bears a secret already, or the result. No two
// platforms share one: a message is rid of those of all.
func (r *reader) refuseTakenHeader(t *schema.Table, name string) {
	if name != "" && strings.EqualFold(name, r.config.Rules.Header) {
		t.Fail("header", "%s is the result header, which is put into each message; choose another", wording.Quote(name))
	}
	for _, platform := range r.config.Rules.Routes.Platforms {
		if name != "" && strings.EqualFold(name, r.config.Rules.Tenants[platform.Name].Header) {
			t.Fail("header", "%s is what proves platform %s; each platform needs a header of its own", wording.Quote(name), platform.Name)
		}
	}
}

// commonName reads the common name of a certificate and puts it in lower case.
func commonName(text string) (string, error) {
	if text == "" || len(text) > 255 || strings.TrimSpace(text) != text || document.Printable(text) != text {
		return "", fmt.Errorf(`%s is not the common name of a certificate; write it like "relay.example.com"`, wording.Quote(text))
	}
	return strings.ToLower(text), nil
}

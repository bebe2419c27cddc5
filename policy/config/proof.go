package config

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"coexistd/policy/config/document"
	"coexistd/policy/config/secret"
	"coexistd/policy/config/wording"
	"coexistd/policy/tenant"
)

// proofWays are the keys of which each table of proof has one.
var proofWays = []string{"header", "certificate", "dkim"}

// proofs reads how a message proves that it comes from our tenant: tenant and
// proof.
func (r *reader) proofs(t *table) tenant.Proofs {
	var p tenant.Proofs
	p.Tenant = value[string](t, "tenant")
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

const likeProof = `{ header = "X-Coexist-Proof", secret_file = "proof.key" }`

// proofTables returns the tables of proof: one, or a list.
func (t *table) proofTables() (all []*table) {
	switch t.entries["proof"].(type) {
	case []any, []map[string]any:
		if t.hasEmpty("proof") {
			t.fail("proof", "is an empty list; write %s, or leave it out", likeProof)
		}
		all = t.array("proof")
	default:
		if one := t.inner("proof", t.entries["proof"], "a table, like "+likeProof+", or a list of them"); one != nil {
			all = []*table{one}
		}
	}
	for _, one := range all {
		one.readSection()
	}
	return all
}

// proof reads one way of proof.
func (r *reader) proof(t *table, way string, p *tenant.Proofs) {
	if way != "header" && t.has("secret_file") {
		t.fail("secret_file", "has no meaning beside %s; leave it out", way)
	}
	switch way {
	case "header":
		p.Header = value[string](t, way)
		r.refuseTakenHeader(t, p.Header)
		r.proofSecret(t, p)
	case "certificate":
		p.Certificate = value[string](t, way)
	case "dkim":
		p.Domains = value[[]string](t, way)
	}
}

// proofSecret reads the secret that a header bears.
func (r *reader) proofSecret(t *table, p *tenant.Proofs) {
	if !t.has("secret_file") {
		t.fail("header", "has no secret, and anybody can write a header; add secret_file with the value that the rule over there gives it")
	}
	file, said := said[string](t, "secret_file")
	if !said {
		return
	}
	text, err := secret.Read(r.path(file), 16, "make one with: openssl rand -hex 24 > FILE; chgrp coexistd FILE; chmod 0640 FILE")
	if err != nil {
		t.fail("secret_file", "%v", err)
	}
	p.Secret = sha256.Sum256([]byte(text))
}

// refuseTakenHeader refuses a header that bears a secret already, or the result. No two
// platforms share one: a message is rid of those of all.
func (r *reader) refuseTakenHeader(t *table, name string) {
	if name != "" && strings.EqualFold(name, r.config.Rules.Header) {
		t.fail("header", "%s is the result header, which is put into each message; choose another", wording.Quote(name))
	}
	for _, platform := range r.config.Rules.Routes.Platforms {
		if name != "" && strings.EqualFold(name, r.config.Rules.Tenants[platform.Name].Header) {
			t.fail("header", "%s is what proves platform %s; each platform needs a header of its own", wording.Quote(name), platform.Name)
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

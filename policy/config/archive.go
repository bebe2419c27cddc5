package config

import (
	"fmt"

	"coexistd/policy"
	"coexistd/policy/config/schema"
	"coexistd/policy/config/wording"
	"coexistd/policy/mail"
	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

// maxArchived bounds the domains with which those of each message are compared.
const maxArchived = 1000

func (r *reader) archiveKeys() schema.Section {
	some := func(what string) schema.Rules {
		return schema.Rules{Empty: "is empty, so nothing is archived; name at least one, or leave it out for any", Most: maxArchived, What: what, Twice: schema.Dropped}
	}
	return schema.Section{Path: "archive", Header: "[archive]", About: "a copy of what passes ([archive.md](archive.md)): of what meets all conditions, once a message", Keys: []schema.Key{
		{Name: "address", Kind: schema.Text(wantMailbox, r.archiveAddress), Missing: `write the address that gets the copies, like address = "archive@archive.example"`, Example: `"archive@archive.example"`,
			Meaning: "who gets the copies: a mailbox here, at a platform, or on the Internet. Let it be one that nobody guesses: what comes from it or goes to it is not copied"},
		{Name: "points", Kind: schema.List(archivePoint, some("points")), Usually: "any", Example: `["S0", "S1"]`, Meaning: "where the message enters: of `\"S0\"`, `\"S1\"` and `\"S2\"`"},
		{Name: "ways", Kind: schema.List(archiveWay, some("ways")), Usually: "any", Example: `["S3"]`,
			Meaning: "how it goes on, to one recipient at least: `\"LD\"` to a mailbox here, `\"S4\"` to a platform, `\"S3\"` to the Internet"},
		{Name: "domains", Kind: schema.List(orBelow(domainName), some("domains")), Usually: "any", Example: `["legal.example.com"]`,
			Meaning: "domains of the envelope's sender, or of that recipient. `\".example.com\"` are the domains below it"},
		{Name: "journals", Kind: schema.Texts(some("platforms")), Usually: "none", Example: `["office365"]`,
			Meaning: "platforms whose own journal goes to `address`: their reports to it are not checked ([how](archive.md#the-other-sides-half)), and `coexistd setup` says what to set there"},
		{Name: "held", Kind: schema.Boolean(), Usual: false, Meaning: "what is held in the quarantine is copied when that happens, viruses, too; else when it is released"},
	}}
}

// archive reads [archive]. The domains are known.
func (r *reader) archive(t *schema.Table) {
	one := t.Section("archive")
	if one == nil {
		return
	}
	one.ReadSection()
	a := &policy.Archive{
		Points:  schema.Value[[]verdict.Checkpoint](one, "points"),
		Ways:    schema.Value[[]route.Hop](one, "ways"),
		Domains: schema.Value[[]string](one, "domains"),
		Held:    schema.Value[bool](one, "held"),
	}
	// What is wrong with it has been told.
	a.Address, _ = mail.ParseAddress(schema.Value[string](one, "address"), r.config.Rules.Delimiters)
	a.Journals = r.journals(one, a)
	r.config.Rules.Archive = a
	if r.config.Rules.ObservesAll() {
		r.note("[archive] has no effect while all mail is only observed")
	}
}

// journals reads the platforms whose journal goes to the archive.
func (r *reader) journals(t *schema.Table, a *policy.Archive) []string {
	there := r.config.Rules.Routes.AlternateOf(a.Address.Domain)
	return schema.Each(&r.Reader, schema.Value[[]schema.Item](t, "journals"), func(name string) (string, error) {
		switch {
		case !r.isPlatform(name):
			return "", fmt.Errorf("%s is no platform of this file; %s", wording.Quote(name), r.suggestPlatform(name))
		case there != nil && there.Name == name:
			return "", fmt.Errorf("the archive is at %s itself, whose journal cannot go to a mailbox there; take it out, or write another address", name)
		}
		return name, nil
	}, schema.Dropped)
}

// archiveAddress reads an address that may be added to any message, in ASCII as it must be.
func (r *reader) archiveAddress(text string) (string, error) {
	if text, err := r.mailbox(text); err != nil {
		return text, err
	}
	if !mail.IsASCII(text) {
		return "", fmt.Errorf("%s is not in ASCII, and servers that take nothing else could not pass on a message to it; write another address of the archive", wording.Quote(text))
	}
	return text, nil
}

func archivePoint(text string) (verdict.Checkpoint, error) {
	point, ok := verdict.ParseCheckpoint(text)
	if !ok || point > verdict.S2 {
		return 0, fmt.Errorf("%s is not a point at which mail enters; it would be S0, S1 or S2", wording.Quote(text))
	}
	return point, nil
}

func archiveWay(text string) (route.Hop, error) {
	for _, hop := range [...]route.Hop{route.LD, route.Ours(verdict.S3), route.Ours(verdict.S4)} {
		if text == (route.Way{hop}).String() {
			return hop, nil
		}
	}
	return route.Hop{}, fmt.Errorf("%s is not a way by which mail goes on; it would be LD, S3 or S4", wording.Quote(text))
}

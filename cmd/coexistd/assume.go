package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/daemon"
	"coexistd/milter/flood"
	"coexistd/milter/notice"
	"coexistd/milter/probe"
	"coexistd/milter/quarantine"
	"coexistd/milter/sources"
	"coexistd/milter/transaction"
	"coexistd/policy"
	"coexistd/policy/config"
	"coexistd/policy/mail"
	"coexistd/policy/rate"
	"coexistd/policy/seal"
	"coexistd/policy/spoof"
	"coexistd/policy/verdict"
	"coexistd/scanners"
	"coexistd/scanners/sender"
)

// assumed is the world as explain assumes it to be: it asks no server, counts nothing and
// holds nothing. What the flags leave unsaid is clean, and is noted.
type assumed struct {
	found   map[string]verdict.Finding // by check
	over    map[string]bool            // by rule
	without map[string]bool
	signed  []spoof.DKIM    // the signatures, which pass
	asked   map[string]bool // checks and rules, and signatures
	notes   []string
}

// The things that --without names.
const (
	noSpool     = "spool"
	noStore     = "store"
	noDirectory = "directory"
	noNetworks  = "networks"
)

var withouts = []string{noSpool, noStore, noDirectory, noNetworks}

// spoofFound are the names that spoof has for what the DNS says against a sender.
var spoofFound = []verdict.Code{
	verdict.DMARCFails, verdict.SPFFails, verdict.OwnDomain, verdict.OwnDomainElsewhere, verdict.TenantNotProven,
}

// addFinding reads CHECK=STATE or CHECK=STATE:NAME. The name is what a scanner found, or
// for spoof the code of the reason.
func (a *assumed) addFinding(text string) error {
	check, rest, _ := strings.Cut(text, "=")
	state, name, _ := strings.Cut(rest, ":")
	row, known := policy.CheckOf(check)
	f := verdict.Finding{Check: check, Name: name}
	switch {
	case !known:
		return fmt.Errorf("%q is not a check", check)
	case check == verdict.CheckAuth:
		return errors.New("what auth finds is known; say who the client is by --login, --certificate and --client")
	case check == verdict.CheckTLS:
		return errors.New("what tls finds is known; say how the client is connected by --tls and --certificate")
	case check == verdict.CheckBlock:
		return errors.New("what block finds is known: coexistd senders list tells whom recipients have blocked")
	case check == verdict.CheckRate && state == "hit":
		return errors.New("what rate finds is said by --over RULE for each rule")
	case check == verdict.CheckSpoof && name != "" && !slices.Contains(spoofFound, verdict.Code(name)):
		return fmt.Errorf("%q is nothing that the DNS says against a sender; it would be one of %q", name, spoofFound)
	case check == verdict.CheckDDoS && name != "" && name != boundUnknown:
		return fmt.Errorf("%q is no bound of ddos that has a reply of its own; it would be %s", name, boundUnknown)
	case state == "clean":
		f.State = verdict.Clean
	case state == "hit":
		f.State = verdict.Hit
		f.Reasons = verdict.Because(verdict.Why(verdict.Reported, "it is assumed to find "+cmp.Or(name, "something")))
	case state == "unknown" && !row.AlwaysTells:
		f.Reasons = verdict.Because(verdict.Why(verdict.Reported, "it is assumed not to tell"))
	case row.AlwaysTells:
		return fmt.Errorf("%q is nothing that %s finds; it would be clean or hit", state, check)
	default:
		return fmt.Errorf("%q is nothing that %s finds; it would be clean, hit or unknown", state, check)
	}
	if a.found == nil {
		a.found = make(map[string]verdict.Finding)
	}
	a.found[check] = f
	return nil
}

func (a *assumed) addOver(rule string) error {
	if a.over == nil {
		a.over = make(map[string]bool)
	}
	a.over[rule] = true
	return nil
}

func (a *assumed) addWithout(what string) error {
	if !slices.Contains(withouts, what) {
		return fmt.Errorf("%q is nothing that can be left out; it would be %s, %s, %s or %s", what, noSpool, noStore, noDirectory, noNetworks)
	}
	if a.without == nil {
		a.without = make(map[string]bool)
	}
	a.without[what] = true
	return nil
}

func (a *assumed) addSigned(domain string) error {
	normal, err := mail.NormalDomain(domain)
	if err != nil || mail.IsLiteral(normal) {
		return fmt.Errorf(`%q is not a domain that signs; name one like "acmecorp.com"`, domain)
	}
	a.signed = append(a.signed, spoof.DKIM{Result: spoof.AuthPass, Domain: normal})
	return nil
}

// addSignature gives a message that has no signature the one that is said to pass.
func (a *assumed) addSignature(header *mail.Header) {
	if len(a.signed) > 0 && header.Count(signature) == 0 {
		header.Add([]byte(signature), []byte(" d="+a.signed[0].Domain))
	}
}

// signature is the field of one, and stands among the checks for all of a message.
const signature = "DKIM-Signature"

// runtime is what the message is decided with. The error is of directories that cannot be
// read, whose domains are put off.
func (a *assumed) runtime(conf *config.Config, keys seal.Keys) (*transaction.Runtime, error) {
	live := daemon.SavedLists(conf).Live()
	if a.without[noNetworks] {
		live = conf.Networks
	}
	directories := sources.Open(conf.Directories, nil)
	err := directories.Err()
	if a.without[noDirectory] {
		for _, one := range directories {
			one.Snapshot = nil
		}
	}
	for rule := range a.over {
		if !slices.ContainsFunc(conf.Rules.Rates, func(r rate.Rule) bool { return r.Name == rule }) {
			a.note("no [[rate]] has the name %q", rule)
			delete(a.over, rule)
		}
	}
	listed, failed := daemon.ReadSenders(context.Background(), conf)
	if failed != nil {
		a.note("whom recipients have allowed and blocked cannot be read: nobody is taken to be either: %v", failed)
	}
	rt := &transaction.Runtime{
		Policy: policy.New(conf.Rules, keys, live), Directory: directories.Set(), Senders: listed, World: a, Flood: flood.New(), SpoolDir: os.TempDir(),
	}
	if a.without[noSpool] {
		rt.SpoolDir = os.DevNull // it is no folder
	}
	return rt, err
}

// boundUnknown is the bound of [check.ddos] whose excess has a reply of its own.
const boundUnknown = "unknown"

// visitor is the client, which asks for too much when ddos is assumed to say so.
func (a *assumed) visitor(rt *transaction.Runtime, arrival policy.Arrival) transaction.Visitor {
	unknown := a.found[verdict.CheckDDoS].Name == boundUnknown
	blocked, guarded := transaction.Blocked(rt.Policy.Rules, rt.Policy.Enter(arrival), arrival.Client, unknown)
	if guarded && a.finding(verdict.CheckDDoS).State == verdict.Hit {
		return blocked
	}
	return transaction.Visitor{}
}

// spooled returns a body, one that needs the spool when that is not to be had.
func (a *assumed) spooled(body []byte) []byte {
	if a.without[noSpool] {
		return make([]byte, transaction.SpoolMemory)
	}
	return body
}

func (a *assumed) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(a.notes, text) {
		a.notes = append(a.notes, text)
	}
}

// noteUnasked notes what the flags say of checks and limits that the message does not
// meet.
func (a *assumed) noteUnasked() {
	for _, check := range slices.Sorted(maps.Keys(a.found)) {
		if !a.asked[check] {
			a.note("%s asks nobody about this message: what --find says of it changes nothing", check)
		}
	}
	for _, rule := range slices.Sorted(maps.Keys(a.over)) {
		if !a.asked[ruleNamed(rule)] {
			a.note("the limit %q does not count this message: --over changes nothing", rule)
		}
	}
	if len(a.signed) > 0 && !a.asked[signature] {
		a.note("nobody asks who has signed this message: --signed changes nothing")
	}
}

// ruleNamed is a rule among the checks.
func ruleNamed(rule string) string { return verdict.CheckRate + " " + rule }

func (a *assumed) noteAsked(what string) {
	if a.asked == nil {
		a.asked = make(map[string]bool)
	}
	a.asked[what] = true
}

// checksAsked are the checks that were asked so far.
func (a *assumed) checksAsked() []string {
	asked := []string{}
	for _, check := range policy.Checks() {
		if a.asked[check.Name] {
			asked = append(asked, check.Name)
		}
	}
	return asked
}

// finding is what a check is assumed to find.
func (a *assumed) finding(check string) verdict.Finding {
	a.noteAsked(check)
	f, said := a.found[check]
	if !said {
		a.note("%s is not asked here: counted as clean", check)
		return verdict.Passed(check)
	}
	return f
}

// Verify finds the signatures that are said to pass.
func (a *assumed) Verify(context.Context, *scanners.Message) []spoof.DKIM {
	if len(a.signed) == 0 {
		a.note("%s", verdict.Why(verdict.SignaturesNotLooked))
	}
	a.noteAsked(signature)
	return append([]spoof.DKIM{}, a.signed...)
}

// Find finds what is assumed.
func (a *assumed) Find(_ context.Context, q transaction.Question) (found transaction.Found) {
	for _, check := range q.Scans {
		found.Findings = append(found.Findings, a.finding(check))
	}
	if q.Authentication {
		found.Authentication = a.authentication(&q.Sender)
	}
	return found
}

// authentication is what the DNS and signatures are assumed to tell of a sender. Clean,
// they prove the envelope's sender and each author. Where they object, nobody is proven
// except by the signatures that are said to pass, and each author's domain has such mail
// refused, or has no policy but SPF.
func (a *assumed) authentication(q *sender.Question) *spoof.Authentication {
	f := a.finding(verdict.CheckSpoof)
	result, lookup := spoof.AuthTempError, spoof.AuthTempError
	switch {
	case f.State == verdict.Clean:
		result, lookup = spoof.AuthPass, spoof.AuthNone
	case f.State == verdict.Hit && f.Name == string(verdict.SPFFails):
		result, lookup = spoof.AuthFail, spoof.AuthNone
	case f.State == verdict.Hit:
		result, lookup = spoof.AuthFail, spoof.AuthPass
	}
	a.noteAsked(signature)
	told := &spoof.Authentication{SPF: spoof.SPF{Result: result, Domain: q.Sender.Domain}, DKIM: slices.Clone(a.signed)}
	for _, domain := range q.Domains {
		told.DKIM = append(told.DKIM, spoof.DKIM{Result: result, Domain: domain})
		told.DMARC = append(told.DMARC, spoof.DMARC{Domain: domain, At: domain, Lookup: lookup, Policy: verdict.Reject, Percent: 100})
	}
	return told
}

// Take has room in each limit that is not said to be reached. One that is has room when
// its period is over.
func (a *assumed) Take(_ context.Context, charges []rate.Charge) []rate.Grant {
	grants := make([]rate.Grant, len(charges))
	f := verdict.Passed(verdict.CheckRate)
	if _, said := a.found[f.Check]; said || len(a.over) == 0 {
		f = a.finding(f.Check)
	}
	for i, charge := range charges {
		a.noteAsked(ruleNamed(charge.Rule.Name))
		grants[i].Unknown = f.State == verdict.Unknown
		if grants[i].Over = a.over[charge.Rule.Name]; grants[i].Over {
			grants[i].Wait = charge.Rule.Per * 1_000_000
		}
		if charge.Amount > charge.Burst {
			grants[i].Over, grants[i].Wait = true, rate.Never
		}
	}
	return grants
}

// LimitReached tells nobody.
func (a *assumed) LimitReached(notice.Event) {}

// Hold holds nothing.
func (a *assumed) Hold(quarantine.Item, []quarantine.Recipient, *scanners.Message) ([]string, error) {
	if a.without[noStore] {
		return nil, errors.New("it is assumed to be out of reach")
	}
	a.note("the quarantine's store is not asked here: it is assumed to take the message")
	return nil, nil
}

// ProbeReturned assumes that the probe has not come before.
func (a *assumed) ProbeReturned(p *seal.Probe, _ probe.Return) (first bool) {
	a.note("whether the probe %s came back before is not asked here: it is assumed to come for the first time, since a daemon drops no other", p.ID)
	return true
}

// ProbeBounced tells nobody.
func (a *assumed) ProbeBounced(*seal.Probe, probe.Bounce) {}

// Report notes what the daemon would write into its log.
func (a *assumed) Report(_ slog.Level, text string, _ ...slog.Attr) { a.note("%s", text) }

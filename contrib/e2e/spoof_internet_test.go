package e2e

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/authres"
	"github.com/emersion/go-msgauth/dkim"

	"coexistd/contrib/lab"
	"coexistd/policy"
)

// The clients in the Internet, by what usualSPF says of them.
const (
	spfPass     = lab.FromInternet
	spfFail     = "127.0.5.1"
	spfSoftFail = "127.0.6.1"
	spfNeutral  = "127.0.7.1"

	usualSPF = "v=spf1 ip4:" + spfPass + " ~ip4:" + spfSoftFail + " ?ip4:" + spfNeutral + " -all"
)

// The selectors of signatures, by what becomes of them.
const (
	selectorRSA     = "rsa"
	selectorEd25519 = "ed"
	selectorExpired = "old"  // the signature has expired
	selectorRevoked = "void" // the key is empty
	selectorMissing = "gone" // there is no key
	selectorDown    = "down" // the DNS fails
)

// dkimKeys are those of all domains, with their records.
type dkimKeys struct {
	signers map[string]crypto.Signer // by selector
	records map[string]string
}

var signingKeys = sync.OnceValues(func() (*dkimKeys, error) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		return nil, err
	}
	public, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	k := &dkimKeys{signers: map[string]crypto.Signer{}, records: map[string]string{}}
	rsaRecord := "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
	for selector, record := range map[string]string{
		selectorRSA: rsaRecord, selectorExpired: rsaRecord, selectorRevoked: "v=DKIM1; k=rsa; p=", selectorMissing: "", selectorDown: "",
	} {
		k.signers[selector], k.records[selector] = rsaKey, record
	}
	k.signers[selectorEd25519] = edKey
	k.records[selectorEd25519] = "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public)
	return k, nil
})

func dkimKeysFor(t *testing.T) *dkimKeys {
	t.Helper()
	k, err := signingKeys()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// publishKeys gives domains the keys that their signatures need, in a site's DNS.
func (s *site) publishKeys(domains ...string) {
	s.t.Helper()
	for selector, record := range dkimKeysFor(s.t).records {
		for _, domain := range domains {
			name := selector + "._domainkey." + domain
			if record != "" {
				s.DNS.Set(name, "TXT", record)
			}
			if selector == selectorDown {
				s.DNS.Fail(name, lab.DNSServFail)
			}
		}
	}
}

// tellDNS gives names in the DNS their records: a TXT record, or of another type when
// that stands before it and a colon, as "A:192.0.2.1".
func (s *site) tellDNS(records map[string]string) {
	for name, value := range records {
		kind := "TXT"
		if before, after, found := strings.Cut(value, ":"); found && slices.Contains([]string{"A", "MX", "CNAME"}, before) {
			kind, value = before, after
		}
		s.DNS.Set(name, kind, value)
	}
}

// dkimSigned puts signatures on top of a message, each as strict as DKIM can be. What
// they are to be is said with commas between them: "far.example" is a good one of
// that domain, "far.example/gone" one with that selector, and one behind a "!" is
// of another text.
func dkimSigned(t *testing.T, message []byte, signatures string, fields ...string) []byte {
	t.Helper()
	signed := message
	for one := range strings.SplitSeq(signatures, ",") {
		one = strings.TrimSpace(one)
		if one == "" {
			continue
		}
		domain, broken := strings.CutPrefix(one, "!")
		domain, selector, found := strings.Cut(domain, "/")
		if !found {
			selector = selectorRSA
		}
		options := &dkim.SignOptions{
			Domain: domain, Selector: selector, Signer: dkimKeysFor(t).signers[selector],
			HeaderKeys: append([]string{"From", "To", "Subject", "Date", "Message-Id"}, fields...),
		}
		if selector == selectorExpired {
			options.Expiration = time.Now().Add(-time.Hour)
		}
		text := message
		if broken {
			text = append(bytes.Clone(message), "one line more\r\n"...)
		}
		var b bytes.Buffer
		if err := dkim.Sign(&b, bytes.NewReader(text), options); err != nil {
			t.Fatalf("signing as %s: %v", one, err)
		}
		signature := b.Bytes()[:b.Len()-len(text)]
		signed = append(bytes.Clone(signature), signed...)
	}
	return signed
}

// senderCase is a message from the Internet, and what must become of it.
type senderCase struct {
	about        string // with the section of the RFC
	client       string
	sender, from string // envelope sender and From field
	signed       string // see dkimSigned
	// want is a verdict and what was found: "accept", "tag SPF", "reject DMARC",
	// "accept unknown".
	want string
	// results are those of Authentication-Results where the message arrives, the
	// values of SPF, of DMARC and of DKIM: "pass/fail/pass,fail". Empty: it has none.
	results string
}

// byProof are the replies to messages that are refused or put off, by what is found
// first.
var byProof = map[string]string{
	"SPF":                 "550 5.7.23",
	"DMARC":               "550 5.7.26",
	"own domain":          "550 5.7.26",
	"unreadable author":   "550 5.7.26", // since it names ours
	"several From fields": "550 5.6.0",
	"many authors":        "550 5.7.1",
	"tenant not proven":   "451 4.7.0",
	"unknown":             "451 4.3.0",

	"unreadable author, many authors": "550 5.7.1",
}

// judgedCase is a message that was handed in, until its arrival is looked at.
type judgedCase struct {
	senderCase
	message []byte
	to      string
}

// judge hands a message in and compares the reply and the line of the log. A
// recipient of its own makes the line known.
func (s *site) judge(m senderCase, message []byte) judgedCase {
	s.t.Helper()
	to := strings.ToLower("bob+" + rand.Text()[:12] + "@acmecorp.com")
	r := s.send(m.client, lab.Mail{From: m.sender, To: lab.To(to), Data: message})
	s.mustAnswer(m, r.Data)
	s.mustBeJudged(m, s.lineTo(to))
	return judgedCase{m, message, to}
}

// mustAnswer compares the reply to a message.
func (s *site) mustAnswer(m senderCase, reply lab.Reply) {
	s.t.Helper()
	verdict, name, _ := strings.Cut(m.want, " ")
	first, _, _ := strings.Cut(name, ", ")
	want := "250 2.0.0"
	if verdict == "reject" || verdict == "tempfail" {
		want = cmp.Or(byProof[name], byProof[first])
	}
	if got := code(reply); got != want {
		s.t.Errorf("%s: the reply is %v; it must be %s", m.about, reply, want)
	}
}

// mustBeJudged compares the line of the log of a message.
func (s *site) mustBeJudged(m senderCase, line logLine) {
	s.t.Helper()
	if got := outcomeOf(s.t, line); got != m.want {
		s.t.Errorf("%s: the outcome is %q; it must be %q. The log: %v", m.about, got, m.want, line)
	}
}

// lineTo waits for the log line of the message to a recipient.
func (s *site) lineTo(to string) logLine {
	s.t.Helper()
	return parseLogLine(s.t, s.waitDaemonLog(`msg=message .*<`+strings.NewReplacer("+", `\+`, ".", `\.`).Replace(to)+`>`))
}

// outcomeOf returns the verdict of a message and what the check spoof found.
func outcomeOf(t *testing.T, line logLine) string {
	t.Helper()
	_, found, made := strings.Cut("; "+line["findings"], "; spoof ")
	state, name, _ := strings.Cut(found, " ")
	switch {
	case !made:
		return line["verdict"] + " not checked"
	case state == "clean":
		return line["verdict"]
	case state == "hit":
		return line["verdict"] + " " + name
	case strings.Contains(found, "bears no proof of any tenant"):
		return line["verdict"] + " tenant not proven"
	}
	return line["verdict"] + " unknown"
}

// mustEnd waits until what was taken has arrived, and compares what became of each
// message: it arrives once, whole, with its tag and our results, or is held whole,
// or is nowhere.
func (s *site) mustEnd(all []judgedCase) {
	s.t.Helper()
	s.settle()
	for _, m := range all {
		verdict, _, _ := strings.Cut(m.want, " ")
		copies, arrivals := s.copies(m.message)
		var want []string
		if verdict == "accept" || verdict == "tag" {
			want = []string{"here " + m.to}
		}
		if !slices.Equal(arrivals, want) {
			s.t.Errorf("%s: it arrived at %q; it must arrive at %q", m.about, arrivals, want)
			continue
		}
		if held := len(s.held(m.message)); (verdict == "quarantine") != (held == 1) {
			s.t.Errorf("%s: there are %d entries in quarantine", m.about, held)
		}
		for _, copied := range copies["here"] {
			s.mustBeMarked(m, copied)
		}
	}
}

// mustBeMarked compares what was put on top of a message that arrived.
func (s *site) mustBeMarked(m judgedCase, copied []byte) {
	s.t.Helper()
	head, whole := bytes.CutSuffix(copied, m.message)
	if !whole && !s.keepsAuthors {
		// The author fields stand first, and are written anew.
		_, rest, _ := bytes.Cut(m.message, []byte("\r\nTo: "))
		head, whole = bytes.CutSuffix(copied, rest)
		head = bytes.TrimSuffix(head, []byte("To: "))
	}
	if !whole {
		s.t.Errorf("%s: the message was changed:\n%q\nwas\n%q", m.about, copied, m.message)
		return
	}
	fields := readFields(s.t, append(bytes.Clone(head), "\r\n"...))
	verdict, name, _ := strings.Cut(m.want, " ")
	var tags []string
	if verdict == "tag" {
		tags = []string{"spoof; " + name}
	}
	if got := fields[policy.TagHeader]; !slices.Equal(got, tags) {
		s.t.Errorf("%s: it has the tags %q; it must have %q", m.about, got, tags)
	}
	ours := fields["Authentication-Results"]
	if m.results == "" {
		if len(ours) > 0 {
			s.t.Errorf("%s: on top stand the results %q; nothing was asked", m.about, ours)
		}
		return
	}
	if len(ours) != 1 {
		s.t.Errorf("%s: on top stand the results %q; there must be one field", m.about, ours)
		return
	}
	if got := resultValues(s.t, ours[0]); got != m.results {
		s.t.Errorf("%s: the results are %q; they must be %q (%s)", m.about, got, m.results, ours[0])
	}
}

// readFields reads a header with another program's eyes.
func readFields(t *testing.T, head []byte) mail.Header {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(head))
	if err != nil {
		t.Fatalf("the header cannot be read: %v\n%q", err, head)
	}
	return m.Header
}

// resultValues takes a field of Authentication-Results apart, which must be ours:
// "SPF/DMARC/DKIM".
func resultValues(t *testing.T, value string) string {
	t.Helper()
	host, results, err := authres.Parse(value)
	if err != nil || host != "mail.acmecorp.com" {
		t.Errorf("the results are of %q: %q (%v)", host, value, err)
	}
	by := map[string][]string{}
	for _, one := range results {
		switch r := one.(type) {
		case *authres.SPFResult:
			by["spf"] = append(by["spf"], string(r.Value))
		case *authres.DMARCResult:
			by["dmarc"] = append(by["dmarc"], string(r.Value))
		case *authres.DKIMResult:
			by["dkim"] = append(by["dkim"], string(r.Value))
		default:
			t.Errorf("the results have %+v", one)
		}
	}
	return strings.Join(by["spf"], ",") + "/" + strings.Join(by["dmarc"], ",") + "/" + strings.Join(by["dkim"], ",")
}

// judgeAll hands all of the messages in and compares what becomes of each.
func (s *site) judgeAll(all []senderCase) {
	s.t.Helper()
	var done []judgedCase
	for _, m := range all {
		message := dkimSigned(s.t, lab.Plain(m.from, "bob@acmecorp.com", m.about), m.signed)
		done = append(done, s.judge(m, message))
	}
	s.mustEnd(done)
}

// dmarcZone are the domains of the Internet, each named for what its DMARC record
// says. usualSPF holds for all.
var dmarcZone = map[string]string{
	"quiet.example":      "",
	"none.example":       "v=DMARC1; p=none",
	"quarantine.example": "v=DMARC1; p=quarantine",
	"reject.example":     "v=DMARC1; p=reject; rua=mailto:reports@reject.example",
	"adkim.example":      "v=DMARC1; p=reject; adkim=s",
	"aspf.example":       "v=DMARC1; p=reject; aspf=s",
	"sp.example":         "v=DMARC1; p=none; sp=reject",
	"spnone.example":     "v=DMARC1; p=reject; sp=none",
	"own.sp.example":     "v=DMARC1; p=quarantine",
	"np.example":         "v=DMARC1; p=none; sp=none; np=reject",
	"npnone.example":     "v=DMARC1; p=reject; np=none",
	"sample.example":     "v=DMARC1; p=reject; pct=0",
	"sampleq.example":    "v=DMARC1; p=quarantine; pct=0",
	"unreadable.example": "v=DMARC1; p=perhaps",
	"a.co.uk":            "v=DMARC1; p=reject",
	"b.co.uk":            "",
	"esp.example":        "",
}

// startInternet starts a site whose DNS knows dmarcZone.
func startInternet(t *testing.T, c lab.SiteConfig) *site {
	t.Helper()
	s := startSite(t, c)
	for domain, record := range dmarcZone {
		s.DNS.Set(domain, "TXT", usualSPF)
		if record != "" {
			s.DNS.Set("_dmarc."+domain, "TXT", record)
		}
		s.publishKeys(domain)
	}
	return s
}

func TestSPFAndDKIMAndDMARCAreAskedOfTheDNSAndFollowed(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startInternet(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", "", neverReport)})
		s.publishKeys("mail.reject.example", "mail.adkim.example", "news.reject.example", "co.uk", "notreject.example")
		s.tellDNS(map[string]string{
			"bounce.reject.example": usualSPF, "bounce.aspf.example": usualSPF, "client.lab.test": usualSPF, "_dmarc.lab.test": "v=DMARC1; p=reject",
			"www.np.example": "A:192.0.2.1", "mail.np.example": "MX:10 mx.np.example",
			"include.example": "v=spf1 include:quiet.example -all", "redirect.example": "v=spf1 redirect=quiet.example",
			"hosts.example": "v=spf1 a:out.hosts.example mx -all", "out.hosts.example": "A:" + spfPass,
			"long.example":   "v=spf1" + strings.Repeat(" ip4:192.0.2.1", 200) + " ip4:" + spfPass + " -all",
			"errors.example": "v=spf1 ip4:none -all", "exists.example": "v=spf1 exists:%{ir}.%{l}.who.example -all",
			"1.3.0.127.x.who.example": "A:127.0.0.2",
			"_dmarc.long.example":     "v=DMARC1; p=reject", "_dmarc.hosts.example": "v=DMARC1; p=reject", "_dmarc.exists.example": "v=DMARC1; p=reject",
			"_dmarc.include.example": "v=DMARC1; p=reject", "_dmarc.redirect.example": "v=DMARC1; p=reject", "_dmarc.errors.example": "v=DMARC1; p=reject",
			// A key at another's: what a mailing service asks its customers for.
			"rsa._domainkey.alias.example": "CNAME:rsa._domainkey.esp.example", "_dmarc.alias.example": "v=DMARC1; p=reject",
		})
		s.DNS.Set("_dmarc.two.example", "TXT", "v=DMARC1; p=reject", "v=DMARC1; p=quarantine")
		const reject, quarantine, none, quiet, esp = "x@reject.example", "x@quarantine.example", "x@none.example", "x@quiet.example", "x@esp.example"
		s.judgeAll([]senderCase{
			// Alignment.
			{"RFC 7489 3.1: both pass", spfPass, reject, reject, "reject.example", "accept", "pass/pass/pass"},
			{"RFC 7489 3.1.1: DKIM alone", spfFail, reject, reject, "reject.example", "accept", "fail/pass/pass"},
			{"RFC 8463 3: DKIM alone, Ed25519", spfFail, reject, reject, "reject.example/ed", "accept", "fail/pass/pass"},
			{"RFC 7489 3.1.2: SPF alone", spfPass, reject, reject, "", "accept", "pass/pass/none"},
			{"RFC 7489 3.1.2: SPF, and a signature that is broken", spfPass, reject, reject, "!reject.example", "accept", "pass/pass/fail"},
			{"RFC 7489 3.1.1: relaxed DKIM of a subdomain", spfPass, esp, reject, "mail.reject.example", "accept", "pass/pass/pass"},
			{"RFC 7489 3.1.1: relaxed DKIM of the domain above", spfPass, esp, "x@deep.reject.example", "reject.example", "accept", "pass/pass/pass"},
			{"RFC 7489 3.1.1: relaxed DKIM of a sibling", spfPass, esp, "x@deep.reject.example", "news.reject.example", "accept", "pass/pass/pass"},
			{"RFC 7489 3.1.1: strict DKIM of a subdomain", spfPass, esp, "x@adkim.example", "mail.adkim.example", "reject DMARC", ""},
			{"RFC 7489 3.1.1: strict DKIM of the same", spfPass, esp, "x@adkim.example", "adkim.example", "accept", "pass/pass/pass"},
			{"RFC 7489 3.1.2: strict DKIM leaves SPF relaxed", spfPass, "x@adkim.example", "x@adkim.example", "", "accept", "pass/pass/none"},
			{"RFC 7489 3.1.2: relaxed SPF of a subdomain", spfPass, "x@bounce.reject.example", reject, "", "accept", "pass/pass/none"},
			{"RFC 7489 3.1.2: strict SPF of a subdomain", spfPass, "x@bounce.aspf.example", "x@aspf.example", "", "reject DMARC", ""},
			{"RFC 7489 3.1.2: strict SPF of the same", spfPass, "x@aspf.example", "x@aspf.example", "", "accept", "pass/pass/none"},
			{"RFC 7489 3.1: both pass for another", spfPass, esp, reject, "esp.example", "reject DMARC", ""},
			{"RFC 7489 3.2: two domains below a public suffix", spfPass, "x@b.co.uk", "x@a.co.uk", "b.co.uk", "reject DMARC", ""},
			{"RFC 7489 3.2: a signature of a public suffix", spfPass, esp, "x@a.co.uk", "co.uk", "reject DMARC", ""},
			{"RFC 7489 3.2: a name that ends like the author's", spfPass, esp, reject, "notreject.example", "reject DMARC", ""},
			{"RFC 7489 6.6.2: one signature of three", spfFail, esp, reject, "!reject.example, esp.example, reject.example", "accept", "fail/pass/pass,pass,fail"},
			{"RFC 7489 6.6.2: none of three", spfFail, esp, reject, "!reject.example, esp.example, reject.example/gone", "reject DMARC", ""},
			{"RFC 7489 4.1: HELO of the null sender", spfPass, "", "x@lab.test", "", "accept", "pass/pass/none"},
			{"RFC 7489 4.1: HELO of the null sender, another client", spfFail, "", "x@lab.test", "", "reject DMARC", ""},
			{"RFC 7208 2.4: HELO is not asked for another sender", spfPass, esp, "x@lab.test", "", "reject DMARC", ""},
			// Signatures that prove nothing.
			{"RFC 6376 6.1.1: an expired signature", spfFail, esp, reject, "reject.example/old", "reject DMARC", ""},
			{"RFC 6376 6.1.2: a key that is revoked", spfFail, esp, reject, "reject.example/void", "reject DMARC", ""},
			{"RFC 6376 6.1.2: a key that is not there", spfFail, esp, reject, "reject.example/gone", "reject DMARC", ""},
			{"RFC 6376 6.1.3: another body", spfFail, esp, reject, "!reject.example", "reject DMARC", ""},
			{"RFC 6376 3.6.2.1: a key behind an alias", spfFail, esp, "x@alias.example", "alias.example", "accept", "fail/pass/pass"},
			// SPF.
			{"RFC 7208 2.6.3: softfail is no pass", spfSoftFail, reject, reject, "", "reject DMARC", ""},
			{"RFC 7208 2.6.2: neutral is no pass", spfNeutral, reject, reject, "", "reject DMARC", ""},
			{"RFC 7208 5.2: include", spfPass, "x@include.example", "x@include.example", "", "accept", "pass/pass/none"},
			{"RFC 7208 5.2: include, another client", spfFail, "x@include.example", "x@include.example", "", "reject DMARC", ""},
			{"RFC 7208 6.1: redirect", spfPass, "x@redirect.example", "x@redirect.example", "", "accept", "pass/pass/none"},
			{"RFC 7208 5.3: a", spfPass, "x@hosts.example", "x@hosts.example", "", "accept", "pass/pass/none"},
			{"RFC 7208 3.4: a record for which UDP is too small", spfPass, "x@long.example", "x@long.example", "", "accept", "pass/pass/none"},
			{"RFC 7208 5.7: exists with macros", spfPass, "x@exists.example", "x@exists.example", "", "accept", "pass/pass/none"},
			{"RFC 7208 5.7: exists with macros, another local part", spfPass, "y@exists.example", "y@exists.example", "", "reject DMARC", ""},
			{"RFC 7208 2.6.7: a record that cannot be read", spfPass, "x@errors.example", "x@errors.example", "", "reject DMARC", ""},
			// The policy.
			{"RFC 7489 6.3: p=none", spfFail, none, none, "!none.example", "accept", "fail/fail/fail"},
			{"RFC 7489 6.3: p=quarantine", spfFail, quarantine, quarantine, "", "quarantine DMARC", ""},
			{"RFC 7489 6.3: p=quarantine, signed", spfFail, quarantine, quarantine, "quarantine.example", "accept", "fail/pass/pass"},
			{"RFC 7489 6.3: p=reject", spfFail, reject, reject, "", "reject DMARC", ""},
			{"RFC 7489 6.3: sp below", spfPass, esp, "x@a.sp.example", "", "reject DMARC", ""},
			{"RFC 7489 6.3: sp is not for the domain itself", spfPass, esp, "x@sp.example", "", "accept", "pass/fail/none"},
			{"RFC 7489 6.3: sp milder below", spfPass, esp, "x@a.spnone.example", "", "accept", "pass/fail/none"},
			{"RFC 7489 6.3: without sp, p holds below", spfPass, esp, "x@a.quarantine.example", "", "quarantine DMARC", ""},
			{"RFC 7489 6.6.3: a record of the subdomain's own", spfPass, esp, "x@own.sp.example", "", "quarantine DMARC", ""},
			{"RFC 9091 3.2: np of what does not exist", spfPass, esp, "x@nowhere.np.example", "", "reject DMARC", ""},
			{"RFC 9091 3.2: np is not for what has an address", spfPass, esp, "x@www.np.example", "", "accept", "pass/fail/none"},
			{"RFC 9091 3.2: np is not for what has an MX", spfPass, esp, "x@mail.np.example", "", "accept", "pass/fail/none"},
			{"RFC 9091 3.2: np milder than p", spfPass, esp, "x@nowhere.npnone.example", "", "accept", "pass/fail/none"},
			{"RFC 7489 6.6.4: sampled out of reject", spfPass, esp, "x@sample.example", "", "quarantine DMARC", ""},
			{"RFC 7489 6.6.4: sampled out of quarantine", spfPass, esp, "x@sampleq.example", "", "accept", "pass/fail/none"},
			{"RFC 7489 6.6.3: two records are none", spfPass, esp, "x@two.example", "", "accept", "pass/none/none"},
			{"RFC 7489 6.6.3: a record that cannot be read", spfPass, esp, "x@unreadable.example", "", "accept", "pass/permerror/none"},
			// No policy.
			{"RFC 7489 6.6.3: no record, all pass", spfPass, quiet, quiet, "quiet.example", "accept", "pass/none/pass"},
			{"RFC 7208 8.4: fail, no record", spfFail, quiet, quiet, "", "tag SPF", "fail/none/none"},
			{"RFC 7208 8.4: fail, but signed by the author", spfFail, quiet, quiet, "quiet.example", "accept", "fail/none/pass"},
			{"RFC 7208 8.4: fail, and signed by another", spfFail, quiet, quiet, "esp.example", "tag SPF", "fail/none/pass"},
			{"RFC 7208 8.5: softfail, no record", spfSoftFail, quiet, quiet, "", "accept", "softfail/none/none"},
			{"RFC 7208 8.2: neutral, no record", spfNeutral, quiet, quiet, "", "accept", "neutral/none/none"},
			{"RFC 7208 8.1: nothing is published at all", spfPass, "x@empty.example", "x@empty.example", "", "accept", "none/none/none"},
		})
	})
}

func TestTheAdministratorMayFollowPoliciesMilderThanPublished(t *testing.T) {
	t.Parallel()
	toml := func(more string) string { return checkedTOML("", "", neverReport, "[check.spoof]", more) }
	s := startInternet(t, lab.SiteConfig{TOML: toml("")})
	const reject, quarantine, quiet = "x@reject.example", "x@quarantine.example", "x@quiet.example"
	for _, c := range []struct {
		settings                               string
		onReject, onQuarantine, onQuiet, onOwn string
		ownResults                             string
	}{
		{`dmarc = "quarantine"`, "quarantine DMARC", "quarantine DMARC", "tag SPF", "reject own domain", ""},
		{`dmarc = "tag"`, "tag DMARC", "tag DMARC", "tag SPF", "reject own domain", ""},
		{`dmarc = "accept"`, "accept", "accept", "tag SPF", "reject own domain", ""},
		{`spf = "accept"`, "reject DMARC", "quarantine DMARC", "accept", "reject own domain", ""},
		{`spf = "quarantine"`, "reject DMARC", "quarantine DMARC", "quarantine SPF", "reject own domain", ""},
		{`spf = "reject"`, "reject DMARC", "quarantine DMARC", "reject SPF", "reject own domain", ""},
		{`on_hit = "quarantine"`, "quarantine DMARC", "quarantine DMARC", "tag SPF", "quarantine own domain", ""},
		{`on_hit = "tag"`, "tag DMARC", "tag DMARC", "tag SPF", "tag own domain", "fail/none/none"},
		{`on_hit = "accept"`, "accept DMARC", "accept DMARC", "accept SPF", "accept own domain", "fail/none/none"},
	} {
		s.configure(toml(c.settings))
		s.judgeAll([]senderCase{
			{c.settings + ", p=reject", spfFail, reject, reject, "!reject.example", c.onReject, "fail/fail/fail"},
			{c.settings + ", p=quarantine", spfFail, quarantine, quarantine, "", c.onQuarantine, "fail/fail/none"},
			{c.settings + ", no policy", spfFail, quiet, quiet, "", c.onQuiet, "fail/none/none"},
			{c.settings + ", our own", spfFail, "x@esp.example", "bob@acmecorp.com", "", c.onOwn, c.ownResults},
		})
	}
}

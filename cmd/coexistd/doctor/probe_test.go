package doctor

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"coexistd/cmd/coexistd/control"
	"coexistd/contrib/lab"
	"coexistd/milter/ownmail"
	"coexistd/policy"
	"coexistd/policy/config"
	"coexistd/policy/networks"
	"coexistd/policy/route"
	"coexistd/policy/seal"
	"coexistd/policy/tenant"
)

// newTestProber has acmecorp.com with a probe of Office 365.
func newTestProber() *prober {
	rules := &policy.Rules{
		Hostname: "mail.acmecorp.com", Tenants: tenant.Rules{"office365": {Tenant: "x"}, "google": {Header: "X-Proof"}},
		OurNetworks: networks.SetOf(netip.MustParsePrefix("127.0.0.0/8")),
		Routes: route.Rules{
			Platforms: []*route.Platform{{Name: "office365", Letter: "O"}, {Name: "google", Letter: "G"}},
			Domains:   map[string]*route.Domain{"acmecorp.com": {Name: "acmecorp.com", Alternates: map[string]string{"office365": "acmecorp-com.onmicrosoft.com"}}},
		},
	}
	conf := &config.Config{Path: "coexistd.toml", Rules: rules, Probe: &config.Probe{
		From: "probe@acmecorp.com", To: []config.ProbeTo{{Platform: "office365", Address: "there@acmecorp.com"}}, Wait: time.Minute,
	}}
	return &prober{conf: conf, post: ownmail.Post{MTA: "127.0.0.1:25", Hostname: "mail.acmecorp.com"}}
}

func TestWhatBecameOfAProbeIsToldWithItsRemedy(t *testing.T) {
	p := newTestProber()
	start := time.Unix(1_700_000_000, 0)
	back := func(r control.ProbeReturn) control.Probe {
		r.When, r.Client = start.Add(1500*time.Millisecond), "40.92.1.2"
		return control.Probe{Return: &r}
	}
	office := []string{"office365"}
	for _, c := range []struct {
		about, platform string
		one             probed
		status          string
		words           []string
	}{
		{"proven", "office365", probed{answer: back(control.ProbeReturn{Point: "S1", Platform: "office365", Proof: "the proof", TLS: "TLSv1.3", Certificate: "mail.example"})}, OK,
			[]string{"S2=>S4=>O1=>O3=>S1: the probe came back from office365 in 1.5 s, as S1: the proof; by TLSv1.3, with the certificate of mail.example"}},
		{"without a certificate", "office365", probed{answer: back(control.ProbeReturn{Point: "S1", Platform: "office365", TLS: "TLSv1.2"})}, OK, []string{"by TLSv1.2, without a certificate that the MTA trusts"}},
		{"as another's", "office365", probed{answer: back(control.ProbeReturn{Point: "S1", Platform: "google", Candidates: office, Proof: "its proof"})}, Fail, []string{"but as mail of google: its proof"}},
		{"without proof", "office365", probed{answer: back(control.ProbeReturn{Point: "S0", Candidates: office, Proof: "it lacks one"})}, Fail, []string{"as S0: it lacks one; without TLS", "add a secret header", "platform.office365 in coexistd.toml"}},
		{"without the proof that is configured", "google", probed{answer: back(control.ProbeReturn{Point: "S0", Candidates: []string{"google"}, Proof: "it lacks one"})}, Fail, []string{"S2=>S4=>G1=>G3=>S1", "see that the rule over there adds X-Proof"}},
		{"from unknown addresses", "office365", probed{answer: back(control.ProbeReturn{Point: "S0", Entered: "a stranger"})}, Fail, []string{"as S0: a stranger", "add 40.92.1.2, or the list that has it, to networks of platform.office365"}},
		{"as ours", "office365", probed{answer: back(control.ProbeReturn{Point: "S2", Entered: "it is in our_networks"})}, Fail, []string{"as S2, since it is in our_networks", "out of our_networks"}},
		{"unforwarded", "office365", probed{answer: back(control.ProbeReturn{Point: "S1", Unforwarded: true})}, Fail, []string{"mail for it goes round", "make a mailbox of there@acmecorp.com over there"}},
		{"bounced over there", "office365", probed{answer: control.Probe{Bounce: &control.ProbeBounce{Final: true, Status: "5.7.520", Diagnosis: "smtp; 550 5.7.520 no"}}}, Fail, []string{"bounced: 5.7.520 smtp; 550 5.7.520 no", "let automatic forwarding"}},
		{"bounced without a word", "office365", probed{answer: control.Probe{Bounce: &control.ProbeBounce{Final: true}}}, Fail, []string{"the bounce does not say why", "contrib/docs/probe.md"}},
		{"bounced here", "office365", probed{fate: fate{bounced, "status=bounced (host x said: 550 5.7.64 TenantAttribution)"}}, Fail, []string{"the MTA could not deliver the probe for there@acmecorp.com", "inbound connector"}},
		{"late", "office365", probed{answer: control.Probe{Bounce: &control.ProbeBounce{Status: "4.4.1"}}}, Fail, []string{"nothing came back from office365 within 1m0s; a notice says that it is late: 4.4.1"}},
		{"broken off", "office365", probed{brokenOff: true, refused: os.ErrClosed}, Warn, []string{"the wait for the probe for there@acmecorp.com was broken off before it was known", "run it again"}},
		{"deferred, and broken off", "office365", probed{brokenOff: true, fate: fate{deferred, "status=deferred (no)"}}, Warn, []string{"broken off", "the MTA's log says deferred"}},
		{"deferred", "office365", probed{fate: fate{deferred, "status=deferred (no)"}}, Fail, []string{"nothing came back", "the MTA's log says deferred: status=deferred (no)"}},
		{"silence", "office365", probed{}, Fail, []string{"nothing came back from office365 within 1m0s", "look for the Message-Id probe.abc@mail.acmecorp.com", "the mailbox of probe@acmecorp.com"}},
		{"unasked", "office365", probed{unasked: os.ErrDeadlineExceeded}, Fail, []string{"cannot be told"}},
		{"refused", "office365", probed{refused: os.ErrClosed}, Fail, []string{"the MTA at 127.0.0.1:25 does not take the probe"}},
		{"here", "", probed{answer: back(control.ProbeReturn{Point: "S2", Unforwarded: true})}, OK, []string{"S2: the milter of the MTA at 127.0.0.1:25 knew a probe again"}},
		{"not seen here", "", probed{}, Fail, []string{"did not see the probe within 1m0s: it asks another daemon, or none"}},
	} {
		one := c.one
		one.to, one.way = "there@acmecorp.com", route.Way{{Side: "S", Number: 2}}
		if one.platform = p.conf.Rules.Routes.Platform(c.platform); one.platform != nil {
			one.way = thereAndBack(one.platform)
		}
		one.letter = ownmail.Letter{Kind: "probe", Date: start, Probe: &seal.Probe{ID: "abc"}}
		f := p.judge(&one)
		for _, w := range c.words {
			if f.Status != c.status || !strings.Contains(f.Found+"\n"+f.Remedy, w) {
				t.Errorf("%s: it is told as %+v; it must be %s with %q", c.about, f, c.status, w)
			}
		}
		if (f.Remedy == "") != (f.Status == OK) {
			t.Errorf("%s: the remedy is %q", c.about, f.Remedy)
		}
	}
}

func TestARemedyGoesByTheWholeCode(t *testing.T) {
	for answer, want := range map[string]string{
		"550 5.7.64 TenantAttribution; Relay Access Denied": "inbound connector of type",
		"smtp;550-5.7.520 Access denied":                    "automatic forwarding",
		"(in reply) 550 [5.1.10].":                          "make the mailbox",
		"554 5.4.14 Hop count exceeded":                     "goes round",
		"550 5.7.640":                                       "see what the answer says",
		"host 5.5.7.64":                                     "see what the answer says",
		"451 4.7.64":                                        "see what the answer says",
		"":                                                  "see what the answer says",
	} {
		if got := remedyOf(answer); !strings.Contains(got, want) {
			t.Errorf("for %q there is the remedy %q; right is %q", answer, got, want)
		}
	}
}

func TestTheLogTellsWhatBecameOfAMessage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.log")
	add := func(text string) {
		file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		fmt.Fprint(file, text)
	}
	add("Nov 29 13:00:00 mx postfix/cleanup[1]: 0A1B2C3D4E: message-id=<probe.a@mail>\n")
	log, err := OpenMailLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	log.watch("probe.a@mail")
	log.watch("probe.b@mail")
	add("Nov 29 13:00:00 mx postfix/smtp[1]: 0A1B2C3D4E: to=<x>, dsn=5.0.0, status=bounced (of before)\n")
	if got := log.fateOf("probe.a@mail"); got != (fate{}) {
		t.Errorf("of what was written before there is told %+v", got)
	}
	add("Nov 29 13:00:00 mx postfix/cleanup[1]: 4c1XyZ2abcz1: message-id=<probe.a@mail>\n" +
		"Nov 29 13:00:00 mx postfix/cleanup[1]: 5C1D: message-id=<other@mail>\nrubbish\n\n" +
		"Nov 29 13:00:01 mx postfix/smtp[1]: 4c1XyZ2abcz1: to=<x>, relay=h[1]:25, dsn=4.7.1, status=deferred (host h said: 450 4.7.1 la")
	if got := log.fateOf("probe.a@mail"); got.state != "" {
		t.Errorf("of half a line there is told %+v", got)
	}
	add("ter)\n")
	if got := log.fateOf("probe.a@mail"); got != (fate{deferred, "status=deferred (host h said: 450 4.7.1 later)"}) {
		t.Errorf("of a deferred message there is told %+v", got)
	}
	add("Nov 29 13:00:02 mx postfix/smtp[1]: 4c1XyZ2abcz1: to=<x>, dsn=5.7.64, status=bounced (host h said: 550 5.7.64 no)\n" +
		"Nov 29 13:00:02 mx sm-mta[2]: 6ATDIfMC000025: from=<p>, msgid=<probe.b@mail>, relay=localhost\n" +
		"Nov 29 13:00:02 mx sm-mta[2]: 6ATDIfMC000025: to=<x>, mailer=esmtp, dsn=2.0.0, stat=Sent (ok)\n")
	if got := log.fateOf("probe.a@mail"); got.state != bounced || !strings.Contains(got.text, "550 5.7.64 no") {
		t.Errorf("of a bounced message there is told %+v", got)
	}
	if got := log.fateOf("probe.b@mail"); got != (fate{sent, "stat=Sent (ok)"}) {
		t.Errorf("of Sendmail's there is told %+v", got)
	}
	if got := log.fateOf("other@mail"); got != (fate{}) {
		t.Errorf("of a message that nobody asked for there is told %+v", got)
	}
}

func TestALogIsFollowedWhereItIsRotatedOrCut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.log")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	entry := func(id, what string) string {
		return "mx postfix/cleanup[1]: 4c1XyZ2abcz1: message-id=<" + id + ">\nmx postfix/smtp[1]: 4c1XyZ2abcz1: to=<x>, dsn=" + what + "\n"
	}
	write(path, strings.Repeat("old\n", 100))
	log, err := OpenMailLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for _, id := range []string{"a", "b", "c"} {
		log.watch(id)
	}
	told := func(about, id string, want fate) {
		t.Helper()
		if got := log.fateOf(id); got != want {
			t.Errorf("%s: it tells %+v, not %+v", about, got, want)
		}
	}
	rotated, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer rotated.Close()
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	told("while there is no new one", "a", fate{})
	write(path, "")
	fmt.Fprint(rotated, entry("a", "2.0.0, status=sent (ok)"))
	told("in the old one, while the new one is empty", "a", fate{sent, "status=sent (ok)"})
	fmt.Fprint(rotated, entry("b", "5.1.1, status=bounced (no)"))
	write(path, entry("c", "4.7.1, status=deferred (later)"))
	told("in the new one", "c", fate{deferred, "status=deferred (later)"})
	told("at the end of the old one", "b", fate{bounced, "status=bounced (no)"})
	write(path, entry("c", "2.0.0, status=sent (x)")[:10])
	told("where it was cut", "c", fate{deferred, "status=deferred (later)"})
	write(path, entry("c", "2.0.0, status=sent (x)"))
	told("where it was cut and written anew", "c", fate{sent, "status=sent (x)"})
	if err := errors.Join(os.Remove(path), os.MkdirAll(filepath.Join(path, "x"), 0o700)); err != nil {
		t.Fatal(err)
	}
	log.fateOf("c")
	if lost := log.lostTo(); lost == nil || !strings.Contains(lost.Error(), "is a folder") {
		t.Errorf("of a new one that cannot be read it says %v", lost)
	}
}

func TestALogMustBeARegularFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if log, err := OpenMailLog(path); err == nil || log != nil || err.Error() != path+" is a FIFO, not a regular file" {
		t.Errorf("of a FIFO it says %v, %v", log, err)
	}
}

func TestALogThatIsNamedMustBeThere(t *testing.T) {
	if log, err := OpenMailLog(filepath.Join(t.TempDir(), "none")); err == nil || log != nil {
		t.Errorf("got %v, %v", log, err)
	}
	var none *MailLog
	none.watch("x")
	if none.fateOf("x") != (fate{}) {
		t.Error("no log tells something")
	}
	none.Close()
}

func TestTheMXIsAskedUpToRCPT(t *testing.T) {
	dns, err := lab.StartDNS()
	if err != nil {
		t.Fatal(err)
	}
	defer dns.Close()
	var reply *lab.Reply
	sink, err := lab.StartSink(lab.SinkConfig{Refuse: func(string) *lab.Reply { return reply }})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	p := newTestProber()
	p.conf.Resolver = []string{dns.Addr}
	address, port, err := net.SplitHostPort(sink.Addr())
	if err != nil {
		t.Fatal(err)
	}
	p.port = port
	dns.Set("mx.acmecorp.com", "A", address)
	dns.Set("away.acmecorp.com", "A", "127.91.17.204")
	for _, c := range []struct {
		about  string
		mx     []string
		reply  *lab.Reply
		status string
		words  string
	}{
		{"none", nil, nil, Fail, "acmecorp.com has no MX"},
		{"takes it", []string{"10 mx.acmecorp.com."}, nil, OK, "mx.acmecorp.com, takes mail for probe@acmecorp.com from this host (no message was sent)"},
		{"the second takes it", []string{"20 mx.acmecorp.com.", "10 away.acmecorp.com.", "15 nowhere.acmecorp.com."}, nil, OK, "mx.acmecorp.com, takes mail"},
		{"refuses it", []string{"10 mx.acmecorp.com."}, &lab.Reply{Code: 550, Enhanced: "5.4.1", Text: "no such"}, Fail, "refuses mail for probe@acmecorp.com from this host: 550 5.4.1 no such"},
		{"puts it off", []string{"10 mx.acmecorp.com."}, &lab.Reply{Code: 450, Enhanced: "4.7.1", Text: "greylisted"}, Warn, "off: 450 4.7.1 greylisted"},
		{"is away", []string{"10 away.acmecorp.com."}, nil, Warn, "cannot be spoken with from this host: away.acmecorp.com:"},
		{"takes none", []string{"0 ."}, nil, Fail, "acmecorp.com says by its MX that it takes no mail"},
		{"has no address", []string{"10 nowhere.acmecorp.com."}, nil, Warn, "nowhere.acmecorp.com: no address is known"},
	} {
		if reply = c.reply; c.mx != nil {
			dns.Set("acmecorp.com", "MX", c.mx...)
		}
		findings := p.askMX(t.Context())
		if len(findings) != 1 || findings[0].Status != c.status || !strings.Contains(findings[0].Found, c.words) {
			t.Errorf("%s: it is told as %+v; it must be %s with %q", c.about, findings, c.status, c.words)
		}
	}
	if n := len(sink.All()); n != 0 {
		t.Errorf("%d messages were sent", n)
	}
}

func TestNothingIsProbedWhereItCouldNotComeBack(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("users.csv", "address,residence,login\nprobe@acmecorp.com,office365,\nthere@acmecorp.com,here,there\n")
	usual := "state_dir = \"" + dir + "\"\n[[listen]]\naddress = \"unix:" + dir + "/m\"\n[platform.office365]\n[domain.\"acmecorp.com\"]\ndirectory = \"users.csv\"\nalternate = { office365 = \"acmecorp-com.onmicrosoft.com\" }\n"
	probes := "[probe]\nfrom = \"probe@acmecorp.com\"\naddresses = { office365 = \"there@acmecorp.com\" }\n"
	tell := func(toml string) string {
		var all []string
		for _, f := range Probe(t.Context(), write("coexistd.toml", toml), nil) {
			if f.Subject != Probes || f.Status != Fail {
				t.Errorf("the finding is %+v", f)
			}
			all = append(all, f.Found+"; "+f.Remedy)
		}
		return strings.Join(all, "\n")
	}
	for _, c := range []struct{ about, toml, want string }{
		{"a mistake", usual + "x = 1\n", "while the configuration has mistakes"},
		{"no section", usual, "has no [probe]; add [probe] with from"},
		{"no key", usual + probes, "probes cannot be signed: there is no key at"},
	} {
		if got := tell(c.toml); !strings.Contains(got, c.want) {
			t.Errorf("%s: it is told %q; it must be %q", c.about, got, c.want)
		}
	}
	write("secret.key", strings.Repeat("k", 32))
	for _, want := range []string{
		"from of [probe] is probe@acmecorp.com, and the directory says that it lives at office365; have it live here in the directory",
		"addresses.office365 of [probe] is there@acmecorp.com, and the directory says that it lives here; have it live at office365 in the directory",
	} {
		if got := tell(usual + probes); !strings.Contains(got, want) {
			t.Errorf("it is told %q; it must be %q", got, want)
		}
	}
	write("users.csv", "address,residence,login\nthere@acmecorp.com,office365,\n")
	if got := tell(usual + probes); !strings.Contains(got, "and the directory of acmecorp.com lacks") || strings.Contains(got, "addresses.office365") {
		t.Errorf("it is told %q", got)
	}
}

package setup_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coexistd/cmd/coexistd/setup"
	"coexistd/policy/networks"
)

// run applies a guide to the folder of a site whose Sendmail does not run.
func run(t *testing.T, guide setup.Guide) {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{"systemctl", "coexistd", "make"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-e")
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	cmd.Stdin = strings.NewReader(written(guide))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, written(guide))
	}
}

// replaceIn changes a file.
func replaceIn(t *testing.T, path string, oldnew ...string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(strings.NewReplacer(oldnew...).Replace(string(text))), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheGuideForSendmailOpensNoListenerWhoseNameOnlyBeginsAlike(t *testing.T) {
	t.Parallel()
	// Sendmail tells options by their first letters, and the order of these is free.
	const others = "DAEMON_OPTIONS(`Family=inet,  Name=MTA-v4-RX, Port=10025, Addr=127.0.0.1, InputMailFilters=')dnl\n" +
		"DAEMON_OPTIONS(`Addr=127.0.0.1, Name=XMTA-v4, Port=10026')dnl\nDAEMON_OPTIONS(`Name=M.A+v4, Port=10027, Addr=127.0.0.1')dnl\n"
	for _, line := range [...]struct{ mta, opened string }{
		{"DAEMON_OPTIONS(`Family=inet,  Name=MTA-v4, Port=smtp, Addr=127.0.0.1')dnl", "DAEMON_OPTIONS(`Family=inet,  Name=MTA-v4, Port=smtp')dnl"},
		{"DAEMON_OPTIONS(`A=127.0.0.1, N=MTA-v4 , Port=smtp')dnl", "DAEMON_OPTIONS(`N=MTA-v4 , Port=smtp')dnl"},
		{"DAEMON_OPTIONS(`Address=127.0.0.1,Port=smtp,name= MTA-v4')dnl", "DAEMON_OPTIONS(`Port=smtp,name= MTA-v4')dnl"},
	} {
		h := sendmailHost{site: "hybrid-onmicrosoft", cf: "O DaemonPortOptions=Family=inet, Name=MTA-v4-RX, Port=10025, Addr=127.0.0.1\n" +
			"O DaemonPortOptions=Addr=127.0.0.1, Name=XMTA-v4, Port=10026\nO DaemonPortOptions=Name=M.A+v4, Port=10027, Addr=127.0.0.1\n"}
		site := h.survey(t)
		mc := filepath.Join(filepath.Dir(site.Sendmail.Path), "sendmail.mc")
		replaceIn(t, mc, "DAEMON_OPTIONS(`Family=inet,  Name=MTA-v4, Port=smtp, Addr=127.0.0.1')dnl", others+line.mta)
		site.SurveySendmail(site.Sendmail.Path)
		guide, err := setup.Make("sendmail", site, false)
		if err != nil {
			t.Fatal(err)
		}
		site.Sendmail.HasDovecot = false
		run(t, guide)
		text, err := os.ReadFile(mc)
		if err != nil || !strings.Contains(string(text), others+line.opened+"\n") {
			t.Errorf("%v; sendmail.mc has\n%s\nand shall have\n%s", err, text, others+line.opened)
		}
	}
}

func TestTheGuideForSendmailStopsBesideAnotherFilterThatLeadsToCoexistd(t *testing.T) {
	t.Parallel()
	site := sendmailHost{site: "hybrid-onmicrosoft", cf: "Xpolicy, S=inet:8701@127.0.0.1, F=\n"}.survey(t)
	if _, err := setup.Make("sendmail", site, false); err == nil || !strings.Contains(err.Error(), "the filter policy (F=)") {
		t.Errorf("the error is %v", err)
	}
	guide, err := setup.Make("sendmail", site, true)
	if err != nil || !strings.Contains(strings.ReplaceAll(written(guide), "\n# ", " "), "leads to coexistd by another name, before coexistd is stopped: policy.") {
		t.Errorf("%v; the guide to take back is\n%s", err, written(guide))
	}
}

func TestTheGuideForSendmailRefusesWhatTheShellOrM4WouldMisread(t *testing.T) {
	t.Parallel()
	site := sendmailHost{site: "hybrid-onmicrosoft", toml: "[[listen]]\naddress = \"unix:/run/co'exist,d.sock\"\ncheckpoint = \"S2\"\n"}.survey(t)
	if _, err := setup.Make("sendmail", site, false); err == nil || !strings.Contains(err.Error(), "has the address \"unix:/run/co'exist,d.sock\"") {
		t.Errorf("the error is %v", err)
	}
	site = sendmailHost{site: "hybrid-onmicrosoft"}.survey(t)
	odd := filepath.Join(t.TempDir(), "it's `mail'")
	if err := os.Rename(filepath.Dir(site.Sendmail.Path), odd); err != nil {
		t.Fatal(err)
	}
	site.SurveySendmail(filepath.Join(odd, "sendmail.cf"))
	if _, err := setup.Make("sendmail", site, false); err == nil || !strings.Contains(err.Error(), "characters that the shell, sed or m4") {
		t.Errorf("the error is %v", err)
	}
}

func TestTheGuideForSendmailNamesWholePaths(t *testing.T) {
	site := sendmailHost{site: "hybrid-onmicrosoft"}.survey(t)
	dir := filepath.Dir(site.Sendmail.Path)
	t.Chdir(dir)
	site.SurveySendmail("sendmail.cf")
	guide, err := setup.Make("sendmail", site, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"include(`" + dir + "/coexistd.mc')", "make -C " + dir, "\ncd " + dir + "\n", "touch " + dir + "/sendmail.mc", ">> " + dir + "/local-host-names"} {
		if !strings.Contains(strings.ReplaceAll(written(guide), `'\''`, "'"), want) {
			t.Errorf("the guide lacks %q:\n%s", want, written(guide))
		}
	}
}

// manyDomains is a further part of a configuration: domains in numbers, and one that m4 knows.
func manyDomains(count int) (toml string, names []string) {
	var text strings.Builder
	for i := range count {
		names = append(names, fmt.Sprintf("a-shared-domain-with-a-long-name-%d.example.com", i))
	}
	for _, name := range append(names, "dnl.example.org", "my-divert.example.org") {
		fmt.Fprintf(&text, "\n[domain.%q]\ndirectory = \"users.csv\"\nalternate = { office365 = %q }\n", name, "o365."+name)
	}
	return text.String(), append(names, "dnl.example.org", "my-divert.example.org")
}

func TestARealSendmailKnowsAllOfManyDomains(t *testing.T) {
	t.Parallel()
	f := startFreshSendmail(t)
	toml, names := manyDomains(120)
	h := sendmailHost{site: "skyconnect-office365", toml: toml}
	f.apply(f.guide(h, false))
	f.mustHaveNothing(f.guide(h, false))
	words, err := f.Class(f.ctx, "{Coexistd}")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(names, "acmecorp.com") {
		if !slices.Contains(words, name) {
			t.Fatalf("Sendmail knows %d domains, without %s: %q", len(words), name, words)
		}
	}
	// By a line of which it reads a part, as rules of before wrote it.
	const head = "\nC{Coexistd}"
	before, list, _ := strings.Cut(f.read("sendmail.cf"), head)
	if err := os.WriteFile(f.etc("sendmail.cf"), []byte(before+head+strings.ReplaceAll(list, head, " ")), 0o644); err != nil {
		t.Fatal(err)
	}
	words, err = f.Class(f.ctx, "{Coexistd}")
	if err != nil || len(words) < 2 || len(words) > len(names)/2 {
		t.Fatalf("%v; of one long line Sendmail knows %d words", err, len(words))
	}
	site := h.survey(t)
	site.SurveySendmail(f.etc("sendmail.cf"))
	if got := site.Sendmail.Class("Coexistd").Words(); !slices.Equal(got, words) {
		t.Errorf("of one long line Sendmail knows %q, and read was %q", words, got)
	}
}

func TestARealSendmailKeepsWhatIsOthers(t *testing.T) {
	t.Parallel()
	f := startFreshSendmail(t)
	h := sendmailHost{site: "mx-both", dovecot: true, toml: "[[listen]]\naddress = \"unix:/run/coexistd/users.sock\"\ncheckpoint = \"S2\"\n"}
	replaceIn(t, f.etc("sendmail.mc"), "MAILER_DEFINITIONS\nMAILER(`local", "INPUT_MAIL_FILTER(`signer', `S=unix:"+f.etc("signer.sock")+"')dnl\n"+
		"INPUT_MAIL_FILTER(`greylist', `S=unix:"+f.etc("greylist.sock")+", F=T')dnl\nMAILER_DEFINITIONS\nMAILER(`local")
	if out, err := exec.CommandContext(f.ctx, "make", "-C", f.etc("")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	access := strings.TrimSuffix(f.read("access"), "\n") + "\nconnect:198.18.7\tRelay" // and no end
	for name, text := range map[string]string{"access": access, "mailertable": "ACMECORP.com\tsmtp:[old.acmecorp.com]\nexample.org smtp:[x.example.org]", "relay-domains": "example.org"} {
		if err := os.WriteFile(f.etc(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const rows = "#!/bin/sh\ncase $* in *rates*) kinds='ClientRate ClientConn' value=0 ;; *) kinds=Connect value=RELAY ;; esac\n" +
		"for kind in $kinds; do echo $kind:198.18.7 $value; echo $kind:198.51.100 $value; done\n"
	if err := os.WriteFile(filepath.Join(f.bin, "coexistd"), []byte(rows), 0o755); err != nil {
		t.Fatal(err)
	}
	site := h.survey(t)
	guide := func(retire bool) setup.Guide {
		site.SurveySendmail(f.etc("sendmail.cf"))
		site.Sendmail.HasDovecot = true
		site.Sendmail.Networks = networks.Live{"office365": {Networks: networks.SetOf(netip.MustParsePrefix("198.18.7.0/24"), netip.MustParsePrefix("198.51.100.0/24"))}}
		guide, err := setup.Make("sendmail", site, retire)
		if err != nil {
			t.Fatal(err)
		}
		return guide
	}
	before := f.read("sendmail.mc")
	if text := written(guide(false)); !strings.Contains(strings.ReplaceAll(text, "\n# ", " "), "has acmecorp.com smtp:[old.acmecorp.com]") {
		t.Errorf("the guide does not say what stands in the mailertable:\n%s", text)
	}
	if err := os.Chmod(f.etc("access"), 0o640); err != nil {
		t.Fatal(err)
	}
	f.apply(guide(false))
	if info, err := os.Stat(f.etc("access")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the access map was of mode 640, and is now %v (%v)", info, err)
	}
	cf := f.read("sendmail.cf")
	for _, want := range []string{"\nO InputMailFilters=coexistd,signer, greylist\n", ", InputMailFilters=coexistd-users;signer;greylist\n"} {
		if !strings.Contains(cf, want) {
			t.Errorf("sendmail.cf lacks %q:\n%s", want, cf)
		}
	}
	for name, want := range map[string]string{
		"access": access + "\n# coexistd begin: written by coexistd-access\nConnect:198.51.100 RELAY\n" +
			"ClientRate:198.18.7 0\nClientRate:198.51.100 0\nClientConn:198.18.7 0\nClientConn:198.51.100 0\n" +
			"TLS_Rcpt:bank.example\tVERIFY:112+CN:mx.bank.example\nTLS_Rcpt:acmecorp-com.onmicrosoft.com\tENCR:112\nTLS_Rcpt:o365.acmecorp.net\tENCR:112\n# coexistd end\n",
		"mailertable":   "# ACMECORP.com\tsmtp:[old.acmecorp.com]\nexample.org smtp:[x.example.org]\nacmecorp.com dovecot:localhost\nacmecorp.net dovecot:localhost\n",
		"relay-domains": "example.org\nacmecorp.com\nacmecorp.net\n",
	} {
		if got := f.read(name); got != want {
			t.Errorf("%s is\n%s\nand shall be\n%s", name, got, want)
		}
	}
	f.mustHaveNothing(guide(false))

	// What says something else of a platform stops the script, and nothing is changed.
	replaceIn(t, f.etc("access"), "connect:198.18.7\tRelay", "Connect:198.18.7 REJECT")
	refused := f.read("access")
	cmd := exec.CommandContext(f.ctx, f.etc("coexistd-access"))
	cmd.Env = append(os.Environ(), "PATH="+f.bin+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "access has: Connect:198.18.7 REJECT; for the platforms it must have: Connect:198.18.7 RELAY") || f.read("access") != refused {
		t.Errorf("%v: %s; the access map is now\n%s", err, out, f.read("access"))
	}
	replaceIn(t, f.etc("access"), "Connect:198.18.7 REJECT", "connect:198.18.7\tRelay")
	if left, err := filepath.Glob(f.etc("access.[^d]*")); err != nil || len(left) > 0 {
		t.Errorf("the script left %v (%v)", left, err)
	}

	f.apply(guide(true))
	f.mustHaveNothing(guide(true))
	if after := f.read("access"); after != access+"\n" {
		t.Errorf("after --retire access is\n%s", after)
	}
	after := strings.Replace(f.read("sendmail.mc"), "include(`"+f.etc("dovecot.mc")+"')dnl\n", "", 1)
	if after != before {
		t.Errorf("after --retire sendmail.mc is\n%s\nat first it was\n%s", after, before)
	}
}

func TestTheGuideToTakeBackEndsRelayingBeforeCoexistdLeaves(t *testing.T) {
	t.Parallel()
	site := sendmailHost{site: "mx-both"}.survey(t)
	dir := filepath.Dir(site.Sendmail.Path)
	replaceIn(t, filepath.Join(dir, "sendmail.mc"), "MAILER_DEFINITIONS", "include(`"+dir+"/coexistd.mc')dnl\nMAILER_DEFINITIONS")
	replaceIn(t, filepath.Join(dir, "access"), "Connect:127", "# coexistd begin: x\nConnect:198.18 RELAY\n# coexistd end\nConnect:127")
	for name, text := range map[string]string{"coexistd.mc": "dnl\n", "coexistd-access": "#!/bin/sh\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "Makefile")); err != nil {
		t.Fatal(err)
	}
	site.SurveySendmail(site.Sendmail.Path)
	guide, err := setup.Make("sendmail", site, true)
	if err != nil {
		t.Fatal(err)
	}
	rest := written(guide)
	for _, next := range []string{"rm -f /etc/cron.daily/coexistd-access " + dir + "/coexistd-access\n", "/^# coexistd begin/,/^# coexistd end/d", "makemap hash " + dir + "/access < ",
		"coexistd\\.mc", "m4 " + dir + "/sendmail.mc", "systemctl restart sendmail", "rm " + dir + "/coexistd.mc"} {
		_, behind, is := strings.Cut(rest, next)
		if !is {
			t.Fatalf("the guide has no %q, or not in its place:\n%s", next, written(guide))
		}
		rest = behind
	}
	replaceIn(t, filepath.Join(dir, "access"), "# coexistd end\n", "")
	site.SurveySendmail(site.Sendmail.Path)
	if _, err := setup.Make("sendmail", site, true); err == nil || !strings.Contains(err.Error(), "no line \"# coexistd end\" behind it") {
		t.Errorf("of lines of ours without an end is said: %v", err)
	}
}

package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"coexistd/contrib/lab"
)

// startNames starts a name server that knows names before the site asks it.
func startNames(t *testing.T) *lab.DNS {
	t.Helper()
	d, err := lab.StartDNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

const outlook = "spf.outlook.example"

// listedTOML is the usual configuration with the networks of office365 from a
// list, and the DNS of that server.
func listedTOML(dns *lab.DNS, list string, more ...string) string {
	toml := strings.Replace(lab.SiteTOML, "{dns}", dns.Addr, 1)
	toml = strings.Replace(toml, `networks = ["127.0.1.0/24"]`, `networks = ["`+list+`"]`, 1)
	return strings.Join(append([]string{toml}, more...), "\n")
}

// comeFrom sends a message of our tenant from an address, and returns the point at
// which it has entered, or "" with the reply when it was not taken.
func (s *site) comeFrom(client string) (point string, r lab.Result) {
	s.t.Helper()
	m := fromTenant(lab.OfficeTenant, lab.Plain("eve@example.net", "bob@acmecorp.com", "from "+client))
	r = s.send(client, lab.Mail{From: "eve@example.net", To: lab.To("bob@acmecorp.com"), Data: m})
	if !r.Accepted() {
		return "", r
	}
	s.mustArrive(m, "here bob@acmecorp.com")
	return s.logged(r)["point"], r
}

// mustComeFrom checks at which point a message from an address enters.
func (s *site) mustComeFrom(client, point string) {
	s.t.Helper()
	if got, r := s.comeFrom(client); got != point {
		s.t.Errorf("a message from %s enters at %q; right is %s: %+v", client, got, point, r)
	}
}

// mustSoonComeFrom waits until messages from an address enter at another point than
// they have until now: the log tells of networks a moment before the daemon goes by
// them. From then on it goes by all of them.
func (s *site) mustSoonComeFrom(client, before, point string) {
	s.t.Helper()
	for until := deadline(s.t); ; {
		switch got, r := s.comeFrom(client); {
		case got == point:
			return
		case got != before || until.Err() != nil:
			s.t.Fatalf("a message from %s enters at %q; right is %q, and then %s: %+v", client, got, before, point, r)
		}
	}
}

// mustPutOff sends a message that must be put off since networks are not known.
func (s *site) mustPutOff(client string) {
	s.t.Helper()
	m := fromTenant(lab.OfficeTenant, lab.Plain("eve@example.net", "bob@acmecorp.com", "too early from "+client))
	r := s.send(client, lab.Mail{From: "eve@example.net", To: lab.To("bob@acmecorp.com"), Data: m})
	if code(r.To[0]) != "451 4.3.0" {
		s.t.Errorf("while networks are not known, a message from %s gets %+v; right is 451 4.3.0 to RCPT", client, r)
	}
}

// ageSaved makes the saved lists older.
func (s *site) ageSaved(by time.Duration) {
	s.t.Helper()
	paths := s.savedPaths()
	if len(paths) == 0 {
		s.t.Fatal("no list is saved")
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		var list map[string]any
		if err = errors.Join(err, json.Unmarshal(text, &list)); err != nil {
			s.t.Fatal(err)
		}
		fetched, err := time.Parse(time.RFC3339Nano, list["fetched"].(string))
		if err != nil {
			s.t.Fatal(err)
		}
		list["fetched"] = fetched.Add(-by)
		text, err = json.Marshal(list)
		if err = errors.Join(err, os.WriteFile(path, text, 0o600)); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *site) savedPaths() []string {
	s.t.Helper()
	paths, err := filepath.Glob(filepath.Join(s.Dir, "state", "networks", "*.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	return paths
}

// restart ends the daemon and starts it again. The new one has a log of its own.
func (s *site) restart() {
	s.t.Helper()
	if err := errors.Join(s.Daemon.Stop(), s.StartDaemon(deadline(s.t))); err != nil {
		s.t.Fatal(err)
	}
}

// explained is what explain says of a message of our tenant from an address.
func (s *site) explained(client string) string {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "message.eml")
	if err := os.WriteFile(file, fromTenant(lab.OfficeTenant, lab.Plain("eve@example.net", "bob@acmecorp.com", "explained")), 0o600); err != nil {
		s.t.Fatal(err)
	}
	out, _ := ask(s.t, "explain", "-c", s.Config(), "--client", client, "--from", "eve@example.net", "--to", "bob@acmecorp.com", file)
	return string(out)
}

func (s *site) mustExplain(client string, texts ...string) {
	s.t.Helper()
	out := s.explained(client)
	for _, text := range texts {
		if !strings.Contains(out, text) {
			s.t.Errorf("explain does not say %q of %s:\n%s", text, client, out)
		}
	}
}

// examined is what the doctor says of a subject.
func (s *site) examined(subject string) string {
	s.t.Helper()
	_, out, complaint := runDoctor(s.t, s.t.TempDir(), nil, "-c", s.Config())
	if complaint != "" {
		s.t.Errorf("the doctor complains: %s", complaint)
	}
	var lines []string
	mine := false
	for line := range strings.Lines(strings.ReplaceAll(out, s.Dir, "{dir}")) {
		if !strings.HasPrefix(line, "  do: ") {
			mine = len(line) > 6 && strings.HasPrefix(line[6:], subject+" ")
		}
		if mine {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func TestThePlatformsNetworksComeFromItsSPFRecord(t *testing.T) {
	t.Parallel()
	names := startNames(t)
	names.Fail(outlook, lab.DNSServFail)
	s := startSite(t, lab.SiteConfig{TOML: listedTOML(names, "spf:"+outlook)})

	// Nothing is known yet. Only who may be the platform waits for that.
	s.waitDaemonLog("the networks of a platform are not known: mail from unknown clients is put off.*platform=office365.*" + outlook)
	s.mustPutOff(lab.FromOffice365)
	s.mustPutOff(lab.FromInternet)
	s.mustComeFrom(lab.FromUser, "S2")
	s.mustComeFrom(lab.FromGoogle, "S0") // whose tenant that is not
	s.mustExplain(lab.FromInternet, "the networks of office365 are not known yet: a daemon puts the message off until they are")
	mustSay(t, s.examined("networks"), "FAIL  networks       spf:"+outlook+" of office365 is not known, so that its mail is put off, or counts as S0: ", "  do: see that the domain is right")

	names.Clear(outlook)
	names.Set(outlook, "TXT", "v=spf1 include:a."+outlook+" -all")
	names.Set("a."+outlook, "TXT", "v=spf1 ip4:127.0.1.0/25 ip6:2001:db8::/32 -all")
	s.waitDaemonLog("the networks of a platform are known.*networks=2")
	s.mustSoonComeFrom(lab.FromOffice365, "", "S1")
	s.mustComeFrom(lab.FromInternet, "S0")
	s.mustComeFrom("127.0.1.200", "S0")
	s.mustExplain(lab.FromOffice365, "enters at  S1", "the client 127.0.1.1 is in the networks of office365")
	mustSay(t, s.examined("networks"), "ok    networks       spf:"+outlook+" of office365 has 2 networks, last asked for ")

	// A change is taken over at a reload.
	names.Set("a."+outlook, "TXT", "v=spf1 ip4:127.0.1.0/24 ip6:2001:db8::/32 -all")
	s.mustReload()
	s.waitDaemonLog("the networks of a platform have changed.*added=1 removed=1 networks=2")
	s.mustSoonComeFrom("127.0.1.200", "S0", "S1")
	s.mustComeFrom(lab.FromInternet, "S0")

	// One that would make our users the platform's is not.
	names.Set("a."+outlook, "TXT", "v=spf1 ip4:127.0.1.0/24 ip4:127.0.4.0/24 ip6:2001:db8::/32 -all")
	s.mustReload()
	s.waitDaemonLog("cannot be refreshed: the last ones stay.*127.0.4.0/24 overlaps 127.0.4.0/24 of our_networks")
	s.mustComeFrom(lab.FromUser, "S2")
	s.mustComeFrom(lab.FromOffice365, "S1")

	names.Set("a."+outlook, "TXT", "v=spf1 ip4:127.0.1.0/24 ip6:2001:db8::/32 ip6:2001:db9::/32 -all")
	s.mustReload()
	s.waitDaemonLog("the networks of a platform have changed.*added=1 removed=0 networks=3")
	names.Fail("a."+outlook, lab.DNSServFail)
	s.mustReload()
	s.waitDaemonLog("cannot be refreshed: the last ones stay.*SPF record of " + regexp.QuoteMeta(outlook))
	s.mustComeFrom("127.0.1.200", "S1")
	mustSay(t, s.examined("networks"), "warn  networks       spf:"+outlook+" of office365 cannot be refreshed: ", "  do: see that the domain is right")

	// What was good last outlives the daemon.
	s.restart()
	s.mustComeFrom("127.0.1.200", "S1")
	s.mustComeFrom(lab.FromInternet, "S0")
	if log := s.Daemon.Log(); strings.Contains(log, "not known") {
		t.Errorf("the daemon does not know the networks at once:\n%s", log)
	}
}

func TestAListThatGrowsTooOldIsToldAndUsedOn(t *testing.T) {
	t.Parallel()
	names := startNames(t)
	names.Set(outlook, "TXT", "v=spf1 ip4:127.0.1.0/24 -all")
	toml := listedTOML(names, "spf:"+outlook)
	s := startSite(t, lab.SiteConfig{TOML: strings.Replace(toml, "[platform.office365]\n", "[platform.office365]\nmax_age = \"2d\"\n", 1)})
	s.waitDaemonLog("the networks of a platform are known")
	s.mustSoonComeFrom(lab.FromOffice365, "", "S1")
	if err := s.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	s.ageSaved(73 * time.Hour)
	mustSay(t, s.examined("networks"), "warn  networks       spf:"+outlook+" of office365 has 1 network now, but the daemon, which has 1 network, has not asked since 3 days ago", "  do: see that the daemon runs")
	names.Fail(outlook, lab.DNSRefused)
	if err := s.StartDaemon(deadline(t)); err != nil {
		t.Fatal(err)
	}
	line := s.waitDaemonLog("the networks of a platform have not been refreshed for long")
	for _, want := range []string{"level=WARN", "platform=office365", "source=spf:" + outlook, "age=73h0m", "max_age=48h0m0s"} {
		if !strings.Contains(line, want) {
			t.Errorf("the log lacks %s: %s", want, line)
		}
	}
	s.mustComeFrom(lab.FromOffice365, "S1")
	s.mustComeFrom(lab.FromInternet, "S0")
	mustSay(t, s.examined("networks"), "warn  networks       spf:"+outlook+" of office365 cannot be refreshed: ")
	if said := s.examined("networks"); !strings.Contains(said, "1 network in use, last known to be right 3 days ago, which is more than max_age") {
		t.Errorf("the doctor says %s", said)
	}
}

// endpoints is a part of Microsoft's list with these networks for mail.
func endpoints(networks ...string) string {
	ips, _ := json.Marshal(networks)
	return `[{"id": 1, "serviceArea": "Exchange", "ips": ["127.0.3.0/24"], "tcpPorts": "80,443"}, {"id": 10, "serviceArea": "Exchange", "ips": ` + string(ips) + `, "tcpPorts": "25"}]`
}

func TestThePlatformsNetworksComeFromAFile(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		names := startNames(t)
		list := filepath.Join(t.TempDir(), "office365.json")
		write := func(text string) {
			t.Helper()
			if err := errors.Join(os.WriteFile(list+".new", []byte(text), 0o644), os.Rename(list+".new", list)); err != nil {
				t.Fatal(err)
			}
		}
		write("# the platform's\n127.0.1.0/25\n")
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: listedTOML(names, "file:"+list)})
		s.mustComeFrom(lab.FromOffice365, "S1")
		s.mustComeFrom("127.0.1.200", "S0")
		mustSay(t, s.examined("networks"), "ok    networks       file:"+list+" of office365 has 1 network\n")

		write(endpoints("127.0.1.128/25", "127.0.1.1/32"))
		s.waitDaemonLog("the networks of a platform have changed.*added=2 removed=1 networks=2")
		s.mustSoonComeFrom("127.0.1.200", "S0", "S1")
		s.mustComeFrom(lab.FromOffice365, "S1")
		s.mustComeFrom("127.0.1.2", "S0")
		s.mustComeFrom(lab.FromInternet, "S0") // of an entry that is not for mail

		// A broken one changes nothing, and the reload is refused.
		write("127.0.1.0/24\nthe rest is missing\n")
		s.waitDaemonLog("cannot be refreshed: the last ones stay.*" + regexp.QuoteMeta(list) + ":2")
		s.mustComeFrom("127.0.1.200", "S1")
		s.mustComeFrom("127.0.1.2", "S0")
		s.mustRefuse(list + ":2")
		if status, _, complaint := run(t, "check", "-c", s.Config()); status != exitNo || !strings.Contains(complaint, list+":2") {
			t.Errorf("check ended with %d and %q", status, complaint)
		}
		s.mustExplain("127.0.1.200", "enters at  S1")
		said, _ := os.ReadFile(list)
		mustSay(t, s.examined("configuration"), "FAIL  configuration  "+list+":2", "  do: correct that")
		mustSay(t, s.examined("networks"), "warn  networks       file:"+list+" of office365 cannot be refreshed: ", "  do: correct the file; it is read again by itself")

		// A restart uses the saved copy, of a broken file and of a missing one.
		for _, about := range []string{"broken", "missing"} {
			if about == "missing" {
				if err := os.Remove(list); err != nil {
					t.Fatal(err)
				}
			}
			s.restart()
			s.waitDaemonLog("a list of networks cannot be taken as it is.*" + regexp.QuoteMeta(list))
			s.mustComeFrom("127.0.1.200", "S1")
			s.mustComeFrom("127.0.1.2", "S0")
			s.mustComeFrom(lab.FromInternet, "S0")
		}

		// Without a copy, nobody can be told from the platform.
		if err := s.Daemon.Stop(); err != nil {
			t.Fatal(err)
		}
		for _, path := range s.savedPaths() {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.StartDaemon(deadline(t)); err != nil {
			t.Fatal(err)
		}
		s.mustPutOff(lab.FromOffice365)
		s.mustPutOff(lab.FromInternet)
		s.mustComeFrom(lab.FromUser, "S2")
		mustSay(t, s.examined("networks"), "FAIL  networks       file:"+list+" of office365 is not known, so that its mail is put off, or counts as S0: ")

		// It comes back without a reload.
		write(strings.Replace(string(said), "the rest is missing\n", "", 1))
		s.waitDaemonLog("the networks of a platform are known.*networks=1")
		s.mustSoonComeFrom("127.0.1.2", "", "S1")
		s.mustComeFrom(lab.FromInternet, "S0")
	})
}

func TestAMistakeBesideABrokenListIsStillRefused(t *testing.T) {
	t.Parallel()
	list := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(list, []byte("broken\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	path := configuration(t, strings.Replace(lab.SiteTOML, `networks = ["127.0.1.0/24"]`, `networks = ["file:`+list+`"]`+"\ntennant = 1", 1), lab.SiteDirectory)
	program, err := program()
	if err != nil {
		t.Fatal(err)
	}
	daemon, err := lab.StartDaemon(deadline(t), program, path)
	if err == nil {
		daemon.Kill()
		t.Fatal("a daemon started in spite of the mistakes")
	}
	for _, want := range []string{list + ":1", "platform.office365.tennant"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the daemon does not say %q: %v", want, err)
		}
	}
}

func TestTheDoctorLooksAtWhatSendersAreJudgedBy(t *testing.T) {
	t.Parallel()
	names := startNames(t)
	redis, err := lab.LendFilters(t).StartRedis(deadline(t), lab.RedisConfig{Password: "sesame street"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopFilter(t, redis.Stop) })
	password := secretFile(t, "sesame street\n")
	toml := listedTOML(names, "spf:"+outlook, "[redis]\naddresses = [\""+redis.Addr+"\"]\npassword_file = \""+password+"\"",
		"[[rate]]\nname = \"users\"\nby = \"user\"\nlimit = 1000\nper = \"1h\"")
	examine := func(toml, subject string) string {
		t.Helper()
		s := &site{Site: &lab.Site{Dir: filepath.Dir(configuration(t, toml, lab.SiteDirectory))}, t: t}
		return s.examined(subject)
	}

	names.Set(outlook, "TXT", "v=spf1 ip4:127.0.1.0/24 exists:%{i}.x.example -all")
	mustSay(t, examine(toml, "redis"), "ok    redis          Redis at "+redis.Addr+" counts, version 7.")
	mustSay(t, examine(toml, "networks"), "warn  networks       spf:"+outlook+" of office365 has 1 network, but none are saved")
	mustSay(t, examine(lab.SiteTOML, "redis"), "ok    redis          no [[rate]] needs it")
	mustSay(t, examine(lab.SiteTOML, "networks"), "ok    networks       no platform's networks come from a list")

	// Of our domains, one has both records, one none, and then a broken one.
	names.Set("acmecorp.com", "TXT", "v=spf1 ip4:192.0.2.7 -all")
	names.Set("_dmarc.acmecorp.com", "TXT", "v=DMARC1; p=reject")
	mustSay(t, examine(toml, "dns"),
		"ok    dns            "+names.Addr+" answers",
		"ok    dns            domains of ours with a record for SPF: 1",
		"warn  dns            no record for SPF, so that others cannot tell our mail from forged mail: globex.example", "  do: publish a TXT record",
		"ok    dns            domains of ours with a record for DMARC: 1",
		"warn  dns            no record for DMARC, so that others cannot tell our mail from forged mail: globex.example", "  do: publish a TXT record at _dmarc.")
	names.Set("globex.example", "TXT", "v=spf1 ip4:none -all")
	names.Fail("_dmarc.globex.example", lab.DNSServFail)
	mustSay(t, examine(toml, "dns"),
		"warn  dns            a record for SPF that cannot be used: globex.example",
		"warn  dns            whether there is a record for DMARC cannot be told, since the DNS fails: globex.example")
	gone := startNames(t)
	gone.Fail("acmecorp.com", lab.DNSRefused)
	mustSay(t, examine(strings.Replace(toml, `resolver     = "`+names.Addr+`"`, `resolver = ["`+gone.Addr+`", "`+names.Addr+`"]`, 1), "dns"),
		"warn  dns            "+gone.Addr+" does not answer: ", "  do: start that server",
		"ok    dns            "+names.Addr+" answers")
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	mustSay(t, examine(strings.Replace(toml, names.Addr, gone.Addr, 1), "dns"), "FAIL  dns            "+gone.Addr+" does not answer: ", "  do: see that the server runs")

	if err := os.WriteFile(password, []byte("sesame\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	mustSay(t, examine(toml, "redis"), "FAIL  redis          Redis at "+redis.Addr+" cannot count: ", "  do: see that it runs, and that addresses, master, username, password_file and tls of [redis]")
	if said := examine(toml, "redis"); !strings.Contains(said, "WRONGPASS") || strings.Contains(said, "sesame") {
		t.Errorf("of a wrong password the doctor says %s", said)
	}
	if err := redis.Kill(); err != nil {
		t.Fatal(err)
	}
	mustSay(t, examine(toml, "redis"), "FAIL  redis          Redis at "+redis.Addr+" cannot count: ")
}

// The doctor runs as root, and the daemon as the owner of its state_dir, who may
// not read what root has written for himself.
func TestTheDoctorSaysWhichSecretsTheDaemonCannotRead(t *testing.T) {
	t.Parallel()
	const uid = 1 // of the account daemon
	proof, password := secretFile(t, "0123456789abcdef0123\n"), secretFile(t, "sesame street\n")
	toml := strings.Replace(lab.SiteTOML, `tenant   = "`+lab.OfficeTenant+`"`, `proof = { header = "X-Coexist-Proof", secret_file = "`+proof+`" }`, 1) +
		"[redis]\naddresses = [\"127.0.0.1:1\"]\npassword_file = \"" + password + "\"\n"
	path := configuration(t, toml, lab.SiteDirectory)
	// The folders of a test are root's alone.
	for _, file := range []string{path, proof, password} {
		for dir := filepath.Dir(file); dir != os.TempDir() && len(dir) > 1; dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Chown(filepath.Join(filepath.Dir(path), "state"), uid, uid); err != nil {
		t.Fatal(err)
	}
	status, out, _ := runDoctor(t, t.TempDir(), nil, "-c", path)
	if status != exitNo {
		t.Errorf("the doctor ended with %d", status)
	}
	checked, _, complaint := run(t, "check", "-c", path)
	if checked != exitNo {
		t.Errorf("check ended with %d", checked)
	}
	const barred = " permission denied"
	for file, key := range map[string]string{proof: "platform.office365.proof.secret_file", password: "redis.password_file"} {
		if want := path + ": " + key + ": \"" + file + "\" cannot be read by the user daemon, "; !strings.Contains(complaint, want) {
			t.Errorf("check does not say %s:\n%s", want, complaint)
		}
		if !regexp.MustCompile(`(?m)^FAIL  configuration  .*` + regexp.QuoteMeta(file) + `.*` + barred + `.*\n  do: `).MatchString(out) {
			t.Errorf("the doctor does not say that %s cannot be read:\n%s", file, out)
		}
		if err := os.Chown(file, 0, uid); err != nil {
			t.Fatal(err)
		}
	}
	if _, out, _ = runDoctor(t, t.TempDir(), nil, "-c", path); !strings.Contains(out, "ok    configuration") || strings.Contains(out, barred) {
		t.Errorf("of secrets that can be read the doctor says:\n%s", out)
	}
	if _, _, complaint = run(t, "check", "-c", path); strings.Contains(complaint, "cannot be read") {
		t.Errorf("of secrets that can be read check says:\n%s", complaint)
	}
}

package e2e

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/milter/quarantine"
	"coexistd/milter/store"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

// clinic is a site with scanners and a quarantine on a small file system of its
// own, on which the doctor is at work.
type clinic struct {
	*site
	clamd  *lab.Clamd
	rspamd *lab.Rspamd
	held   string // the file system of the quarantine
	bin    string // has a postconf that reads the site's Postfix
}

const clinicTOML = `
[scanner.clamd]
address  = "{clamd}"
max_size = "10M"
[scanner.rspamd]
address  = "{rspamd}"
max_size = "10M"
[quarantine]
dir      = "{held}/quarantine"
max_size = "8M"
smtp     = "{mta}"
[quarantine.report]
at = "never"
`

func startClinic(t *testing.T) *clinic {
	t.Helper()
	c := &clinic{clamd: startClamd(t, lab.ClamdConfig{Settings: map[string]string{"AlertExceedsMax": "yes"}}), rspamd: startRspamd(t, lab.RspamdConfig{})}
	c.held = mountSmall(t, 64<<20)
	c.site = startSite(t, lab.SiteConfig{TOML: c.toml(), Main: map[string]string{
		"mynetworks":                "127.0.0.1/32 127.0.4.0/24",
		"message_reject_characters": `\0`,
		"virtual_alias_maps":        "inline:{postmaster@acmecorp.com=bob@acmecorp.com,abuse@acmecorp.com=bob@acmecorp.com,postmaster@globex.example=hugo@globex.example,abuse@globex.example=hugo@globex.example}, socketmap:unix:{dir}/lookup.sock:aliases",
	}})
	p := lab.Lend(t)
	c.bin = postconfOf(t, p, filepath.Join(c.Postfix.Dir, "etc"))
	for _, domain := range []string{"acmecorp.com", "globex.example"} {
		c.DNS.Set(domain, "TXT", "v=spf1 ip4:192.0.2.7 include:spf.protection.outlook.com include:_spf.google.com -all")
		c.DNS.Set("_dmarc."+domain, "TXT", "v=DMARC1; p=reject")
		c.DNS.Set(domain, "MX", "10 mail.acmecorp.com")
	}
	c.DNS.Set("mail.acmecorp.com", "A", "192.0.2.7")
	c.DNS.Set("spf.protection.outlook.com", "TXT", "v=spf1 ip4:40.92.0.0/15 -all")
	c.DNS.Set("_spf.google.com", "TXT", "v=spf1 ip4:74.125.0.0/16 ~all")
	c.DNS.Set("acmecorp-com.onmicrosoft.com", "MX", "0 acmecorp-com.mail.protection.outlook.com")
	c.DNS.Set("gapps.globex.example", "MX", "1 smtp.google.com")
	return c
}

// toml is the configuration of a healthy site.
func (c *clinic) toml() string {
	usual := strings.Replace(lab.SiteTOML, `["127.0.4.0/24"]`, `["127.0.4.0/24", "127.0.0.1"]`, 1)
	return usual + strings.NewReplacer("{clamd}", c.clamd.Addr(), "{rspamd}", c.rspamd.URL(), "{held}", c.held).Replace(clinicTOML)
}

// mountSmall makes a file system of so many bytes.
func mountSmall(t *testing.T, size int) string {
	t.Helper()
	dir, err := lab.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0755", size)); err != nil {
		t.Fatalf("mounting a small file system, which only root may: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
	return dir
}

// postconfOf makes a folder with a postconf and a postmap command that read the
// configuration in another.
func postconfOf(t *testing.T, p *lab.Programs, etc string) string {
	t.Helper()
	dir, err := lab.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := p.WriteCommands(dir, etc); err != nil {
		t.Fatal(err)
	}
	return dir
}

// runDoctor runs the command with the postconf of the folder bin.
func runDoctor(t *testing.T, bin string, as *syscall.Credential, args ...string) (status int, out, complaint string) {
	t.Helper()
	cmd := newDoctor(t, bin, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// newDoctor is a doctor that has not begun, with the commands of a folder.
func newDoctor(t *testing.T, bin string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(deadline(t), path, append([]string{"doctor"}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	return cmd
}

// doctor looks at the site. What differs from run to run is replaced in what
// it says.
func (c *clinic) doctor(args ...string) (status int, out string) {
	c.t.Helper()
	status, out, complaint := runDoctor(c.t, c.bin, nil, append([]string{"-c", c.Config()}, args...)...)
	if complaint != "" {
		c.t.Errorf("the doctor complains: %s", complaint)
	}
	out = strings.NewReplacer(c.Dir, "{dir}", c.held, "{held}", c.clamd.Addr(), "{clamd}", c.rspamd.URL(), "{rspamd}",
		c.DNS.Addr, "{dns}", c.Addr("public"), "{mta}", c.Addr("submission"), "{submission}").Replace(out)
	for _, one := range [][2]string{
		{`ClamAV [0-9.]+`, "ClamAV {version}"}, {`rspamd/[0-9.]+`, "rspamd/{version}"}, {`changed [a-z0-9 ]+ ago`, "changed {age}"},
	} {
		out = regexp.MustCompile(one[0]).ReplaceAllString(out, one[1])
	}
	return status, out
}

// must has the doctor look at the site, and compares the exit status and the
// lines that it says.
func (c *clinic) must(status int, lines ...string) {
	c.t.Helper()
	got, out := c.doctor()
	if got != status {
		c.t.Errorf("the doctor ended with %d; %d is right:\n%s", got, status, out)
	}
	mustSay(c.t, out, lines...)
}

// mustSay looks for lines that begin as given, in that order.
func mustSay(t *testing.T, out string, lines ...string) {
	t.Helper()
	rest := out
	for _, line := range lines {
		at := strings.Index("\n"+rest, "\n"+line)
		if at < 0 {
			t.Errorf("no line, or no further line, begins with %q:\n%s", line, out)
			return
		}
		rest = rest[at:]
	}
}

const healthy = `ok    configuration  {dir}/coexistd.toml has no mistakes
warn  configuration  platform google is proven by tenant alone, a header that Exchange Online leaves out at times: such mail of our own users is put off; add proof = { header = "X-Coexist-Proof", secret_file = "proof.key" } and the rule over there that sets it
warn  configuration  platform office365 is proven by tenant alone, a header that Exchange Online leaves out at times: such mail of our own users is put off; add proof = { header = "X-Coexist-Proof", secret_file = "proof.key" } and the rule over there that sets it
warn  configuration  there is no [[rate]]: nothing limits how much is sent at S0, S2
ok    state_dir      {dir}/state belongs to root
ok    state_dir      the key {dir}/state/secret.key can be read
ok    state_dir      {dir}/state/spool takes the spool of long messages
ok    directory      {dir}/users.csv has 7 addresses, 1 of them moving; it was changed {age}
warn  clamd          {clamd} is ClamAV {version}, without the signatures of ClamAV's makers
  do: run freshclam, and see that its service runs: systemctl enable --now clamav-freshclam
ok    clamd          {clamd} finds the EICAR test file: Eicar-Test-Signature.UNOFFICIAL
ok    clamd          {clamd} tells what it did not look into: a limit of clamd's kept it from looking into all of the message: Heuristics.Limits.Exceeded.MaxRecursion
ok    rspamd         {rspamd} answers, rspamd/{version}
ok    rspamd         {rspamd} finds the GTUBE test message: rspamd scores it 15.00 of 15.00: reject
ok    redis          no [[rate]] needs it
ok    dns            {dns} answers
ok    dns            domains of ours with a record for SPF: 2
ok    dns            domains of ours with a record for DMARC: 2
ok    dns            domains of ours whose MX points where mx says: 2
ok    dns            alternate domains with an MX: 2
ok    networks       no platform's networks come from a list
ok    tenant         no mail in our own name was put off in the last 24 hours without proof of its tenant
ok    quarantine     {held}/quarantine can be written to
ok    quarantine     entries held: 0, with 0 bytes of 8.0 MiB (quarantine.max_size)
ok    quarantine     no reports are sent (quarantine.report.at)
ok    messages       {dir}/state/messages.db has the records of 0 messages
ok    daemon         the milter answers at unix:{dir}/milter.sock
ok    daemon         the lookup answers at unix:{dir}/lookup.sock
ok    daemon         the daemon has the configuration and the directories as the files hold them
ok    metrics        there is no [metrics]: Prometheus is told nothing
ok    postfix        smtpd ({mta}, {submission}) hands its mail to coexistd by unix:{dir}/milter.sock
ok    postfix        cleanup (cleanup-milter, cleanup) hands its mail to coexistd by unix:{dir}/milter.sock
ok    postfix        virtual_mailbox_maps asks coexistd for recipients
ok    postfix        virtual_alias_maps asks coexistd for aliases
ok    postfix        transport_maps asks coexistd for transport
ok    postfix        Postfix takes mail for acmecorp.com, globex.example
warn  certificate    the MTA shows no certificate to those who send to it: a platform's connector or route that demands TLS delivers nothing here
  do: get one for mail.acmecorp.com from an authority that all know, and have the MTA show it: postconf -e 'smtpd_tls_chain_files = KEYFILE, CERTFILE' 'smtpd_tls_security_level = may'. Then run: coexistd setup postfix
warn  certificate    the MTA shows no certificate to those to whom it sends: Office 365 looks for the connector of our mail by the certificate first, and by the address only where nobody else sends from it
  do: when it shows one in the name of a domain of yours to those who send to it, run: coexistd setup postfix, which has it shown here, too
ok    smtp           the MTA at {mta} takes releases and reports; it offers SIZE, 8BITMIME, DSN, SMTPUTF8
`

func TestTheDoctorFindsAHealthySiteWell(t *testing.T) {
	t.Parallel()
	c := startClinic(t)
	before := len(c.Daemon.Log())
	status, out := c.doctor()
	if status != exitYes || out != healthy {
		t.Errorf("the doctor ended with %d and\n%s\nright is\n%s", status, out, healthy)
	}
	for line := range strings.Lines(c.Daemon.Log()[before:]) {
		if !strings.Contains(line, "level=INFO") && !strings.Contains(line, "systemd could not be told") {
			t.Errorf("the doctor upset the daemon: %s", line)
		}
	}
	status, out = c.doctor("--json")
	var findings []finding
	if err := json.Unmarshal([]byte(out), &findings); err != nil || status != exitYes {
		t.Fatalf("the doctor ended with %d and no JSON: %v\n%s", status, err, out)
	}
	var again string
	for _, f := range findings {
		again += fmt.Sprintf("%-4s  %-13s  %s\n", f.Status, f.Subject, f.Found)
		if f.Remedy != "" {
			again += "  do: " + f.Remedy + "\n"
		}
	}
	if again != healthy {
		t.Errorf("in JSON the doctor says\n%s\nright is\n%s", again, healthy)
	}
}

func TestTheDoctorNamesWhatIsWrongAndWhatToDo(t *testing.T) {
	t.Parallel()
	c := startClinic(t)
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	do(errors.Join(c.clamd.Kill(), c.rspamd.Suspend()))
	c.must(exitNo,
		"FAIL  clamd          clamd at {clamd} cannot be reached", "  do: start clamd",
		"FAIL  rspamd         {rspamd}: rspamd does not answer", "  do: start rspamd")
	do(errors.Join(c.clamd.Start(deadline(t)), c.clamd.Suspend(), c.rspamd.Kill()))
	c.must(exitNo,
		"FAIL  clamd          clamd at {clamd} has not answered in ", "  do: start clamd",
		"FAIL  rspamd         {rspamd}: rspamd does not answer", "  do: start rspamd")
	do(errors.Join(c.clamd.Continue(), c.rspamd.Start(deadline(t))))

	c.writeDirectory("bob@acmecorp.com,here,bob", "bob@acmecorp.com,nowhere,bob")
	c.must(exitNo, `FAIL  directory      {dir}/users.csv:3: `, "  do: correct {dir}/users.csv")
	do(c.WriteDirectory(lab.SiteDirectory))

	wrong := map[string]string{
		"smtpd_milters": "inet:127.0.0.1:1", "milter_default_action": "accept", "milter_protocol": "2",
		"transport_maps": "texthash:$config_directory/transport", "message_size_limit": "0", "mynetworks": "127.0.1.0/24 127.0.9.0/24",
		"recipient_delimiter": "-",
	}
	milters := "unix:" + c.Dir + "/milter.sock"
	do(c.Postfix.Restart(deadline(t), wrong))
	c.must(exitNo,
		"warn  clamd          Postfix takes messages of any size", "  do: raise scanner.clamd.max_size in {dir}/coexistd.toml and StreamMaxLength in clamd.conf, or set message_size_limit = 10485760 in main.cf",
		"warn  rspamd         Postfix takes messages of any size", "  do: raise scanner.rspamd.max_size",
		`FAIL  postfix        smtpd ({mta}, {submission}) does not hand its mail to coexistd: smtpd_milters is "inet:127.0.0.1:1"`,
		"  do: put into main.cf: smtpd_milters = unix:{dir}/milter.sock; then run: postfix reload",
		"FAIL  postfix        cleanup (cleanup-milter, cleanup) hands its mail to coexistd by unix:{dir}/milter.sock, but while coexistd is away, mail passes by",
		"  do: put into main.cf: non_smtpd_milters = { unix:{dir}/milter.sock, default_action=tempfail }; then run: postfix reload",
		"warn  postfix        milter_protocol is 2",
		"FAIL  postfix        transport_maps does not ask coexistd for transport", "  do: put into main.cf: transport_maps = socketmap:unix:{dir}/lookup.sock:transport, texthash:",
		"warn  postfix        recipient_delimiter is",
		"FAIL  postfix        mynetworks has 127.0.1.0/24, from where every tenant of office365 sends",
		`warn  postfix        mynetworks has "127.0.9.0/24", which our_networks lacks`,
		"warn  smtp           the releases come from 127.0.0.1, which is not one of our own networks", "  do: add 127.0.0.1 to mynetworks in main.cf")
	do(c.Postfix.Restart(deadline(t), map[string]string{
		"smtpd_milters": milters, "milter_default_action": "tempfail", "milter_protocol": "6", "recipient_delimiter": "+",
		"transport_maps": "socketmap:unix:" + c.Dir + "/lookup.sock:transport, texthash:$config_directory/transport", "message_size_limit": "10240000", "mynetworks": "127.0.0.1/32 127.0.4.0/24",
	}))
	if status, out := c.doctor(); status != exitYes || out != healthy {
		t.Errorf("of the site that is well again, the doctor says\n%s\nright is\n%s", out, healthy)
	}

	do(c.WriteTOML(strings.Replace(c.toml(), "[[listen]]\n", "[[listen]]\nmood = 1\n", 1)))
	c.must(exitNo, "FAIL  configuration  {dir}/coexistd.toml:7: listen.mood: ", "  do: correct that, see that coexistd check -c {dir}/coexistd.toml says ok",
		"ok    directory      {dir}/users.csv has 7 addresses")
	do(c.WriteTOML(lab.SiteTOML))
	c.must(exitNo,
		"warn  clamd          there is no [scanner.clamd]: mail is not checked for virus at S0, S1, S2", "  do: add to {dir}/coexistd.toml: [scanner.clamd] with address = ",
		"warn  rspamd         there is no [scanner.rspamd]: mail is not checked for spam at S0", "  do: add to {dir}/coexistd.toml: [scanner.rspamd] with address = ")
}

func TestTheDoctorSaysThatTheDiskIsFull(t *testing.T) {
	t.Parallel()
	c := startClinic(t)
	filler := filepath.Join(c.held, "filler")
	if err := fill(filler); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	c.must(exitNo,
		"FAIL  quarantine     nothing can be written to {held}/quarantine, so messages that should be held are put off: no space left on device",
		"  do: make room on the file system of {held}/quarantine, or lower quarantine.keep or quarantine.max_size",
		"FAIL  quarantine     0 bytes are free, less than one message may have (9.8 MiB)", "  do: make room")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	c.must(exitYes)
}

// fill writes a file until it may grow no more.
func fill(path string) error {
	file, err := os.Create(path)
	for err == nil {
		_, err = file.Write(make([]byte, 4<<10))
	}
	return errors.Join(err, file.Close())
}

// The daemon runs as another user here, as it should, and root has left files
// of its own in between.
func TestTheDoctorSeesWithTheEyesOfTheDaemonsUser(t *testing.T) {
	t.Parallel()
	c := startClinic(t)
	if err := c.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	// Of the machine's accounts, daemon is one that is always there.
	const uid = 1
	held := filepath.Join(c.held, "quarantine")
	for _, dir := range []string{filepath.Join(c.Dir, "state"), held} {
		if err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error { return errors.Join(err, os.Chown(path, uid, uid)) }); err != nil {
			t.Fatal(err)
		}
	}
	stopped := []string{
		"FAIL  daemon         the milter does not answer at unix:{dir}/milter.sock: connect: no such file or directory", "  do: run: systemctl start coexistd",
		"FAIL  daemon         the lookup does not answer at unix:{dir}/lookup.sock: connect: no such file or directory", "  do: run: systemctl start coexistd",
	}
	c.must(exitNo, append([]string{"ok    state_dir      {dir}/state belongs to daemon", "ok    quarantine     {held}/quarantine can be written to", "ok    quarantine     entries held: 0"}, stopped...)...)

	if err := errors.Join(os.Chown(filepath.Join(held, quarantine.FileName), 0, 0), os.Chown(keyFile(c.Config()), 0, 0), os.Chmod(c.clamdSocket(), 0o600)); err != nil {
		t.Fatal(err)
	}
	c.must(exitNo, append([]string{
		"FAIL  state_dir      the key {dir}/state/secret.key cannot be read: permission denied", "  do: run: chgrp daemon {dir}/state/secret.key",
		"FAIL  clamd          clamd at {clamd} cannot be reached", "  do: let daemon use the socket",
		"FAIL  quarantine     daemon cannot use 1 of the files in {held}/quarantine: {held}/quarantine/store.db", "  do: run: chown -R daemon: {held}/quarantine",
	}, stopped...)...)

	// Nobody else can look for him.
	status, out, complaint := runDoctor(t, c.bin, &syscall.Credential{Uid: 65534, Gid: 65534}, "-c", c.Config())
	if status != exitWrong || out != "" || !strings.Contains(complaint, "run it as root, or as daemon") {
		t.Errorf("run by nobody, the doctor ended with %d, %q and %q", status, out, complaint)
	}
	if err := os.Chmod(c.Config(), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, complaint := runDoctor(t, c.bin, &syscall.Credential{Uid: 65534, Gid: 65534}, "-c", c.Config()); status != exitWrong || !strings.Contains(complaint, "run it as root") {
		t.Errorf("with a configuration that is closed to it, the doctor ended with %d and %q", status, complaint)
	}
}

func (c *clinic) clamdSocket() string { return strings.TrimPrefix(c.clamd.Addr(), "unix:") }

func TestTheDoctorDoesNotWaitForAStoreThatHangs(t *testing.T) {
	t.Parallel()
	c := startClinic(t)
	// SQLite's locks for reading and writing are of eight bytes of this file, from this one on
	// (https://www.sqlite.org/walformat.html, section 2.3). A process that is stopped while it
	// has them is waited for.
	const firstLock, locks = 120, 8
	file, err := os.OpenFile(filepath.Join(c.held, "quarantine", quarantine.FileName+"-shm"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := syscall.FcntlFlock(file.Fd(), syscall.F_SETLKW, &syscall.Flock_t{Type: syscall.F_WRLCK, Start: firstLock, Len: locks}); err != nil {
		t.Fatal(err)
	}
	c.must(exitNo,
		"ok    rspamd",
		"FAIL  quarantine     {held}/quarantine/store.db: it is in use by a process that does not let go of it", "  do: see which process hangs that has it open: fuser -v {held}/quarantine/store.db",
		"ok    smtp")
}

func TestTheDoctorTellsOfReleasesAndReportsThatWereBrokenOff(t *testing.T) {
	t.Parallel()
	c := startClinic(t)
	if err := errors.Join(c.WriteTOML(strings.Replace(c.toml(), `at = "never"`, "at = \"07:00\"\ncontact = \"helpdesk@acmecorp.com\"", 1)), c.Daemon.Stop()); err != nil {
		t.Fatal(err)
	}
	o := heldBy(t, c.Config())
	file := store.New(quarantine.FileOptions(o.Dir, o.Log))
	t.Cleanup(func() { file.Close() })
	held := quarantine.New(file, o)
	ids, err := held.Put(quarantine.Item{Sender: "eve@example.net", Point: verdict.S0},
		[]quarantine.Recipient{{Address: "bob@acmecorp.com", Owner: "bob@acmecorp.com", Checks: []string{"spam"}}}, strings.NewReader("Subject: held\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	keys := seal.NewKeys(bytes.Repeat([]byte{1}, 32))
	if _, err := held.Release(deadline(t), quarantine.Releaser{Keys: keys, Address: silentMTA(t), Hostname: "mail.acmecorp.com"}, ids[0], false); err == nil {
		t.Fatal("a release that was not answered has ended well")
	}
	if err := held.SetLastReport(time.Now().Add(-72 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	c.must(exitNo,
		"FAIL  quarantine     {dir}/coexistd.toml: quarantine.report.contact: helpdesk@acmecorp.com is not in the directory of acmecorp.com", "  do: correct {dir}/coexistd.toml or the directory",
		"ok    quarantine     entries held: 1, with ",
		"warn  quarantine     releases begun and not ended, so that the messages may have arrived or not: "+ids[0], "  do: ask the recipients; then coexistd quarantine release --again ID, or coexistd quarantine delete ID",
		"warn  quarantine     reports are due since ", "  do: see what the daemon's log says of reports")
}

// silentMTA takes one message and closes the connection in the place of an
// answer.
func silentMTA(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "220 silent\r\n")
		for lines := bufio.NewScanner(conn); lines.Scan() && lines.Text() != "."; {
			switch verb, _, _ := strings.Cut(lines.Text(), " "); verb {
			case "EHLO", "MAIL", "RCPT":
				fmt.Fprint(conn, "250 ok\r\n")
			case "DATA":
				fmt.Fprint(conn, "354 go on\r\n")
			}
		}
	}()
	return l.Addr().String()
}

func TestTheDoctorTriesOutWhatScannersFindAndTake(t *testing.T) {
	t.Parallel()
	// A database must have something.
	other := "Other-Test-Signature:0:*:" + hex.EncodeToString([]byte("some other text")) + "\n"
	clamd := startClamd(t, lab.ClamdConfig{Signatures: map[string]string{"eicar.ndb": other}, Settings: map[string]string{"StreamMaxLength": "1M"}})
	rspamd := startRspamd(t, lab.RspamdConfig{Settings: "options { max_message = 64; }\n"})
	// No setting has the lab's rspamd miss GTUBE, so this stands in for one.
	blind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ping" {
			fmt.Fprint(w, "pong\r\n")
			return
		}
		io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, `{"action": "no action", "score": 0}`)
	}))
	t.Cleanup(blind.Close)
	ask := func(rspamd string) string {
		t.Helper()
		path := configuration(t, strings.Replace(checkedTOML(clamd.Addr(), rspamd), "{mta}", "127.0.0.1:25", 1), lab.SiteDirectory)
		status, out, _ := runDoctor(t, t.TempDir(), nil, "-c", path)
		if status != exitNo {
			t.Errorf("the doctor ended with %d", status)
		}
		return strings.NewReplacer(clamd.Addr(), "{clamd}", rspamd, "{rspamd}").Replace(out)
	}
	mustSay(t, ask(rspamd.URL()), "FAIL  rspamd         {rspamd} could not say whether the GTUBE test message is spam", "  do: see what rspamd's log says")
	mustSay(t, ask(blind.URL),
		"FAIL  clamd          {clamd} answers but does not find the EICAR test file: its signature database is missing", "  do: run: freshclam",
		"warn  clamd          {clamd} does not take a message of ", "  do: set StreamMaxLength",
		"FAIL  rspamd         {rspamd} answers but does not find the GTUBE test message", "  do: see that rspamd's local.d/options.inc")
}

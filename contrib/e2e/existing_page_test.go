package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"coexistd/contrib/lab"
)

// section is what a page has below a heading.
func (m *oldServer) section(page, heading string) string {
	m.t.Helper()
	text, err := os.ReadFile("../docs/" + page)
	m.do(err)
	_, section, found := strings.Cut(string(text), "\n## "+heading+"\n")
	if !found {
		m.t.Fatalf("%s has no section %q", page, heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	return section
}

// shell runs a command of a section of a page, as an administrator does, with further flags. It returns what was printed.
func (m *oldServer) shell(page, heading, command string, flags ...string) (status int, printed string) {
	m.t.Helper()
	if !strings.Contains(m.section(page, heading), command) {
		m.t.Fatalf("%s does not have %q in its section %q", page, command, heading)
	}
	cmd := exec.CommandContext(deadline(m.t), "/bin/sh", "-e", "-c", strings.Join(append([]string{command}, flags...), " "))
	cmd.Env = append(os.Environ(), "PATH="+m.bin+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// must is shell for a command that ends well.
func (m *oldServer) must(page, heading, command string) (printed string) {
	m.t.Helper()
	status, printed := m.shell(page, heading, command)
	if status != exitYes {
		m.t.Fatalf("%s ends with %d and says\n%s", command, status, printed)
	}
	return printed
}

// The pages, and how the parts of them are headed that are gone by.
const (
	existingPage = "existing-server.md"
	toLook       = "1. Look"
	toWrite      = "3. Write down who lives elsewhere"
	toObserve    = "4. Observe"
	toTakeBack   = "5. Enforce"
	observePage  = "observe.md"
	toEnforce    = "From observing to enforcing"
)

// remedies are what the tools may say that is to be done about this server, and how it is done: by a command, in
// which $1 and so on are from what they say, or by what the page has for coexistd.toml and users.csv.
var remedies = []struct{ found, do, command string }{
	{``, `^put into the lines of (\S+) in master.cf: -o (\S+); then run`, "postconf -P $1/inet/$2"},
	{``, `^put into main.cf: ([^;]+); then run`, "postconf -e '$1'"},
	{` asks the blocklists \S+ about clients`, `have (smtpd_client_restrictions) begin with: (.*) cidr:/etc/postfix/platforms.cidr, (.*); let no other setting name these lists \(smtpd_recipient_restrictions does\)`,
		"postconf -e '$1 = $2 cidr:{etc}/platforms.cidr, $3'; sed -i '/^smtpd_recipient_restrictions/s/, $3//' {etc}/main.cf; coexistd networks export --for cidr > {etc}/platforms.cidr"},
	{``, `\bunlisted = "here"`, ""},
}

// obey does what is to be done. What nobody can do is an error.
func (m *oldServer) obey(findings string) {
	m.t.Helper()
	var list []finding
	if err := json.Unmarshal([]byte(findings), &list); err != nil || len(list) == 0 {
		m.t.Fatalf("these are no findings: %v\n%s", err, findings)
	}
	for _, one := range list {
		if one.Remedy == "" {
			continue
		}
		command, known := commandFor(one)
		if !known {
			m.t.Errorf("of %q, this is to be done, and nobody knows how: %s", one.Found, one.Remedy)
		}
		m.apply(strings.ReplaceAll(command, "{etc}", filepath.Join(m.Postfix.Dir, "etc")))
	}
}

// commandFor is what does what is to be done about a finding.
func commandFor(one finding) (command string, known bool) {
	for _, r := range remedies {
		found, do := regexp.MustCompile(r.found).FindStringSubmatch(one.Found), regexp.MustCompile(r.do).FindStringSubmatch(one.Remedy)
		if found == nil || do == nil {
			continue
		}
		command = r.command
		for i, value := range append(found[1:], do[1:]...) {
			command = strings.ReplaceAll(command, fmt.Sprintf("$%d", i+1), value)
		}
		return command, true
	}
	return "", false
}

// write writes the files that the page has, as they are for this server.
func (m *oldServer) write() {
	m.t.Helper()
	for _, block := range fenced.FindAllStringSubmatch(m.section(existingPage, toWrite), -1) {
		if block[1] == "csv" {
			m.do(m.WriteDirectory(block[3]))
			continue
		}
		toml := instead(m.t, block[3], `["127.0.0.0/8", "::1"]`, `["127.0.0.1", "127.0.4.0/24"]`, `"spf:spf.protection.outlook.com"`, `"127.0.1.0/24"`,
			"192.0.2.7", fromGateway, "127.0.0.1:8701", freeAddress(), "127.0.0.1:8702", freeAddress())
		m.do(m.WriteTOML("resolver = \"{dns}\"\nstate_dir = \"{dir}/state\"\n" + toml + "\n[quarantine]\nsmtp = \"{mta}\"\n"))
	}
	m.do(os.Mkdir(filepath.Join(m.Dir, "state"), 0o700))
}

// start starts coexistd.
func (m *oldServer) start() {
	m.t.Helper()
	path, err := program()
	m.do(err)
	m.Daemon, err = lab.StartDaemon(deadline(m.t), path, m.Config())
	m.do(err)
}

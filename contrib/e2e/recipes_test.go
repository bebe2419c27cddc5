package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"coexistd/contrib/lab"
)

// recipes are those of contrib/docs/recipes.md. Mithi's has its lines in contrib/postfix, where
// they are followed.
var recipes = []struct {
	product string
	set     func(h *productHost)
}{
	{"mailcow", (*productHost).setMailcow},
	{"iRedMail", (*productHost).setIRedMail},
	{"Zimbra", (*productHost).setZimbra},
	{"Plesk", (*productHost).setPlesk},
	{"Mithi", nil},
}

// productHost is a host whose Postfix is set as a product sets it. Commands of the page are run as
// they stand but for the paths, addresses and accounts of words.
type productHost struct {
	*site
	root   string // of files that are not in the other folders
	bin    string // the commands of the page
	away   string // the address of a milter that ends each connection
	config lab.Config
	words  []string
	// sql takes what a command of the page tells a database.
	sql func(statements string)
	// prove proves what is the product's alone; nil: nothing is.
	prove func()
	// explained is what the doctor warns of and the recipe explains; empty: nothing.
	explained string
	// remove removes the mailbox of alice, who has moved, from the product.
	remove func()
}

func TestEachRecipeMakesOfItsProductAServerByWhichAllMailArrives(t *testing.T) {
	page, err := os.ReadFile("../docs/recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, section := range strings.Split(string(page), "\n## ")[1:] {
		name, text, _ := strings.Cut(section, "\n")
		sections[name] = text
	}
	if len(sections) != len(recipes)+2 {
		t.Errorf("the page has %d sections, and %d recipes are followed", len(sections), len(recipes))
	}
	for _, recipe := range recipes {
		t.Run(recipe.product, func(t *testing.T) {
			t.Parallel()
			var parts []string
			for _, heading := range regexp.MustCompile(`(?m)^### (.*)$`).FindAllStringSubmatch(sections[recipe.product], -1) {
				parts = append(parts, heading[1])
			}
			if want := []string{"Where the settings are", "The directory", "Postfix", "What stays out", "What to watch"}; !slices.Equal(parts, want) {
				t.Errorf("the recipe has the parts %q; %q is right", parts, want)
			}
			if recipe.set != nil {
				h := newProductHost(t)
				recipe.set(h)
				h.start()
				h.follow(sections["What all recipes share"], sections[recipe.product])
			}
		})
	}
}

func newProductHost(t *testing.T) *productHost {
	t.Helper()
	h := &productHost{site: startPlaces(t, lab.StartDNS), root: t.TempDir(), bin: t.TempDir(), away: lab.Listen(t, func(net.Conn) {})}
	h.tellNames()
	h.do(os.Mkdir(filepath.Join(h.Dir, "state"), 0o700))
	h.config = lab.Config{
		Services: []lab.Service{{Name: "public"}, {Name: "submission", Settings: map[string]string{"smtpd_sasl_auth_enable": "yes"}}},
		Users:    map[string]string{"bob@acmecorp.com": "secret"},
		Routes:   map[string]string{"acmecorp-com.onmicrosoft.com": h.Office.NextHop()},
		Main: map[string]string{
			"myhostname": "mail.acmecorp.com", "mynetworks": "127.0.0.1, 127.0.4.0/24", "recipient_delimiter": "+", "default_transport": h.Outside.NextHop(),
			"smtpd_relay_restrictions": "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination",
		},
		Files: map[string]string{},
	}
	return h
}

// main adds settings as main.cf has them.
func (h *productHost) main(lines string) { maps.Copy(h.config.Main, h.settings(lines)) }

// settings reads lines as main.cf has them. {milter} stands for a milter of the product's, which is
// away.
func (h *productHost) settings(lines string) map[string]string {
	return settings(strings.NewReplacer("{here}", h.Here.NextHop(), "{milter}", h.away).Replace(lines))
}

// service adds a listener with options as main.cf has them, in the place of one that the product
// has at a port.
func (h *productHost) service(port, options string) {
	h.config.Services = append(h.config.Services, lab.Service{Name: port, Settings: h.settings(options)})
}

// start starts the product's Postfix, and makes the commands of the page that are not the
// product's own.
func (h *productHost) start() {
	h.t.Helper()
	host, err := lab.Lend(h.t).Start(deadline(h.t), h.config)
	h.do(err)
	h.Postfix, h.Host = host, host
	own := postconfOf(h.t, lab.Lend(h.t), h.etc())
	built, err := program()
	h.do(err)
	asked := "echo \"$(basename \"$0\") $*\" >> '" + filepath.Join(h.root, "asked") + "'\n"
	for name, script := range map[string]string{
		"coexistd": "exec '" + built + "' -c '" + h.Config() + "' \"$@\"\n", "runuser": "shift 3; exec \"$@\"\n",
		"systemctl": asked, "postfix": asked, "zmmtactl": asked, "zmhostname": "echo mail.acmecorp.com\n",
		"su":            "exec sh -c \"$4\"\n",
		"zmlocalconfig": "echo \"" + lab.SlapdReaderPassword + "\"\n",
		"zmprov":        zmprov,
		"docker": "case $* in\n" +
			"*mysql-mailcow*) cat > '" + filepath.Join(h.root, "sql") + "';;\n" +
			"*exec*) name=$5; shift 7; exec '" + own + "/'$name \"$@\";;\n" +
			"*restart*) cat data/conf/postfix/extra.cf >> '" + h.etc() + "/main.cf'; echo postfix restart >> '" + filepath.Join(h.root, "asked") + "';;\nesac\n",
		"postconf": "exec '" + own + "/postconf' \"$@\"\n", "postmap": "exec '" + own + "/postmap' \"$@\"\n",
	} {
		h.command(name, script)
	}
	h.words = append(h.words, "/etc/systemd/system", filepath.Join(h.root, "systemd"), "/usr/local/sbin", h.bin, "/etc/postfix/mysql", h.etc(), "/opt/iredapd", h.root, "172.22.1.253:25", h.Addr("public"), "/etc/coexistd", h.Dir, "-g coexistd", "-g root")
	for _, service := range h.config.Services {
		if port, onLoopback := strings.CutPrefix(service.Name, "127.0.0.1:"); onLoopback {
			h.words = append(h.words, port, strings.TrimPrefix(h.Addr(service.Name), "127.0.0.1:"))
		} else if port[0] < 'a' {
			h.words = append(h.words, port, h.Addr(port))
		}
	}
	h.pointFilters()
	for socket, port := range map[string]string{"milter": ":8701", "lookup": ":8702"} {
		at := "unix:" + filepath.Join(h.Dir, socket+".sock")
		for _, host := range []string{"127.0.0.1", "172.22.1.1"} {
			h.words = append(h.words, `"inet:`+host+port+`"`, `"`+at+"\"\nmode = \"0666\"", "inet:"+host+port, at)
		}
	}
}

// pointFilters has content filters be where the services listen that stand in the place of the
// product's.
func (h *productHost) pointFilters() {
	h.t.Helper()
	changed := false
	for _, name := range []string{"main.cf", "master.cf"} {
		path := filepath.Join(h.etc(), name)
		text, err := os.ReadFile(path)
		h.do(err)
		pointed := regexp.MustCompile(`\[127\.0\.0\.1\]:100\d\d\b`).ReplaceAllStringFunc(string(text), h.replaced)
		changed = changed || pointed != string(text)
		h.do(os.WriteFile(path, []byte(pointed), 0o644))
	}
	if changed {
		h.do(h.Host.Again(deadline(h.t)))
	}
}

func (h *productHost) etc() string { return filepath.Join(h.Postfix.Dir, "etc") }

// command makes a command of the page.
func (h *productHost) command(name, script string) {
	h.t.Helper()
	// A process that another test starts just now would keep the file open for writing.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	h.do(os.WriteFile(filepath.Join(h.bin, name), []byte("#!/bin/sh\n"+script), 0o755))
}

// follow does what the page says for all products and for one, and proves that it is right.
func (h *productHost) follow(shared, own string) {
	h.t.Helper()
	toml, csv, sh := blocksOf(shared)
	ownTOML, ownCSV, directory := blocksOf(own[:strings.Index(own, "\n### Postfix\n")])
	_, _, rest := blocksOf(own[strings.Index(own, "\n### Postfix\n"):])
	if len(toml) != 1 || len(csv) != 1 || len(sh) != 2 || len(ownTOML) != 1 || len(ownCSV) != 0 {
		h.t.Fatalf("the page has other blocks than those that are known: %q, %q, %q", toml, csv, sh)
	}
	text := strings.Replace(ownTOML[0], "our_networks", fmt.Sprintf("hostname = \"mail.acmecorp.com\"\nresolver = %q\nstate_dir = \"{dir}/state\"\nour_networks", h.DNS.Addr), 1)
	if !strings.Contains(text, "[quarantine]") {
		text += "\n[quarantine]\nsmtp = \"{mta}\"\n"
	}
	h.do(h.WriteTOML(h.replaced(text + toml[0] + "\n[check.ddos]\nexempt = [\"127.0.0.0/8\"]\n")))
	h.do(h.WriteDirectory(csv[0]))
	h.mustArriveHere("alice@acmecorp.com", "bob@acmecorp.com")
	for _, commands := range slices.Concat(directory, sh[:1], rest) {
		h.shell(commands)
	}
	h.mustWork()
	h.remove()
	h.shell("coexistd reload\n")
	if strings.Contains(text, "[source.") {
		h.waitDaemonLog(`msg="directory loaded" path=source:\w+ addresses=5`)
	}
	h.mustWork()
	if h.prove != nil {
		h.prove()
	}
	h.mustBeWell(h.shell(sh[1]))
}

// blocksOf are the blocks of a part of the page, by their kinds.
func blocksOf(part string) (toml, csv, sh []string) {
	for _, found := range fenced.FindAllStringSubmatch(strings.ReplaceAll(part, "\n   ", "\n"), -1) {
		switch found[1] {
		case "toml":
			toml = append(toml, found[3])
		case "csv":
			csv = append(csv, found[3])
		case "sh":
			sh = append(sh, found[3])
		}
	}
	return toml, csv, sh
}

func (h *productHost) replaced(text string) string {
	return strings.NewReplacer(h.words...).Replace(text)
}

// shell runs commands of the page under sh -e, which must end well, does what they asked of
// services, and returns what they printed.
func (h *productHost) shell(commands string) string {
	h.t.Helper()
	cmd := exec.CommandContext(deadline(h.t), "/bin/sh", "-e", "-c", h.replaced(commands))
	cmd.Dir = h.root
	cmd.Env = append(os.Environ(), "PATH="+h.bin+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Fatalf("%s\nended with %v and printed\n%s", h.replaced(commands), err, out)
	}
	if statements := h.taken("sql"); statements != "" {
		h.sql(statements)
	}
	for line := range strings.Lines(h.taken("asked")) {
		switch {
		case strings.HasPrefix(line, "postfix"), strings.HasPrefix(line, "zmmtactl"), strings.Contains(line, "restart postfix"), strings.Contains(line, "reload postfix"):
			h.do(h.Host.Again(deadline(h.t)))
		case strings.Contains(line, "enable --now coexistd"):
			program, err := program()
			h.do(err)
			h.Daemon, err = lab.StartDaemon(deadline(h.t), program, h.Config())
			h.do(err)
			h.waitDaemonLog("the networks of a platform are known")
			if text, err := os.ReadFile(h.Config()); err != nil || strings.Contains(string(text), "[source.") {
				h.waitDaemonLog(`msg="directory loaded" path=source:`)
			}
		}
	}
	return string(out)
}

// taken is what commands have left in a file, which is removed.
func (h *productHost) taken(name string) string {
	h.t.Helper()
	path := filepath.Join(h.root, name)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	h.do(errors.Join(err, os.Remove(path)))
	return string(text)
}

// mustArriveHere sends mail to addresses, which must all arrive at mailboxes here.
func (h *productHost) mustArriveHere(addresses ...string) {
	h.t.Helper()
	for _, to := range addresses {
		m := lab.Plain("eve@example.net", to, "before")
		h.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To(to), Data: m})
		h.mustArrive(m, "here "+to)
	}
}

// mustWork sends mail on each way, each of which must arrive once.
func (h *productHost) mustWork() {
	h.t.Helper()
	const here, there = "here bob@acmecorp.com", "office365 alice@acmecorp-com.onmicrosoft.com"
	for to, arrives := range map[string][]string{"bob@acmecorp.com": {here}, "alice@acmecorp.com": {there}, "sales@acmecorp.com": {here}, "all@acmecorp.com": {here, there}} {
		m := lab.Plain("eve@example.net", to, "from the Internet")
		h.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To(to), Data: m})
		h.mustArrive(m, arrives...)
		m = lab.Plain("bob@acmecorp.com", to, "from a user")
		client := lab.Client{Server: h.Addr("submission"), Local: lab.FromInternet, User: "bob@acmecorp.com", Password: "secret"}
		r, err := client.Send(deadline(h.t), lab.Mail{From: "bob@acmecorp.com", To: lab.To(to), Data: m})
		if h.do(err); !r.Accepted() {
			h.t.Errorf("a user's mail to %s is answered with %+v", to, r)
		}
		h.mustArrive(m, arrives...)
		m = lab.Plain("bob@acmecorp.com", to, "from this host")
		h.sendmail("bob@acmecorp.com", m, to)
		h.mustArrive(m, arrives...)
	}
	m := fromTenant(lab.OfficeTenant, lab.Plain("alice@acmecorp.com", "bob@acmecorp.com", "from a user there"))
	h.deliver(lab.FromOffice365, lab.Mail{From: "alice@acmecorp.com", To: lab.To("bob@acmecorp.com"), Data: m})
	h.mustArrive(m, here)
	m = lab.Plain("bob@acmecorp.com", "eve@example.net", "to the Internet")
	h.deliver(lab.FromUser, lab.Mail{From: "bob@acmecorp.com", To: lab.To("eve@example.net"), Data: m})
	h.mustArrive(m, "Internet eve@example.net")
	if reply := h.rcpt(lab.FromInternet, "eve@example.net", "nobody@acmecorp.com"); reply.Code != 550 {
		h.t.Errorf("mail to an address that nobody has is answered with %s", reply)
	}
}

// mustBeWell checks that the doctor is content with all that the recipe is about. The product has the
// scanners and the certificates.
func (h *productHost) mustBeWell(printed string) {
	h.t.Helper()
	bad := slices.DeleteFunc(regexp.MustCompile(`(?m)^(FAIL|warn  (directory|daemon|postfix|smtp)) .*\n.*`).FindAllString(printed, -1), func(line string) bool {
		return h.explained != "" && strings.Contains(line, h.explained)
	})
	if len(bad) > 0 || !strings.Contains(printed, "ok    postfix") {
		h.t.Errorf("the doctor says\n%s\nof all this\n%s", strings.Join(bad, "\n"), printed)
	}
}

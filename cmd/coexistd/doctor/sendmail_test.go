package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/postconf"
	"coexistd/cmd/coexistd/sendmailcf"
	"coexistd/milter/sources"
	"coexistd/policy/config"
	"coexistd/policy/networks"
)

const besideSendmail = `hostname = "mail.acmecorp.com"
our_networks = ["127.0.0.0/8", "10.1.0.0/16"]
state_dir = "{dir}"
[[listen]]
address = "inet:127.0.0.1:8701"
[[lookup]]
address = "inet:127.0.0.1:8702"
[platform.office365]
networks = ["40.92.0.0/15"]
tenant = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
[domain."acmecorp.com"]
directory = "users.csv"
alternate = { office365 = "acmecorp-com.onmicrosoft.com" }
[domain."globex.example"]
directory = "users.csv"
alternate = { office365 = "globex.onmicrosoft.com" }
[scanner.clamd]
address = "unix:/run/clamav/clamd.ctl"
`

// host has Sendmail's files as they are on a host where all is well, save for what a test
// replaces in them. A name that begins with "+" adds a file, or lines to one.
func host(t *testing.T, changes ...[3]string) *examination {
	t.Helper()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	texts := map[string]string{
		"coexistd.toml":    besideSendmail,
		"users.csv":        "address,residence\nalice@acmecorp.com,office365\nbob@acmecorp.com,here\nhugo@globex.example,here\n",
		"local-host-names": "# none\nmail.acmecorp.com # this host\n",
		"relay-domains":    "acmecorp.com\nglobex.example\n10.1\n",
		"access":           "Connect:10.1.2 RELAY\nspam.example REJECT\n",
		"mailertable":      "acmecorp.com dovecot:localhost\n.example dovecot:localhost\n",
		"sendmail.pid":     fmt.Sprintf("%d\nsendmail -bd\n", os.Getpid()),
		"sendmail.mc":      "",
		"access.db":        "",
		"mailertable.db":   "",
		"aliases":          "# none\npostmaster: root\nabuse:\n  postmaster,\n  root\n",
	}
	for _, name := range []string{"sendmail.cf", "submit.cf"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	for _, c := range changes {
		if more, is := strings.CutPrefix(c[0], "+"); is {
			texts[more] += c[2]
			continue
		}
		if !strings.Contains(texts[c[0]], c[1]) {
			t.Fatalf("%s lacks %q, which is to be replaced", c[0], c[1])
		}
		texts[c[0]] = strings.ReplaceAll(texts[c[0]], c[1], c[2])
	}
	begun, order := time.Now(), []string{"sendmail.mc", "sendmail.cf", "sendmail.pid"} // as they are made
	for name, text := range texts {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "{dir}", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
		made := begun.Add(-time.Hour)
		for i, one := range order {
			if one == name {
				made = made.Add(time.Duration(i+1) * time.Minute)
			}
		}
		if err := os.Chtimes(path, made, made); err != nil {
			t.Fatal(err)
		}
	}
	reading := config.Load(filepath.Join(dir, "coexistd.toml"))
	if len(reading.Problems) > 0 {
		t.Fatal(reading.Problems)
	}
	x := &examination{conf: reading.Config, networks: reading.Config.Networks, mta: noPostfix(postconf.ErrNone), now: time.Now(),
		lists: sync.OnceValue(func() sources.Directories { return sources.Open(reading.Directories, nil) })}
	x.sendmail = readSendmail(filepath.Join(dir, "sendmail.cf"))
	return x
}

// saysOfSendmail is what the doctor says of Sendmail, a line for each finding and remedy.
func saysOfSendmail(t *testing.T, x *examination) string {
	t.Helper()
	var said strings.Builder
	for _, f := range lookAtSendmail(t.Context(), x) {
		fmt.Fprintf(&said, "%s %s\n", f.Status, f.Found)
		if f.Remedy != "" {
			fmt.Fprintf(&said, "  do: %s\n", f.Remedy)
		}
	}
	return strings.ReplaceAll(said.String(), filepath.Dir(x.sendmail.Path), "{dir}")
}

// Changes to a platform that a secret header proves.
var (
	secret = [3]string{"+proof.key", "", "Zm9vYmFyYmF6cXV1eHhjb3JnZWdyYXVsdGdhcnBseXc=\n"}
	proof  = [3]string{"coexistd.toml", "tenant = \"3f2504e0-4f89-11d3-9a0c-0305e82c3301\"", "proof = { header = \"X-Coexist-Proof\", secret_file = \"proof.key\" }"}
)

// withSubmission adds what contrib/sendmail has for a daemon to which users bring mail, beside changes.
func withSubmission(changes ...[3]string) [][3]string {
	return append([][3]string{
		{"coexistd.toml", "[[lookup]]", "[[listen]]\naddress = \"inet:127.0.0.1:8703\"\ncheckpoint = \"S2\"\n[[lookup]]"},
		{"sendmail.cf", "Family=inet,  Name=MSP-v4, Port=587, M=Ea, Addr=127.0.0.1", "Family=inet, Name=MSA, Port=submission, M=Ea, InputMailFilters=coexistd-users"},
		{"+sendmail.cf", "", "Xcoexistd-users, S=inet:8703@127.0.0.1, F=T, T=C:30s;S:30s;R:1m;E:5m\n"},
		{"+sendmail.cf", "", "C{TrustAuthMech}PLAIN LOGIN\nO AuthMechanisms=PLAIN LOGIN\nO AuthOptions=p y\nO ServerCertFile=/etc/mail/tls/sendmail-server.crt\n"},
	}, changes...)
}

// inClassW has the mailboxes of acmecorp.com as accounts of the host, beside changes.
func inClassW(changes ...[3]string) [][3]string {
	return append([][3]string{
		{"relay-domains", "acmecorp.com\n", ""}, {"+local-host-names", "", "ACMECORP.com\n"}, {"mailertable", "acmecorp.com dovecot:localhost\n", ""},
	}, changes...)
}

// demandsTLS demands TLS of a partner.
const demandsTLS = "[[tls]]\nname = \"the bank\"\ndomains = [\"bank.example\"]\nin = \"verify\"\nout = \"secure\"\nnames = [\"mx.bank.example\"]\n"

// masquerade is what MASQUERADE_AS makes of sendmail.cf.
const masquerade = "DMmail.acmecorp.com\nSMasqHdr=93\nR$* < @ $* $=N . >	$@ $1 < @ $2 $3 . >\n" +
	"R$* < @ $=M . > $*	$: $1 < @ $2 . @ $M > $3\nR$* < @ $=w . > $*	$: $1 < @ $2 . @ $M > $3\n"

const submissionIsWell = `ok daemon (MTA-v4) hands its mail to coexistd by inet:8701@127.0.0.1
ok daemon (MSA) hands its mail to coexistd by inet:8703@127.0.0.1
ok Sendmail asks coexistd at inet:8702@127.0.0.1
ok Sendmail takes mail for acmecorp.com, globex.example
`

const allIsWell = `ok daemon (MTA-v4, MSP-v4) hands its mail to coexistd by inet:8701@127.0.0.1
ok Sendmail asks coexistd at inet:8702@127.0.0.1
ok Sendmail takes mail for acmecorp.com, globex.example
`

func TestTheDoctorFindsASendmailWellThatIsAsContribHasIt(t *testing.T) {
	t.Parallel()
	for name, changes := range map[string][][3]string{
		"as m4 makes it":        nil,
		"F=4":                   {{"sendmail.cf", "F=T", "F=4"}},
		"a blank behind O":      {{"sendmail.cf", "O InputMailFilters=coexistd", "O InputMailFilters = coexistd"}},
		"a list in each daemon": {{"sendmail.cf", "Addr=127.0.0.1\n", "Addr=127.0.0.1, InputMailFilters=other;coexistd\n"}, {"sendmail.cf", "Port=25\n", "Port=25, InputMailFilters=other;coexistd\n"}, {"sendmail.cf", "O InputMailFilters=coexistd\n", ""}, {"+sendmail.cf", "", "Xother, S=inet:1@127.0.0.1\n"}},
		"a listener beside the sendmail command's": {{"+sendmail.cf", "", "O DaemonPortOptions=Name=local, Addr=127.0.0.1, Port=2525, InputMailFilters=coexistd\n"}},
		"a signer behind":                          {{"sendmail.cf", "O InputMailFilters=coexistd", "O InputMailFilters=coexistd, opendkim"}, {"+sendmail.cf", "", "Xopendkim, S=local:/run/opendkim/sock\n"}},
		"class w":                                  inClassW(),
		"hosts written as one":                     {{"+sendmail.cf", "", masquerade}},
		"users' addresses kept":                    inClassW([3]string{"+sendmail.cf", "", masquerade + "C{N}acmecorp.com\n"}),
		"limited to other domains":                 inClassW([3]string{"+sendmail.cf", "", "DMmail.acmecorp.com\nCMother.example\nSMasqHdr=93\nR$* < @ $=M . > $*	$: $1 < @ $2 . @ $M > $3\n"}),
		"hosts written as the domain":              inClassW([3]string{"+sendmail.cf", "", strings.Replace(masquerade, "DMmail.", "DM", 1) + "CEroot\nC{Coexistd}mail.acmecorp.com\n"}, [3]string{"+coexistd.toml", "", "[domain.\"mail.acmecorp.com\"]\nunlisted = \"here\"\nsame_as = \"acmecorp.com\"\n"}),
		"written as itself":                        inClassW([3]string{"+sendmail.cf", "", strings.Replace(masquerade, "DMmail.", "DM", 1)}, [3]string{"+users.csv", "", "root@acmecorp.com,here\n"}),
		"no program where it is idle":              {{"+sendmail.cf", "", "Mlocal, P=/usr/sbin/no-such-mda, F=l, A=no-such-mda $u\n"}},
		"another host has accounts":                inClassW([3]string{"+sendmail.cf", "", "Mlocal, P=/usr/sbin/no-such-mda, F=l, A=no-such-mda $u\nDHhub.acmecorp.com\n"}),
		"aliases of each kind":                     inClassW([3]string{"+aliases", "", "Bob: bob@acmecorp.com, \"|/bin/x a@b\", /dev/null\nteam: hugo@globex.example, alice@acmecorp.com, root, all\nall: postmaster\nroot: root, bob\n"}, [3]string{"users.csv", "address,residence\n", "address,residence\nteam@acmecorp.com,here\n"}),
		"roles as virtual users":                   inClassW([3]string{"aliases", "abuse:", "other-root: root\nroot: other-root\nxabuse:"}, [3]string{"+sendmail.cf", "", "Kvirtuser text {dir}/virtusertable\n"}, [3]string{"+virtusertable", "", "abuse@acmecorp.com xabuse\nx@other.example other-root\nbob+*@acmecorp.com bob\n"}),
		"a host for all names":                     inClassW([3]string{"aliases", "abuse:", "mailer-daemon:"}, [3]string{"+sendmail.cf", "", "DLother.example\n"}),
		"the access map":                           {{"relay-domains", "acmecorp.com\n", ""}, {"+access", "", "To:acmecorp.com\tRELAY\n"}},
		"what [[tls]] demands":                     {{"+coexistd.toml", "", demandsTLS}, {"+access", "", "TLS_Rcpt:bank.example\tVERIFY:112+CN:mx.bank.example\n"}, {"+sendmail.cf", "", "O ServerCertFile=/etc/mail/tls/sendmail-server.crt\n"}},
		"a parent domain":                          {{"relay-domains", "globex.example", "example"}},
		"a relay":                                  {{"coexistd.toml", "tenant =", "relay = \"[127.0.0.1]:25\"\ntenant ="}, {"sendmail.cf", "C{Coexistd}", "C{Coexistd}Globex.OnMicrosoft.com acmecorp-com.onmicrosoft.com "}},
		"virtual users":                            {{"+sendmail.cf", "", "C{VirtHost}acmecorp.com\nCR$={VirtHost}\n"}, {"relay-domains", "acmecorp.com\n", ""}},
		"an optional table that lacks":             {{"+sendmail.cf", "", "Kvirtuser hash -o {dir}/virtusertable\n"}},
		"virtual users alone":                      {{"+sendmail.cf", "", "C{VirtHost}acmecorp.com\nKvirtuser text {dir}/virtusertable\n"}, {"mailertable", "acmecorp.com", "other.example"}, {"+virtusertable", "", "Bob@acmecorp.com bob\n"}},
		"all as virtual users":                     {{"+sendmail.cf", "", "C{VirtHost}acmecorp.com\nKvirtuser text {dir}/virtusertable\n"}, {"mailertable", "acmecorp.com", "other.example"}, {"+virtusertable", "", "@acmecorp.com bob\n"}},
		"a mailer with its port":                   {{"mailertable", "acmecorp.com dovecot:localhost", "acmecorp.com here:[127.0.0.1]"}, {"+sendmail.cf", "", "Mhere, P=[IPC], F=mDFMuXa, A=TCP $h 10025\n"}},
		"many connections":                         {{"+sendmail.cf", "", "SRateControl\nR$* x\nSConnControl\nR$* x\n"}, {"+access", "", "ClientRate: 10\nClientRate:40.92 0\nClientRate:40.93 0\nClientConn:40 500\n"}},
		"bounds that are not kept":                 {{"+access", "", "ClientRate: 10\n"}},
		"may_relay":                                {{"coexistd.toml", "tenant =", "may_relay = true\ntenant ="}, {"+access", "", "Connect:40.92 RELAY\nConnect:40.93 RELAY\n"}},
		"no pid file":                              {{"sendmail.cf", "O PidFile={dir}", "O PidFile={dir}/none"}},
		"secrets":                                  {secret, proof},
		"a log without secrets":                    {{"sendmail.cf", "O Milter.LogLevel=8\n", ""}},
		"no receipts":                              {{"+sendmail.cf", "", "O PrivacyOptions=noreceipts\n"}, {"sendmail.cf", "D{coexistd_dsn}yes\n", ""}},
		"submission":                               withSubmission(),
		"the host's own name":                      {{"+coexistd.toml", "", "[domain.\"mail.acmecorp.com\"]\nunlisted = \"here\"\n"}},
		"the host has the same users":              {{"+coexistd.toml", "", "[domain.\"mail.acmecorp.com\"]\nsame_as = \"acmecorp.com\"\nunlisted = \"here\"\n"}, {"sendmail.cf", "C{Coexistd}", "C{Coexistd}mail.acmecorp.com "}, {"+aliases", "", "team: alice, bob, root\n"}},
		"a daemon for each kind":                   {{"+sendmail.cf", "", "O DaemonPortOptions=Family=inet6, Name=MTA-v6, Addr=::1, I=coexistd\n"}},
		"a daemon that may lack":                   {{"+sendmail.cf", "", "O DaemonPortOptions=Name=MTA-v4, Port=25, M=O\n"}},
		"IPv6 for all":                             {{"sendmail.cf", "Family=inet,  Name=MTA-v4, Port=25", "Family=inet6, Name=MTA-v4, Port=25"}},
		"localhost":                                {{"sendmail.cf", "@127.0.0.1", "@localhost"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			right := cmp.Or(map[string]string{
				"localhost":                                strings.ReplaceAll(allIsWell, "127.0.0.1", "localhost"),
				"a daemon for each kind":                   strings.Replace(allIsWell, "MSP-v4", "MSP-v4, MTA-v6", 1),
				"a daemon that may lack":                   strings.Replace(allIsWell, "MSP-v4", "MSP-v4, MTA-v4", 1),
				"a listener beside the sendmail command's": strings.Replace(allIsWell, "MSP-v4", "MSP-v4, local", 1),
				"submission":                               submissionIsWell,
				"the host's own name":                      strings.Replace(allIsWell, "example", "example, mail.acmecorp.com", 1),
				"the host has the same users":              strings.Replace(allIsWell, "example", "example, mail.acmecorp.com", 1),
				"hosts written as the domain":              strings.Replace(allIsWell, "example", "example, mail.acmecorp.com", 1),
			}[name], allIsWell)
			if got := saysOfSendmail(t, host(t, changes...)); got != right {
				t.Errorf("the doctor says\n%s\nright is\n%s", got, right)
			}
		})
	}
}

func TestTheDoctorSaysWhatIsWrongWithSendmail(t *testing.T) {
	t.Parallel()
	const filter = "Xcoexistd, S=inet:8701@127.0.0.1, F=T, T=C:30s;S:30s;R:1m;E:5m"
	noInclude := [][3]string{{"sendmail.cf", filter + "\n", ""}, {"sendmail.cf", "O InputMailFilters=coexistd\n", ""}, {"sendmail.cf", "Ksendmail", "Kother"}}
	for _, c := range []struct {
		name    string
		changes [][3]string
		says    []string
	}{
		{"an upstream that would tell Sendmail", [][3]string{{"+coexistd.toml", "", "[upstream.balancer]\nnetworks = [\"192.0.2.9\"]\nclient = \"mta\"\n"}}, []string{
			"fail the upstream balancer tells the MTA of its clients (client), and Sendmail knows neither XCLIENT nor the PROXY protocol",
			"  do: have the gateway add a Received field, and write client = \"received\" into [upstream.balancer] of {dir}/coexistd.toml"}},
		{"an upstream that may relay", [][3]string{{"+coexistd.toml", "", "[upstream.filter]\nnetworks = [\"192.0.2.7\"]\n"}, {"+access", "", "Connect:192.0.2.7 RELAY\n"}}, []string{
			"warn Sendmail lets 192.0.2.7/32 relay, from where the upstream filter hands on the Internet's mail"}},
		{"no filter", [][3]string{{"sendmail.cf", filter + "\n", ""}, {"sendmail.cf", "O InputMailFilters=coexistd\n", ""}}, []string{
			`fail daemon (MTA-v4, MSP-v4) does not hand its mail to coexistd: the list InputMailFilters is "", and no filter (X) leads to inet:8701@127.0.0.1`,
			"  do: put into sendmail.mc: INPUT_MAIL_FILTER(`coexistd', `S=inet:8701@127.0.0.1, F=T, T=C:30s;S:30s;R:1m;E:5m')dnl, which is what coexistd.m4 has; then"}},
		{"no include", append(noInclude, [3]string{"coexistd.toml", "127.0.0.1:8701", "127.0.0.1:8711"}), []string{
			`fail daemon (MTA-v4, MSP-v4) does not hand its mail to coexistd: the list InputMailFilters is "", and no filter (X) leads to inet:8711@127.0.0.1`,
			"  do: put into sendmail.mc: define(`COEXISTD_DOMAINS', `acmecorp.com globex.example')dnl and define(`COEXISTD_MILTER', `inet:8711@127.0.0.1')dnl and below that include(`/etc/mail/coexistd.m4')dnl, both behind the FEATURE lines"}},
		{"no include beside submission", withSubmission(noInclude...), []string{
			`fail daemon (MTA-v4) does not hand its mail to coexistd: the list InputMailFilters is "", and no filter (X) leads to inet:8701@127.0.0.1`,
			"  do: put into sendmail.mc: define(`COEXISTD_DOMAINS', `acmecorp.com globex.example')dnl and below that include(",
			"ok daemon (MSA) hands"}},
		{"no filter beside submission", withSubmission([3]string{"sendmail.cf", filter + "\n", ""}, [3]string{"sendmail.cf", "O InputMailFilters=coexistd\n", ""}), []string{
			"fail daemon (MTA-v4) does not hand", "  do: put into sendmail.mc: INPUT_MAIL_FILTER(`coexistd', `S=inet:8701@127.0.0.1, "}},
		{"another address beside submission", withSubmission([3]string{"sendmail.cf", "8701@127.0.0.1", "127.0.0.1:8701"}), []string{
			`fail daemon (MTA-v4) does not hand its mail to coexistd: the filter coexistd is "inet:127.0.0.1:8701", where [[listen]] has none`,
			"  do: put into sendmail.mc: define(`COEXISTD_MILTER', `inet:8701@127.0.0.1')dnl before"}},
		{"the users' listener at port 25", withSubmission([3]string{"sendmail.cf", "8701", "8703"}), []string{
			`fail daemon (MTA-v4) hands its mail to coexistd by inet:8703@127.0.0.1, where all mail counts as that of our users (checkpoint = "S2"): mail from the Internet gets 530`,
			"  do: put into sendmail.mc: define(`COEXISTD_MILTER', `inet:8701@127.0.0.1')dnl before"}},
		{"the users' filter at port 25", withSubmission([3]string{"sendmail.cf", "O InputMailFilters=coexistd", "O InputMailFilters=coexistd-users"}), []string{
			`fail daemon (MTA-v4) hands its mail to coexistd by inet:8703@127.0.0.1, where all mail counts as that of our users (checkpoint = "S2")`,
			"  do: put into sendmail.mc: define(`confINPUT_MAIL_FILTERS', `coexistd')dnl; then"}},
		{"the users' filter at a port 25 of this host", withSubmission([3]string{"sendmail.cf", "Port=25", "Port=25, Addr=127.0.0.1, I=coexistd-users"}), []string{
			"warn daemon (MTA-v4) hands its mail to coexistd by inet:8703@127.0.0.1, where all mail", "  do: put into sendmail.mc: InputMailFilters=coexistd in the DAEMON_OPTIONS of MTA-v4"}},
		{"the users' filter is the only one", append(withSubmission(noInclude...), [3]string{"coexistd.toml", "[[listen]]\naddress = \"inet:127.0.0.1:8701\"\n", ""}), []string{
			"fail daemon (MTA-v4) does not hand its mail to coexistd, of which each [[listen]] has checkpoint = \"S2\"", "  do: add to {dir}/coexistd.toml: [[listen]] with an address of its own and without checkpoint = \"S2\""}},
		{"both filters at port 25", withSubmission([3]string{"sendmail.cf", "O InputMailFilters=coexistd", "O InputMailFilters=coexistd, coexistd-users"}), []string{
			"fail daemon (MTA-v4) hands its mail to coexistd twice", "  do: in sendmail.mc, take coexistd-users out of the common list: write MAIL_FILTER in place of its INPUT_MAIL_FILTER"}},
		{"a wrong name at submission", withSubmission([3]string{"sendmail.cf", "InputMailFilters=coexistd-users", "InputMailFilters=coexistd-user"}), []string{
			"ok daemon (MTA-v4)", "fail daemon (MSA) names the filter coexistd-user, which no line defines: Sendmail does not start (InputFilter coexistd-user not defined)",
			"  do: put into sendmail.mc: InputMailFilters=coexistd-users in the DAEMON_OPTIONS of MSA; then make sendmail.cf anew (make -C /etc/mail, or m4 sendmail.mc > sendmail.cf), and run: systemctl restart sendmail\nok Sendmail asks"}},
		{"no filter of the name at submission", withSubmission([3]string{"sendmail.cf", "Xcoexistd-users, S=inet:8703@127.0.0.1, F=T, T=C:30s;S:30s;R:1m;E:5m\n", ""}), []string{
			"fail daemon (MSA) names the filter coexistd-users, which no line defines",
			"  do: put into sendmail.mc: MAIL_FILTER(`coexistd-users', `S=inet:8703@127.0.0.1, F=T, T=C:30s;S:30s;R:1m;E:5m')dnl; then"}},
		{"a wrong address at submission", withSubmission([3]string{"sendmail.cf", "8703", "8793"}), []string{
			`fail daemon (MSA) does not hand its mail to coexistd: the filter coexistd-users is "inet:8793@127.0.0.1", where [[listen]] has none`,
			"  do: put into sendmail.mc: MAIL_FILTER(`coexistd-users', `S=inet:8703@127.0.0.1, F=T, T=C:30s;S:30s;R:1m;E:5m')dnl in place of its line"}},
		{"no F at submission", withSubmission([3]string{"sendmail.cf", "8703@127.0.0.1, F=T", "8703@127.0.0.1"}), []string{
			"fail daemon (MSA) hands its mail to coexistd by inet:8703@127.0.0.1, but while", "  do: put into sendmail.mc: MAIL_FILTER(`coexistd-users', "}},
		{"another's filter that is not defined", [][3]string{{"sendmail.cf", "O InputMailFilters=coexistd", "O InputMailFilters=coexistd, opendkim"}}, []string{
			"fail daemon (MTA-v4, MSP-v4) names the filter opendkim, which no line defines", "  do: put into sendmail.mc: MAIL_FILTER(`opendkim', `S=…')dnl with its socket, or take opendkim out of the list"}},
		{"another address", [][3]string{{"sendmail.cf", "8701", "8799"}}, []string{
			`fail daemon (MTA-v4, MSP-v4) does not hand its mail to coexistd: the filter coexistd is "inet:8799@127.0.0.1", where [[listen]] has none`,
			"  do: put into sendmail.mc: define(`COEXISTD_MILTER', `inet:8701@127.0.0.1')dnl before"}},
		{"no list names it", [][3]string{{"sendmail.cf", "O InputMailFilters=coexistd\n", ""}}, []string{
			`fail daemon (MTA-v4, MSP-v4) does not hand its mail to coexistd: the list InputMailFilters is "", without coexistd`,
			"  do: put into sendmail.mc: define(`confINPUT_MAIL_FILTERS', `coexistd')dnl; then make sendmail.cf anew (make -C /etc/mail"}},
		{"a daemon that leaves it out", [][3]string{{"sendmail.cf", "M=Ea, Addr=127.0.0.1", "M=Ea, Addr=0.0.0.0, I=other"}, {"+sendmail.cf", "", "Xother, S=inet:1@127.0.0.1, F=T\n"}}, []string{
			"ok daemon (MTA-v4) hands",
			`fail daemon (MSP-v4) does not hand its mail to coexistd: its own list InputMailFilters is "other", without coexistd`,
			"  do: put into sendmail.mc: InputMailFilters=coexistd;other in the DAEMON_OPTIONS of MSP-v4"}},
		{"a daemon for a content filter", [][3]string{{"+sendmail.cf", "", "O DaemonPortOptions=Name=back, Addr=127.0.0.1, Port=10026, InputMailFilters=\n"}}, []string{
			"ok daemon (back) takes mail back from a content filter, without milters"}},
		{"what [[tls]] demands lacks", [][3]string{{"+coexistd.toml", "", demandsTLS}, {"+access", "", "TLS_Rcpt:bank.example\tENCR:112\n"}}, []string{
			"fail the access map lacks what out of [[tls]] demands of servers, so that mail goes to them whatever they show: TLS_Rcpt:bank.example VERIFY:112+CN:mx.bank.example",
			"warn Sendmail offers no TLS: whom a [[tls]] demands it of is refused", "  do: put into sendmail.mc: define(`confSERVER_CERT', `CERTFILE')dnl and define"}},
		{"what Sendmail cannot demand", [][3]string{{"+coexistd.toml", "", strings.Replace(demandsTLS, `"secure"`, `"dane"`, 1)}, {"+sendmail.cf", "", "O ServerCertFile=/x.crt\nO TLSSrvOptions=V\n"}}, []string{
			"warn Sendmail demands less of servers than [[tls]] says. Of \"the bank\": what dane demands, Sendmail can demand of all servers alone: confDANE",
			"warn Sendmail asks clients for no certificate: whom a [[tls]] demands one of is refused", "  do: put into sendmail.mc: confTLS_SRV_OPTIONS without V; then"}},
		{"one of two is unused", [][3]string{{"+sendmail.cf", "", strings.Replace(filter, "coexistd", "more", 1) + "\n"}}, []string{
			"warn the filter more (inet:8701@127.0.0.1) leads to coexistd, but no list names it"}},
		{"twice", [][3]string{{"+sendmail.cf", "", strings.Replace(filter, "coexistd", "more", 1) + "\n"}, {"sendmail.cf", "Filters=coexistd", "Filters=more,coexistd"}}, []string{
			"fail daemon (MTA-v4, MSP-v4) hands its mail to coexistd twice, by coexistd and more"}},
		{"a signer before", [][3]string{{"+sendmail.cf", "", "Xopendkim, S=local:/run/opendkim/sock\n"}, {"sendmail.cf", "Filters=coexistd", "Filters=opendkim, coexistd"}}, []string{
			"warn daemon (MTA-v4, MSP-v4) asks OpenDKIM (local:/run/opendkim/sock), coexistd (inet:8701@127.0.0.1), and each sees only",
			"  do: put into sendmail.mc: define(`confINPUT_MAIL_FILTERS', `coexistd,opendkim')dnl behind the lines of these filters; then make"}},
		{"the order of a list of its own", [][3]string{{"+sendmail.cf", "", "Xopendkim, S=local:/run/opendkim/sock\nXdkimpy, S=local:/run/dkimpy/sock\nO DaemonPortOptions=Name=in, Port=26, InputMailFilters=dkimpy;coexistd;opendkim\n"}}, []string{
			"warn daemon (in) asks a signer (local:/run/dkimpy/sock), coexistd (inet:8701@127.0.0.1), OpenDKIM",
			"  do: put into sendmail.mc: InputMailFilters=coexistd;dkimpy;opendkim in the DAEMON_OPTIONS of in; then make"}},
		{"a filter that refuses", [][3]string{{"+sendmail.cf", "", "Xspam, S=local:/run/none/sock, F=R\n"}, {"sendmail.cf", "Filters=coexistd", "Filters=coexistd,spam"}}, []string{
			"warn while local:/run/none/sock is away, mail is refused for good (F=R)", "  do: put into sendmail.mc: INPUT_MAIL_FILTER(`spam', `S=local:/run/none/sock, F=T",
			"fail nobody listens at local:/run/none/sock, and without it no mail goes on (F=R): all of it is refused for good"}},
		{"a listener that a content filter may use", [][3]string{{"+sendmail.cf", "", "O DaemonPortOptions=Name=back, Addr=127.0.0.1, Port=10026\n"}}, []string{
			"warn daemon (back) takes mail of this host at port 10026, and asks coexistd", "  do: where that is so, write InputMailFilters= into its DAEMON_OPTIONS in sendmail.mc, and where it is not, InputMailFilters=coexistd; then make"}},
		{"senders of the host as users", inClassW([3]string{"+sendmail.cf", "", strings.Replace(masquerade, "DMmail.", "DM", 1)}), []string{
			"warn Sendmail writes senders of this host as users of acmecorp.com (MASQUERADE_AS), as in root@acmecorp.com: coexistd refuses", "  do: list such accounts in the directory"}},
		{"a domain to which anybody may send", [][3]string{{"+relay-domains", "", "partner.example\n"}}, []string{
			"warn anybody may send mail through Sendmail to partner.example (relay-domains, the access map), which {dir}/coexistd.toml lacks", "  do: add for each that is yours: [domain.\"partner.example\"]"}},
		{"no F", [][3]string{{"sendmail.cf", " F=T,", ""}}, []string{
			"fail daemon (MTA-v4, MSP-v4) hands its mail to coexistd by inet:8701@127.0.0.1, but while coexistd is away, mail passes by unchecked, and that for users who live elsewhere goes astray (F= is missing)",
			"  do: put into sendmail.mc: INPUT_MAIL_FILTER(`coexistd', `S=inet:8701@127.0.0.1, F=T, T=C:30s;S:30s;R:1m;E:5m')dnl"}},
		{"F=R", [][3]string{{"sendmail.cf", "F=T", "F=R"}}, []string{
			"warn daemon (MTA-v4, MSP-v4) hands its mail to coexistd by inet:8701@127.0.0.1, but while coexistd is away, mail is refused for good (F=R)"}},
		{"short times", [][3]string{{"sendmail.cf", "T=C:30s;S:30s;R:1m;E:5m", "T=C:1s;S:2s;R:3;E:1m"}}, []string{
			"warn the filter coexistd gives coexistd too little time: T=C:1s for the connection, which may take 5s, S:2s for each piece that it sends, which may take 10s, R:3s for each answer, which may take 10s, E:1m0s for the end of a message, which may take ",
			"  do: put into sendmail.mc: INPUT_MAIL_FILTER(`coexistd', `S=inet:8701@127.0.0.1, F=T, T=C:30s;S:30s;R:60s;E:300s')dnl"}},
		{"a scanner that takes long", [][3]string{{"+coexistd.toml", "", "timeout = \"6m\"\n"}}, []string{
			"warn the filter coexistd gives coexistd too little time: T=E:5m0s for the end of a message, which may take 6m40s", "  do: put into sendmail.mc: INPUT_MAIL_FILTER(`coexistd', `S=inet:8701@127.0.0.1, F=T, T=C:30s;S:30s;R:60s;E:400s')dnl"}},
		{"no map", [][3]string{{"sendmail.cf", "Ksendmail", "Kother"}}, []string{
			"fail Sendmail has no map called sendmail that asks coexistd", "  do: put into sendmail.mc: define(`COEXISTD_DOMAINS', `acmecorp.com globex.example')dnl and below that include(`/etc/mail/coexistd.m4')dnl"}},
		{"no map for recipients", [][3]string{{"sendmail.cf", "Ksendmail_rcpt", "Kother"}}, []string{
			"fail Sendmail has no map called sendmail_rcpt that asks coexistd for recipients: all mail for the shared domains is refused (554)",
			"  do: put into sendmail.mc: define(`COEXISTD_DOMAINS', `acmecorp.com globex.example')dnl and below"}},
		{"a map for recipients elsewhere", [][3]string{{"sendmail.cf", "Ksendmail_rcpt socket -f -d2h -T<TMPF> inet:8702", "Ksendmail_rcpt socket -f -d2h -T<TMPF> inet:8709"}}, []string{
			"fail Sendmail asks coexistd at inet:8709@127.0.0.1, where no [[lookup]] is"}},
		{"rules without the map for recipients", [][3]string{{"sendmail.cf", "$(sendmail_rcpt ", "$(sendmail "}}, []string{
			"fail no rule of sendmail.cf (ParseLocal) asks the map for addresses of the class {Coexistd}"}},
		{"a map elsewhere", [][3]string{{"sendmail.cf", "8702", "8799"}}, []string{
			"fail Sendmail asks coexistd at inet:8799@127.0.0.1, where no [[lookup]] is", "  do: put into sendmail.mc: define(`COEXISTD_LOOKUP', `inet:8702@127.0.0.1')dnl"}},
		{"no lookup", [][3]string{{"coexistd.toml", "[[lookup]]\naddress = \"inet:127.0.0.1:8702\"\n", ""}}, []string{
			"fail Sendmail asks coexistd at inet:8702@127.0.0.1, but there is no [[lookup]]"}},
		{"no -T", [][3]string{{"sendmail.cf", "socket -f -d2h -T<TMPF>", "socket -f -d2h"}}, []string{
			"fail the map sendmail does not tell a lookup that fails from an address that is not found: mail goes astray while coexistd cannot answer (-T)",
			"  do: put into sendmail.mc: Ksendmail socket -f -d2h -T<TMPF> inet:8702@127.0.0.1, which is what coexistd.m4 has"}},
		{"no -d", [][3]string{{"sendmail.cf", " -d2h", ""}}, []string{
			"fail the map sendmail waits for an answer no longer than 30s (-d), and then takes it for that to its next question: mail goes to others",
			"  do: put into sendmail.mc: Ksendmail socket -f -d2h -T<TMPF> inet:8702@127.0.0.1, which is what coexistd.m4 has"}},
		{"a short -d", [][3]string{{"sendmail.cf", "-d2h", "-d5m"}}, []string{"fail the map sendmail waits for an answer no longer than 5m0s (-d)"}},
		{"-t", [][3]string{{"sendmail.cf", "socket -f", "socket -t -f"}}, []string{"fail the map sendmail takes a lookup that fails for an address that is not found"}},
		{"no -f", [][3]string{{"sendmail.cf", "socket -f", "socket"}}, []string{"fail the map sendmail folds the case of local parts"}},
		{"no -T of the map for RCPT", [][3]string{{"sendmail.cf", "Ksendmail_rcpt socket -f -d2h -T<TMPF>", "Ksendmail_rcpt socket -f"}}, []string{
			"fail the map sendmail_rcpt does not tell a lookup that fails from an address that is not found",
			"  do: put into sendmail.mc: Ksendmail_rcpt socket -f -d2h -T<TMPF> inet:8702@127.0.0.1, which is what coexistd.m4 has"}},
		{"another mark", [][3]string{{"sendmail.cf", "-T<TMPF>", "-T<LATER>"}}, []string{
			"fail no rule of sendmail.cf (ParseLocal) puts off what the map cannot answer (<LATER>)"}},
		{"no rules", [][3]string{{"sendmail.cf", "SParseLocal=98", "Sother"}}, []string{
			"fail no rule of sendmail.cf (ParseLocal) asks the map for addresses of the class {Coexistd}, and none puts off"}},
		{"a domain lacks", [][3]string{{"sendmail.cf", "C{Coexistd}acmecorp.com globex.example", "C{Coexistd}acmecorp.com"}}, []string{
			"fail Sendmail does not ask coexistd about globex.example, which the class {Coexistd} lacks",
			"  do: put into sendmail.mc: define(`COEXISTD_DOMAINS', `acmecorp.com globex.example')dnl before the include of coexistd.m4"}},
		{"a domain more", [][3]string{{"sendmail.cf", "C{Coexistd}", "C{Coexistd}other.example "}}, []string{
			"warn Sendmail asks coexistd about other.example, which the configuration lacks"}},
		{"an alternate domain with a relay lacks", [][3]string{{"coexistd.toml", "tenant =", "relay = \"[127.0.0.1]:25\"\ntenant ="}}, []string{
			"fail Sendmail does not ask coexistd about acmecorp-com.onmicrosoft.com, globex.onmicrosoft.com"}},
		{"a domain written as the host's", inClassW([3]string{"+sendmail.cf", "", masquerade}), []string{
			"fail Sendmail writes mail.acmecorp.com in the place of acmecorp.com in the senders of mail, and in From (MASQUERADE_AS;",
			"  do: put into sendmail.mc: MASQUERADE_EXCEPTION(``acmecorp.com'')dnl; then"}},
		{"domains written as another", [][3]string{{"+sendmail.cf", "", "DMacmecorp.com\nCMexample\nSMasqHdr=93\nR$* < @ $* $=M . > $*	$: $1 < @ $2 $3 . @ $M > $4\n"}}, []string{
			"fail Sendmail writes acmecorp.com in the place of globex.example", "  do: put into sendmail.mc: MASQUERADE_EXCEPTION(``globex.example'')dnl; then"}},
		{"no program for accounts", inClassW([3]string{"+sendmail.cf", "", "Mlocal,		P=/usr/sbin/no-such-mda, F=lsDFMAw5:/|@qPn9S, A=no-such-mda $u\n"}), []string{
			"fail mail for accounts of this host stays in the queue (acmecorp.com): /usr/sbin/no-such-mda, the program of Sendmail's mailer local, is not there",
			"  do: install it (Debian: apt-get install sensible-mda), then run: sendmail -q; or"}},
		{"an alternate domain in class w", [][3]string{{"+local-host-names", "", "acmecorp-com.onmicrosoft.com\n"}}, []string{
			"fail Sendmail takes acmecorp-com.onmicrosoft.com for domains of this host"}},
		{"an alternate domain in class VirtHost", [][3]string{{"+sendmail.cf", "", "C{VirtHost}globex.onmicrosoft.com\n"}}, []string{
			"fail Sendmail takes globex.onmicrosoft.com for domains of this host"}},
		{"an alternate domain in class R", [][3]string{{"+relay-domains", "", "globex.onmicrosoft.com\n"}}, []string{
			"warn anybody may relay mail through Sendmail to globex.onmicrosoft.com"}},
		{"a domain above an alternate domain in class R", [][3]string{{"+relay-domains", "", "onmicrosoft.com\n"}}, []string{
			"warn anybody may relay mail through Sendmail to acmecorp-com.onmicrosoft.com, globex.onmicrosoft.com"}},
		{"an alternate domain in the access map", [][3]string{{"+access", "", "To:globex.onmicrosoft.com RELAY\n"}}, []string{
			"warn anybody may relay mail through Sendmail to globex.onmicrosoft.com"}},
		{"a domain that is refused", [][3]string{{"relay-domains", "globex.example\n", ""}}, []string{
			"fail Sendmail takes no mail for globex.example: all of it is refused, relaying denied", "  do: write each into /etc/mail/local-host-names"}},
		{"subdomains do not count", [][3]string{{"relay-domains", "globex.example\n", "example\n"}, {"sendmail.cf", "@ $* $=R", "@ $=R"}}, []string{
			"fail Sendmail takes no mail for globex.example"}},
		{"a class that cannot be read", [][3]string{{"relay-domains", "globex.example\n", ""}, {"+sendmail.cf", "", "FR@LDAP\nFR|/bin/names\n"}}, []string{
			"warn whether Sendmail takes mail for globex.example cannot be told: @LDAP is no file, |/bin/names is no file",
			"  do: see that " + account.OwnName() + ` can read it; or run as root: printf '.D{client_addr}192.0.2.1\ncheck_rcpt postmaster@globex.example\n' | sendmail -bt, which must not say "Relaying denied"`}},
		{"two daemons at one port", [][3]string{{"+sendmail.cf", "", "O DaemonPortOptions=Name=MSA, Port=submission, M=Ea\n"}}, []string{
			"fail the daemons MSP-v4 and MSA listen at one port, 587, of the same address: Sendmail cannot open it twice, and ends within a minute",
			"  do: take the DAEMON_OPTIONS of one of them out of sendmail.mc (Debian's own are MTA-v4 and MSP-v4)"}},
		{"a daemon for all of IPv6 beside one", [][3]string{{"+sendmail.cf", "", "O DaemonPortOptions=Family=inet6, Name=MTA-v6, Addr=::\n"}}, []string{
			"fail the daemons MTA-v4 and MTA-v6 listen at one port, 25, of the same address"}},
		{"a file of its number that has none", [][3]string{{"sendmail.pid", "sendmail -bd", ""}, {"sendmail.pid", fmt.Sprint(os.Getpid()), "x"}}, []string{
			"warn since when Sendmail runs, and whether that is since its files were changed, cannot be told: {dir}/sendmail.pid has no number", "  do: see that " + account.OwnName() + " can look at it (PidFile)"}},
		{"no way", [][3]string{{"mailertable", "acmecorp.com", "other.example"}}, []string{
			"fail mail for the mailboxes of acmecorp.com here goes to where its MX points, and comes back",
			"  do: see that in /etc/mail/mailertable stands how the mailboxes are reached, such as: acmecorp.com dovecot:localhost,"}},
		{"virtual users of whom one lacks", [][3]string{{"+sendmail.cf", "", "C{VirtHost}acmecorp.com\nKvirtuser text {dir}/virtusertable\n"}, {"mailertable", "acmecorp.com", "other.example"}, {"+virtusertable", "", "team@acmecorp.com team\n"}}, []string{
			"fail mail for the mailboxes of acmecorp.com here goes to where its MX points, and comes back"}},
		{"a parent without a dot", [][3]string{{"mailertable", ".example", "example"}}, []string{
			"fail mail for the mailboxes of globex.example here goes to where its MX points"}},
		{"class w beside the mailertable", [][3]string{{"+local-host-names", "", "acmecorp.com\n"}}, []string{
			"fail Sendmail delivers mail for acmecorp.com to accounts of this host (class w), and does not look at the line of the mailertable"}},
		{"an unknown mailer", [][3]string{{"mailertable", "acmecorp.com dovecot", "acmecorp.com dovecto"}}, []string{
			"fail the mailertable gives mail for acmecorp.com to dovecto:localhost, but sendmail.cf has no mailer dovecto"}},
		{"a domain that the mailertable refuses", [][3]string{{"mailertable", "acmecorp.com dovecot:localhost", "acmecorp.com error:5.1.2:550 not here"}}, []string{
			"fail the mailertable refuses mail for acmecorp.com (error:5.1.2:550 not here)"}},
		{"an alternate domain that the mailertable refuses", [][3]string{{"+mailertable", "", "globex.onmicrosoft.com error:nohost\n"}}, []string{
			"fail the mailertable refuses mail for globex.onmicrosoft.com (error:nohost)"}},
		{"mail in a circle", [][3]string{{"mailertable", "acmecorp.com dovecot:localhost", "acmecorp.com esmtp:[127.0.0.1]"}}, []string{
			"fail the mailertable gives mail for acmecorp.com back to this host's own port smtp (esmtp:[127.0.0.1]): it goes in a circle"}},
		{"an alternate domain in a circle", [][3]string{{"+mailertable", "", ".onmicrosoft.com esmtp:mail.acmecorp.com\n"}}, []string{
			"fail the mailertable gives mail for acmecorp-com.onmicrosoft.com back to this host's own port smtp (esmtp:mail.acmecorp.com)"}},
		{"a table without its database", [][3]string{{"sendmail.cf", "Kmailertable hash {dir}/mailertable", "Kmailertable hash {dir}/relay-domains"}}, []string{
			"fail {dir}/relay-domains.db, of which Sendmail reads its map mailertable, is not there: mail is put off, or waits in the queue", "  do: run: make -C {dir} (or makemap hash {dir}/relay-domains < {dir}/relay-domains)"}},
		{"no aliases of roles", inClassW([3]string{"aliases", "abuse:", "mailer-daemon:"}), []string{
			"warn mail to abuse@acmecorp.com is refused (550), which each domain must take: neither aliases(5) nor an account has the name",
			"  do: write into {dir}/aliases who reads it, such as a line abuse: root; then run: newaliases"}},
		{"aliases in a circle", [][3]string{{"+aliases", "", "team: team2, team3\nteam2: team\nteam3: team2@mail.acmecorp.com\nwhole-team: team\nall: everybody\neverybody: all, x@other.example\ndaemon: nobody-else\nnobody-else: daemon\n"}}, []string{
			"fail aliases lead to nothing but each other: mail to team, team2, team3, whole-team comes back (554)", "  do: correct their lines in {dir}/aliases; then run: newaliases"}},
		{"members whom the directory lacks", [][3]string{{"+aliases", "", "team: bob@globex.example, alice@acmecorp.com\n"}}, []string{
			"fail aliases have members that the directory lacks, so that mail to them comes back: bob@globex.example of team\n"}},
		{"aliases to which no mail comes", inClassW([3]string{"+aliases", "", "sales: root\nmoved: root\n"}, [3]string{"users.csv", "address,residence\n", "address,residence\nmoved@acmecorp.com,moving\n"}), []string{
			"warn {dir}/aliases has aliases that the directory lacks, or has as moving, so that mail to them is refused or put off: moved@acmecorp.com, sales@acmecorp.com"}},
		{"members with a mailbox on both sides", [][3]string{{"+aliases", "", "team: bob@acmecorp.com, carol@acmecorp.com\nwhole: carol@acmecorp.com, Carol@acmecorp-com.onmicrosoft.com\n"}, {"users.csv", "address,residence\n", "address,residence\ncarol@acmecorp.com,both\n"}}, []string{
			"warn {dir}/aliases has members whose residence is both, of whose mail by an alias only the mailbox here gets a copy\n" +
				"  do: where that matters, name in {dir}/aliases their other address as well: carol@acmecorp-com.onmicrosoft.com beside carol@acmecorp.com of team\n"}},
		{"aliases of who lives elsewhere", inClassW([3]string{"+aliases", "", "alice: bob@acmecorp.com\nbob: alice@acmecorp.com\ncarol: carol@acmecorp-com.onmicrosoft.com\n"}, [3]string{"users.csv", "address,residence\n", "address,residence\ncarol@acmecorp.com,office365\n"}), []string{
			"warn {dir}/aliases has aliases that live elsewhere by the directory or by unlisted, so that their mail goes there and not to the alias: alice@acmecorp.com\n"}},
		{"virtual users who live elsewhere", inClassW([3]string{"+sendmail.cf", "", "Kvirtuser text {dir}/virtusertable\n"}, [3]string{"+virtusertable", "", "alice@acmecorp.com bob\nbob@acmecorp.com bob\n"}), []string{
			"warn the virtusertable has addresses that live elsewhere by the directory or by unlisted, so that their mail goes there and not to its line: alice@acmecorp.com\n"}},
		{"names without a domain of who lives elsewhere", [][3]string{{"+aliases", "", "team: alice, bob, root\n"}}, []string{
			"fail aliases have members without a domain whom Sendmail takes for names of this host (mail.acmecorp.com), where nobody of the directory lives: their mail does not reach them: alice of team, who is alice@acmecorp.com\n" +
				"  do: add to {dir}/coexistd.toml: [domain.\"mail.acmecorp.com\"] with same_as = \"acmecorp.com\" and unlisted = \"here\", and run: systemctl reload coexistd; or write their addresses with the domain in {dir}/aliases\n"}},
		{"names without a domain beside a section of the host's name", [][3]string{{"+aliases", "", "team: alice\n"}, {"+coexistd.toml", "", "[domain.\"MAIL.acmecorp.com\"]\nunlisted = \"here\"\n"}}, []string{
			"fail aliases have members without a domain whom Sendmail takes for names of this host (mail.acmecorp.com)",
			"  do: add to [domain.\"mail.acmecorp.com\"] of {dir}/coexistd.toml: same_as = \"acmecorp.com\", and run: systemctl reload coexistd; or write"}},
		{"a host's name of which Sendmail does not ask", [][3]string{{"+coexistd.toml", "", "[domain.\"mail.acmecorp.com\"]\nsame_as = \"acmecorp.com\"\nunlisted = \"here\"\n"}}, []string{
			"fail Sendmail does not ask coexistd about mail.acmecorp.com, which the class {Coexistd} lacks"}},
		{"rules that ask for no names without a domain", [][3]string{{"sendmail.cf", "R$* $| $* $| $*			$: $3 $| $j\n", ""}}, []string{
			"fail no rule of sendmail.cf (ParseLocal) asks the map for names without a domain\n"}},
		{"virtual users to whom no mail comes", inClassW([3]string{"+sendmail.cf", "", "Kvirtuser text {dir}/virtusertable\n"}, [3]string{"+virtusertable", "", "sales@acmecorp.com root\nteam@globex.example root\n"}), []string{
			"fail the virtusertable has addresses that the directory lacks, or has as moving, so that mail to them is refused or put off: sales@acmecorp.com\n"}},
		{"no login at submission", withSubmission([3]string{"sendmail.cf", "O AuthMechanisms=PLAIN LOGIN\n", ""}), []string{
			"warn daemon (MSA) offers neither PLAIN nor LOGIN (AuthMechanisms)", "  do: put into sendmail.mc: TRUST_AUTH_MECH(`PLAIN LOGIN')dnl and define(`confAUTH_MECHANISMS', `PLAIN LOGIN')dnl; then"}},
		{"login switched off at submission", withSubmission([3]string{"sendmail.cf", "Port=submission, M=Ea", "Port=submission, M=EA"}), []string{
			"fail daemon (MSA) offers no login (M=A), so that all of its mail gets 530"}},
		{"no trust in logins", withSubmission([3]string{"sendmail.cf", "C{TrustAuthMech}PLAIN LOGIN", "C{TrustAuthMech}PLAIN"}), []string{
			"fail daemon (MSA) lets users log in by LOGIN, after which their mail for other domains is refused", "  do: put into sendmail.mc: TRUST_AUTH_MECH(`PLAIN LOGIN')dnl"}},
		{"login without a certificate", withSubmission([3]string{"sendmail.cf", "O ServerCertFile", "#"}), []string{
			"fail daemon (MSA) offers no login, as AuthOptions has p, which wants TLS first, and there is no certificate"}},
		{"few connections", [][3]string{{"+sendmail.cf", "", "SRateControl\nR$* x\nSConnControl\nR$* x\n"}, {"+access", "", "ClientRate: 10\nClientRate:40.92 0\nClientConn:40 5\nClientConn:40.92 500\n"}, {"coexistd.toml", `"40.92.0.0/15"`, `"40.92.0.0/15", "2a01:111:f403::/49"`}}, []string{
			"warn a host of office365 may make few connections only (ClientRate, ClientConn), and more get 421, so that mail comes late: 40.93.0.0/16, 2a01:111:f403::/49\n",
			"  do: write into /etc/mail/access a line for each: ClientRate:40.93 0, ClientConn:40.93 0, ClientRate:IPv6:2a01:111:f403 0; then run: make -C /etc/mail\n"}},
		{"no mailertable", [][3]string{{"sendmail.cf", "Kmailertable", "Kother"}}, []string{
			"fail mail for the mailboxes of acmecorp.com, globex.example here goes to where its MX points, and comes back",
			"  do: put into sendmail.mc: FEATURE(`mailertable')dnl with the other FEATURE lines, and see that in /etc/mail/mailertable stands"}},
		{"half a sendmail.cf", [][3]string{{"sendmail.cf", "V10/Berkeley\n", ""}, {"+sendmail.cf", "", "VERSIONID(`of a sendmail.mc')dnl\n"}}, []string{
			"fail {dir}/sendmail.cf is no configuration of Sendmail's daemon: it has no line V, as where m4 has failed, and in a sendmail.mc", "  do: where m4 makes it, run: make -C {dir} (or m4"}},
		{"submit.cf as sendmail.cf", [][3]string{{"+sendmail.cf", "", "D{MTAHost}[127.0.0.1]\n"}}, []string{
			"fail {dir}/sendmail.cf is what the sendmail command reads, as submit.cf, and says nothing of the daemon", "  do: run: coexistd doctor --sendmail-cf {dir}/sendmail.cf"}},
		{"the sendmail command by IPv6 to IPv4", [][3]string{{"submit.cf", "D{MTAHost}[127.0.0.1]", "D{MTAHost}[IPv6:::1]"}, {"submit.cf", "A=TCP $h", "A=TCP $h 1"}, {"sendmail.cf", "Port=25", "Port=1"}, {"coexistd.toml", `"127.0.0.0/8"`, `"127.0.0.0/8", "::1"`}}, []string{
			"fail the sendmail command brings mail to [::1]:1 (submit.cf), where nobody listens"}},
		{"a platform in class R", [][3]string{{"+relay-domains", "", "40.92.1\n"}}, []string{
			"fail Sendmail lets 40.92.1.0/24 relay, from where every tenant of office365 sends"}},
		{"a platform in the access map", [][3]string{{"+access", "", "Connect:40.93 RELAY\n"}}, []string{
			"fail Sendmail lets 40.93.0.0/16 relay, from where every tenant of office365 sends"}},
		{"networks that we lack", [][3]string{{"+relay-domains", "", "192.0.2.7\n"}, {"+access", "", "IPv6:2001:db8 RELAY\n"}}, []string{
			`warn Sendmail lets "192.0.2.7/32", "2001:db8::/32" relay, which our_networks lacks`, `  do: add to our_networks in {dir}/coexistd.toml: "192.0.2.7/32", "2001:db8::/32"`}},
		{"the sendmail command", [][3]string{{"coexistd.toml", `"127.0.0.0/8", `, ""}}, []string{
			`fail mail of the sendmail command comes from "127.0.0.1", which our_networks lacks`}},
		{"the sendmail command by IPv6", [][3]string{{"submit.cf", "D{MTAHost}[127.0.0.1]", "D{MTAHost}[IPv6:::1]"}, {"sendmail.cf", "Family=inet,  Name=MTA-v4, Port=25", "Family=inet6, Name=MTA-v4, Port=25, Addr=::1"}}, []string{
			`fail mail of the sendmail command comes from "::1", which our_networks lacks`}},
		{"the sendmail command past us", [][3]string{{"sendmail.cf", "Port=25", "Port=25, Addr=127.0.0.1, I="}}, []string{
			"fail daemon (MTA-v4) does not hand its mail to coexistd", "fail the sendmail command brings mail to the daemon MTA-v4 (submit.cf), which does not hand it to coexistd"}},
		{"the sendmail command to nobody", [][3]string{{"submit.cf", "A=TCP $h", "A=TCP $h 1"}}, []string{
			"fail the sendmail command brings mail to 127.0.0.1:1 (submit.cf), where nobody listens"}},
		{"a short header", [][3]string{{"+sendmail.cf", "", "O MaxHeadersLength=4096\n"}}, []string{
			"warn Sendmail refuses messages whose header is longer than 4096 bytes", "  do: put into sendmail.mc: define(`confMAX_HEADERS_LENGTH', `65000')dnl"}},
		{"the usual bound of a header", [][3]string{{"sendmail.cf", "O MaxHeadersLength=65000\n", ""}}, []string{
			"warn Sendmail refuses messages whose header is longer than 32768 bytes"}},
		{"our networks refused", [][3]string{{"relay-domains", "10.1\n", ""}}, []string{
			"warn Sendmail does not let all of our_networks relay: mail from 10.1.0.0/16 for other domains is refused", "  do: put into sendmail.mc: RELAY_DOMAIN(`10.1')dnl, and so on for each"}},
		{"a platform refused that may relay", [][3]string{{"coexistd.toml", "networks = [\"40.92.0.0/15\"]", "networks = [\"40.92.0.0/15\"]\nmay_relay = true"}, {"+access", "", "Connect:40.92 RELAY\n"}}, []string{
			"fail Sendmail does not let all of office365 relay, which may_relay asks for: mail of its users from 40.93.0.0/16 for the Internet is refused",
			"  do: write into /etc/mail/access what coexistd networks export --for access office365 prints, then run: make -C /etc/mail"}},
		{"nothing from other hosts", [][3]string{{"sendmail.cf", "Port=25", "Port=25, Addr=127.0.0.1"}}, []string{
			"warn daemon (MTA-v4) listens on an address of this host's own alone, and no other takes mail from other hosts", "  do: take Addr= out of the DAEMON_OPTIONS of MTA-v4 in sendmail.mc; then make"}},
		{"no users from other hosts", withSubmission([3]string{"sendmail.cf", "Port=submission", "Port=submission, Addr=127.0.0.1"}), []string{
			"warn daemon (MSA) listens on an address of this host's own alone, and no other takes mail from users elsewhere", "  do: take Addr= out of the DAEMON_OPTIONS of MSA in sendmail.mc"}},
		{"few hops", [][3]string{{"+sendmail.cf", "", "O MaxHopCount=20\n"}}, []string{
			"warn Sendmail refuses messages that have passed more than 20 servers (MaxHopCount), and one that is sent on 3 times, as max_passes lets it be, has passed some 24",
			"  do: put into sendmail.mc: define(`confMAX_HOP', `100')dnl"}},
		{"many passes", [][3]string{{"coexistd.toml", "our_networks", "max_passes = 10\nour_networks"}}, []string{
			"warn Sendmail refuses messages that have passed more than 25 servers (MaxHopCount), and one that is sent on 10 times"}},
		{"clients without delivery reports", [][3]string{{"+access", "", "Srv_Features:192.0.2.1 V d\nSrv_Features:192.0.2.2 D\n"}}, []string{
			"fail Sendmail offers some clients no delivery reports (srv_features:192.0.2.1 in the access map), but {coexistd_dsn} says that it does"}},
		{"few recipients", [][3]string{{"+sendmail.cf", "", "O MaxRecipientsPerMessage=10\n"}}, []string{"warn Sendmail takes 10 recipients of a message"}},
		{"no delivery reports", [][3]string{{"+sendmail.cf", "", "O PrivacyOptions=authwarnings,noreceipts\n"}}, []string{
			"fail Sendmail offers no delivery reports (noreceipts in PrivacyOptions, or SendMimeErrors=False), but {coexistd_dsn} says that it does"}},
		{"plain bounces", [][3]string{{"+sendmail.cf", "", "O SendMimeErrors=False\n"}}, []string{"fail Sendmail offers no delivery reports"}},
		{"secrets in the log", [][3]string{{"sendmail.cf", "O Milter.LogLevel=8\n", ""}, secret, proof}, []string{
			"warn Sendmail writes the secret of X-Coexist-Proof into its log, as every header that coexistd takes out (Milter.LogLevel is 9)",
			"  do: put into sendmail.mc: define(`confMILTER_LOG_LEVEL', `8')dnl; then make"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := saysOfSendmail(t, host(t, c.changes...))
			rest := got
			for _, line := range c.says {
				at := strings.Index("\n"+rest, "\n"+line)
				if at < 0 {
					t.Fatalf("no line, or no further line, begins with %q:\n%s", line, got)
				}
				rest = rest[at:]
			}
		})
	}
}

func TestTheDoctorSeesThatSendmailDoesNotKnowChangesYet(t *testing.T) {
	t.Parallel()
	x := host(t)
	dir := filepath.Dir(x.sendmail.Path)
	now := time.Now()
	change := func(name string) {
		t.Helper()
		if err := os.Chtimes(filepath.Join(dir, name), now, now); err != nil {
			t.Fatal(err)
		}
		x.sendmail = readSendmail(x.sendmail.Path)
	}
	change("relay-domains")
	if got, right := saysOfSendmail(t, x), "warn Sendmail has run since before {dir}/relay-domains changed, which it reads when it starts\n  do: run: systemctl restart sendmail\n"+allIsWell; got != right {
		t.Errorf("after a change of a class the doctor says\n%s\nright is\n%s", got, right)
	}
	change("mailertable")
	if got, right := saysOfSendmail(t, x), "warn {dir}/mailertable was changed after {dir}/mailertable.db was made of it: what it says is not in force\n  do: run: make -C {dir} (or makemap hash {dir}/mailertable < {dir}/mailertable)\n"; !strings.Contains(got, right) {
		t.Errorf("after a change of the mailertable the doctor says\n%s\nright is\n%s", got, right)
	}
	change("mailertable.db")
	if err := os.WriteFile(filepath.Join(dir, "aliases.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second)
	change("aliases")
	if got, right := saysOfSendmail(t, x), "warn {dir}/aliases was changed after {dir}/aliases.db was made of it: what it says is not in force\n  do: run: newaliases\n"; !strings.Contains(got, right) {
		t.Errorf("after a change of aliases the doctor says\n%s\nright is\n%s", got, right)
	}
	change("aliases.db")
	change("sendmail.mc")
	if got, right := saysOfSendmail(t, x), "warn {dir}/sendmail.mc was changed after {dir}/sendmail.cf was made: what it says is not in force\n"; !strings.HasPrefix(got, right) {
		t.Errorf("after a change of sendmail.mc the doctor says\n%s\nright is\n%s", got, right)
	}
	change("sendmail.pid")
	change("sendmail.cf")
	if got := saysOfSendmail(t, x); got != allIsWell {
		t.Errorf("after all was made anew the doctor says\n%s\nright is\n%s", got, allIsWell)
	}
}

func TestTheDoctorSeesThatSendmailDoesNotTakeOurSocket(t *testing.T) {
	t.Parallel()
	socket := [][3]string{{"coexistd.toml", "inet:127.0.0.1:8701", "unix:{dir}/open/milter.sock"}, {"sendmail.cf", "inet:8701@127.0.0.1", "local:{dir}/open/milter.sock"}}
	const openToOthers = "fail others may write into {dir}/open, so that Sendmail does not take {dir}/open/milter.sock: all mail is put off"
	for _, c := range []struct {
		mode    os.FileMode
		options string
		right   string
	}{
		{0o755, "", ""},
		{0o777, "", openToOthers},
		{0o775, "", openToOthers},
		{0o775, "O DontBlameSendmail=GroupWritableDirPathSafe,TrustStickyBit\n", ""},
		{0o777 | os.ModeSticky, "", openToOthers},
		{0o777 | os.ModeSticky, "O DontBlameSendmail=ForwardFileInUnsafeDirPath,TrustStickyBit\n", ""},
		{0o755, "O RunAsUser=daemon:mail\n", "fail daemon, as whom Sendmail runs, may not use {dir}/open/milter.sock: "},
	} {
		// Temporary folders may stand in one that is open to all, with the sticky bit.
		options := c.options
		if options == "" || strings.Contains(options, "RunAs") {
			options += "O DontBlameSendmail=TrustStickyBit\n"
		}
		if c.mode&os.ModeSticky != 0 && c.options == "" {
			options = ""
		}
		x := host(t, append(socket, [3]string{"+sendmail.cf", "", options})...)
		folder := filepath.Join(filepath.Dir(x.sendmail.Path), "open")
		if err := errors.Join(os.Mkdir(folder, 0o755), os.WriteFile(folder+"/milter.sock", nil, 0o660), os.Chmod(folder, c.mode)); err != nil {
			t.Fatal(err)
		}
		got := saysOfSendmail(t, x)
		if c.right == "" && strings.Contains(got, folder) || !strings.Contains(got, c.right) || c.right == "" && strings.Contains(got, "fail ") {
			t.Errorf("with the mode %v and %q the doctor says\n%s", c.mode, options, got)
		}
	}
}

func TestTheDoctorSaysOnceThatThereIsNoMTA(t *testing.T) {
	t.Parallel()
	x := host(t)
	x.sendmail = readSendmail(filepath.Join(filepath.Dir(x.sendmail.Path), "none.cf"))
	x.sendmail.Path = sendmailcf.UsualPath
	got := append(lookAtPostfix(t.Context(), x), lookAtSendmail(t.Context(), x)...)
	if len(got) != 1 || got[0].Status != Warn || !strings.HasPrefix(got[0].Found, "no Postfix was found, and no Sendmail was found at ") {
		t.Errorf("without an MTA the doctor says %+v", got)
	}
	if x = host(t); len(lookAtPostfix(t.Context(), x)) > 0 {
		t.Errorf("beside a Sendmail the doctor says that there is no Postfix")
	}
}

func TestTheReleasesSourceIsLookedForAmongSendmailsNetworks(t *testing.T) {
	t.Parallel()
	s := host(t).sendmail
	for address, right := range map[string]bool{"127.0.0.1": true, "::1": true, "10.1.2.3": true, "10.2.0.1": false} {
		if trusted, sure := s.trusts(netip.MustParseAddr(address)); trusted != right || !sure {
			t.Errorf("Sendmail lets %s relay: %v (sure: %v)", address, trusted, sure)
		}
	}
	if _, sure := host(t, [3]string{"sendmail.cf", "{dir}/access", "{dir}/none"}).sendmail.trusts(netip.IPv6Unspecified()); sure {
		t.Error("without its access map it is sure whom Sendmail lets relay")
	}
}

func FuzzSendmailCF(f *testing.F) {
	for _, name := range []string{"sendmail.cf", "submit.cf"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("a: b, \"|c, d\"\nb: a\n c\nMx, A=TCP $h\nMy\nO DaemonPortOptions=M=A\n"))
	f.Add([]byte("O\nC{\nD\nK \nX,=\nF-o\nFw\nCR$=\nS=\nO DaemonPortOptions=,=,I\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "sendmail.cf")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		s := readSendmail(path)
		s.Relays()
		x := &examination{conf: &config.Config{Rules: nil}, sendmail: s, networks: networks.Live{}}
		for _, d := range s.Listening() {
			x.filtersOfOurs(d)
			(submission{"127.0.0.1", "25"}).isAt(d)
		}
		for _, d := range s.Listening() {
			s.judgeLogins(d)
		}
		lookAtDaemons(s)
		s.isOwn("[127.0.0.1]", "25")
		s.ClientBounds(map[string]string{"clientrate:10": "5"})
		list := localAliases{paths: []string{path}, members: make(map[string][]string)}
		list.read(string(text))
		s.lookForCircles(list)
		x.socketsUsed()
		s.lackingRules()
		lookAtBounds(s)
	})
}

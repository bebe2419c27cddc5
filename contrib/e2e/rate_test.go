package e2e

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/policy/verdict"
)

// ratedDirectory has limits of the accounts' own.
const ratedDirectory = `address,residence,login,daily
bob@acmecorp.com,here,bob,
carol@acmecorp.com,here,carol,1
dave@acmecorp.com,here,dave,unlimited
erin@acmecorp.com,here,erin,3
hugo@globex.example,here,hugo,
news@acmecorp.com,here,carol dave,unlimited
`

// ratedLogins are those of whom Dovecot knows the password.
var ratedLogins = []string{"bob", "carol", "dave", "erin", "hugo"}

// redisTOML says where Redis is.
func redisTOML(addresses ...string) string {
	return fmt.Sprintf("\n[redis]\naddresses = [\"%s\"]\n", strings.Join(addresses, `", "`))
}

// startRedis starts a Redis for one test.
func startRedis(t *testing.T, c lab.RedisConfig) *lab.Redis {
	t.Helper()
	redis, err := lab.LendFilters(t).StartRedis(deadline(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopFilter(t, redis.Stop) })
	return redis
}

// mail makes the message number n of a sequence.
func (r rated) mail(n string) lab.Mail {
	login, _, _ := strings.Cut(r.by, " ")
	m := lab.Mail{From: r.from}
	from := r.from
	switch r.from {
	case "":
		m.From, from = login+"@acmecorp.com", login+"@acmecorp.com"
	case "<>":
		m.From, from = "", "postmaster@example.net"
	}
	to := strings.Fields(r.to)
	if len(to) == 0 {
		to = []string{"hugo"}
	}
	for _, name := range to {
		domain := "acmecorp.com"
		if strings.HasPrefix(name, "hugo") {
			domain = "globex.example"
		}
		m.To = append(m.To, lab.Rcpt{Address: name + "+" + n + "@" + domain})
	}
	m.Data = lab.Plain(from, m.To[0].Address, "message "+n)
	for len(m.Data) < r.size {
		line := min(72, r.size-len(m.Data))
		if left := r.size - len(m.Data) - line; left == 1 {
			line-- // a line has two octets at least
		}
		m.Data = append(m.Data, strings.Repeat("x", line-2)+"\r\n"...)
	}
	return m
}

// postRated sends it, at the service for users when it has a login.
func (s *site) postRated(r rated, m lab.Mail) lab.Result {
	s.t.Helper()
	login, from, _ := strings.Cut(r.by, " ")
	if net.ParseIP(login) != nil {
		return s.submitAs(submitter{service: "public", from: login}, m)
	}
	return s.submitAs(submitter{login: login, from: from}, m)
}

// mustAnswerRated checks what a message of a sequence is answered, and what the
// log says of it.
func (s *site) mustAnswerRated(about string, r rated, m lab.Mail) {
	s.t.Helper()
	got := s.postRated(r, m)
	reply := waiting(got.Data.String())
	if got.Accepted() {
		reply = ""
	}
	if reply != r.want {
		s.t.Errorf("%s: answered %+v; right is %q", about, got, r.want)
	}
	line := s.loggedTo(s.t, m.To[0].Address)
	what, check := "accept", ""
	switch {
	case strings.HasPrefix(r.want, "450"):
		what, check = "tempfail", verdict.CheckRate
	case r.want != "":
		what, check = "reject", verdict.CheckRate
	case r.tag != "":
		what, check = "tag", verdict.CheckRate
	}
	if line["verdict"] != what || line["check"] != check || waiting(line["reply"]) != r.want {
		s.t.Errorf("%s: the log has verdict %q, check %q, reply %q; right is %q, %q, %q",
			about, line["verdict"], line["check"], line["reply"], what, check, r.want)
	}
}

func TestLimitsAnswerTheSameInMemoryAndInRedis(t *testing.T) {
	t.Parallel()
	inMemory := func(*testing.T) string { return "" }
	for _, where := range []struct {
		name  string
		mta   lab.MTA
		start func(t *testing.T) (toml string)
	}{
		{"memory", lab.PostfixMTA, inMemory},
		{"memory, Sendmail", lab.SendmailMTA, inMemory},
		{"Redis", lab.PostfixMTA, func(t *testing.T) string { return redisTOML(startRedis(t, lab.RedisConfig{}).Addr) }},
		{"cluster of three", lab.PostfixMTA, func(t *testing.T) string {
			cluster, err := lab.LendFilters(t).StartRedisCluster(deadline(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { stopFilter(t, cluster.Close) })
			return redisTOML(cluster.Addrs()...)
		}},
	} {
		t.Run(where.name, func(t *testing.T) {
			t.Parallel()
			toml := where.start(t)
			s := startSubmission(t, lab.SiteConfig{MTA: where.mta, Program: patient(t), TOML: toml, Directory: ratedDirectory}, ratedLogins...)
			type one struct {
				about string
				rated
				lab.Mail
			}
			var all []one
			for i, c := range ratedSequences {
				s.configure(submissionTOML + toml + c.rules + "\n")
				for j, r := range c.sequence {
					m := r.mail(fmt.Sprintf("%d.%d", i, j))
					about := fmt.Sprintf("%s, message %d", c.about, j+1)
					s.mustAnswerRated(about, r, m)
					all = append(all, one{about, r, m})
				}
			}
			for _, sent := range all {
				var tags, to []string
				if sent.want == "" {
					for _, r := range sent.To {
						to = append(to, "here "+r.Address)
					}
				}
				if sent.tag != "" {
					tags = []string{sent.tag}
				}
				s.mustArriveTagged(sent.Data, tags, to...)
			}
			if t.Failed() {
				return
			}
			if strings.Contains(s.Daemon.Log(), "Redis does not answer") {
				t.Error("Redis was not asked all the time")
			}
		})
	}
}

// speak says SMTP commands, and fails the test when one is not answered with
// success.
func speak(t *testing.T, conn net.Conn, commands ...string) (last string) {
	t.Helper()
	conn.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(conn)
	for i := -1; i < len(commands); i++ {
		if i >= 0 {
			if _, err := conn.Write([]byte(commands[i] + "\r\n")); err != nil {
				t.Fatal(err)
			}
		}
		for last = "   -"; last[3] == '-'; {
			line, err := r.ReadString('\n')
			if err != nil || len(line) < 6 {
				t.Fatalf("%q after %q: %v", line, commands[:max(i, 0)], err)
			}
			last = strings.TrimSpace(line)
		}
		if last[0] > '3' && i < len(commands)-1 {
			t.Fatalf("%q was answered %s", commands[i], last)
		}
	}
	return last
}

// Postfix believes the lab which address a client has (XCLIENT), as it would a
// proxy in front of it.
func TestAClientOfIPv6IsCountedWithAllOfItsNetwork(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{
		TOML: lab.SiteTOML + `
[[rate]]
name = "by client"
checkpoints = ["S0"]
by = "client"
limit = 2
per = "1d"
overrides = { "2001:db8:2::/48" = 1 }
`,
		Main: map[string]string{"smtpd_authorized_xclient_hosts": "127.0.0.0/8"},
	})
	for i, c := range []struct{ client, want string }{
		{"2001:db8::1", "250 2.0.0 Ok"},
		{"2001:db8::ffff:1", "250 2.0.0 Ok"},
		{"2001:db8::ffff:ffff:ffff:ffff", tooMany + in12Hours},
		{"2001:db8:0:1::1", "250 2.0.0 Ok"},
		{"2001:db8:2:1::1", "250 2.0.0 Ok"},
		{"2001:db8:2:1::2", tooMany + in1Day},
		{"2001:db8:2:2::1", "250 2.0.0 Ok"},
	} {
		conn, err := net.Dial("tcp", s.Addr("public"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		got := speak(t, conn, "EHLO proxy.lab.test", "XCLIENT NAME=client.lab.test ADDR=IPV6:"+c.client, "EHLO client.lab.test",
			"MAIL FROM:<eve@example.net>", fmt.Sprintf("RCPT TO:<bob+%d@acmecorp.com>", i), "DATA", "Subject: hello\r\n\r\nhello\r\n.")
		if !strings.HasPrefix(waiting(got), c.want) {
			t.Errorf("message %d, of %s, was answered %s; right is %s", i, c.client, got, c.want)
		}
		if line := s.loggedTo(t, fmt.Sprintf("bob+%d@acmecorp.com", i)); line["client"] != c.client {
			t.Errorf("the log has the client %q", line["client"])
		}
	}
}

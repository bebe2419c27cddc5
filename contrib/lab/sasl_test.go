package lab

import (
	"regexp"
	"strings"
	"testing"
)

func startDovecot(t *testing.T, users map[string]string) *Dovecot {
	t.Helper()
	f := LendFilters(t)
	d, err := f.StartDovecot(deadline(t), users)
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, d.filter)
	return d
}

func TestDovecotTellsPostfixWhoseThePasswordIs(t *testing.T) {
	t.Parallel()
	const odd = `se:cr et{}\`
	d := startDovecot(t, map[string]string{"bob": "secret", "carol@acmecorp.com": odd})
	sink := startSink(t, SinkConfig{})
	m := startPostfix(t, Config{
		Services: []Service{{Name: "submission", Settings: map[string]string{"smtpd_sasl_auth_enable": "yes"}}},
		Routes:   map[string]string{"*": sink.NextHop()},
		SASL:     d.Socket,
	})
	mail := Mail{From: "bob@acmecorp.com", To: To("dave@example.net"), Data: Plain("bob@acmecorp.com", "dave@example.net", "hello")}
	for login, password := range map[string]string{"bob": "secret", "carol@acmecorp.com": odd} {
		if r := send(t, Client{Server: m.Addr("submission"), User: login, Password: password}, mail); !r.Accepted() {
			t.Errorf("%s with the right password: %+v", login, r)
		}
		if _, err := m.WaitLog(deadline(t), regexp.MustCompile("sasl_method=PLAIN, sasl_username="+regexp.QuoteMeta(login))); err != nil {
			t.Errorf("Postfix did not learn that %s authenticated: %v", login, err)
		}
	}
	for _, c := range []Client{{User: "bob", Password: "Secret"}, {User: "carol@acmecorp.com", Password: "secret"}, {User: "eve", Password: "secret"}} {
		c.Server = m.Addr("submission")
		if _, err := c.Send(deadline(t), mail); err == nil || !strings.Contains(err.Error(), "refused AUTH: 535 5.7.8") {
			t.Errorf("%s with %q: %v, want 535 5.7.8", c.User, c.Password, err)
		}
	}
	if err := d.Kill(); err != nil {
		t.Fatal(err)
	}
	c := Client{Server: m.Addr("submission"), User: "bob", Password: "secret"}
	if _, err := c.Send(deadline(t), mail); err == nil {
		t.Error("a password was right with nobody to say so")
	}
	if err := d.Start(deadline(t)); err != nil {
		t.Error(err)
	}
}

func TestALoginThatThePasswordFileCannotHoldIsRefused(t *testing.T) {
	t.Parallel()
	f := LendFilters(t)
	for _, login := range []string{"", "bob:root", "bob\neve"} {
		if _, err := f.StartDovecot(deadline(t), map[string]string{login: "x"}); err == nil || !strings.Contains(err.Error(), "login") {
			t.Errorf("%q: %v", login, err)
		}
	}
}

func TestPostfixAsksOneServerForPasswordsOnly(t *testing.T) {
	t.Parallel()
	p := Lend(t)
	m, err := p.Start(deadline(t), Config{Users: map[string]string{"bob": "secret"}, SASL: "/nowhere/auth"})
	if err == nil {
		m.Stop()
	}
	if err == nil || !strings.Contains(err.Error(), "leave one out") {
		t.Errorf("with Users and SASL: %v", err)
	}
}

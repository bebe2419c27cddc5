package milter

import (
	"net/netip"
	"testing"

	gomilter "github.com/emersion/go-milter"
)

// The origins of mail that the MTA's own host made.
var (
	noPort  = origin{host: "localhost", family: gomilter.FamilyInet, addr: netip.MustParseAddr("127.0.0.1")}
	nowhere = origin{host: "localhost", family: gomilter.FamilyUnknown}
)

func TestEachMTAIsUnderstoodInItsOwnWay(t *testing.T) {
	const subject, name = "/C=DE/CN=mail.example/serialNumber=1/CN=other.example", "mail.example"
	for _, c := range []struct {
		v               string
		dialect         *dialect
		bare, trusted   string // of a certificate without {verify}, and with one that is OK
		text            bool   // the mailer "error" with a text for a host is a refusal
		noPort, nowhere bool   // is made on the host
		login           string // what "bob+2Bx" is
	}{
		{postfixVersion, &postfix, subject, subject, false, true, false, "bob+2Bx"},
		{sendmailVersion, &sendmail, "", name, true, false, true, "bob+x"},
		{"8.17.1", &sendmail, "", name, true, false, true, "bob+x"},
		{"", &unknown, "", name, true, true, true, "bob+2Bx"},
		{"Exim 4.96", &unknown, "", name, true, true, true, "bob+2Bx"},
		{"x8.17", &unknown, "", name, true, true, true, "bob+2Bx"},
	} {
		d := dialectOf(c.v)
		if d != c.dialect {
			t.Errorf("%q is taken for another MTA", c.v)
			continue
		}
		if got := d.certificate(certificate{subject, name, ""}); got != c.bare {
			t.Errorf("%q: a certificate of which nothing is said is %q; want %q", c.v, got, c.bare)
		}
		if got := d.certificate(certificate{subject, name, "OK"}); got != c.trusted {
			t.Errorf("%q: a good certificate is %q; want %q", c.v, got, c.trusted)
		}
		if got := d.certificate(certificate{subject, name, "FAIL"}); got != "" {
			t.Errorf("%q: a bad certificate is %q", c.v, got)
		}
		if got := d.text("bob+2Bx"); got != c.login {
			t.Errorf("%q: the login bob+2Bx is %q; want %q", c.v, got, c.login)
		}
		if !d.refusal("5.1.1") || d.refusal("5.1.1 moved away") != c.text {
			t.Errorf("%q: refused recipients are not told from others", c.v)
		}
		if d.onHost(noPort) != c.noPort || d.onHost(nowhere) != c.nowhere {
			t.Errorf("%q: mail made on the host is not told from other mail", c.v)
		}
	}
}

func TestXtextIsDecodedUnlessItIsNone(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "bob": "bob", "bob+2Bx": "bob+x", "+3Dbob+20x+2b": "=bob x+", "b+C3+A4r@acmecorp.com": "bär@acmecorp.com", "bob+2B2Bx": "bob+2Bx",
		"bob+": "bob+", "bob+2": "bob+2", "bob+zz": "bob+zz", "bob+-1": "bob+-1", "bob+2B+x": "bob+2B+x", "bob+0A": "bob+0A", "bob+00x": "bob+00x", "bob+7F": "bob+7F", "bob++2B": "bob++2B",
	} {
		if got := fromXtext(text); got != want {
			t.Errorf("%q is %q; want %q", text, got, want)
		}
	}
}

// Where Sendmail does not offer DSN, an argument makes it lose the recipient.
func TestRecipientsGetArgumentsOnlyWhereTheMTATakesThem(t *testing.T) {
	plain := frame{'+', "<alice@acmecorp-com.onmicrosoft.com>\x00"}
	full := func(arguments string) frame { return frame{'2', plain.payload + arguments + "\x00"} }
	const orcpt = "ORCPT=rfc822;alice@acmecorp.com"
	for name, c := range map[string]struct {
		v    string
		mail string   // arguments of MAIL
		rcpt []string // arguments of RCPT
		says string   // {coexistd_dsn}
		want frame
	}{
		"Postfix":                          {v: postfixVersion, want: full(orcpt)},
		"Sendmail":                         {v: sendmailVersion, want: plain},
		"Sendmail, to RET":                 {v: sendmailVersion, mail: "SIZE=5\x00RET=HDRS\x00", want: full(orcpt)},
		"Sendmail, to envid in lower case": {v: sendmailVersion, mail: "envid=x\x00", want: full(orcpt)},
		"Sendmail, to SIZE":                {v: sendmailVersion, mail: "SIZE=5\x00", want: plain},
		"Sendmail, to NOTIFY":              {v: sendmailVersion, rcpt: []string{"NOTIFY=NEVER"}, want: full("NOTIFY=NEVER " + orcpt)},
		"Sendmail that says so":            {v: sendmailVersion, says: "yes", want: full(orcpt)},
		"an unknown MTA":                   {want: plain},
	} {
		t.Run(name, func(t *testing.T) {
			m := newLab(t, newRuntime(t), nil).dial(t)
			m.negotiate(6, allActions, waitsAtMail)
			m.macro('C', "v", c.v)
			m.connect('4', 4711, "192.0.2.1")
			for range 2 { // what a client says of one message holds for no other
				m.macro('M', "i", "4QID", "{coexistd_dsn}", c.says)
				m.mail("<x@example.org>\x00" + c.mail)
				m.rcpt("<alice@acmecorp.com>", c.rcpt...)
				m.wantEOM(deleteAlice, c.want, addTrace, proceed)
			}
			if c.v == sendmailVersion && c.says == "" {
				m.mail("<x@example.org>")
				m.macro('R', "{rcpt_mailer}", "error", "{rcpt_host}", "5.1.1")
				m.rcpt("<nobody@acmecorp.com>", "NOTIFY=NEVER")
				m.macro('R', "{rcpt_mailer}", "esmtp")
				m.rcpt("<alice@acmecorp.com>")
				m.wantEOM(deleteAlice, plain, addTrace, proceed)
			}
		})
	}
}

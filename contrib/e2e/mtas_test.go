package e2e

import (
	"regexp"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// mtas are the MTAs on which mail flows alike.
func mtas() []lab.MTA { return lab.MTAs() }

// onEachMTA runs a test for each of them, side by side.
func onEachMTA(t *testing.T, test func(t *testing.T, mta lab.MTA)) {
	t.Helper()
	t.Parallel()
	for _, mta := range mtas() {
		t.Run(string(mta), func(t *testing.T) {
			t.Parallel()
			test(t, mta)
		})
	}
}

// withHost is a configuration with the host itself in our_networks: Sendmail takes mail of
// the sendmail command by SMTP.
func withHost(toml string) string {
	return strings.Replace(toml, `["127.0.4.0/24"]`, `["127.0.0.1", "127.0.4.0/24"]`, 1)
}

// ways are what the MTAs do in ways of their own, with coexistd and without. Each
// is a row in contrib/docs/sendmail.md.
type ways struct {
	smtpUTF8  bool   // addresses beyond ASCII (RFC 6531)
	hostQueue string // where mail of the sendmail command waits before its recipients are decided
	hostsEach bool   // each recipient of that mail is refused or put off alone
	hostIs    string // why that mail is our users'
	away      string // the answer while coexistd is away, in the words of quarantine release

	bareLineEnds bool // it takes a CR or LF that stands alone
	// refuses are the answers by which it refuses a message before a milter is asked.
	refuses *regexp.Regexp
}

var waysOf = map[lab.MTA]ways{
	lab.PostfixMTA: {
		smtpUTF8:  true,
		hostQueue: "maildrop",
		hostIs:    "the message was made on this host",
		away:      "the MTA answered MAIL with 451 4.7.1 ",

		bareLineEnds: true,
	},
	lab.SendmailMTA: {
		hostQueue: "submit",
		hostsEach: true,
		hostIs:    "the client 127.0.0.1 is in our_networks",
		away:      "the MTA answered MAIL with 451 4.3.2 ",

		refuses: regexp.MustCompile(`^(421 4\.5\.0 Bare (carriage return|linefeed) |552 5\.6\.0 Headers too large )`),
	},
}

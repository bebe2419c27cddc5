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
	noMilter  string // the alternate domain as a bounce to a user elsewhere has it, which no milter sees
	hostQueue string // where mail of the sendmail command waits before its recipients are decided
	hostsEach bool   // each recipient of that mail is refused or put off alone
	hostIs    string // why that mail is our users'
	// checksBounces says that a bounce of that mail is checked as mail is, with what it
	// encloses: of a virus that is refused, nobody gets one.
	checksBounces bool
	away          string // the answer while coexistd is away, in the words of quarantine release

	bareLineEnds bool // it takes a CR or LF that stands alone
	// refuses are the answers by which it refuses a message before a milter is asked.
	refuses    *regexp.Regexp
	wrongLogin string // what a wrong password is answered
	noRelay    string // what is answered where the MTA itself does not relay
	shut       string // what a client is told that coexistd turns away at CONNECT for now
	shutHard   string // and for good
	bareSender bool   // it takes a sender without a domain, and leaves the answer to us
	// keepsAuthors says that From fields go on as they are, and not qualified, quoted and
	// folded anew.
	keepsAuthors bool
	loginAsGiven bool   // a login is told in the case in which it was given
	bareCR       string // what a bare carriage return in the header is answered by the MTA itself
	// hugeField is what it answers to a field that does not fit into a milter's frame of
	// 64 KB; empty: it fits.
	hugeField string
	// refusesNUL says that it can refuse a message with a NUL; else it takes the NUL out,
	// before milters are told.
	refusesNUL bool
	// refusesUnlisted says that the MTA itself refuses an address that nobody has, by the
	// lookups, and tells the milter; otherwise the milter refuses it.
	refusesUnlisted bool
	// asksMovers says that the MTA refuses a mailbox that is being moved by the lookup,
	// before it asks the milter.
	asksMovers bool
}

var waysOf = map[lab.MTA]ways{
	lab.PostfixMTA: {
		smtpUTF8:  true,
		noMilter:  "acmecorp-com.onmicrosoft.com",
		hostQueue: "maildrop",
		hostIs:    "the message was made on this host",
		away:      "the MTA answered MAIL with 451 4.7.1 ",

		bareLineEnds:    true,
		wrongLogin:      "535 5.7.8",
		noRelay:         "554 5.7.1",
		shut:            "421 mta.lab.test Service unavailable - try again later",
		shutHard:        "554 mta.lab.test ESMTP not accepting connections",
		keepsAuthors:    true,
		bareSender:      true,
		refusesNUL:      true,
		refusesUnlisted: true,
	},
	lab.SendmailMTA: {
		noMilter:      "Acmecorp-com.onmicrosoft.com",
		hostQueue:     "submit",
		hostsEach:     true,
		hostIs:        "the client 127.0.0.1 is in our_networks",
		away:          "the MTA answered MAIL with 451 4.3.2 ",
		checksBounces: true,

		refuses:      regexp.MustCompile(`^(421 4\.5\.0 Bare (carriage return|linefeed) |552 5\.6\.0 Headers too large )`),
		wrongLogin:   "535 5.7.0",
		noRelay:      "550 5.7.1",
		shut:         "421 4.7.0 mta.lab.test closing connection",
		shutHard:     "554 mta.lab.test ESMTP not accepting messages",
		asksMovers:   true,
		loginAsGiven: true,
		bareCR:       "421 4.5.0",
		hugeField:    "451 4.3.2",
	},
}

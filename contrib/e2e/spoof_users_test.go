package e2e

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
	"coexistd/policy"
	"coexistd/policy/verdict"
)

// ownedTOML is added to submissionTOML.
const ownedTOML = `
[check.spoof]
delegates = { Assistant = ["alice@acmecorp.com", "@partner.example"], "iris@globex.example" = ["@news.acmecorp.com"] }
`

const ownedDirectory = lab.SiteDirectory + `sales@acmecorp.com,here,carol bob hugo
info@globex.example,google,Bob
alice+lab@acmecorp.com,here,lab
gail+shop@globex.example,google,shop
carol@globex.example,google,gina
`

// ownedLogins are those that have a password.
var ownedLogins = []string{"bob", "carol", "lab", "assistant", "iris@globex.example", "gail@globex.example", "nobody"}

// submitted is a message of a logged-in user, with what is said to it.
type submitted struct {
	about  string
	login  string // empty: bob
	from   string // the envelope's sender
	header string // the fields that say who wrote it, with bare newlines
	want   string // the reply, "tag", or empty: it is taken as it is
}

const (
	saysSeveral = "550 5.6.0 The message has several From fields"
	saysNobody  = "550 5.7.1 The message names no author"
	saysBroken  = "550 5.6.0 The message has a From or Sender field that cannot be read"
)

// notHis is the reply that names an address which is not the login's.
func notHis(address string) string {
	return "553 5.7.1 Sender address refused: " + address + " does not belong to the login"
}

const (
	anothers = "carol@acmecorp.com"
	fromHim  = "From: Bob <bob@acmecorp.com>"
)

// The cases that an MTA may decide by itself.
const (
	bareReturn = "a bare carriage return"
	emptyFrom  = "an empty From"
)

// ownMail is what users may send.
var ownMail = []submitted{
	{"his address", "", fromBob, fromHim, ""},
	{"in another case", "", "BOB@AcmeCorp.Com", "From: Bob@ACMECORP.com", ""},
	{"one of several logins of an address", "", "sales@acmecorp.com", "From: Sales <sales@acmecorp.com>", ""},
	{"a login of the directory in another case", "", "info@globex.example", "From: info@globex.example", ""},
	{"the login in another case", "BOB", fromBob, fromHim, ""},
	{"two addresses of his", "", "sales@acmecorp.com", "From: bob@acmecorp.com, Sales <sales@acmecorp.com>\nSender: bob@acmecorp.com", ""},
	{"a subaddress", "", "bob+news@acmecorp.com", "From: bob+lists@acmecorp.com", ""},
	{"a subaddress of its own", "lab", "alice+lab@acmecorp.com", "From: alice+lab@acmecorp.com", ""},
	{"a subaddress lends its owner's not", "lab", "alice+lab@acmecorp.com", "From: alice@acmecorp.com", notHis("alice@acmecorp.com")},
	{"a quoted local part", "", `"bob"@acmecorp.com`, `From: "bob"@acmecorp.com`, ""},
	{"at the alternate domain", "", "bob@acmecorp-com.onmicrosoft.com", "From: bob@acmecorp-com.onmicrosoft.com", ""},
	{"the login is the address", "gail@globex.example", "gail@globex.example", "From: Gail@Globex.Example", ""},
	{"the login is its owner", "gail@globex.example", "gail+x@globex.example", "From: gail+x@globex.example", ""},
	{"the login is the address, which the directory gives to another", "iris@globex.example", "iris@globex.example", "From: iris@globex.example", ""},
	{"the login is its owner, which the directory gives to another", "iris@globex.example", "iris+x@globex.example", "From: iris+x@globex.example", ""},
	{"the login is the owner of a subaddress that the directory gives to another", "gail@globex.example", "gail+shop@globex.example", "From: gail@globex.example", notHis("gail+shop@globex.example")},
	{"a delegate of an address", "assistant", "alice@acmecorp.com", "From: alice@acmecorp.com", ""},
	{"a delegate of its subaddress", "assistant", "alice+x@acmecorp.com", "From: alice@acmecorp.com", ""},
	{"a delegate of a domain", "assistant", "anybody@partner.example", "From: other@Partner.Example", ""},
	{"a delegate of a domain, its login an address", "iris@globex.example", "a@news.acmecorp.com", "From: b@news.acmecorp.com", ""},
	{"a delegate has not what is below the domain", "assistant", "anybody@sub.partner.example", "From: alice@acmecorp.com", notHis("anybody@sub.partner.example")},
	{"another's delegate", "", fromBob, "From: alice@acmecorp.com", notHis("alice@acmecorp.com")},
	{"a login that owns nothing", "nobody", fromBob, fromHim, notHis(fromBob)},
	{"no From: an MTA takes the envelope's", "", fromBob, "X-Nothing: else", ""},
	{"the null sender", "", "", fromHim, ""}, // RFC 8098 section 3
	{"his address beside his address", "", fromBob, `From: "Bob@acmecorp.com" <bob@acmecorp.com>`, ""},
	{"his own in a comment", "", fromBob, "From: bob@acmecorp.com (Bob, bob@acmecorp.com)", ""},
	{"a group of his own", "", fromBob, "From: Bob: bob@acmecorp.com, sales@acmecorp.com;", ""},
	{"folded", "", fromBob, "From:\n Bob\n\t<bob@acmecorp.com>", ""},
	{"a field's name in another case", "", fromBob, "FROM: bob@acmecorp.com", ""},
	{"an answer elsewhere", "", fromBob, fromHim + "\nReply-To: eve@example.net", ""},
	{"another's Resent-From", "", fromBob, fromHim + "\nResent-From: carol@acmecorp.com\nResent-Sender: carol@acmecorp.com", ""},
	{"his own address, spelled", "", fromBob, `From: "bob (at) acmecorp.com, sales @ acmecorp.com" <bob@acmecorp.com>`, ""},
	{"his address within Hebrew", "", fromBob, "From: =?utf-8?B?4oCP15PXldeTIGJvYkBhY21lY29ycC5jb20u?= <bob@acmecorp.com>", ""},
	{"a name at our domain", "", fromBob, `From: "Bob Builder @ acmecorp.com" <bob@acmecorp.com>`, ""},
	{"an invitation", "", fromBob, `From: "Meet me @ acmecorp.com" <bob@acmecorp.com>`, ""},
	{"a department at our domain", "", fromBob, `From: "Support at acmecorp.com" <bob@acmecorp.com>`, ""},
	{"Bob at Acme", "", fromBob, `From: "Bob at Acme" <bob@acmecorp.com>`, ""},
	{"an empty group", "", fromBob, "From: Friends:;, bob@acmecorp.com", ""},
	{"another's name without an address", "", fromBob, "From: Carol Jones <bob@acmecorp.com>", ""},
	{"a bare local part of his in the only domain that has it", "", fromBob, "From: bob", ""},
	{"a bare local part that another has in another domain", "carol", anothers, "From: carol", notHis("carol")},
}

// envelopeTricks are those at MAIL, and those without a From field.
var envelopeTricks = []submitted{
	{"another's envelope", "", anothers, fromHim, notHis(anothers)},
	{"another's envelope in another case", "", "Carol@AcmeCorp.com", fromHim, notHis(anothers)},
	{"another's subaddress", "", "carol+x@acmecorp.com", fromHim, notHis("carol+x@acmecorp.com")},
	{"a stranger's envelope", "", "eve@example.net", fromHim, notHis("eve@example.net")},
	{"his name in another domain", "", "bob@globex.example", fromHim, notHis("bob@globex.example")},
	{"his name below his domain", "", "bob@mail.acmecorp.com", fromHim, notHis("bob@mail.acmecorp.com")},
	{"a stranger's envelope as SRS has it", "", "SRS0=x=y=example.net=eve@acmecorp.com", fromHim, notHis("srs0=x=y=example.net=eve@acmecorp.com")},
	{"a route to another's envelope", "", "@acmecorp.com:carol@acmecorp.com", fromHim, notHis(anothers)},
	{"a quoted local part of another's", "", `"carol"@acmecorp.com`, fromHim, notHis(anothers)},
	{"an address within an address", "", "bob%acmecorp.com@example.net", fromHim, notHis("bob%acmecorp.com@example.net")},
	{"another's envelope, no From", "", anothers, "X-Nothing: else", notHis(anothers)},
	{"the null sender, another's From", "", "", "From: carol@acmecorp.com", notHis(anothers)},
	{"the null sender, a stranger's From", "", "", "From: eve@example.net", notHis("eve@example.net")},
	{"the null sender, no From", "", "", "X-Nothing: else", saysNobody},
}

// headerTricks come with his own envelope.
var headerTricks = []submitted{
	{"another's From", "", fromBob, "From: carol@acmecorp.com", notHis(anothers)},
	{"another's From in another case", "", fromBob, "fRoM: CAROL@acmecorp.com", notHis(anothers)},
	{"a From that nobody owns", "", fromBob, "From: alice@acmecorp.com", notHis("alice@acmecorp.com")},
	{"a From that does not exist", "", fromBob, "From: none@acmecorp.com", notHis("none@acmecorp.com")},
	{"a stranger's From", "", fromBob, "From: eve@example.net", notHis("eve@example.net")},
	{"two From fields, his first", "", fromBob, fromHim + "\nFrom: carol@acmecorp.com", saysSeveral},
	{"two From fields, his last", "", fromBob, "From: carol@acmecorp.com\n" + fromHim, saysSeveral},
	{"two From fields, both his", "", fromBob, fromHim + "\n" + fromHim, saysSeveral},
	{"two From fields, in another case", "", fromBob, fromHim + "\nX-A: b\nfrom: carol@acmecorp.com", saysSeveral},
	{"two From fields, a space before one's colon", "", fromBob, fromHim + "\nFrom : carol@acmecorp.com", saysSeveral},
	{"a space before the colon", "", fromBob, "X-First: x\nFrom : carol@acmecorp.com", notHis(anothers)},
	{"a tab before the colon", "", fromBob, "X-First: x\nFrom\t: carol@acmecorp.com", notHis(anothers)},
	{"two mailboxes, one another's", "", fromBob, "From: bob@acmecorp.com, carol@acmecorp.com", notHis(anothers)},
	{"many mailboxes, the last another's", "", fromBob, "From: " + strings.Repeat("bob@acmecorp.com,\n ", 90) + "carol@acmecorp.com", notHis(anothers)},
	{"more mailboxes than are read", "", fromBob, "From: " + strings.Repeat("bob@acmecorp.com,\n ", 100) + "carol@acmecorp.com", saysBroken},
	{"another's Sender", "", fromBob, fromHim + "\nSender: carol@acmecorp.com", notHis(anothers)},
	{"another's From, his Sender", "", fromBob, "From: carol@acmecorp.com\nSender: bob@acmecorp.com", notHis(anothers)},
	{"two Sender fields", "", fromBob, fromHim + "\nSender: bob@acmecorp.com\nSender: carol@acmecorp.com", notHis(anothers)},
	{"his Resent-From, a stranger's From", "", fromBob, "Resent-From: bob@acmecorp.com\nFrom: eve@example.net", notHis("eve@example.net")},
	{"another's address as display name", "", fromBob, "From: carol@acmecorp.com <bob@acmecorp.com>", notHis(anothers)},
	{"another's in quotes", "", fromBob, `From: "Carol (carol@acmecorp.com)" <bob@acmecorp.com>`, notHis(anothers)},
	{"a stranger's as display name", "", fromBob, `From: "eve@example.net" <bob@acmecorp.com>`, notHis("eve@example.net")},
	{"another's beside the Sender", "", fromBob, fromHim + "\nSender: \"carol@acmecorp.com\" <bob@acmecorp.com>", notHis(anothers)},
	{"an encoded word, Q", "", fromBob, "From: =?utf-8?q?carol=40acmecorp=2Ecom?= <bob@acmecorp.com>", notHis(anothers)},
	{"an encoded word, B", "", fromBob, "From: =?iso-8859-1?B?Y2Fyb2xAYWNtZWNvcnAuY29t?= <bob@acmecorp.com>", notHis(anothers)},
	{"an address in two encoded words", "", fromBob, "From: =?utf-8?q?carol=40?=\n =?utf-8?q?acmecorp.com?= <bob@acmecorp.com>", notHis(anothers)},
	{"an encoded word in quotes", "", fromBob, "From: \"=?utf-8?q?carol=40acmecorp.com?=\" <bob@acmecorp.com>", notHis(anothers)},
	{"fullwidth letters", "", fromBob, "From: ｃａｒｏｌ＠acmecorp.com <bob@acmecorp.com>", notHis(anothers)},
	{"a character that is not seen", "", fromBob, "From: =?utf-8?q?carol=40=E2=80=8Bacmecorp.com?= <bob@acmecorp.com>", notHis(anothers)},
	{"a domain like ours as display name", "", fromBob, "From: acmec0rp.com <bob@acmecorp.com>", "tag"},
	{"a group with another's", "", fromBob, "From: Team: bob@acmecorp.com, carol@acmecorp.com;", notHis(anothers)},
	{"a group with another's name", "", fromBob, "From: \"carol@acmecorp.com\": bob@acmecorp.com;", notHis(anothers)},
	{"an empty group alone", "", fromBob, "From: undisclosed-senders:;", saysBroken},
	{"an empty group with another's name", "", fromBob, "From: carol@acmecorp.com:;, bob@acmecorp.com", notHis(anothers)},
	{"an empty group with another's name, behind", "", fromBob, "From: bob@acmecorp.com, =?utf-8?q?carol=40acmecorp.com?=:;", notHis(anothers)},
	{"another's with spaces around its @", "", fromBob, `From: "carol @ acmecorp.com" <bob@acmecorp.com>`, notHis(anothers)},
	{"one that does not exist with spaces around its @", "", fromBob, `From: "ceo @ acmecorp.com" <bob@acmecorp.com>`, notHis("ceo@acmecorp.com")},
	{"spaces around its @, among words", "", fromBob, `From: "Your colleague carol @ acmecorp.com" <bob@acmecorp.com>`, notHis(anothers)},
	{"(at)", "", fromBob, `From: "ceo (at) acmecorp.com" <bob@acmecorp.com>`, notHis("ceo@acmecorp.com")},
	{"[at] and (dot)", "", fromBob, `From: "ceo[at]acmecorp(dot)com" <bob@acmecorp.com>`, notHis("ceo@acmecorp.com")},
	{"{at}", "", fromBob, `From: "ceo {AT} acmecorp.com" <bob@acmecorp.com>`, notHis("ceo@acmecorp.com")},
	{"at", "", fromBob, `From: "carol at acmecorp.com" <bob@acmecorp.com>`, notHis(anothers)},
	{"at as a comment", "", fromBob, "From: carol (at) acmecorp.com <bob@acmecorp.com>", notHis(anothers)},
	{"an override", "", fromBob, "From: =?utf-8?B?4oCubW9jLnByb2NlbWNhQGxvcmFj?= <bob@acmecorp.com>", notHis(anothers)},
	{"an override, not encoded", "", fromBob, "From: \"\u202emoc.procemca@lorac\" <bob@acmecorp.com>", notHis(anothers)},
	{"overrides in an override", "", fromBob, "From: \"\u202emoc.\u202dacmecorp\u202c@lorac\u202c\" <bob@acmecorp.com>", notHis(anothers)},
	{"an isolate with marks", "", fromBob, "From: \"\u2067com\u200f.\u200facmecorp\u200f@\u200fcarol\u2069\" <bob@acmecorp.com>", notHis(anothers)},
	{"UTF-7", "", fromBob, "From: =?utf-7?Q?carol+AEA-acmecorp.com?= <bob@acmecorp.com>", notHis(anothers)},
	{"UTF-7 in base64", "", fromBob, "From: =?unicode-1-1-utf-7?B?Y2Fyb2wrQUVBLWFjbWVjb3JwLmNvbQ==?= <bob@acmecorp.com>", notHis(anothers)},
	{"the mail system", "", "", "From: MAILER-DAEMON <>", notHis("mailer-daemon")},
	{emptyFrom, "", fromBob, "From: ", saysBroken},
	{"a comment in From", "", fromBob, "From: bob@acmecorp.com (carol@acmecorp.com)", notHis(anothers)},
	{"a comment within the address", "", fromBob, "From: carol(bob@acmecorp.com)@acmecorp.com", notHis(anothers)},
	{"comments in comments", "", fromBob, `From: (x (\) bob@acmecorp.com)) carol@acmecorp.com`, notHis(anothers)},
	{"a comment that does not end", "", fromBob, "From: bob@acmecorp.com (carol@acmecorp.com", saysBroken},
	{"a folded From", "", fromBob, "From:\n\t\n carol@acmecorp.com", notHis(anothers)},
	{"a folded From, the second line another's", "", fromBob, "From: bob@acmecorp.com\n ,carol@acmecorp.com", notHis(anothers)},
	{"a line break within the address", "", fromBob, "From: carol@\n acmecorp.com", notHis(anothers)},
	{"two in brackets", "", fromBob, "From: <bob@acmecorp.com> <carol@acmecorp.com>", saysBroken},
	{"text behind the brackets", "", fromBob, "From: <bob@acmecorp.com> carol@acmecorp.com", saysBroken},
	{"a semicolon between them", "", fromBob, "From: bob@acmecorp.com; carol@acmecorp.com", saysBroken},
	{"no comma between them", "", fromBob, "From: bob@acmecorp.com carol@acmecorp.com", saysBroken},
	{bareReturn, "", fromBob, "From: bob@acmecorp.com\rFrom: carol@acmecorp.com", saysBroken},
	{"a homoglyph in the domain", "", fromBob, "From: bob@acmecоrp.com", notHis("bob@xn--acmecrp-ejg.com")},
	{"a homoglyph in the domain, in punycode", "", fromBob, "From: bob@xn--acmecrp-ejg.com", notHis("bob@xn--acmecrp-ejg.com")},
	{"a digit in the domain", "", fromBob, "From: bob@acmec0rp.com", notHis("bob@acmec0rp.com")},
	{"a homoglyph in the local part", "", fromBob, "From: bоb@acmecorp.com", notHis("b?b@acmecorp.com")},
	{"a bare local part", "", fromBob, "From: carol", notHis("carol")},
	{"a quoted local part of another's From", "", fromBob, `From: "carol"@acmecorp.com`, notHis(anothers)},
	{"an address as local part", "", fromBob, `From: "carol@acmecorp.com"@acmecorp.com`, notHis(`"carol@acmecorp.com"@acmecorp.com`)},
	{"a route to another's From", "", fromBob, "From: <@acmecorp.com:carol@acmecorp.com>", notHis(anothers)},
	{"an address literal", "", fromBob, "From: bob@[192.0.2.1]", notHis("bob@[192.0.2.1]")},
}

// message makes the message with a Message-Id of its own.
func (c submitted) message() []byte {
	text := c.header + "\nTo: far@example.org\nSubject: " + c.about + "\nDate: Mon, 2 Mar 2026 10:00:00 +0000\n" +
		"Message-Id: <" + rand.Text() + "@lab.test>\n\nGood morning\n"
	return []byte(strings.ReplaceAll(text, "\n", "\r\n"))
}

func TestALoginSendsInItsOwnNameOnly(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSubmission(t, lab.SiteConfig{MTA: mta, TOML: ownedTOML, Directory: ownedDirectory}, ownedLogins...)
		cases := slices.Concat(ownMail, envelopeTricks, headerTricks)
		for i := range cases {
			if cases[i].about == emptyFrom && !s.keepsAuthors {
				cases[i].want = "" // it takes the envelope's, as where there is no From
			}
		}
		messages := make([][]byte, len(cases))
		recipient := func(i int) string { return fmt.Sprintf("case%d@example.org", i) }
		t.Run("cases", func(t *testing.T) {
			for i, c := range cases {
				t.Run(c.about, func(t *testing.T) {
					t.Parallel()
					messages[i] = c.message()
					u := submitter{login: c.login}
					if u.login == "" {
						u.login = "bob"
					}
					mail := lab.Mail{From: c.from, To: lab.To(recipient(i)), Data: messages[i]}
					here := s.in(t)
					r := here.submitAs(u, mail)
					switch {
					case c.about == bareReturn && s.bareCR != "":
						if code(r.Data) != s.bareCR {
							t.Errorf("the message was answered %s; right is %s", r.Data, s.bareCR)
						}
						return
					case c.about == emptyFrom && !s.keepsAuthors:
						// Of such a field no milter is told, and it arrives as the envelope's.
						if !r.Accepted() {
							t.Errorf("the message was answered %s", r.Data)
						}
						return
					}
					line := s.loggedTo(t, recipient(i))
					e := here.explainSubmitted(t, u, mail)
					t.Logf("%s: %s; %s; %s", c.header, r.Data, line["verdict"], line["reason"])
					c.compare(t, r, line, e)
					if !s.loginAsGiven {
						u.login = strings.ToLower(u.login)
					}
					if line["login"] != u.login {
						t.Errorf("the log has the login %q", line["login"])
					}
				})
			}
		})
		for i, c := range cases {
			var want, tags []string
			if c.want == "tag" {
				tags = []string{"spoof; look-alike"}
			}
			if c.want == "" || c.want == "tag" {
				want = []string{"Internet " + recipient(i)}
			}
			if s.keepsAuthors {
				s.mustArriveTagged(messages[i], tags, want...)
			} else {
				s.mustArriveAnew(messages[i], tags, want...)
			}
		}
		if held := s.entries(); len(held) > 0 {
			t.Errorf("the quarantine holds %v", held)
		}
	})
}

// mustArriveAnew is mustArriveTagged for a message whose author fields the MTA writes
// anew, before a milter's tags come on top.
func (s *site) mustArriveAnew(message []byte, tags []string, want ...string) {
	s.t.Helper()
	s.settle()
	copies, arrivals := s.copies(message)
	if !slices.Equal(arrivals, want) {
		s.t.Errorf("the message arrived at %q; it must arrive at %q", arrivals, want)
	}
	_, rest, _ := bytes.Cut(message, []byte("\r\nTo: "))
	for place, copies := range copies {
		for _, copied := range copies {
			var got []string
			for line := range strings.Lines(string(copied)) {
				if value, found := strings.CutPrefix(line, policy.TagHeader+":"); found {
					got = append(got, strings.TrimSpace(value))
				}
			}
			if !bytes.HasSuffix(copied, rest) || !slices.Equal(got, tags) {
				s.t.Errorf("at %s arrived %q; it must have the tags %q", place, copied, tags)
			}
		}
	}
}

// compare checks what became of the message against what must, and what explain
// says of it against both.
func (c submitted) compare(t *testing.T, r lab.Result, line logLine, e explanation) {
	t.Helper()
	what, reply := "accept", ""
	switch c.want {
	case "":
	case "tag":
		what = "tag"
	default:
		what, reply = "reject", c.want
	}
	if r.Accepted() != (reply == "") || reply != "" && r.Data.String() != reply {
		t.Errorf("the message was answered %s; right is %q", r.Data, reply)
	}
	if line["point"] != "S2" || line["verdict"] != what || line["reply"] != reply {
		t.Errorf("the daemon logged %s %s %q; right is S2 %s %q", line["point"], line["verdict"], line["reply"], what, reply)
	}
	if hit := what != "accept"; hit != strings.Contains(line["findings"], "spoof hit ") || hit && line["check"] != verdict.CheckSpoof && what == "reject" {
		t.Errorf("the daemon logged the findings %q and the check %q", line["findings"], line["check"])
	}
	if e.Checkpoint != "S2" || e.Verdict != what || e.Reply != reply {
		t.Errorf("explain says %s %s %q; right is S2 %s %q", e.Checkpoint, e.Verdict, e.Reply, what, reply)
	}
}

// TestTheReplyTellsNothingOfOthers: whether there is such an address, and whose it
// is, makes no difference.
func TestTheReplyTellsNothingOfOthers(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSubmission(t, lab.SiteConfig{MTA: mta, TOML: ownedTOML, Directory: ownedDirectory}, ownedLogins...)
		for _, address := range []string{anothers, "alice@acmecorp.com", "dave@acmecorp.com", "gail@globex.example", "none@acmecorp.com", "anybody@partner.example", "eve@example.net"} {
			for _, c := range []submitted{{from: address, header: fromHim}, {from: fromBob, header: "From: " + address}, {from: fromBob, header: fromHim + "\nSender: " + address}} {
				m := lab.Mail{From: c.from, To: lab.To("far@example.org"), Data: c.message()}
				r := s.submitAs(submitter{login: "bob"}, m)
				if r.Data.String() != notHis(address) {
					t.Errorf("<%s> %q was answered %s", c.from, c.header, r.Data)
				}
				if r.Mail.Code != 250 || r.To[0].Code != 250 {
					t.Errorf("<%s> was answered %s and %s before the message came", c.from, r.Mail, r.To[0])
				}
			}
		}
	})
}

// A milter is told of a field no more than what stands before its first NUL. As
// contrib/postfix has it, Postfix refuses such a message itself.
func TestANULNeverHidesAnAuthor(t *testing.T) {
	t.Parallel()
	s := startSubmission(t, lab.SiteConfig{TOML: ownedTOML, Directory: ownedDirectory}, ownedLogins...)
	for i, header := range []string{"From: bob@acmecorp.com\x00, carol@acmecorp.com", "From: \x00carol@acmecorp.com", "From: bob@acmecorp.com\nSender: \x00carol@acmecorp.com", "From\x00: carol@acmecorp.com"} {
		c := submitted{about: "a NUL", header: header}
		m := lab.Mail{From: fromBob, To: lab.To(fmt.Sprintf("far%d@example.org", i)), Data: c.message()}
		r := s.submitAs(submitter{login: "bob"}, m)
		if r.Data.String() != "550 5.7.1 disallowed character" {
			t.Errorf("%q was answered %s", header, r.Data)
		}
		s.mustArrive(m.Data)
	}
}

// unansweredTOML has a domain whose directory cannot be read.
const unansweredTOML = `
[domain."unread.example"]
directory = "unread.csv"
alternate = { google = "gapps.unread.example" }

[check.spoof]
delegates = { bob = ["team@unread.example"] }
`

func TestADirectoryThatCannotAnswerPutsUsersOff(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSubmission(t, lab.SiteConfig{MTA: mta}, "bob", "una@unread.example")
		// A reload would keep the list that there is: only at its start is a daemon
		// without one.
		directory := filepath.Join(s.Dir, "unread.csv")
		if err := errors.Join(s.Daemon.Stop(), os.WriteFile(directory, []byte("address,residence,login\nno address,here,\n"), 0o644),
			s.WriteTOML(submissionTOML+unansweredTOML), s.StartDaemon(deadline(t))); err != nil {
			t.Fatal(err)
		}
		const later = "451 4.3.0 The message cannot be checked at the moment, try again later"
		answers := func(about string, cases ...submitted) {
			t.Helper()
			for _, c := range cases {
				u := submitter{login: c.login}
				m := lab.Mail{From: c.from, To: lab.To("far@example.org"), Data: c.message()}
				r, e := s.submitAs(u, m), s.explainSubmitted(t, u, m)
				got := ""
				if !r.Accepted() {
					got = r.Data.String()
				}
				if got != c.want || e.Reply != c.want {
					t.Errorf("%s, %s: the message was answered %s, and explain says %q; right is %q", about, c.about, r.Data, e.Reply, c.want)
				}
				if c.want == "" {
					s.mustArrive(m.Data, "Internet far@example.org")
				} else {
					s.mustArrive(m.Data)
				}
			}
		}
		const una, fromUna = "una@unread.example", "From: una@unread.example"
		answers("unread",
			submitted{"in the envelope", "bob", una, fromHim, later},
			submitted{"in From", "bob", fromBob, fromUna, later},
			submitted{"in Sender", "bob", fromBob, fromHim + "\nSender: una@unread.example", later},
			submitted{"as display name", "bob", fromBob, "From: una@unread.example <bob@acmecorp.com>", later},
			submitted{"two From fields", "bob", una, fromUna + "\n" + fromUna, saysSeveral},
			submitted{"a login that is the address", una, una, fromUna, ""},
			submitted{"a bare local part", "bob", fromBob, "From: bob", later},
			submitted{"a delegate", "bob", "team@unread.example", "From: team@unread.example", ""},
			submitted{"another domain", "bob", fromBob, fromHim, ""},
		)
		if err := os.WriteFile(directory, []byte("address,residence,login\nuna@unread.example,google,bob\nother@unread.example,google,carol\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		s.mustReload()
		answers("read again",
			submitted{"in the envelope", "bob", una, fromHim, ""},
			submitted{"in From", "bob", fromBob, fromUna, ""},
			submitted{"another's", "bob", fromBob, "From: other@unread.example", notHis("other@unread.example")},
		)
	})
}

// Sendmail tells logins in xtext.
func TestALoginWithAPlusSendsInItsOwnName(t *testing.T) {
	t.Parallel()
	s := startSubmission(t, lab.SiteConfig{MTA: lab.SendmailMTA, TOML: ownedTOML, Directory: lab.SiteDirectory + "shop@acmecorp.com,here,shop+1=a\n"}, "shop+1=a", "shop")
	for login, right := range map[string]string{"shop+1=a": "250", "shop": "553"} {
		c := submitted{from: "shop@acmecorp.com", header: "From: shop@acmecorp.com"}
		r := s.submitAs(submitter{login: login}, lab.Mail{From: c.from, To: lab.To("far@example.org"), Data: c.message()})
		if !strings.HasPrefix(r.Data.String(), right) {
			t.Errorf("the message of the login %q was answered %s; right is %s", login, r.Data, right)
		}
	}
}

package milter

import (
	"strings"
	"sync/atomic"
	"testing"

	gomilter "github.com/emersion/go-milter"

	"coexistd/milter/transaction"
	"coexistd/policy/directory"
)

func TestRewritesRecipientsThatLiveElsewhere(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	m := l.postfix(t)
	m.mail("<x@example.org>")
	for _, path := range []string{"<bob@acmecorp.com>", "<alice@acmecorp.com>", "<Carol+tag@AcmeCorp.com>"} {
		m.macro('R', "i", "4QID")
		if reply := m.rcpt(path); reply != "" {
			t.Fatalf("%s: %s", path, reply)
		}
	}
	m.header("Subject", " hello")
	m.macro('E', "i", "4QID")
	m.wantEOM(deleteAlice, addAlice,
		frame{'2', "<Carol+tag@acmecorp-com.onmicrosoft.com>\x00ORCPT=rfc822;Carol+2Btag@AcmeCorp.com\x00"},
		addTrace, proceed)
	line := l.message(t)
	for key, want := range map[string]string{
		"queue_id": "4QID", "client": "192.0.2.1", "login": "", "from": "x@example.org",
		"point": "S0", "platform": "", "verdict": "accept", "check": "",
	} {
		if line[key] != want {
			t.Errorf("the log says %s=%q, want %q", key, line[key], want)
		}
	}
	if list, _ := line["recipients"].([]any); len(list) != 3 {
		t.Errorf("the log names recipients %v, want 3", line["recipients"])
	}
}

func TestAsksOnlyForWhatIsOffered(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	for _, c := range []struct {
		version  uint32
		actions  gomilter.OptAction
		protocol gomilter.OptProtocol
	}{{6, allActions, allProtocol}, {2, 0x3f, 0x7f}, {7, 0xffffffff, 0xffffffff}, {6, neededActions, 0}} {
		actions, protocol := l.dial(t).negotiate(c.version, c.actions, c.protocol)
		if actions != wantedActions&c.actions || protocol != (wantedProtocol|gomilter.OptNoBody|gomilter.OptNoConnReply)&c.protocol {
			t.Errorf("offered %x %x: agreed to %x %x", c.actions, c.protocol, actions, protocol)
		}
	}
}

func TestOldMTAIsAnsweredAtEveryStep(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	m := l.dial(t)
	m.negotiate(2, 0x1f, 0)
	m.connect('4', 25, "192.0.2.1")
	m.want('c', "")
	m.put('H', "client.example\x00")
	m.want('c', "")
	m.mail("<x@example.org>")
	if reply := m.rcpt("<alice@acmecorp.com>", "NOTIFY=NEVER"); reply != "" {
		t.Fatal(reply)
	}
	for _, step := range []frame{{'T', ""}, {'L', "Subject\x00hello\x00"}, {'N', ""}, {'B', "body"}, {'B', "more"}, {'U', "XCMD\x00"}} {
		m.put(step.code, step.payload)
		m.want('c', "")
	}
	m.wantEOM(deleteAlice, frame{'+', "<alice@acmecorp-com.onmicrosoft.com>\x00"}, addTrace, proceed)
}

func TestInsertedHeaderHasASpaceWithExactValuesOnly(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	for _, c := range []struct {
		protocol gomilter.OptProtocol
		want     string
	}{{allProtocol, " v=2;"}, {allProtocol &^ gomilter.OptHeaderLeadingSpace, "v=2;"}} {
		m := l.dial(t)
		m.negotiate(6, allActions, c.protocol)
		m.mail("<x@example.org>")
		m.rcpt("<alice@acmecorp.com>")
		frames := m.eom()
		if got := frames[2].payload; !strings.HasPrefix(got, "\x00\x00\x00\x00X-Coexist-Trace\x00"+c.want) {
			t.Errorf("inserted %q, want a value that begins with %q", got, c.want)
		}
	}
}

func TestBodyChunksAreSkippedWhenTheMTAKnowsHow(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	m := l.dial(t)
	m.negotiate(6, allActions, gomilter.OptSkip)
	m.mail("<x@example.org>")
	m.rcpt("<bob@acmecorp.com>")
	m.put('B', strings.Repeat("x", 65535))
	m.want('s', "")
	m.put('E', strings.Repeat("the last chunk ", 4000))
	m.want('c', "")
}

func TestMTAThatAllowsNoRewritingGetsTemporaryFailures(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	for _, lacking := range []gomilter.OptAction{gomilter.OptAddRcpt, gomilter.OptRemoveRcpt, gomilter.OptAddHeader} {
		m := l.dial(t)
		m.negotiate(6, allActions&^lacking, waitsAtMail)
		m.mail("<x@example.org>")
		if reply := m.rcpt("<alice@acmecorp.com>"); !strings.HasPrefix(reply, "451 4.3.5 ") {
			t.Errorf("a recipient got %q", reply)
		}
	}
	if !strings.Contains(l.log.String(), "level=ERROR") {
		t.Error("nothing was logged as an error")
	}
}

func TestRefusedRecipientIsNoPartOfTheMessage(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	m := l.postfix(t)
	m.mail("<x@example.org>")
	for path, want := range map[string]string{
		"<nobody@acmecorp.com>":    "550 5.1.1 ",
		"<mia@acmecorp.com>":       "450 4.2.1 ",
		"<x@elsewhere.example>":    "554 5.7.1 ",
		"<\"open@acmecorp.com>":    "501 5.1.3 ",
		"<>":                       "501 5.1.3 ",
		"<100%s%n@acmecorp.com>":   "550 5.1.1 ",
		"<ctrl\x01@acmecorp.com>":  "501 5.1.3 ",
		"<@>":                      "501 5.1.3 ",
		"<nobody+a@acmecorp.com.>": "550 5.1.1 ",
	} {
		if reply := m.rcpt(path); !strings.HasPrefix(reply, want) || strings.Contains(strings.ReplaceAll(reply, "%%", ""), "%") {
			t.Errorf("%s: got %q, want %q", path, reply, want)
		}
	}
	if reply := m.rcpt("<alice@acmecorp.com>"); reply != "" {
		t.Fatal(reply)
	}
	m.wantEOM(deleteAlice, addAlice, addTrace, proceed)
	if line := l.message(t); line["recipient_count"] != 10.0 || line["verdict"] != "accept" {
		t.Errorf("the log says %v", line)
	}
}

func TestTransactionOfRefusedRecipientsLeavesOneLine(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	m := l.postfix(t)
	m.mail("<x@example.org>")
	m.rcpt("<nobody@acmecorp.com>")
	m.rcpt("<mia@acmecorp.com>")
	m.put('A', "")
	m.put('A', "")
	m.mail("<y@example.org>") // no recipients: no line
	m.put('A', "")
	m.exchange()
	lines := l.log.Lines("message")
	if len(lines) != 2 {
		t.Fatalf("%d lines, want 2:\n%s", len(lines), l.log)
	}
	if line := lines[0]; line["verdict"] != "reject" || line["from"] != "x@example.org" || line["recipient_count"] != 2.0 || line["point"] != "S0" {
		t.Errorf("the log says %v", line)
	}
}

func TestDirectoryThatCannotAnswerIsATemporaryFailure(t *testing.T) {
	rt := newRuntime(t)
	rt.Directory = directory.NewSet(map[string][]*directory.Snapshot{"acmecorp.com": {nil}}, nil)
	m := newLab(t, rt, nil).postfix(t)
	m.mail("<x@example.org>")
	if reply := m.rcpt("<alice@acmecorp.com>"); !strings.HasPrefix(reply, "451 4.3.0 ") {
		t.Errorf("got %q", reply)
	}
}

func TestBadSenderIsRefusedAtEachRecipient(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	m := l.postfix(t)
	m.mail("<\"x@example.org>")
	for _, to := range []string{"<alice@acmecorp.com>", "<bob@acmecorp.com>"} {
		if reply := m.rcpt(to); reply != "501 5.1.7 Bad sender address syntax" {
			t.Errorf("%s got %q", to, reply)
		}
	}
	m.exchange()
	if log := l.log.String(); strings.Count(log, "501 5.1.7") == 0 {
		t.Errorf("the log does not tell of it: %s", log)
	}
}

func TestMTADoesNotWaitForAnAnswerToMAIL(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	m := l.dial(t)
	if _, agreed := m.negotiate(6, allActions, allProtocol); agreed&gomilter.OptNoMailReply == 0 {
		t.Fatal("the MTA is to wait for answers to MAIL")
	}
	m.macro('C', "v", postfixVersion)
	m.connect('4', 4711, "192.0.2.1")
	for range 2 {
		m.put('M', "<x@example.org>\x00")
		if reply := m.rcpt("<alice@acmecorp.com>"); reply != "" {
			t.Fatal(reply)
		}
		m.wantEOM(deleteAlice, addAlice, addTrace, proceed)
		m.put('A', "")
	}
	m.put('M', "<\"x@example.org>\x00")
	if reply := m.rcpt("<alice@acmecorp.com>"); !strings.HasPrefix(reply, "501 5.1.7 ") {
		t.Errorf("got %q", reply)
	}
}

func TestArgumentsOfTheRecipientSurvive(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	m := l.postfix(t)
	m.mail("<x@example.org>\x00SIZE=1000\x00RET=HDRS")
	m.rcpt("<alice@acmecorp.com>", "notify=NEVER", "Orcpt=rfc822;list@acmecorp.com", "NOTIFY=FAILURE")
	m.wantEOM(deleteAlice,
		frame{'2', "<alice@acmecorp-com.onmicrosoft.com>\x00NOTIFY=NEVER ORCPT=rfc822;list@acmecorp.com\x00"},
		addTrace, proceed)
}

func TestDeletesThePathJustAsItWasWritten(t *testing.T) {
	m := newLab(t, newRuntime(t), nil).postfix(t)
	m.mail("<x@example.org>")
	m.rcpt("<@relay.example:\"Alice\"@ACMECORP.com>")
	if got, want := m.eom()[0], (frame{'-', "<@relay.example:\"Alice\"@ACMECORP.com>\x00"}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestNeverLeavesAMessageWithoutRecipients(t *testing.T) {
	const alice, sentOn = "<alice@acmecorp.com>", "<alice@acmecorp-com.onmicrosoft.com>"
	deleteQuoted := frame{'-', "<\"alice\"@acmecorp.com>\x00"}
	l := newLab(t, newRuntime(t), nil)
	m := l.dial(t)
	m.negotiate(6, allActions, waitsAtMail)
	m.macro('C', "v", postfixVersion)
	m.connect('4', 25, "10.1.1.1")
	for _, c := range []struct {
		to   []string
		want []frame
	}{
		{[]string{alice}, []frame{deleteAlice, addAlice, addTrace, proceed}},
		{[]string{alice, "<\"alice\"@acmecorp.com>"}, []frame{deleteAlice, deleteQuoted, addAlice, addTrace, proceed}},
		// Nobody is added where the one who is left has the mailbox already.
		{[]string{alice, sentOn}, []frame{deleteAlice, addTrace, proceed}},
		{[]string{sentOn, alice, "<\"alice\"@acmecorp.com>"}, []frame{deleteAlice, deleteQuoted, addTrace, proceed}},
		{[]string{sentOn}, []frame{proceed}},
	} {
		m.mail("<bob@acmecorp.com>")
		for _, path := range c.to {
			if reply := m.rcpt(path); reply != "" {
				t.Fatalf("%s is refused: %s", path, reply)
			}
		}
		m.wantEOM(c.want...)
	}
}

func TestMessagesOfAConnectionAreStrangersToEachOther(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	m := l.dial(t)
	m.negotiate(6, allActions, allProtocol)
	m.macro('C', "v", postfixVersion)
	m.connect('4', 25, "40.92.1.1")
	m.macro('M', "i", "one", "{auth_authen}", "bob")
	m.mail("<x@example.org>")
	m.rcpt("<alice@acmecorp.com>")
	m.header("X-MS-Exchange-CrossTenant-Id", " "+tenantID)
	m.macro('E', "i", "one")
	m.wantEOM(deleteAlice, addAlice, addTrace, proceed)

	// Sendmail sends no ABORT here, and no macros where none is defined.
	m.mail("<x@example.org>")
	m.rcpt("<alice@acmecorp.com>")
	m.wantEOM(deleteAlice, addAlice, addTrace, proceed)

	// Nor does an early end show the queue id of an earlier message.
	m.mail("<x@example.org>")
	m.rcpt("<bob@acmecorp.com>")
	m.macro('E', "i", "three")
	m.wantEOM(proceed)
	m.mail("<x@example.org>")
	m.rcpt("<nobody@acmecorp.com>")
	m.put('A', "")
	m.exchange()

	lines := l.log.Lines("message")
	if len(lines) != 5 {
		t.Fatalf("%d lines:\n%s", len(lines), l.log)
	}
	if lines[2]["queue_id"] != "three" || lines[3]["verdict"] != "reject" || lines[3]["queue_id"] != "" {
		t.Errorf("the third message and the fourth: %v, %v", lines[2], lines[3])
	}
	if lines[0]["point"] != "S2" || lines[0]["login"] != "bob" || lines[0]["queue_id"] != "one" {
		t.Errorf("the first message: %v", lines[0])
	}
	if lines[1]["point"] != "S0" || lines[1]["login"] != "" || lines[1]["queue_id"] != "" || lines[1]["recipient_count"] != 1.0 {
		t.Errorf("the second message has something of the first: %v", lines[1])
	}
}

func TestTenantDecidesBetweenLoopAndOrdinaryMail(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	for _, c := range []struct {
		sender, tenantID string
		want             byte
	}{{"<x@example.org>", tenantID, 'y'}, {"<>", tenantID, 'd'}, {"<x@example.org>", "00000000-0000-0000-0000-000000000000", '-'}} {
		m := l.dial(t)
		m.negotiate(6, allActions, allProtocol)
		m.connect('4', 25, "40.92.1.1")
		m.mail(c.sender)
		if reply := m.rcpt("<alice@acmecorp.com>"); reply != "" {
			t.Fatalf("refused at RCPT already: %s", reply)
		}
		m.header("x-ms-exchange-crosstenant-id", " "+c.tenantID)
		got := m.eom()[0]
		if got.code != c.want || got.code == 'y' && !strings.HasPrefix(got.payload, "554 5.4.6 ") {
			t.Errorf("%v: got %v, want %c", c, got, c.want)
		}
	}
}

func TestClientAddresses(t *testing.T) {
	for name, c := range map[string]struct {
		connect string
		macro   string
		client  string
		point   string
	}{
		"IPv4":                        {"h\x004\x00\x1910.1.2.3\x00", "", "10.1.2.3", "S2"},
		"IPv6":                        {"h\x006\x00\x192001:db8::1\x00", "", "2001:db8::1", "S2"},
		"IPv6 with Sendmail's tag":    {"h\x006\x00\x19IPv6:2001:db8::1\x00", "", "2001:db8::1", "S2"},
		"IPv4 in IPv6":                {"h\x006\x00\x19::ffff:10.1.2.3\x00", "", "10.1.2.3", "S2"},
		"no address, but a macro":     {"h\x00U", "10.1.2.3", "10.1.2.3", "S2"},
		"an address and a macro":      {"h\x004\x00\x19192.0.2.1\x00", "10.1.2.3", "192.0.2.1", "S0"},
		"no address at all":           {"h\x00U", "", "", "S0"},
		"nonsense":                    {"h\x004\x00\x19ten.one\x00", "", "", "S0"},
		"Postfix without SMTP":        {"localhost\x004\x00\x00127.0.0.1\x00", "", "127.0.0.1", "S2"},
		"a local SMTP client":         {"localhost\x004\x00\x19127.0.0.1\x00", "", "127.0.0.1", "S0"},
		"Sendmail without SMTP":       {"localhost\x00U", "", "", "S2"},
		"a unix socket":               {"localhost\x00L\x00\x00/run/x\x00", "", "", "S2"},
		"localhost from far away":     {"localhost\x00U", "192.0.2.1", "192.0.2.1", "S0"},
		"localhost by a reverse name": {"localhost\x004\x00\x00192.0.2.1\x00", "", "192.0.2.1", "S0"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, newRuntime(t), nil)
			m := l.dial(t)
			m.negotiate(6, allActions, allProtocol)
			if c.macro != "" {
				m.macro('C', "{client_addr}", c.macro)
			}
			m.put('C', c.connect)
			m.exchange()
			if line := l.message(t); line["client"] != c.client || line["point"] != c.point {
				t.Errorf("client %v, point %v; want %s, %s", line["client"], line["point"], c.client, c.point)
			}
		})
	}
}

func TestMailMadeOnThisHostIsNeverRefusedAtRcpt(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	m := l.dial(t)
	m.negotiate(6, allActions, allProtocol)
	m.macro('C', "v", postfixVersion)
	m.onHost()
	m.mail("\"root@") // as is
	for _, path := range []string{"nobody@acmecorp.com", "\"open@acmecorp.com", "mia@acmecorp.com", "alice@acmecorp.com"} {
		if reply := m.rcpt(path); reply != "" {
			t.Errorf("%s is refused: %s", path, reply)
		}
	}
	m.put('A', "")
	m.mail("root")
	m.rcpt("alice@acmecorp.com")
	m.rcpt("\"open@acmecorp.com")
	m.wantEOM(deleteAlice, deleteBare, addAlice, addTrace, proceed)
}

func TestQuitForANewConnectionForgetsTheClient(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	m := l.dial(t)
	m.negotiate(6, allActions, allProtocol)
	m.connect('4', 25, "10.1.2.3")
	m.exchange()
	m.mail("<unfinished@example.org>")
	m.put('K', "")
	m.exchange()
	m.put('K', "")
	m.connect('4', 25, "192.0.2.1")
	m.exchange()
	var got []string
	for _, line := range l.log.Lines("message") {
		got = append(got, line["point"].(string)+line["client"].(string))
	}
	if want := "S210.1.2.3 S0 S0192.0.2.1"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestStrayCommandsAreHarmless(t *testing.T) {
	m := newLab(t, newRuntime(t), nil).postfix(t)
	if reply := m.rcpt("<bob@acmecorp.com>"); !strings.HasPrefix(reply, "451 ") {
		t.Errorf("a recipient without a sender: %q", reply)
	}
	m.header("Subject", " early")
	m.wantEOM(proceed)
	m.exchange()
}

func TestOneRuntimeServesAMessageToItsEnd(t *testing.T) {
	before, after := newRuntime(t), newRuntime(t)
	after.Policy.Routes.Domains["acmecorp.com"].Alternates["office365"] = "new.example"
	var current atomic.Pointer[transaction.Runtime]
	current.Store(before)
	l := newLab(t, nil, func(s *Server) { s.Runtime = current.Load })
	m := l.postfix(t)
	m.mail("<x@example.org>")
	current.Store(after)
	m.rcpt("<alice@acmecorp.com>")
	m.wantEOM(deleteAlice, addAlice, addTrace, proceed)
	m.mail("<x@example.org>")
	m.rcpt("<alice@acmecorp.com>")
	m.wantEOM(deleteAlice, frame{'2', "<alice@new.example>\x00ORCPT=rfc822;alice@acmecorp.com\x00"}, addTrace, proceed)
}

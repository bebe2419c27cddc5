package e2e

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	gomilter "github.com/emersion/go-milter"
)

// told is what the daemon told the MTA of one message.
type told struct {
	rcpt    []string // the reply to each recipient, empty: taken
	end     string   // the reply to the message, or a verdict, or empty: taken
	added   []string
	deleted []string
	trace   string
}

// everyAction is what an MTA lets a milter do.
const everyAction = gomilter.OptAddHeader | gomilter.OptAddRcpt | gomilter.OptRemoveRcpt | gomilter.OptChangeHeader

// mtaSession is a connection of an MTA to the daemon.
type mtaSession struct {
	t *testing.T
	*gomilter.ClientSession
}

// session connects to a listener, by its number from 1, as an MTA that allows these
// actions.
func (d agreedDaemon) session(t *testing.T, listener int, actions gomilter.OptAction) mtaSession {
	t.Helper()
	client := gomilter.NewClientWithOptions("unix", filepath.Join(filepath.Dir(d.config), sockets[listener-1]), gomilter.ClientOptions{
		ReadTimeout: patience, WriteTimeout: patience, ActionMask: actions, ProtocolMask: gomilter.OptNoBody,
	})
	s, err := client.Session()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return mtaSession{t, s}
}

// says returns what the daemon has answered: a reply, or "discard", or "" to go on.
func (s mtaSession) says(act *gomilter.Action, err error) string {
	s.t.Helper()
	switch {
	case err != nil:
		s.t.Fatal(err)
	case act.Code == gomilter.ActReplyCode:
		return fmt.Sprintf("%d %s", act.SMTPCode, strings.ReplaceAll(act.SMTPText, "%%", "%"))
	case act.Code == gomilter.ActDiscard:
		return "discard"
	case act.Code != gomilter.ActContinue && act.Code != gomilter.ActAccept && act.Code != gomilter.ActSkip:
		s.t.Fatalf("the daemon said %q", act.Code)
	}
	return ""
}

// begin tells the daemon of a client and a message, up to its sender. The queue id marks
// the message's line in the log.
func (s mtaSession) begin(a agreement, id string) {
	s.t.Helper()
	addr, _ := netip.ParseAddr(a.client)
	switch {
	case a.onHost:
		s.says(s.Conn("localhost", gomilter.FamilyInet, 0, "127.0.0.1"))
	case a.client == "":
		s.says(s.Conn("unknown", gomilter.FamilyUnknown, 0, ""))
	case addr.Is6():
		s.says(s.Conn("client.example", gomilter.FamilyInet6, 12345, "IPv6:"+a.client))
	default:
		s.says(s.Conn("client.example", gomilter.FamilyInet, 12345, a.client))
	}
	if a.tls != "" {
		if err := s.Macros(gomilter.CodeHelo, "{tls_version}", "TLSv"+a.tls, "{cn_subject}", a.name, "{verify}", "OK"); err != nil {
			s.t.Fatal(err)
		}
	}
	s.says(s.Helo("client.example"))
	if err := s.Macros(gomilter.CodeMail, "i", id, "{auth_authen}", a.user); err != nil {
		s.t.Fatal(err)
	}
	s.says(s.Mail(a.from, nil))
}

// end tells the daemon of header and body, and returns the changes and the answer.
func (s mtaSession) end(headers []string, body string) ([]gomilter.ModifyAction, string) {
	s.t.Helper()
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		s.says(s.HeaderField(name, value))
	}
	s.says(s.HeaderEnd())
	edits, act, err := s.BodyReadFrom(strings.NewReader(body))
	return edits, s.says(act, err)
}

// tell hands the daemon a message over the milter protocol, as an MTA does.
func (d agreedDaemon) tell(t *testing.T, a agreement, id string, headers []string) told {
	t.Helper()
	s := d.session(t, max(a.listener, 1), everyAction)
	defer s.Close()
	var out told
	s.begin(a, id)
	taken := false
	for _, to := range a.to {
		reply := s.says(s.Rcpt(to, nil))
		out.rcpt = append(out.rcpt, reply)
		taken = taken || reply == ""
	}
	if !taken {
		return out // Close aborts it.
	}
	var edits []gomilter.ModifyAction
	edits, out.end = s.end(headers, a.body)
	for _, e := range edits {
		switch e.Code {
		case gomilter.ActAddRcpt:
			out.added = append(out.added, strings.Trim(e.Rcpt, "<>"))
		case gomilter.ActDelRcpt:
			out.deleted = append(out.deleted, strings.Trim(e.Rcpt, "<>"))
		case gomilter.ActInsertHeader, gomilter.ActChangeHeader:
			out.trace = e.HeaderName + ": " + e.HeaderValue
		}
	}
	return out
}

package main

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

// tell hands the daemon a message over the milter protocol, as an MTA does.
// The queue id marks its line in the log.
func (d agreedDaemon) tell(t *testing.T, a agreement, id string, headers []string) told {
	t.Helper()
	client := gomilter.NewClientWithOptions("unix", filepath.Join(filepath.Dir(d.config), sockets[max(a.listener, 1)-1]), gomilter.ClientOptions{
		ReadTimeout: patience, WriteTimeout: patience,
		ActionMask: gomilter.OptAddHeader | gomilter.OptAddRcpt | gomilter.OptRemoveRcpt | gomilter.OptChangeHeader,
	})
	s, err := client.Session()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var out told
	do := func(act *gomilter.Action, err error) string {
		t.Helper()
		switch {
		case err != nil:
			t.Fatal(err)
		case act.Code == gomilter.ActReplyCode:
			return fmt.Sprintf("%d %s", act.SMTPCode, strings.ReplaceAll(act.SMTPText, "%%", "%"))
		case act.Code == gomilter.ActDiscard:
			return "discard"
		case act.Code != gomilter.ActContinue && act.Code != gomilter.ActAccept:
			t.Fatalf("%s: the daemon said %q", a.about, act.Code)
		}
		return ""
	}
	addr, _ := netip.ParseAddr(a.client)
	switch {
	case a.onHost:
		do(s.Conn("localhost", gomilter.FamilyInet, 0, "127.0.0.1"))
	case a.client == "":
		do(s.Conn("unknown", gomilter.FamilyUnknown, 0, ""))
	case addr.Is6():
		do(s.Conn("client.example", gomilter.FamilyInet6, 12345, "IPv6:"+a.client))
	default:
		do(s.Conn("client.example", gomilter.FamilyInet, 12345, a.client))
	}
	do(s.Helo("client.example"))
	if err := s.Macros(gomilter.CodeMail, "i", id, "{auth_authen}", a.user); err != nil {
		t.Fatal(err)
	}
	do(s.Mail(a.from, nil))
	taken := false
	for _, to := range a.to {
		reply := do(s.Rcpt(to, nil))
		out.rcpt = append(out.rcpt, reply)
		taken = taken || reply == ""
	}
	if !taken {
		return out // Close aborts it.
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		do(s.HeaderField(name, value))
	}
	do(s.HeaderEnd())
	edits, act, err := s.End()
	out.end = do(act, err)
	for _, e := range edits {
		switch e.Code {
		case gomilter.ActAddRcpt:
			out.added = append(out.added, strings.Trim(e.Rcpt, "<>"))
		case gomilter.ActDelRcpt:
			out.deleted = append(out.deleted, strings.Trim(e.Rcpt, "<>"))
		case gomilter.ActInsertHeader:
			out.trace = e.HeaderName + ": " + e.HeaderValue
		}
	}
	return out
}

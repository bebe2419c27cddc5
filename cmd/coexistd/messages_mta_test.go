package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coexistd/cmd/coexistd/daemon"
	"coexistd/milter/messages"
)

// logged has the lines of an MTA's log joined, as a daemon would.
func logged(t *testing.T, config string, lines ...string) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "mail.log")
	if err := os.WriteFile(log, []byte(strings.Join(lines, "\n")+"\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	o := daemon.MessagesOptions(load(t, config), slog.New(slog.DiscardHandler))
	o.MTALog = log
	x := messages.New(o)
	defer x.Stop()
	limit := time.After(time.Minute)
	for x.MTALog().Events < int64(len(lines)) {
		select {
		case <-limit:
			t.Fatalf("the log is not read: %+v", x.MTALog())
		case <-time.After(time.Millisecond):
		}
	}
}

func TestShowTellsWhatTheMTADid(t *testing.T) {
	t.Parallel()
	when := time.Now().Add(-3 * time.Hour).Truncate(time.Second)
	config := recorded(t, spamFor(when))
	at := when.Format(time.RFC3339) + " mx1 postfix/"
	logged(t, config,
		at+"smtp[1]: 4F1A2B3C4D: to=<alice@acmecorp-com.onmicrosoft.com>, orig_to=<alice@acmecorp.com>, relay=mx.example.net[192.0.2.25]:25, delay=1, delays=0/0/0/1, dsn=4.7.1, status=deferred (host mx.example.net[192.0.2.25] said: 451 4.7.1 \x1b[31mlater)",
		when.Add(10*time.Minute).Format(time.RFC3339)+" mx1 postfix/smtp[1]: 4F1A2B3C4D: to=<alice@acmecorp-com.onmicrosoft.com>, orig_to=<alice@acmecorp.com>, relay=mx.example.net[192.0.2.25]:25, delay=601, delays=0/0/0/1, dsn=4.7.1, status=deferred (host mx.example.net[192.0.2.25] said: 451 4.7.1 \x1b[31mlater)",
		when.Add(20*time.Minute).Format(time.RFC3339)+" mx1 postfix/bounce[1]: 4F1A2B3C4D: sender non-delivery notification: 5F1A2B3C4D",
		when.Add(20*time.Minute).Format(time.RFC3339)+" mx1 postfix/smtp[1]: 5F1A2B3C4D: to=<eve@example.net>, relay=mx.example.net[192.0.2.25]:25, delay=0.5, delays=0/0/0/0.5, dsn=2.0.0, status=sent (250 ok)",
		at+"smtpd[1]: NOQUEUE: reject: RCPT from unknown[192.0.2.7]: 550 5.1.1 <nobody@acmecorp.com>: Recipient address rejected: User unknown; from=<eve@example.net> to=<nobody@acmecorp.com> proto=ESMTP helo=<h.example.org>",
	)
	local := func(after time.Duration) string { return when.Add(after).Local().Format("2006-01-02 15:04:05") }
	want := `
the MTA, of 4F1A2B3C4D
  deferred   alice@acmecorp-com.onmicrosoft.com, for alice@acmecorp.com, ` + local(0) + `, 2 tries until ` + local(10*time.Minute) + `, relay mx.example.net[192.0.2.25]:25, dsn 4.7.1, after 10m1s
             host mx.example.net[192.0.2.25] said: 451 4.7.1 ?[31mlater
  notified   ` + local(20*time.Minute) + `, goes on as 5F1A2B3C4D
             sender non-delivery notification

the MTA, of 5F1A2B3C4D, a notification
  sent       eve@example.net, ` + local(20*time.Minute) + `, relay mx.example.net[192.0.2.25]:25, dsn 2.0.0, after 500ms
             250 ok
`
	for _, id := range []string{"4F1A2B3C4D", "5F1A2B3C4D"} {
		if status, out, complaint := typed("messages show " + id + " -c " + config); status != exitYes || !strings.Contains(out, want) {
			t.Errorf("show %s ended with %d, %s and\n%s\nwhich lacks\n%s", id, status, complaint, out, want)
		}
	}
	refused := `client     192.0.2.7
sender     <eve@example.net>
mta        rejected by a rule of the MTA's own, before coexistd was asked
helo       h.example.org
verdict    reject
reply      550 5.1.1 <nobody@acmecorp.com>: Recipient address rejected: User unknown

nobody@acmecorp.com
  verdict    reject
  reply      550 5.1.1 <nobody@acmecorp.com>: Recipient address rejected: User unknown
`
	status, list, _ := typed("messages find --to nobody --mta rejected -c " + config)
	id := strings.Fields(strings.Split(list, "\n")[1])[0]
	if _, out, _ := typed("messages show " + id + " -c " + config); status != exitYes || !strings.Contains(out, refused) {
		t.Errorf("it is listed as\n%s\nand shown as\n%s\nwhich lacks\n%s", list, out, refused)
	}
	if status, out, _ := typed("messages find --mta bounced -c " + config); status != exitNo {
		t.Errorf("bounced is\n%s", out)
	}
	if status, _, complaint := typed("messages find --mta begun -c " + config); status != exitWrong || !strings.Contains(complaint, "sent, deferred") {
		t.Errorf("a wrong word ends with %d and %s", status, complaint)
	}
}

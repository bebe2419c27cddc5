package e2e

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"coexistd/contrib/lab"
)

const unprovenTOML = `
[quarantine]
smtp = "{mta}"
[quarantine.report]
from    = "postmaster@acmecorp.com"
summary = ["bob@acmecorp.com", "far@example.org"]
at      = "never"
`

// proofNotices counts the mails about mail without proof that have arrived, by
// administrator.
func (s *site) proofNotices() map[string]int {
	s.t.Helper()
	s.settle()
	all := map[string]int{}
	for _, sink := range s.sinks() {
		for _, d := range sink.All() {
			if !strings.Contains(string(d.Data), "\nSubject: Put off: mail in our own name without proof, from office365\r\n") {
				continue
			}
			for _, to := range d.To() {
				all[to]++
			}
			if text := string(d.Data); !strings.Contains(text, "Client    "+lab.FromOffice365) || !strings.Contains(text, `secret_file =`) {
				s.t.Errorf("the mail does not say whence and what to do:\n%s", text)
			}
		}
	}
	return all
}

func TestMailWithoutProofOfItsTenantIsPutOffCountedAndToldOnceADay(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{
			MTA:  mta,
			TOML: withHost(lab.SiteTOML) + unprovenTOML,
			Main: map[string]string{"mynetworks": "127.0.0.1 127.0.4.0/24"},
		})
		const alice, well = "alice@acmecorp.com", "ok    tenant         no mail in our own name was put off"
		send := func(about string) lab.Result {
			to := "bob@acmecorp.com"
			if about == "relayed" {
				to = "eve@example.net"
			}
			m := lab.Plain(alice, to, about)
			if strings.HasPrefix(about, "foreign") {
				m = fromTenant(foreignTenant, m)
			}
			return s.send(lab.FromOffice365, lab.Mail{From: alice, To: lab.To(to), Data: m})
		}
		mustSay(t, s.examined("tenant"), well)
		s.mustReply(send("foreign"), 550, "5.7.26", "acmecorp.com")
		for _, about := range []string{"one", "relayed", "three"} {
			s.mustReply(send(about), 451, "4.7.0", "The message lacks the proof of its tenant, try again later")
		}
		s.mustReply(send("foreign, too"), 550, "5.7.26", "acmecorp.com")
		s.waitDaemonLog(`msg="proof notice sent" to=far@example.org`)
		line := parseLogLine(t, s.waitDaemonLog(`msg="mail in our own name is put off, since it bears no proof of its tenant"`))
		if line["level"] != "WARN" || line["platform"] != "office365" || line["client"] != lab.FromOffice365 || line["sender"] != alice || line["mail"] != "queued" {
			t.Errorf("the log says %v", line)
		}
		if got := s.proofNotices(); len(got) != 2 || got["bob@acmecorp.com"] != 1 || got["far@example.org"] != 1 {
			t.Errorf("the mails that arrived are %v; right is one for each administrator", got)
		}

		// The daemon that goes on knows all that.
		if err := errors.Join(s.Daemon.Stop(), s.StartDaemon(deadline(t))); err != nil {
			t.Fatal(err)
		}
		const putOff, do = "warn  tenant         mail in our own name from office365 without proof of its tenant was put off ", `  do: have a rule over there add a secret header, and add proof = { header = "X-Coexist-Proof", secret_file = "proof.key" } to platform.office365 in {dir}/coexistd.toml`
		mustSay(t, s.examined("tenant"), putOff+"3 times in the last 24 hours, last ", do)
		s.mustReply(send("four"), 451, "4.7.0", "The message lacks the proof of its tenant")
		if err := s.Daemon.Stop(); err != nil {
			t.Fatal(err)
		}
		if log := s.Daemon.Log(); strings.Contains(log, "mail in our own name is put off") || strings.Contains(log, "proof notice") {
			t.Errorf("the next daemon tells again:\n%s", log)
		}
		if got := s.proofNotices(); got["bob@acmecorp.com"] != 1 || got["far@example.org"] != 1 {
			t.Errorf("the mails that arrived are %v; right is one for each administrator", got)
		}

		// Of the machine's accounts, daemon is one that is always there. Root becomes that user.
		const uid = 1
		state := filepath.Join(s.Dir, "state")
		if err := filepath.WalkDir(state, func(path string, _ fs.DirEntry, err error) error { return errors.Join(err, os.Chown(path, uid, uid)) }); err != nil {
			t.Fatal(err)
		}
		mustSay(t, s.examined("tenant"), putOff+"4 times in the last 24 hours, last ", do)
		if _, out, complaint := runDoctor(t, t.TempDir(), &syscall.Credential{Uid: uid, Gid: uid}, "-c", s.Config()); !strings.Contains(out, putOff+"4 times") {
			t.Errorf("the daemon's user is told\n%s%s", out, complaint)
		}
		if err := os.WriteFile(filepath.Join(state, "unproven.json"), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		mustSay(t, s.examined("tenant"), "warn  tenant         what was put off without proof of its tenant cannot be told: {dir}/state/unproven.json: unexpected EOF", "  do: ")
	})
}

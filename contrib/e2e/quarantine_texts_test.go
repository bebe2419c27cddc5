package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coexistd/contrib/lab"
)

func TestReportsAreInTheOrganisationsOwnWordsAndABrokenTextIsRefused(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", "", neverReport)})
		first := s.hold(programFor("bob@acmecorp.com", "offer", 0), "bob@acmecorp.com", "hugo@globex.example")
		s.mustWrite("templates/report.txt", `{{define "subject"}}Quarantäne: {{.Count}} für {{.Owner}}{{end}}Für alle: {{range .Entries}}{{.ID}}{{end}}`)
		s.mustWrite("templates/acmecorp.com/report.txt", `Für acmecorp: {{range .Entries}}{{.ID}}{{end}}`)
		own := checkedTOML("", "", "templates = \"templates\"\n")
		s.configure(own + neverReport)
		out, _ := s.quarantine("report", "--dry-run")
		for _, want := range []string{"Subject: Quarantine: 1 message held for you\n\nFür acmecorp: " + first[0].ID, "Subject: Quarantäne: 1 für hugo@globex.example\n\nFür alle: " + first[1].ID} {
			if !strings.Contains(out, want) {
				t.Errorf("a dry run does not say %q:\n%s", want, out)
			}
		}

		// The daemon's own: since the last report, an hour ago, this minute has come.
		now := time.Now().UTC()
		s.mustBeDue(now)
		s.configure(own + fmt.Sprintf("[quarantine.report]\nat = %q\nzone = \"UTC\"\n", now.Format("15:04")))
		if text := s.reportTo(s.Here, "bob@acmecorp.com", 0); text != "Für acmecorp: "+first[0].ID {
			t.Errorf("bob is told\n%s", text)
		}
		if text := s.reportTo(s.Here, "hugo@globex.example", 0); text != "Für alle: "+first[1].ID {
			t.Errorf("hugo is told\n%s", text)
		}
		s.waitDaemonLog(`msg="quarantine report sent" to=postmaster@acmecorp.com .*summary=true`)

		s.mustWrite("templates/acmecorp.com/report.txt", "two\n{{.Entrys}}")
		path := filepath.Join(s.Dir, "templates/acmecorp.com/report.txt")
		wrong := path + `:2: executing "report.txt" at <.Entrys>: can't evaluate field Entrys`
		s.says(exitNo, "check", wrong)
		s.says(exitNo, "reload", "the configuration stays as it was", wrong)
		s.says(exitWrong, "quarantine report", wrong)
		again := s.hold(programFor("bob@acmecorp.com", "once more", 0), "bob@acmecorp.com")
		s.mustBeDue(now)
		if text := s.reportTo(s.Here, "bob@acmecorp.com", 1); text != "Für acmecorp: "+again[0].ID {
			t.Errorf("after a reload that was refused bob is told\n%s", text)
		}
	})
}

// mustWrite writes a file below the site's folder.
func (s *site) mustWrite(name, content string) {
	s.t.Helper()
	path := filepath.Join(s.Dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		s.t.Fatal(err)
	}
}

// mustBeDue has the reports be due that are sent at a time: the last were an hour before.
func (s *site) mustBeDue(at time.Time) {
	s.t.Helper()
	if err := s.store().SetLastReport(at.Add(-time.Hour)); err != nil {
		s.t.Fatal(err)
	}
}

// Package prometheus_test judges the rules for alerts of this folder with Prometheus' own tool.
package prometheus_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// names returns what a pattern's group finds in a text, each once.
func names(pattern, text string) (found []string) {
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func TestEachAlertFiresWhenItShouldAndNotElse(t *testing.T) {
	tool := lab.LendPromtool(t)
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		if out, err := tool.Run(t.Context(), ".", args...); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

func TestEachAlertHasACaseThatFiresAndOneThatDoesNot(t *testing.T) {
	alerts, cases := names(`(?m)^ +- alert: (\w+)$`, read(t, "alerts.yml")), read(t, "alerts_test.yml")
	if len(alerts) < 15 {
		t.Errorf("only %q are alerts", alerts)
	}
	for what, has := range map[string][]string{"fires": names(`(?m)- name: (\w+) fires$`, cases), "is quiet": names(`(?m)- name: (\w+) is quiet$`, cases)} {
		if !slices.Equal(alerts, has) {
			t.Errorf("the cases in which an alert %s are\n%q\nand the alerts\n%q", what, has, alerts)
		}
	}
	if texts := strings.Count(read(t, "alerts.yml"), "          description: >-\n"); texts != len(alerts) {
		t.Errorf("%d texts say what to do, for %d alerts", texts, len(alerts))
	}
}

// A rule on a number that nobody tells would never fire.
func TestEachNumberOfTheAlertsIsTold(t *testing.T) {
	told := names("(?m)^\\| `(coexistd_\\w+)` \\|", read(t, "../docs/metrics.md"))
	for _, number := range names(`\b(coexistd_[a-z_]+)\b`, read(t, "alerts.yml")) {
		if !slices.Contains(told, number) {
			t.Errorf("contrib/docs/metrics.md has no %s", number)
		}
	}
}

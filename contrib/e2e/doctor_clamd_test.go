package e2e

import (
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

func TestTheDoctorSeesWhetherClamdTellsWhatItDidNotLookInto(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		settings map[string]string
		says     []string
	}{
		"as it is by default": {nil, []string{
			"warn  clamd          {clamd} says OK of what it did not look into: ", "  do: put into ", "yes; then run: systemctl restart clamav-daemon. on_error of virus then says"}},
		"as it should be": {map[string]string{"AlertExceedsMax": "yes"}, []string{
			"ok    clamd          {clamd} tells what it did not look into: a limit of clamd's", "Heuristics.Limits.Exceeded.MaxRecursion\n"}},
		"with the highest limit": {map[string]string{"AlertExceedsMax": "yes", "MaxRecursion": "100"}, []string{
			"ok    clamd          {clamd} tells what it did not look into: a limit of clamd's"}},
		"with the highest limit, by default": {map[string]string{"MaxRecursion": "100"}, []string{
			"warn  clamd          {clamd} says OK of what it did not look into: "}},
		"without archives": {map[string]string{"AlertExceedsMax": "yes", "ScanArchive": "no"}, []string{
			"FAIL  clamd          {clamd} does not look into archives", "  do: put into ", "ScanArchive yes; then run"}},
	} {
		t.Run(strings.ReplaceAll(name, ",", ""), func(t *testing.T) {
			t.Parallel()
			clamd := startClamd(t, lab.ClamdConfig{Settings: c.settings})
			path := configuration(t, strings.Replace(checkedTOML(clamd.Addr(), ""), "{mta}", "127.0.0.1:25", 1), lab.SiteDirectory)
			_, out, _ := runDoctor(t, t.TempDir(), nil, "-c", path)
			out = strings.ReplaceAll(about("clamd", out), clamd.Addr(), "{clamd}")
			rest := out
			for _, one := range c.says {
				_, behind, found := strings.Cut(rest, one)
				if !found {
					t.Fatalf("the doctor does not say %q, or not at its place:\n%s", one, out)
				}
				rest = behind
			}
			if strings.Count(out, "look into") != 1 {
				t.Errorf("the doctor says more than one thing of what clamd looks into:\n%s", out)
			}
		})
	}
}

package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestASurveyOfPostfixSaysThatASendmailStandsBesideIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, pid := filepath.Join(dir, "sendmail.cf"), filepath.Join(dir, "pid")
	if findings := sendmailBeside(path); findings != nil {
		t.Errorf("where there is none, the survey says %v", findings)
	}
	if err := os.WriteFile(path, []byte("V10/Berkeley\nO PidFile="+pid+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if f := sendmailBeside(path); len(f) != 1 || f[0].Status != OK || !strings.Contains(f[0].Found, "this tells of Postfix. There is a "+path+" as well, but no Sendmail seems to run") {
		t.Errorf("of one that does not run, the survey says %v", f)
	}
	if err := os.WriteFile(pid, []byte(fmt.Sprintln(os.Getpid())), 0o644); err != nil {
		t.Fatal(err)
	}
	if f := sendmailBeside(path); len(f) != 1 || f[0].Status != Warn || !strings.Contains(f[0].Remedy, "coexistd doctor --survey --sendmail-cf "+path) {
		t.Errorf("of one that runs, the survey says %v", f)
	}
}

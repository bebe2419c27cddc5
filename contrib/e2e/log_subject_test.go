package e2e

import (
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

func TestTheLogTellsASubjectWhereThatIsWanted(t *testing.T) {
	t.Parallel()
	const id = "SUBJECT1"
	a := agreement{client: lab.FromInternet, from: fromEve, to: to(fromAlice)}
	headers := append(a.headers(nil), "Subject: hello\u202E"+strings.Repeat("x", 1000))
	for _, wanted := range []bool{false, true} {
		toml := agreeTOML
		if wanted {
			toml = "log_subject = true\n" + toml
		}
		d := startAgreed(t, toml)
		d.tell(t, a, id, headers)
		line := waitMessage(t, d.Daemon, id)
		subject, told := line["subject"]
		if line["message_id"] != "<agree@example.net>" || told != wanted {
			t.Errorf("with log_subject = %v the log says %v", wanted, line)
		}
		if wanted && (!strings.HasPrefix(subject, "hello") || !strings.HasSuffix(subject, "xxx...") || len(subject) > 300) {
			t.Errorf("the subject is told as %q", subject)
		}
	}
}

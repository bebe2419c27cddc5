package rspamd_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/contrib/lab/scantest"
	"coexistd/scanners"
	"coexistd/scanners/rspamd"
)

func newTrainer(url, password string) *rspamd.Trainer {
	return rspamd.NewTrainer(rspamd.Options{Address: url + "/", MaxSize: 1 << 20, Timeout: scantest.Patience}, password)
}

// learnable has enough words for a classifier.
var learnable = scantest.CleanMail + strings.Repeat("words that tell of the summer and of many other things to be had by everybody ", 4) + "\r\n"

func learn(t *testing.T, trainer *rspamd.Trainer, class rspamd.Class, text string) error {
	t.Helper()
	m := &scanners.Message{Size: int64(len(text)), Sender: "a@example.net", Recipients: []string{"bob@acmecorp.com"}, Client: netip.MustParseAddr("192.0.2.1"), Login: "carol"}
	return trainer.Learn(t.Context(), class, m, strings.NewReader(text))
}

func TestRspamdLearnsWhatMailIs(t *testing.T) {
	redis := scantest.StartRedis(t)
	server := scantest.StartLearningRspamd(t, redis)
	trainer := newTrainer(server.ControllerURL(), lab.LearnPassword)
	mustHaveLearned := func(ham, spam string) {
		t.Helper()
		for kind, want := range map[string]string{"learns_ham": ham, "learns_spam": spam} {
			if got, err := redis.Do(t.Context(), "HGET", "RS", kind); err != nil || got != want {
				t.Errorf("%s is %q, not %q (%v)", kind, got, want, err)
			}
		}
	}
	if err := trainer.Ready(t.Context()); err != nil {
		t.Errorf("it is not ready: %v", err)
	}
	mustHaveLearned("", "")
	for range 2 {
		if err := learn(t, trainer, rspamd.Ham, learnable); err != nil {
			t.Error(err)
		}
		mustHaveLearned("1", "")
	}
	if err := learn(t, trainer, rspamd.Spam, strings.ReplaceAll(learnable, "summer", "winter")); err != nil {
		t.Error(err)
	}
	mustHaveLearned("1", "1")
	if err := learn(t, trainer, rspamd.Ham, scantest.CleanMail+"short\r\n"); err == nil || !strings.Contains(err.Error(), "rspamd has no use for it: ") || !strings.Contains(err.Error(), "less tokens than required") {
		t.Errorf("a short message: %v", err)
	}
	for about, c := range map[string]struct {
		trainer *rspamd.Trainer
		want    string
	}{
		"a wrong password": {newTrainer(server.ControllerURL(), "x"), "rspamd's controller does not let us have it learn: Unauthorized"},
		"no password":      {newTrainer(server.ControllerURL(), ""), "rspamd's controller does not let us have it learn: Unauthorized"},
		"no controller":    {newTrainer(server.URL(), lab.LearnPassword), "rspamd's controller answers with status 500: invalid command"},
	} {
		for _, err := range []error{c.trainer.Ready(t.Context()), learn(t, c.trainer, rspamd.Ham, learnable)} {
			if err == nil || err.Error() != c.want || errors.Is(err, rspamd.ErrAway) {
				t.Errorf("%s: %v", about, err)
			}
		}
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{trainer.Ready(t.Context()), learn(t, trainer, rspamd.Ham, learnable)} {
		if !errors.Is(err, rspamd.ErrAway) {
			t.Errorf("without a server: %v", err)
		}
	}
}

func TestTheControllerIsToldTheMessageItsEnvelopeAndThePassword(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != learnable || r.URL.Path != "/learnspam" || r.Method != http.MethodPost {
			t.Errorf("%s %s: %q (%v)", r.Method, r.URL, body, err)
		}
		for name, want := range map[string]string{"Password": "sesame", "From": "<a@example.net>", "Rcpt": "<bob@acmecorp.com>", "IP": "192.0.2.1", "User": "carol"} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s is %q", name, got)
			}
		}
		io.WriteString(w, `{"success":true}`)
	}))
	defer server.Close()
	if err := learn(t, newTrainer(server.URL, "sesame"), rspamd.Spam, learnable); err != nil {
		t.Error(err)
	}
}

func TestWhatAControllerAnswersIsBounded(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	for about, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"a long answer": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			io.WriteString(w, `{"error":"`+strings.Repeat("no\n", 1<<20)+`"}`)
		}, "rspamd's controller answers with status 500: 500 Internal Server Error"},
		"a text with control characters": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"error":"a\u001bb\nc"}`)
		}, "what answers is no controller of rspamd: a?b?c"},
		"a redirect": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, "rspamd's controller answers with status 307: 307 Temporary Redirect"},
		"silence": {func(http.ResponseWriter, *http.Request) { <-release }, "rspamd's controller does not answer: "},
	} {
		server := httptest.NewServer(c.answer)
		trainer, ctx := newTrainer(server.URL, ""), t.Context()
		if about == "silence" {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
		}
		err := trainer.Learn(ctx, rspamd.Ham, &scanners.Message{Size: int64(len(learnable))}, strings.NewReader(learnable))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || len(err.Error()) > 400 || errors.Is(err, rspamd.ErrAway) != (about == "silence") {
			t.Errorf("%s: %v", about, err)
		}
		if about == "silence" {
			close(release)
		}
		server.Close()
	}
}

func TestAMessageThatIsTooLargeOrTornIsNotLearned(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			t.Error("it came whole")
		}
	}))
	defer server.Close()
	trainer := newTrainer(server.URL, "")
	err := trainer.Learn(t.Context(), rspamd.Ham, &scanners.Message{Size: 1<<20 + 1}, nil)
	if err == nil || err.Error() != "the message has 1048577 bytes, more than rspamd is given (1048576)" {
		t.Errorf("a large message: %v", err)
	}
	err = trainer.Learn(t.Context(), rspamd.Ham, &scanners.Message{Size: 100}, strings.NewReader("short"))
	if err == nil || err.Error() != "the message could not be read: unexpected EOF" || errors.Is(err, rspamd.ErrAway) {
		t.Errorf("a torn message: %v", err)
	}
}

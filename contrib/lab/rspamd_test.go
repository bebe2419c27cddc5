package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

func startRspamd(t *testing.T, c RspamdConfig) *Rspamd {
	t.Helper()
	f := LendFilters(t)
	r, err := f.StartRspamd(deadline(t), c)
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, r.filter)
	return r
}

type rspamdReply struct {
	Action  string
	Score   float64
	Symbols map[string]any
}

func checkv2(ctx context.Context, r *Rspamd, message string) (reply rspamdReply, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL()+"/checkv2", strings.NewReader(message))
	if err != nil {
		return reply, err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return reply, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	if err == nil {
		err = json.Unmarshal(body, &reply)
	}
	return reply, err
}

func check(t *testing.T, r *Rspamd, message string) rspamdReply {
	t.Helper()
	reply, err := checkv2(deadline(t), r, message)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func message(text string) string {
	return string(Plain("carol@example.org", "bob@acmecorp.com", "hello")) + text + "\r\n"
}

func TestRspamdGivesEachActionItsMessage(t *testing.T) {
	t.Parallel()
	r := startRspamd(t, RspamdConfig{})
	for _, test := range []struct {
		name, text, action, symbol string
		score                      float64
	}{
		{"a clean message", "nothing", "no action", "", 0},
		{"GTUBE", GTUBE, "reject", "GTUBE", 15},
		{"a word that scores 7", SpamWord, "add header", "LAB_TAG", 7},
		{"a word for later", SoftRejectWord, "soft reject", "", 0},
		{"a link", "see http://www.example.com/ and http://a.b.example.org/", "no action", "", 0},
	} {
		from := r.log.len()
		reply := check(t, r, message(test.text))
		if reply.Action != test.action || reply.Score != test.score {
			t.Errorf("%s: %q with %g; want %q with %g", test.name, reply.Action, reply.Score, test.action, test.score)
		}
		if _, ok := reply.Symbols[test.symbol]; test.symbol != "" && !ok {
			t.Errorf("%s: the symbols are %v; want %s", test.name, reply.Symbols, test.symbol)
		}
		line, err := r.log.wait(deadline(t), from, regexp.MustCompile(`dns req: `))
		if err != nil || !strings.Contains(line, "dns req: 0,") {
			t.Errorf("%s: DNS was asked: %q, %v", test.name, line, err)
		}
	}
}

func TestRspamdTakesSettings(t *testing.T) {
	t.Parallel()
	r := startRspamd(t, RspamdConfig{Settings: "actions { reject = 7; }\n"})
	if reply := check(t, r, message(SpamWord)); reply.Action != "reject" {
		t.Errorf("the score 7 is %q where reject begins at 7; want reject", reply.Action)
	}
	if reply := check(t, r, message("nothing")); reply.Action != "no action" {
		t.Errorf("a clean message is %q; want no action", reply.Action)
	}
}

func TestASuspendedRspamdAnswersNobodyUntilItContinues(t *testing.T) {
	t.Parallel()
	r := startRspamd(t, RspamdConfig{})
	if err := r.Suspend(); err != nil {
		t.Fatal(err)
	}
	if states := groupStates(r.Pid()); len(states) < 2 || strings.Trim(states, "T") != "" {
		t.Errorf("the threads' states are %q; want two or more, T only", states)
	}
	short, cancel := context.WithTimeout(deadline(t), 200*time.Millisecond)
	defer cancel()
	if got, err := checkv2(short, r, message("")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("suspended it answered %+v, %v", got, err)
	}
	if err := r.Continue(); err != nil {
		t.Fatal(err)
	}
	if reply := check(t, r, message(GTUBE)); reply.Action != "reject" {
		t.Errorf("after that: %+v", reply)
	}
}

func TestAKilledRspamdStartsAgainAtTheSameAddress(t *testing.T) {
	t.Parallel()
	r := startRspamd(t, RspamdConfig{})
	url := r.URL()
	for _, end := range []func() error{r.Kill, func() error { return errors.Join(r.Suspend(), r.Kill()) }, r.Stop} {
		group := r.Pid()
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if states := groupStates(group); strings.Trim(states, "ZX") != "" {
			t.Errorf("threads in the states %q are left", states)
		}
		if _, err := checkv2(deadline(t), r, message("")); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("when it is gone, connecting says: %v", err)
		}
		if err := r.Start(deadline(t)); err != nil {
			t.Fatal(err)
		}
		if reply := check(t, r, message(GTUBE)); r.URL() != url || reply.Action != "reject" {
			t.Errorf("at %s, started again at %s: %+v", url, r.URL(), reply)
		}
	}
}

func TestAnRspamdThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	f := LendFilters(t)
	r, err := f.StartRspamd(deadline(t), RspamdConfig{Settings: "actions { reject = \n"})
	if err == nil {
		r.Stop()
		t.Fatal("it started with half a section")
	}
	if !strings.Contains(err.Error(), "settings.conf") {
		t.Errorf("%v; want an error that names the file", err)
	}
}

package notice

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

func newLedger(window time.Duration) *ledger {
	l := new(ledger)
	l.setWindow(window)
	return l
}

func at(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }

func TestTheTotalsAreThoseOfTheWindow(t *testing.T) {
	t.Parallel()
	l := newLedger(time.Hour)
	for minute := range 600 {
		l.record("bob", Message{Time: at(minute), Count: 2, Size: 10})
		sum, recent := l.sent("bob", at(minute))
		// The window, and up to one span more.
		reach := int(at(minute).Sub(sum.since) / time.Minute)
		if minute >= 65 && (reach < 60 || reach > 65) || minute < 60 && reach != minute {
			t.Fatalf("in minute %d the totals begin %d minutes before", minute, reach)
		}
		if n := int64(reach + 1); sum.messages != n || sum.recipients != 2*n || sum.bytes != 10*n {
			t.Fatalf("in minute %d, since %d minutes: %+v", minute, reach, sum)
		}
		if len(recent) != min(minute+1, maxRecent) || !recent[0].Time.Equal(at(minute)) || !recent[len(recent)-1].Time.Equal(at(max(0, minute-maxRecent+1))) {
			t.Fatalf("in minute %d the messages are %v", minute, recent)
		}
	}
	if n := len(l.accounts["bob"].Value.(*account).spans); n > spans+2 {
		t.Errorf("there are %d spans", n)
	}
	if sum, recent := l.sent("bob", at(700)); sum != (totals{}) || len(recent) != 0 {
		t.Errorf("after the window %+v and %v are left", sum, recent)
	}
	if sum, recent := l.sent("nobody", at(0)); sum != (totals{}) || len(recent) != 0 {
		t.Errorf("of nobody %+v and %v are known", sum, recent)
	}
}

func TestAClockThatIsPutBackLosesNothing(t *testing.T) {
	t.Parallel()
	l := newLedger(time.Hour)
	for _, minute := range []int{0, 30, -500, 31} {
		l.record("bob", Message{Time: at(minute), Count: 1})
	}
	if sum, _ := l.sent("bob", at(32)); sum.messages != 4 {
		t.Errorf("the totals are %+v", sum)
	}
}

func TestWithoutLimitsNothingIsNoted(t *testing.T) {
	t.Parallel()
	l := newLedger(0)
	l.record("bob", Message{Time: noon})
	if len(l.accounts) > 0 {
		t.Errorf("there are %d accounts", len(l.accounts))
	}
}

func TestTheAccountThatSentNothingForLongestIsForgottenFirst(t *testing.T) {
	t.Parallel()
	l := newLedger(time.Hour)
	record := func(i int) { l.record(fmt.Sprint("user", i), Message{Time: noon, Count: 1}) }
	for i := range maxAccounts {
		record(i)
	}
	record(0)
	record(maxAccounts)
	if len(l.accounts) != maxAccounts || l.order.Len() != maxAccounts {
		t.Errorf("there are %d accounts and %d in order", len(l.accounts), l.order.Len())
	}
	for i, want := range map[int]int64{0: 2, 1: 0, 2: 1, maxAccounts: 1} {
		if sum, _ := l.sent(fmt.Sprint("user", i), noon); sum.messages != want {
			t.Errorf("of user%d %d messages are known, right is %d", i, sum.messages, want)
		}
	}
}

func TestWhoSendsNothingInTheWindowIsForgotten(t *testing.T) {
	t.Parallel()
	l := newLedger(time.Hour)
	for i, minute := range []int{0, 1, 50, 61} {
		l.record(fmt.Sprint("user", i), Message{Time: at(minute)})
	}
	if len(l.accounts) != 3 || l.order.Len() != 3 || l.accounts["user0"] != nil {
		t.Errorf("there are %d accounts and %d in order", len(l.accounts), l.order.Len())
	}
}

func TestOfLongTextsTheBeginningIsKept(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 1000)
	m := Message{QueueID: long, Sender: long, Recipients: []string{long, "b", "c", "d"}, Count: 4, Subject: long}.clip()
	for _, text := range []string{m.QueueID, m.Sender, m.Recipients[0]} {
		if text != long[:maxText]+"…" {
			t.Errorf("%q is kept", text)
		}
	}
	if m.Subject != long[:maxSubject]+"…" || len(m.Recipients) != maxNamed || m.Count != 4 {
		t.Errorf("%+v is kept", m)
	}
	word := "=?utf-8?b?" + strings.Repeat("w6Tk", 12) + "?= "
	if m := (Message{Subject: strings.Repeat(word, 100)}).clip(); m.Subject != strings.Repeat(word, maxSubject/len(word))+"…" {
		t.Errorf("%q is kept", m.Subject)
	}
}

func TestTheLedgersMemoryIsBounded(t *testing.T) {
	const accounts = 1000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	l := newLedger(time.Hour)
	long := strings.Repeat("x", 1000)
	m := Message{QueueID: long, Sender: long, Recipients: []string{long, long, long, long}, Count: 4, Subject: long}
	for minute := range 70 {
		m.Time = at(minute)
		for i := range accounts {
			l.record(fmt.Sprint("user", i)+long+long, m)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if size := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / accounts; size > 16<<10 {
		t.Errorf("an account takes %d bytes", size)
	} else {
		t.Logf("an account takes at most %d bytes, all of them %d MB", size, size*maxAccounts>>20)
	}
	runtime.KeepAlive(l)
}

func BenchmarkRecord(b *testing.B) {
	l := newLedger(time.Hour)
	m := bobs(1, 0)
	var accounts []string
	for i := range maxAccounts {
		accounts = append(accounts, fmt.Sprint("user", i))
	}
	b.ReportAllocs()
	for i := range b.N {
		m.Time = m.Time.Add(time.Millisecond)
		l.record(accounts[i%len(accounts)], m)
	}
}

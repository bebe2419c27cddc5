package fake

import (
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestALogIsReadAsTextAndAsFields(t *testing.T) {
	l := NewLog()
	l.Debug("of no interest")
	l.With("who", "bob").Warn("something happened", "times", 2)
	l.WithGroup("g").Info("another thing", "k", "v\nw")
	if n := l.Count("\n"); n != 2 || !strings.Contains(l.String(), `level=INFO msg="another thing" g.k="v\nw"`) {
		t.Errorf("the log says\n%s", l)
	}
	lines := l.Lines("something happened")
	if len(lines) != 1 || lines[0]["who"] != "bob" || lines[0]["times"] != 2.0 || lines[0][slog.LevelKey] != "WARN" {
		t.Errorf("its fields are %v", lines)
	}
	if taken := l.Take(); !strings.Contains(taken, "another thing") || l.String() != "" || l.Lines("another thing") != nil {
		t.Errorf("taken was\n%s\nleft is\n%s", taken, l)
	}
}

func TestATestWaitsForALineOfALog(t *testing.T) {
	l := NewLog()
	go func() {
		l.Info("first")
		l.Info("second")
	}()
	if text := l.Wait(t, "second"); !strings.Contains(text, "first") {
		t.Errorf("the log says\n%s", text)
	}
}

func TestAClockMovesWhenItIsTold(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	c := NewClock(noon)
	if now := c.Now(); now != noon || c.Now() != now {
		t.Errorf("it is %v", now)
	}
	c.Move(-time.Hour)
	if now := c.Now(); now != noon.Add(-time.Hour) {
		t.Errorf("moved back by an hour, it is %v", now)
	}
}

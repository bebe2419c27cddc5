package notice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"sync"
	"time"
)

const (
	dayHours, weekHours = 24, 7 * 24
	// saveInterval is how long the counts of one minute wait for those of the next.
	saveInterval = time.Minute
	// maxKept bounds a file of counts, in bytes.
	maxKept = 2 << 20
)

// hours has messages by the hour, counted from 1970.
type hours map[int64]int64

// forget drops what is more than a week before a time, or after it, from a clock that was put
// back.
func (h hours) forget(now time.Time) {
	maps.DeleteFunc(h, func(hour, _ int64) bool { return max(hour-hourOf(now), hourOf(now)-hour) > weekHours })
}

// since counts those of the last 24 hours and seven days, and up to an hour more.
func (h hours) since(now time.Time) (day, week int64) {
	for hour, n := range h {
		if hour >= hourOf(now)-weekHours {
			week += n
		}
		if hour >= hourOf(now)-dayHours {
			day += n
		}
	}
	return day, week
}

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// saver knows that something is to be saved.
type saver struct{ changed chan struct{} }

func newSaver() saver { return saver{make(chan struct{}, 1)} }

// touch has the counts saved. It waits for nothing.
func (s saver) touch() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// run saves, once a minute at most and at its end, and sends a mail for each time that is due,
// beside that, until the context ends.
func (s saver) run(ctx context.Context, save func(), due <-chan time.Time, send func(at time.Time)) {
	var mails sync.WaitGroup
	changed := s.changed // nil: they wait until the minute is over
	var later <-chan time.Time
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case at := <-due:
			mails.Go(func() { send(at) })
		case <-changed:
			save()
			changed, later = nil, time.After(saveInterval)
		case <-later:
			changed = s.changed
		}
	}
	mails.Wait()
	save()
}

// readKept reads a file of counts. Without the file, nothing was counted.
func readKept[T any](path string) (kept T, err error) {
	var none T
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	defer file.Close()
	if err := json.NewDecoder(io.LimitReader(file, maxKept)).Decode(&kept); err != nil {
		return none, fmt.Errorf("%s: %w", path, err)
	}
	return kept, nil
}

// replace writes a file of which whoever reads it finds all, the old or the new.
func replace(path string, text []byte) error {
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

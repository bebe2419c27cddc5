package sender

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestTheCacheIsBoundedInAnswersAndInBytes(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, c := range []struct {
		about      string
		size, name int
		most       int
	}{
		{"small answers", 20, 10, maxAnswers},
		{"large answers", maxAnswer, 10, maxCacheBytes / maxAnswer},
		{"long names", 0, maxName, maxAnswers},
	} {
		t.Run(c.about, func(t *testing.T) {
			kept := newCache()
			const names = maxAnswers + 2000
			name := func(i int) question {
				return question{"TXT", fmt.Sprintf("%0*d", c.name, i)}
			}
			for i := range names {
				var records any
				if c.size > 0 {
					records = []string{"x"}
				}
				kept.put(name(i), records, c.size, now)
			}
			if len(kept.answers) != kept.order.Len() || len(kept.answers) > c.most || kept.bytes > maxCacheBytes {
				t.Errorf("%d answers of %d bytes, %d in order", len(kept.answers), kept.bytes, kept.order.Len())
			}
			if _, ok := kept.get(name(names-1), now); !ok {
				t.Error("the last answer is not kept")
			}
			if _, ok := kept.get(name(0), now); ok {
				t.Error("the first answer is still kept")
			}
			for i := range names {
				kept.get(name(i), now.Add(foundAge))
			}
			if len(kept.answers) != 0 || kept.order.Len() != 0 || kept.bytes != 0 {
				t.Errorf("old ones remain: %d answers of %d bytes", len(kept.answers), kept.bytes)
			}
		})
	}
}

func TestAnAnswerThatIsUsedStays(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	kept := newCache()
	used := question{"TXT", "used.example"}
	kept.put(used, []string{"x"}, 1, now)
	for i := range maxAnswers + 100 {
		kept.put(question{"TXT", fmt.Sprint(i)}, nil, 0, now)
		if _, ok := kept.get(used, now); !ok {
			t.Fatalf("gone after %d further answers", i+1)
		}
	}
}

func TestAHugeAnswerIsNotKept(t *testing.T) {
	kept := newCache()
	now := time.Unix(1_800_000_000, 0)
	kept.put(question{"TXT", "a.example"}, []string{strings.Repeat("x", maxAnswer+1)}, maxAnswer+1, now)
	if len(kept.answers) != 0 || kept.bytes != 0 {
		t.Errorf("%d answers of %d bytes", len(kept.answers), kept.bytes)
	}
}

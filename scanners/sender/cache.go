package sender

import (
	"container/list"
	"sync"
	"time"
)

// The cache holds so many answers, and so many bytes of them, whatever names
// strangers have us ask for. An answer of more than maxAnswer bytes is not kept.
const (
	maxAnswers    = 10_000
	maxCacheBytes = 8 << 20
	maxAnswer     = 4 << 10
)

// How long answers are remembered, whatever their time to live: what was found,
// and that there is nothing. Failures are not remembered.
const (
	foundAge   = 5 * time.Minute
	missingAge = time.Minute
)

// question is a type of record and a name in lower case.
type question struct{ kind, name string }

// answer is what the DNS has said of a question.
type answer struct {
	question question
	records  any // a slice, or nil: there are none
	size     int // in bytes, with what the cache needs for it
	until    time.Time
}

// cache keeps the answers that were last asked for.
type cache struct {
	mu      sync.Mutex
	answers map[question]*list.Element
	order   *list.List // of answer; the one that was used last comes first
	bytes   int
}

func newCache() *cache { return &cache{answers: map[question]*list.Element{}, order: list.New()} }

func (c *cache) get(q question, now time.Time) (answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	element := c.answers[q]
	if element == nil {
		return answer{}, false
	}
	kept := element.Value.(answer)
	if !now.Before(kept.until) {
		c.drop(element)
		return answer{}, false
	}
	c.order.MoveToFront(element)
	return kept, true
}

// put keeps an answer whose records take that many bytes.
func (c *cache) put(q question, records any, size int, now time.Time) {
	if size > maxAnswer {
		return
	}
	age := foundAge
	if records == nil {
		age = missingAge
	}
	// Two strings' heads, a list's element and a map's slot take some 200 bytes.
	kept := answer{question: q, records: records, size: size + len(q.name) + 200, until: now.Add(age)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if element := c.answers[q]; element != nil {
		c.drop(element)
	}
	c.answers[q] = c.order.PushFront(kept)
	c.bytes += kept.size
	for len(c.answers) > maxAnswers || c.bytes > maxCacheBytes {
		c.drop(c.order.Back())
	}
}

func (c *cache) drop(element *list.Element) {
	kept := c.order.Remove(element).(answer)
	delete(c.answers, kept.question)
	c.bytes -= kept.size
}

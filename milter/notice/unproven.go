package notice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"coexistd/milter/record"
)

const (
	dayHours, weekHours = 24, 7 * 24
	// saveInterval is how long the counts of one minute wait for those of the next.
	saveInterval = time.Minute
	// maxPlatforms bounds the platforms of which there are counts, and maxKept the file
	// that holds them, in bytes. A platform takes up to 5 KB.
	maxPlatforms, maxKept = 100, 2 << 20
)

// Unproven tells of mail in our own name that comes from a platform's networks without
// proof of any tenant, and is put off for that. There is a line in the log and a mail to
// the administrators once in 24 hours. A file keeps the counts for the next start and for
// other processes. All methods may be called by several goroutines at once; Record waits
// for nothing outside the process but the log.
type Unproven struct {
	teller  *Teller
	changed chan struct{}  // something is to be saved
	due     chan time.Time // a mail is to be sent, for a message of that time

	mu      sync.Mutex
	path    string
	kept    kept
	telling bool // a mail is on its way
}

// kept is what the file holds.
type kept struct {
	Told      time.Time `json:"told"` // when the administrators were told last
	Platforms tally     `json:"platforms"`
	// Onmicrosoft counts mail of our own tenants' users whose address is one of onmicrosoft.com.
	Onmicrosoft tally `json:"onmicrosoft,omitempty"`
}

func (k *kept) isEmpty() bool { return k.Platforms == nil && k.Onmicrosoft == nil }

// tally has counts by the platforms' names.
type tally map[string]counts

// counts are those of one platform.
type counts struct {
	// Hours has the messages by the hour, counted from 1970.
	Hours map[int64]int64 `json:"hours"`
	Last  Example         `json:"last"`
}

// Example is one message that was counted.
type Example struct {
	Time   time.Time  `json:"time"`
	Client netip.Addr `json:"client"`
	Sender string     `json:"sender"` // the beginning of MAIL FROM's path, as it stands
}

// Counted says how often mail from one platform was counted. A message that is tried again
// counts again.
type Counted struct {
	Platform string
	// Day and Week count the last 24 hours and seven days, and up to an hour more.
	Day, Week int64
	Last      Example
}

// NewUnproven returns an Unproven whose mails a Teller sends. It keeps no file until it is
// configured.
func NewUnproven(teller *Teller) *Unproven {
	return &Unproven{teller: teller, changed: make(chan struct{}, 1), due: make(chan time.Time, 1)}
}

// Configure names the file from now on. What that holds counts if nothing was counted
// yet. A file that cannot be read is begun anew.
func (u *Unproven) Configure(path string) {
	k, err := load(path)
	if err != nil {
		u.teller.log.Warn("the counts of mail without proof of its tenant cannot be read: they begin anew", "error", err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.path = path
	if u.kept.isEmpty() {
		u.kept = k
	}
}

// Record counts a message that is put off since nothing proves its tenant, and one of our own
// tenant's whose sender has an address of onmicrosoft.com (record.Sink).
func (u *Unproven) Record(r *record.Record) {
	if r.Proof.Platform != "" && isOnmicrosoft(r.Sender) {
		u.countOnmicrosoft(r.Proof.Platform, Example{r.Time.UTC().Round(0), r.Client, clip(r.Sender, maxText)})
	}
	absent := r.Unproven()
	if len(absent) == 0 {
		return
	}
	example := Example{r.Time.UTC().Round(0), r.Client, clip(r.Sender, maxText)}
	if mail := u.count(absent, example); mail != "" {
		u.teller.log.Warn("mail in our own name is put off, since it bears no proof of its tenant",
			"platform", strings.Join(absent, ", "), "client", r.Client, "sender", example.Sender, "mail", mail)
	}
}

// count counts a message. Where it is the first to be told of in 24 hours, count returns
// what becomes of the mail for the administrators.
func (u *Unproven) count(platforms []string, e Example) (mail string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.kept.Platforms.forget(e.Time)
	for _, platform := range platforms {
		u.kept.Platforms.add(platform, e)
	}
	u.touch()
	// Told is ahead when the clock was put back.
	if since := e.Time.Sub(u.kept.Told); u.telling || since >= 0 && since < dayHours*time.Hour {
		return ""
	}
	if len(u.teller.settings.Load().To) == 0 {
		u.kept.Told = e.Time
		return "none"
	}
	u.telling = true
	u.due <- e.Time
	return "queued"
}

// countOnmicrosoft counts a message of a tenant of ours.
func (u *Unproven) countOnmicrosoft(platform string, e Example) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.kept.Onmicrosoft.forget(e.Time)
	u.kept.Onmicrosoft.add(platform, e)
	u.touch()
}

// isOnmicrosoft reports an address of onmicrosoft.com that a person has. Exchange Online's own mail,
// as of a connector's validation, and what it rewrites (SRS), comes from some, too.
func isOnmicrosoft(sender string) bool {
	local, domain, _ := strings.Cut(strings.ToLower(sender), "@")
	isSystem := func(prefix string) bool { return strings.HasPrefix(local, prefix) }
	return strings.HasSuffix(domain, ".onmicrosoft.com") && !slices.ContainsFunc([]string{"microsoftexchange", "o365connectorvalidation", "bounces+srs="}, isSystem)
}

// touch has the counts saved.
func (u *Unproven) touch() {
	select {
	case u.changed <- struct{}{}:
	default:
	}
}

// Run saves the counts, once a minute at most and at its end, and sends the mails, until
// the context ends. A mail that reaches nobody is sent again at the next message.
func (u *Unproven) Run(ctx context.Context) {
	var mails sync.WaitGroup
	changed := u.changed // nil: they wait until the minute is over
	var later <-chan time.Time
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case at := <-u.due:
			mails.Go(func() { u.told(at, u.teller.deliver(ctx, notice{kind: "proof", write: u.letter})) })
		case <-changed:
			u.save()
			changed, later = nil, time.After(saveInterval)
		case <-later:
			changed = u.changed
		}
	}
	mails.Wait()
	u.save()
}

// told notes whether the mail for a message of that time is done with.
func (u *Unproven) told(at time.Time, done bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.telling = false
	if done {
		u.kept.Told = at
		u.touch()
	}
}

// save writes the file, once there is something to count. One call at a time may do so.
func (u *Unproven) save() {
	u.mu.Lock()
	path, isEmpty := u.path, u.kept.isEmpty()
	text, err := json.Marshal(u.kept)
	u.mu.Unlock()
	if isEmpty {
		return
	}
	// Whoever reads it finds all of it, the old or the new.
	if err == nil {
		err = os.WriteFile(path+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		u.teller.log.Error("the counts of mail without proof of its tenant cannot be saved", "error", err)
	}
}

// ReadPutOff reads from the file of an Unproven what was put off in the seven days before
// a time, by the platforms' names. Without the file, there is nothing.
func ReadPutOff(path string, now time.Time) ([]Counted, error) {
	k, err := load(path)
	return k.putOff(now), err
}

// ReadOnmicrosoft reads from the same file what came in those days from users of our own tenants
// whose address is one of onmicrosoft.com.
func ReadOnmicrosoft(path string, now time.Time) ([]Counted, error) {
	k, err := load(path)
	return k.Onmicrosoft.since(now), err
}

func load(path string) (k kept, err error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return kept{}, nil
	}
	if err != nil {
		return kept{}, err
	}
	defer file.Close()
	if err := json.NewDecoder(io.LimitReader(file, maxKept)).Decode(&k); err != nil {
		return kept{}, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// forget drops what is more than a week before a time, or after it, from a clock that was
// put back.
func (t tally) forget(now time.Time) {
	for name, c := range t {
		maps.DeleteFunc(c.Hours, func(h, _ int64) bool { return max(h-hourOf(now), hourOf(now)-h) > weekHours })
		if len(c.Hours) == 0 {
			delete(t, name)
		}
	}
}

// add counts a message.
func (t *tally) add(platform string, e Example) {
	c, known := (*t)[platform]
	switch {
	case !known && len(*t) >= maxPlatforms:
		return
	case *t == nil:
		*t = make(tally)
	}
	if c.Hours == nil {
		c.Hours = make(map[int64]int64)
	}
	c.Hours[hourOf(e.Time)]++
	c.Last = e
	(*t)[platform] = c
}

// putOff returns the counts of what was put off.
func (k *kept) putOff(now time.Time) []Counted { return k.Platforms.since(now) }

// since returns the counts of a time, by the platforms' names.
func (t tally) since(now time.Time) []Counted {
	var list []Counted
	for platform, c := range t {
		one := Counted{Platform: platform, Last: c.Last}
		for h, n := range c.Hours {
			if h >= hourOf(now)-weekHours {
				one.Week += n
			}
			if h >= hourOf(now)-dayHours {
				one.Day += n
			}
		}
		if one.Week > 0 {
			list = append(list, one)
		}
	}
	slices.SortFunc(list, func(a, b Counted) int { return strings.Compare(a.Platform, b.Platform) })
	return list
}

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

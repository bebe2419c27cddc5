package notice

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"coexistd/milter/record"
)

// maxPlatforms bounds the platforms of which there are counts, and with them the file that holds
// them. A platform takes up to 5 KB.
const maxPlatforms = 100

// Unproven tells of mail in our own name that comes from a platform's networks without
// proof of any tenant, and is put off for that. There is a line in the log and a mail to
// the administrators once in 24 hours. A file keeps the counts for the next start and for
// other processes. All methods may be called by several goroutines at once; Record waits
// for nothing outside the process but the log.
type Unproven struct {
	teller *Teller
	saver  saver
	due    chan time.Time // a mail is to be sent, for a message of that time

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
	Hours hours   `json:"hours"`
	Last  Example `json:"last"`
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
	return &Unproven{teller: teller, saver: newSaver(), due: make(chan time.Time, 1)}
}

// Configure names the file from now on. What that holds counts if nothing was counted
// yet. A file that cannot be read is begun anew.
func (u *Unproven) Configure(path string) {
	k, err := readKept[kept](path)
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
	u.saver.touch()
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
	u.saver.touch()
}

// isOnmicrosoft reports an address of onmicrosoft.com that a person has. Exchange Online's own mail,
// as of a connector's validation, and what it rewrites (SRS), comes from some, too.
func isOnmicrosoft(sender string) bool {
	local, domain, _ := strings.Cut(strings.ToLower(sender), "@")
	isSystem := func(prefix string) bool { return strings.HasPrefix(local, prefix) }
	return strings.HasSuffix(domain, ".onmicrosoft.com") && !slices.ContainsFunc([]string{"microsoftexchange", "o365connectorvalidation", "bounces+srs="}, isSystem)
}

// Run saves the counts, once a minute at most and at its end, and sends the mails, until
// the context ends. A mail that reaches nobody is sent again at the next message.
func (u *Unproven) Run(ctx context.Context) {
	u.saver.run(ctx, u.save, u.due, func(at time.Time) {
		u.told(at, u.teller.deliver(ctx, notice{kind: "proof", write: u.letter}))
	})
}

// told notes whether the mail for a message of that time is done with.
func (u *Unproven) told(at time.Time, done bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.telling = false
	if done {
		u.kept.Told = at
		u.saver.touch()
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
	if err == nil {
		err = replace(path, text)
	}
	if err != nil {
		u.teller.log.Error("the counts of mail without proof of its tenant cannot be saved", "error", err)
	}
}

// ReadPutOff reads from the file of an Unproven what was put off in the seven days before
// a time, by the platforms' names. Without the file, there is nothing.
func ReadPutOff(path string, now time.Time) ([]Counted, error) {
	k, err := readKept[kept](path)
	return k.putOff(now), err
}

// ReadOnmicrosoft reads from the same file what came in those days from users of our own tenants
// whose address is one of onmicrosoft.com.
func ReadOnmicrosoft(path string, now time.Time) ([]Counted, error) {
	k, err := readKept[kept](path)
	return k.Onmicrosoft.since(now), err
}

// forget drops what is more than a week before a time, or after it, from a clock that was
// put back.
func (t tally) forget(now time.Time) {
	for name, c := range t {
		if c.Hours.forget(now); len(c.Hours) == 0 {
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
		c.Hours = make(hours)
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
		if one.Day, one.Week = c.Hours.since(now); one.Week > 0 {
			list = append(list, one)
		}
	}
	slices.SortFunc(list, func(a, b Counted) int { return strings.Compare(a.Platform, b.Platform) })
	return list
}

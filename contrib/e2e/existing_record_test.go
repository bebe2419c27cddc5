package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/emersion/go-msgauth/dkim"

	"coexistd/contrib/lab"
	"coexistd/policy/seal"
)

// arrival is a delivery of a day: to one place, in one transaction.
type arrival struct {
	place, from string
	to          []lab.Recipient
	data        []byte
}

// livedDay is what came of a day's mail.
type livedDay struct {
	answers  []string
	arrivals []arrival
	ids      []string // all that the queues have had
}

// live hands in the mail of a day, and waits for all that comes of it.
func (m *oldServer) live(day []dayMail) (r livedDay) {
	m.t.Helper()
	before := map[string]int{}
	for place, sink := range m.sinks() {
		before[place] = len(sink.All())
	}
	for _, one := range day {
		r.answers = append(r.answers, m.hand(one))
	}
	m.do(m.gateway.Drain(deadline(m.t)))
	m.settle()
	for place, sink := range m.sinks() {
		for _, d := range sink.All()[before[place]:] {
			r.arrivals = append(r.arrivals, arrival{place, d.From, d.Recipients, d.Data})
		}
	}
	r.arrivals = append(r.arrivals, m.takeJobs()...)
	for _, found := range queueIDs.FindAllStringSubmatch(m.Log()+m.gateway.Log(), -1) {
		r.ids = append(r.ids, found[1], "*")
	}
	m.mustVerify(r.arrivals)
	return r
}

// takeJobs takes what the program was given: messages as a mailbox has them, with the sender in a line before.
func (m *oldServer) takeJobs() (list []arrival) {
	m.t.Helper()
	jobs, err := os.ReadDir(m.jobs)
	m.do(err)
	for _, job := range jobs {
		path := filepath.Join(m.jobs, job.Name())
		data, err := os.ReadFile(path)
		m.do(err)
		m.do(os.Remove(path))
		line, message, _ := bytes.Cut(bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n")), []byte("\r\n"))
		from := strings.Fields(string(line))
		if len(from) < 2 || from[0] != "From" {
			m.t.Fatalf("the program was given %q", data)
		}
		list = append(list, arrival{place: "the program", from: from[1], to: []lab.Recipient{{}}, data: message})
	}
	return list
}

var (
	queuedAsAny = regexp.MustCompile(`queued as [0-9A-Za-z]+`)
	queueIDs    = regexp.MustCompile(`: ([0-9A-F]{6,}): `)
	// timesOfMTA are the times that Postfix writes into fields, the names of its own messages and of their parts, and
	// OpenDKIM into a signature, which then differs as well: mustVerify looks at it.
	timesOfMTA = regexp.MustCompile(`[A-Z][a-z]{2}, [ \d]\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4} \([^)]*\)|<\d{14}\.|\*\.\d{10}/|\bt=\d{10};|(?s:\bb=[^;:]*?)(\r\n[^ \t])`)
)

// told are the arrivals as texts, without what differs each time: ids in the queue, and times.
func (r livedDay) told() (list []string) {
	ids := strings.NewReplacer(r.ids...)
	for _, a := range r.arrivals {
		var to []string
		for _, one := range a.to {
			to = append(to, fmt.Sprintf("%s NOTIFY=%s ORCPT=%s", one.Address, one.Notify, one.ORCPT))
		}
		slices.Sort(to)
		list = append(list, fmt.Sprintf("%s from <%s> to %q\n%s", a.place, a.from, to, timesOfMTA.ReplaceAllString(ids.Replace(string(a.data)), "*$1")))
	}
	slices.Sort(list)
	return list
}

// each are the arrivals of each recipient, at the place and address that where makes of it, without what servers
// write of the way of a message.
func (r livedDay) each(where func(place, to string) (string, string)) (list []string) {
	ids := strings.NewReplacer(r.ids...)
	for _, a := range r.arrivals {
		for _, to := range a.to {
			place, address := where(a.place, to.Address)
			list = append(list, fmt.Sprintf("%s from <%s> to %s\n%s", place, a.from, address, timesOfMTA.ReplaceAllString(ids.Replace(withoutWay(a.data)), "*$1")))
		}
	}
	slices.Sort(list)
	return list
}

// wayFields begin the fields that servers write as a message passes.
var wayFields = regexp.MustCompile(`(?i)^(received|return-path|delivered-to|x-original-to|` + seal.TraceHeader + `):`)

// withoutWay is a message without such fields.
func withoutWay(message []byte) string {
	head, body, _ := strings.Cut(string(message), "\r\n\r\n")
	var kept []string
	dropped := false
	for line := range strings.Lines(head) {
		if line[0] != ' ' && line[0] != '\t' {
			dropped = wayFields.MatchString(line)
		}
		if !dropped {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "") + "\r\n\r\n" + body
}

// mustVerify checks that each signature of a message is right: the server's own, and the partner's.
func (m *oldServer) mustVerify(arrivals []arrival) {
	m.t.Helper()
	options := &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) { return []string{m.keys[name]}, nil }}
	signed := 0
	for _, a := range arrivals {
		head, _, _ := bytes.Cut(a.data, []byte("\r\n\r\n"))
		if !bytes.Contains(head, []byte("DKIM-Signature:")) {
			continue
		}
		if signed++; !verifies(a.data, options) {
			m.t.Errorf("at %s for %v, a signature does not verify:\n%s", a.place, a.to, a.data)
		}
	}
	if signed < 10 {
		m.t.Errorf("%d messages arrived with a signature", signed)
	}
}

func repliesOf(to []lab.Reply) string {
	var list []string
	for _, one := range to {
		list = append(list, one.String())
	}
	return strings.Join(list, ", ")
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"coexistd/milter/messages"
	"coexistd/milter/record"
	"coexistd/policy"
	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

const (
	// recordDays is over how many days the records are spread.
	recordDays = 14
	// searches is how often each search is made, every time for another message.
	searches = 21
	// findMost is how many messages a search is to find, as messages find does.
	findMost = 50
)

// benchMessages has the records of very many messages written, searches them by each key, and
// prints what that takes.
func benchMessages(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "coexistd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	load := loadAverage()
	o := messages.Options{Path: filepath.Join(dir, "messages.db"), Keep: 2 * recordDays * 24 * time.Hour, Delimiters: "+", Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	traffic := newTraffic(s.records)
	cpu, status, err := traffic.write(ctx, o)
	if err != nil {
		return err
	}
	fmt.Printf("%d records, load %s: %.2f GB, %.0f bytes a record; %.1f µs of processor time each, the making of them left out\n\n",
		status.Records, load, float64(status.Bytes)/1e9, float64(status.Bytes)/float64(status.Records), cpu)
	all := messages.Open(o)
	defer all.Close()
	return traffic.search(ctx, os.Stdout, all)
}

// traffic is the mail that the records tell of.
type traffic struct {
	count int
	from  time.Time
	step  time.Duration
}

func newTraffic(count int) *traffic {
	const length = recordDays * 24 * time.Hour
	return &traffic{count: count, from: time.Now().Add(-length), step: length / time.Duration(count)}
}

// write has all records written, and returns the microseconds of processor time for each.
func (t *traffic) write(ctx context.Context, o messages.Options) (cpu float64, s messages.Status, err error) {
	const atOnce = 2048 // less than an Index lets wait
	x := messages.New(o)
	defer x.Stop()
	var spent time.Duration
	for done := 0; done < t.count; {
		batch := make([]*record.Record, 0, atOnce)
		for len(batch) < atOnce && done < t.count {
			batch = append(batch, t.record(done))
			done++
		}
		before := ownCPU()
		for _, r := range batch {
			x.Record(r)
		}
		for s.Records < int64(done) {
			if s = x.Status(); s.Lost > 0 || ctx.Err() != nil {
				return 0, s, errors.Join(ctx.Err(), fmt.Errorf("%d records are lost: %s", s.Lost, s.Failed))
			}
			time.Sleep(5 * time.Millisecond)
		}
		spent += ownCPU() - before
	}
	return float64(spent.Microseconds()) / float64(t.count), s, nil
}

// ownCPU is the processor time of this process.
func ownCPU() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used) // of oneself it can always be told
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// record makes the nth record, always the same.
func (t *traffic) record(n int) *record.Record {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	some := func(what string, most int) string {
		// Few of them are most of it.
		return fmt.Sprintf("%s%d", what, int(float64(most)*random.Float64()*random.Float64()*random.Float64()))
	}
	var subject []string
	for range 3 + random.IntN(6) {
		subject = append(subject, some("word", 20_000))
	}
	sender := some("sender", 200_000) + "@" + some("domain", 30_000) + ".example"
	client := netip.AddrFrom4([4]byte{198, 18, byte(random.IntN(256)), byte(random.IntN(256))})
	r := &record.Record{
		Time: t.from.Add(time.Duration(n) * t.step), QueueID: fmt.Sprintf("4F%012XzT", n), Client: client, Sender: sender,
		MessageID: fmt.Sprintf("<%016x.%d@%s>", random.Uint64(), n, strings.SplitN(sender, "@", 2)[1]),
		Subject:   strings.Join(subject, " "), Size: int64(random.IntN(200_000)), Ended: true,
		Decision: policy.Decision{
			Checkpoint: verdict.S0, Verdict: verdict.Accept, Checks: []string{"ddos", "spoof", "spam", "virus", "malware"},
			Findings: []verdict.Finding{
				{Check: verdict.CheckSpam, State: verdict.Clean, Score: 1.25, Scored: true, Detail: "DMARC_POLICY_ALLOW, R_DKIM_ALLOW, R_SPF_ALLOW"},
				verdict.Passed(verdict.CheckVirus), verdict.Passed(verdict.CheckMalware), verdict.Passed(verdict.CheckSpoof),
			},
		},
	}
	if random.IntN(3) == 0 {
		user := random.IntN(users)
		r.Decision.Checkpoint, r.Login, r.Sender = verdict.S2, fmt.Sprintf("user%d", user), localPart(user)+"@"+domain
	}
	for range 1 + random.IntN(100)/80 {
		user := random.IntN(users)
		to := policy.Ruling{Address: localPart(user) + "@" + domain, Verdict: verdict.Accept}
		to.Residence, to.Ways = route.Residence{Kind: route.Here}, route.Ways{{route.Ours(r.Decision.Checkpoint), route.LD}}
		if user%2 == 0 {
			to.Residence = route.Residence{Kind: route.There, Platform: platform}
			to.Ways, to.Elsewhere = route.Ways{{route.Ours(r.Decision.Checkpoint), route.Ours(verdict.S4), {Side: "O", Number: 1}, route.LD}}, localPart(user)+"@"+alternate
		}
		r.Decision.Recipients = append(r.Decision.Recipients, to)
	}
	r.Count = len(r.Decision.Recipients)
	switch random.IntN(200) {
	case 0:
		why := verdict.Why(verdict.VirusFound, "Eicar-Test-Signature")
		r.Decision.Verdict, r.Decision.Check, r.Decision.Reply, r.Decision.Reasons = verdict.Reject, verdict.CheckVirus, why.Reply(), verdict.Because(why)
	case 1, 2, 3:
		r.Decision.Verdict, r.Decision.Check, r.Decision.Recipients[0].Verdict = verdict.Quarantine, verdict.CheckSpam, verdict.Quarantine
		r.Held = []string{"vb3kq7x2ma"}
	}
	return r
}

// searched is a key to search by, and what that asks for to find a message.
type searched struct {
	name  string
	query func(*record.Record) messages.Query
}

// searchedBy are the keys.
func searchedBy() []searched {
	recipient := func(r *record.Record) string { return r.Decision.Recipients[0].Address }
	local := func(address string) string { return address[:strings.IndexByte(address, '@')] }
	at := func(address string) string { return address[strings.IndexByte(address, '@'):] }
	return []searched{
		{"Message-Id", func(r *record.Record) messages.Query { return messages.Query{ID: r.MessageID} }},
		{"queue id", func(r *record.Record) messages.Query { return messages.Query{ID: r.QueueID} }},
		{"an ID that nothing has", func(r *record.Record) messages.Query { return messages.Query{ID: r.QueueID + "x"} }},
		{"from: address", func(r *record.Record) messages.Query { return messages.Query{From: r.Sender} }},
		{"from: @domain", func(r *record.Record) messages.Query { return messages.Query{From: at(r.Sender)} }},
		{"from: local part", func(r *record.Record) messages.Query { return messages.Query{From: local(r.Sender)} }},
		{"to: address", func(r *record.Record) messages.Query { return messages.Query{To: recipient(r)} }},
		{"to: @domain", func(r *record.Record) messages.Query { return messages.Query{To: at(recipient(r))} }},
		{"to: rewritten address", func(r *record.Record) messages.Query {
			return messages.Query{To: local(recipient(r)) + "@" + alternate}
		}},
		{"from and to", func(r *record.Record) messages.Query { return messages.Query{From: r.Sender, To: recipient(r)} }},
		{"subject: two words", func(r *record.Record) messages.Query {
			return messages.Query{Subject: strings.Join(strings.Fields(r.Subject)[:2], " ")}
		}},
		{"client", func(r *record.Record) messages.Query { return messages.Query{Client: r.Client} }},
		{"login", func(r *record.Record) messages.Query {
			return messages.Query{Login: "user" + local(recipient(r))[len("firstname.lastname"):]}
		}},
		{"an hour", func(r *record.Record) messages.Query {
			return messages.Query{Since: r.Time.Add(-time.Hour), Until: r.Time}
		}},
		{"verdict: accept", func(*record.Record) messages.Query { return messages.Query{Verdict: verdict.Accept} }},
		{"verdict: reject", func(*record.Record) messages.Query { return messages.Query{Verdict: verdict.Reject} }},
		{"verdict: tempfail, which none has", func(*record.Record) messages.Query { return messages.Query{Verdict: verdict.Tempfail} }},
		{"point: S2", func(*record.Record) messages.Query { return messages.Query{Point: verdict.S2} }},
		{"check: virus", func(*record.Record) messages.Query { return messages.Query{Check: verdict.CheckVirus} }},
		{"point and check, which none has together", func(*record.Record) messages.Query {
			return messages.Query{Point: verdict.S2, Check: verdict.CheckLoop}
		}},
	}
}

// search searches by each key, and prints how long it takes to find what there is, fifty
// messages at the most.
func (t *traffic) search(ctx context.Context, to io.Writer, all *messages.Records) error {
	fmt.Fprintf(to, "| searched by | found | ms, median (quartiles) | slowest | ms of processor time |\n|---|---|---|---|---|\n")
	for _, one := range searchedBy() {
		var times, spent []float64
		found := 0
		for i := range searches {
			q := one.query(t.record(i * (t.count - 1) / (searches - 1)))
			began, before := time.Now(), ownCPU()
			n := 0
			for _, err := range all.All(ctx, q) {
				if err != nil {
					return fmt.Errorf("%s: %w", one.name, err)
				}
				if n++; n == findMost {
					break
				}
			}
			times = append(times, float64(time.Since(began).Microseconds())/1000)
			spent = append(spent, float64((ownCPU()-before).Microseconds())/1000)
			found += n
		}
		s := spreadOf(times)
		fmt.Fprintf(to, "| %s | %.1f | **%.1f** (%.1f–%.1f) | %.1f | %.1f |\n", one.name, float64(found)/searches, s.median, s.lower, s.upper, slices.Max(times), spreadOf(spent).median)
	}
	return nil
}

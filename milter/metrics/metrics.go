// Package metrics tells Prometheus in numbers what became of messages and how the daemon is.
// The first are counted by a record.Sink; the second are asked of the daemon at each scrape,
// and stand in its memory. Nothing of it is in a message's way.
package metrics

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"coexistd/milter/record"
	"coexistd/policy"
	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

// Path is where the numbers are, by HTTP.
const Path = "/metrics"

const (
	// scrapeTime bounds a request from its beginning to the end of its answer.
	scrapeTime = 10 * time.Second
	// maxScrapes bounds the scrapes at once, and maxHeader the head of a request, in bytes.
	maxScrapes, maxHeader = 4, 8 << 10
)

// bounds are those of histograms, in seconds: from a check in this process to a scanner that
// takes as long as it may.
var bounds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// Metrics counts messages (record.Sink), and answers scrapes. It outlives reloads. Any number
// of goroutines may use it.
type Metrics struct {
	registry *prometheus.Registry

	messages, recipients, findings known
	// observedMessages and observedRecipients count what would have been.
	observedMessages, observedRecipients known
	unproven, archived                   *prometheus.CounterVec
	holdFailures                         prometheus.Counter
	steps                                [record.Steps]prometheus.Observer
	scans                                *prometheus.HistogramVec
}

// New returns Metrics that have counted nothing. State tells at each scrape how the daemon is;
// it must not wait for anything.
func New(state func() State) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		messages: known{vector: counters(messages)}, recipients: known{vector: counters(recipients)}, findings: known{vector: counters(findings)},
		observedMessages: known{vector: counters(observedMessages)}, observedRecipients: known{vector: counters(observedRecipients)},
		archived:     counters(archived),
		unproven:     counters(unproven),
		holdFailures: prometheus.NewCounter(prometheus.CounterOpts{Name: table[holdFailures].name, Help: table[holdFailures].help}),
		scans:        histograms(scanSeconds),
	}
	steps := histograms(stepSeconds)
	for step := range record.Steps {
		m.steps[step] = steps.WithLabelValues(step.String())
	}
	// A counter that is there from the start shows its first step, too.
	for point := verdict.S0; point <= verdict.S2; point++ {
		m.recipients.vector.WithLabelValues(point.String(), "", verdict.Reject.String(), verdict.CheckLoop)
		m.archived.WithLabelValues(point.String())
	}
	m.registry.MustRegister(m.messages.vector, m.recipients.vector, m.observedMessages.vector, m.observedRecipients.vector, m.findings.vector, m.unproven, m.archived, m.holdFailures, m.scans, steps, stateCollector{state},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Configure names the platforms whose mail may lack the proof of its tenant.
func (m *Metrics) Configure(platforms []string) {
	for _, name := range platforms {
		m.unproven.WithLabelValues(name)
	}
}

func counters(of id) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: table[of].name, Help: table[of].help}, table[of].labels)
}

func histograms(of id) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: table[of].name, Help: table[of].help, Buckets: bounds}, table[of].labels)
}

// Record counts a message (record.Sink).
func (m *Metrics) Record(r *record.Record) {
	d := &r.Decision
	m.countMessage(r)
	m.countRecipients(r)
	for i := range d.Findings {
		m.countFinding(&d.Findings[i])
	}
	for _, platform := range r.Unproven() {
		m.unproven.WithLabelValues(platform).Inc()
	}
	if d.Archived != "" {
		m.archived.WithLabelValues(d.Checkpoint.String()).Inc()
	}
	if d.Verdict == verdict.Tempfail && d.Reasons.HasCode(verdict.NotHeld) {
		m.holdFailures.Inc()
	}
	for step, took := range r.Took {
		if took > 0 {
			m.steps[step].Observe(took.Seconds())
		}
	}
}

func (m *Metrics) countMessage(r *record.Record) {
	d := &r.Decision
	var room [64]byte
	ended := byte('-')
	if r.Ended {
		ended = '+'
	}
	key := append(append(append(append(room[:0], byte(d.Checkpoint), byte(d.Verdict), ended), d.Check...), 0), d.Platform...)
	m.messages.of(key, func() []string {
		return []string{d.Checkpoint.String(), d.Platform, d.Verdict.String(), d.Check, strconv.FormatBool(r.Ended)}
	}).Inc()
	if would := d.Observed; would != nil {
		key = append(append(append(append(room[:0], byte(d.Checkpoint), byte(would.Verdict)), would.Check...), 0), d.Platform...)
		m.observedMessages.of(key, func() []string {
			return []string{d.Checkpoint.String(), d.Platform, would.Verdict.String(), would.Check}
		}).Inc()
	}
}

func (m *Metrics) countFinding(f *verdict.Finding) {
	var room [32]byte
	m.findings.of(append(append(room[:0], byte(f.State)), f.Check...), func() []string { return []string{f.Check, f.State.String()} }).Inc()
	if f.Took > 0 {
		m.scans.WithLabelValues(f.Check).Observe(time.Duration(f.Took).Seconds())
	}
}

// countRecipients counts those that were refused alone, and the others as they were decided
// on. Of a message that is put off or refused, all of these are.
func (m *Metrics) countRecipients(r *record.Record) {
	d, left := &r.Decision, r.Count
	rest := policy.Ruling{Verdict: d.Verdict, Check: d.Check} // of those of whom nothing else is told
	for _, a := range r.Alike {
		of := &m.recipients
		if a.Observed {
			of = &m.observedRecipients
		} else {
			left -= a.Count
		}
		countAlike(of, d.Checkpoint, nil, a.Verdict, a.Check, a.Count)
	}
	if d.Verdict < verdict.Tempfail {
		for i := range d.Recipients {
			one := d.Recipients[i].Done()
			countAlike(&m.recipients, d.Checkpoint, one.Ways, one.Verdict, one.Check, 1)
		}
		if left -= len(d.Recipients); len(d.Recipients) > 0 {
			rest = policy.Ruling{Verdict: verdict.Accept}
		}
	}
	for i := range d.Recipients {
		if one := &d.Recipients[i]; one.Observed {
			countAlike(&m.observedRecipients, d.Checkpoint, one.Ways, one.Verdict, one.Check, 1)
		}
	}
	if r.Ended {
		countAlike(&m.recipients, d.Checkpoint, nil, rest.Verdict, rest.Check, left)
	}
}

// countAlike counts recipients with all that is told of them in common.
func countAlike(of *known, point verdict.Checkpoint, ways route.Ways, v verdict.Verdict, check string, count int) {
	if count <= 0 {
		return
	}
	var room [64]byte
	key := ways.AppendTo(append(append(append(room[:0], byte(point), byte(v)), check...), 0))
	of.of(key, func() []string { return []string{point.String(), ways.String(), v.String(), check} }).Add(float64(count))
}

// Server answers scrapes at Path, and nothing else. Whoever serves it has it listen.
func (m *Metrics) Server(log *slog.Logger) *http.Server {
	complaints := slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	mux := http.NewServeMux()
	mux.Handle("GET "+Path, promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: complaints, MaxRequestsInFlight: maxScrapes, Timeout: scrapeTime, DisableCompression: true,
	}))
	return &http.Server{
		Handler: mux, ErrorLog: complaints, MaxHeaderBytes: maxHeader,
		ReadTimeout: scrapeTime, WriteTimeout: 2 * scrapeTime, IdleTimeout: 2 * time.Minute,
	}
}

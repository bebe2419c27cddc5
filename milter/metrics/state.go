package metrics

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// State is how the daemon is at a moment. Times that are zero are not known.
type State struct {
	Version string
	// Loaded is when the configuration in use was loaded, and Refused is set while a later
	// reload was not taken.
	Loaded     time.Time
	Refused    bool
	UnderWay   int
	Listeners  []Listener
	Excesses   Excesses
	TurnedAway int
	Scanners   []Scanner
	Redis      *Redis // nil: there is none
	Quarantine Quarantine
	Senders    Senders
	Stores     []Store
	Records    *Records // nil: none are kept
	Sources    []Source
	Networks   []Networks
}

// Listener is a socket for MTAs with its open connections.
type Listener struct {
	Use, Address string
	Open         int
}

// Excesses count how often clients were over a bound of the check ddos.
type Excesses struct{ Connections, Messages, Recipients int64 }

// Scanner is a scanner.
type Scanner struct {
	Name          string
	Scans, Places int
	Away          bool
}

// Redis is what counts the limits of several hosts.
type Redis struct {
	Away          bool
	Asked, Failed uint64
	Took          time.Duration // all that was asked together
}

// Quarantine is the store of what is held.
type Quarantine struct {
	Open bool
	Max  int64         // bytes; 0: there is no bound
	Keep time.Duration // 0: for ever
	// Known is set once the rest is known.
	Known   bool
	Entries int
	Bytes   int64
	Oldest  time.Time
}

// Senders are how many senders recipients have allowed and blocked.
type Senders struct {
	Allowed, Blocked int
	Failed           bool
}

// Store is a file of SQLite.
type Store struct {
	File            string // its name, without the folder
	Changes, Failed uint64
	Took            time.Duration // all changes together
}

// Records are those of what became of messages.
type Records struct {
	Lost, Bytes int64
	Failed      bool
	MTALog      *MTALog // nil: it is not followed
}

// MTALog is the log that the MTA writes.
type MTALog struct{ Failed bool }

// Source is a directory. Outside is set of a source outside this host.
type Source struct {
	Name              string
	Addresses, PutOff int
	Loaded, Asked     time.Time
	Outside           bool
	Refused, Failed   bool
}

// Networks is a platform's list of networks.
type Networks struct {
	Platform, Source string
	Count            int
	Age              time.Duration
	Old, Failed      bool
}

// stateCollector makes metrics of the daemon's State at each scrape (prometheus.Collector).
type stateCollector struct{ state func() State }

// Describe tells the metrics that Collect may send.
func (c stateCollector) Describe(to chan<- *prometheus.Desc) {
	for of := buildInfo; of < metricCount; of++ {
		to <- table[of].desc()
	}
}

// Collect sends them.
func (c stateCollector) Collect(to chan<- prometheus.Metric) {
	s := c.state()
	out := sender{to}
	out.send(buildInfo, 1, s.Version, runtime.Version())
	out.flag(reloadOK, !s.Refused)
	out.time(configLoaded, s.Loaded)
	out.send(underWay, float64(s.UnderWay))
	for _, l := range s.Listeners {
		out.send(connections, float64(l.Open), l.Use, l.Address)
	}
	out.send(overBound, float64(s.Excesses.Connections), "connection")
	out.send(overBound, float64(s.Excesses.Messages), "message")
	out.send(overBound, float64(s.Excesses.Recipients), "recipient")
	out.send(turnedAway, float64(s.TurnedAway))
	for _, one := range s.Scanners {
		out.send(scansUnderWay, float64(one.Scans), one.Name)
		out.send(scanPlaces, float64(one.Places), one.Name)
		out.flag(scannerAway, one.Away, one.Name)
	}
	if r := s.Redis; r != nil {
		out.flag(redisAway, r.Away)
		out.send(redisFailures, float64(r.Failed))
		to <- prometheus.MustNewConstSummary(table[redisSeconds].desc(), r.Asked, r.Took.Seconds(), nil)
	}
	out.quarantine(&s.Quarantine)
	out.send(sendersListed, float64(s.Senders.Allowed), "allowed")
	out.send(sendersListed, float64(s.Senders.Blocked), "blocked")
	out.flag(sendersFailed, s.Senders.Failed)
	for _, one := range s.Stores {
		to <- prometheus.MustNewConstSummary(table[storeSeconds].desc(), one.Changes, one.Took.Seconds(), nil, one.File)
		out.send(storeFailures, float64(one.Failed), one.File)
	}
	if s.Records != nil {
		out.records(s.Records)
	}
	for i := range s.Sources {
		out.source(&s.Sources[i])
	}
	for _, n := range s.Networks {
		out.send(networkCount, float64(n.Count), n.Platform, n.Source)
		out.send(networkAge, n.Age.Seconds(), n.Platform, n.Source)
		out.flag(networkOld, n.Old, n.Platform, n.Source)
		out.flag(networkFailed, n.Failed, n.Platform, n.Source)
	}
}

// sender sends values of the table's metrics.
type sender struct{ to chan<- prometheus.Metric }

func (s sender) send(of id, value float64, labels ...string) {
	kind := prometheus.GaugeValue
	if table[of].kind == counter {
		kind = prometheus.CounterValue
	}
	s.to <- prometheus.MustNewConstMetric(table[of].desc(), kind, value, labels...)
}

// flag sends 1 or 0.
func (s sender) flag(of id, is bool, labels ...string) {
	value := 0.0
	if is {
		value = 1
	}
	s.send(of, value, labels...)
}

// time sends a time that is known.
func (s sender) time(of id, at time.Time, labels ...string) {
	if !at.IsZero() {
		s.send(of, float64(at.UnixMilli())/1000, labels...)
	}
}

func (s sender) quarantine(q *Quarantine) {
	s.flag(quarantineOpen, q.Open)
	s.send(quarantineMax, float64(q.Max))
	s.send(quarantineKeep, q.Keep.Seconds())
	if q.Known {
		s.send(quarantineEntries, float64(q.Entries))
		s.send(quarantineBytes, float64(q.Bytes))
		s.time(quarantineOldest, q.Oldest)
	}
}

func (s sender) records(r *Records) {
	s.send(recordsLost, float64(r.Lost))
	s.flag(recordsFailed, r.Failed)
	s.send(recordsBytes, float64(r.Bytes))
	if r.MTALog != nil {
		s.flag(mtaLogFailed, r.MTALog.Failed)
	}
}

func (s sender) source(one *Source) {
	s.send(sourceAddresses, float64(one.Addresses), one.Name)
	s.send(sourcePutOff, float64(one.PutOff), one.Name)
	s.time(sourceLoaded, one.Loaded, one.Name)
	s.flag(sourceRefused, one.Refused, one.Name)
	if one.Outside {
		s.time(sourceAsked, one.Asked, one.Name)
		s.flag(sourceFailed, one.Failed, one.Name)
	}
}

// Package control has the questions to a running daemon and its answers, as types, and the
// client that asks them. They go over a Unix socket, as JSON in HTTP. The daemon answers its
// own user and root, whom it knows by their peer credentials (unix(7)), and nobody else.
package control

import "time"

// The paths of the questions. Those that say more than their path are asked by POST, with
// that as the body, the others by GET.
const (
	PathStatus  = "/status"
	PathReload  = "/reload"
	PathLimits  = "/limits"
	PathReset   = "/limits/reset"
	PathClients = "/clients"
	PathUnblock = "/clients/unblock"
	PathSettled = "/quarantine/settled"
	PathAccept  = "/directory/accept"
	PathFind    = "/directory/find"
	PathProbe   = "/probe"
)

// For is the header field of a question that names the user who has asked whoever asks the
// daemon: with sudo, the one who called it.
const For = "Coexistd-For"

// Failure is the answer to a question that cannot be answered. Its status is not 200.
type Failure struct {
	Error string `json:"error"`
}

// Status is what a daemon has in its memory, and what it is doing.
type Status struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	// Draining is set when the daemon ends as soon as its messages have ended.
	Draining      bool          `json:"draining"`
	Configuration Configuration `json:"configuration"`
	Listeners     []Listener    `json:"listeners"`
	// Messages is how many messages are under way.
	Messages    int         `json:"messages"`
	Directories []Directory `json:"directories"`
	Networks    []Networks  `json:"networks"`
	Scanners    []Scanner   `json:"scanners"`
	// Redis is nil where none is configured: limits are counted in the daemon's memory.
	Redis      *Server    `json:"redis"`
	Quarantine Quarantine `json:"quarantine"`
	Senders    Senders    `json:"senders"`
	Records    Records    `json:"records"`
}

// Well reports that nothing was refused, and that all that is asked answers.
func (s *Status) Well() bool {
	refused := len(s.Configuration.Refused) > 0 || !s.Quarantine.Open || s.Senders.Error != "" || s.Records.Failed != "" || s.Records.MTALog != nil && s.Records.MTALog.Failed != ""
	for _, d := range s.Directories {
		refused = refused || len(d.Refused) > 0 || d.PutOff > 0 || d.Outside != nil && d.Outside.Failed != ""
	}
	for _, n := range s.Networks {
		refused = refused || n.Old || n.Error != ""
	}
	for _, one := range s.Scanners {
		refused = refused || one.Reason != ""
	}
	return !refused && (s.Redis == nil || s.Redis.Reason == "")
}

// Configuration is the one that messages are decided by.
type Configuration struct {
	Path   string    `json:"path"`
	Loaded time.Time `json:"loaded"`
	// Mode is policy.Rules.Mode.
	Mode string `json:"mode"`
	// Archive is what is copied to the archive, as policy.Archive says it, or empty.
	Archive string `json:"archive,omitempty"`
	// Digest is config.Config.Digest of the file as it was loaded.
	Digest string `json:"digest"`
	// Refused tells why the last reload changed nothing. It is empty after one that did.
	Refused []string `json:"refused"`
	// Tried is when that reload was.
	Tried time.Time `json:"tried,omitzero"`
}

// UseMetrics is the Use of the socket for Prometheus.
const UseMetrics = "metrics"

// Listener is a socket on which MTAs are served, or Prometheus, whose connections are not
// told.
type Listener struct {
	Address     string       `json:"address"`
	Use         string       `json:"use"` // milter, lookup or metrics
	Connections []Connection `json:"connections"`
}

// Connection is one connection of an MTA. Peer is its address, or where that has none the
// id of its process: "pid 4711".
type Connection struct {
	Peer string `json:"peer"`
	// State is fresh where nothing has begun yet, busy with a message or a question under
	// way, and else idle.
	State string `json:"state"`
	// Since is when that began, or when an idle or fresh peer said something last.
	Since time.Time `json:"since"`
}

// Directory is a list of addresses in memory.
type Directory struct {
	Source    string   `json:"source"`
	Domains   []string `json:"domains"`
	Addresses int      `json:"addresses"`
	// Loaded is when the list was taken; zero: there is none.
	Loaded time.Time `json:"loaded,omitzero"`
	// Bytes is the size of the file that the list was read from.
	Bytes int64 `json:"bytes"`
	// Refused tells why the file as it is now was not taken. It is empty when the list is
	// what the file holds.
	Refused []string `json:"refused"`
	// Flaws tell of bad rows of the list, which counts without them, and PutOff is the number
	// of addresses for which mail is put off therefore.
	Flaws  []string `json:"flaws"`
	PutOff int      `json:"put_off"`
	// Outside is set of a source outside this host.
	Outside *Outside `json:"outside,omitempty"`
}

// Outside is what is known of a source outside this host.
type Outside struct {
	// Read is when its list was read last, with so many Rows, and Asked when it last said
	// that nothing has changed, or gave its list.
	Read  time.Time `json:"read,omitzero"`
	Asked time.Time `json:"asked,omitzero"`
	Rows  int       `json:"rows"`
	// Failed is why it cannot be read, since the time Since; empty: it can.
	Failed string    `json:"failed"`
	Since  time.Time `json:"since,omitzero"`
	// Reading is since when its whole list is being read; zero: it is not.
	Reading time.Time `json:"reading,omitzero"`
	// Waits is set while it is not asked, since the question before has not ended.
	Waits bool `json:"waits"`
}

// Networks is a list of a platform's networks, or of an upstream's.
type Networks struct {
	Platform string `json:"platform"`
	Source   string `json:"source"`
	Count    int    `json:"count"`
	// Age is how many seconds ago the list was last known to be right.
	Age int64 `json:"age"`
	// Old is set when that is too long ago.
	Old   bool   `json:"old"`
	Error string `json:"error"`
}

// Server is one that the daemon asks. While Away is set it is not waited for. A Reason without
// it is why the last who asked had no answer; the next will ask all the same.
type Server struct {
	Name   string `json:"name"`
	Away   bool   `json:"away"`
	Reason string `json:"reason"`
	// Since is when it went away, or had no answer for the last, and Next when it is asked again.
	Since time.Time `json:"since,omitzero"`
	Next  time.Time `json:"next,omitzero"`
}

// Scanner is a scanner, and how many of its places are in use.
type Scanner struct {
	Server
	Scans  int `json:"scans"`
	Places int `json:"places"`
}

// Quarantine is the store of messages that are held.
type Quarantine struct {
	Dir  string `json:"dir"`
	Open bool   `json:"open"`
	// Error tells why it is not open.
	Error string `json:"error"`
}

// Senders are how many senders recipients have allowed and blocked, as they were read last.
type Senders struct {
	Allowed int `json:"allowed"`
	Blocked int `json:"blocked"`
	// Error is why they cannot be read since the time Since; empty: they can.
	Error string    `json:"error"`
	Since time.Time `json:"since,omitzero"`
}

// Records are what is kept of what became of messages.
type Records struct {
	Path string `json:"path"`
	// Keep is for how many seconds they are kept; zero: none is.
	Keep int64 `json:"keep"`
	// Bytes is their size on disk, and Count how many there are.
	Bytes int64 `json:"bytes"`
	Count int64 `json:"count"`
	// Lost counts those that could not be written since the daemon's start, the last at
	// LastLost.
	Lost     int64     `json:"lost"`
	LastLost time.Time `json:"last_lost,omitzero"`
	// Failed is why none can be written now; empty: they can.
	Failed string `json:"failed"`
	// MTALog is nil where the MTA's log is not followed.
	MTALog *MTALog `json:"mta_log"`
}

// MTALog is how far the MTA's log was read.
type MTALog struct {
	// Source is its path, or "journal".
	Source string `json:"source"`
	// Failed is why it cannot be read now; empty: it can.
	Failed string `json:"failed"`
	// Latest is the time of the last line that was read, of so many Lines since the daemon's
	// start, which told so many Events.
	Latest time.Time `json:"latest,omitzero"`
	Lines  int64     `json:"lines"`
	Events int64     `json:"events"`
	// Gap is when it was last found that part of it was gone before it was read.
	Gap time.Time `json:"gap,omitzero"`
}

// Reloaded is what came of a reload.
type Reloaded struct {
	// Applied is set when the configuration is the one that the files hold now.
	Applied bool `json:"applied"`
	// Refused tells what was not taken. It need not be empty when Applied is set: a
	// directory that lost too many addresses is refused alone.
	Refused []string `json:"refused"`
}

// Limits are the fullest buckets of the rate limits.
type Limits struct {
	Buckets []Bucket `json:"buckets"`
	// Partial is set when there are more than these.
	Partial bool `json:"partial"`
	// Damaged counts what Redis has under the names of buckets and is none.
	Damaged int `json:"damaged"`
	// Error tells why Redis could not be asked. The buckets are then those that the daemon
	// counts in its memory meanwhile.
	Error string `json:"error"`
}

// Bucket is what one key has used of a limit.
type Bucket struct {
	Rule string `json:"rule"`
	// By is what the rule counts by, in people's words, and Key one of these.
	By  string `json:"by"`
	Key string `json:"key"`
	// Used is how much of Burst is used, in the rule's unit.
	Used  int64  `json:"used"`
	Burst int64  `json:"burst"`
	Unit  string `json:"unit"`
	// Over is set when the next message would be over the limit. Unsure is set when another
	// limit may hold for it, such as that of its client's network.
	Over   bool `json:"over"`
	Unsure bool `json:"unsure"`
	// InMemory is set when it is counted in the daemon's memory, and not in Redis.
	InMemory bool `json:"in_memory"`
	// Empty is when the bucket is empty again.
	Empty time.Time `json:"empty"`
}

// Reset names the buckets to be emptied. The key "*" stands for all of the rule.
type Reset struct {
	Rule string `json:"rule"`
	Key  string `json:"key"`
}

// Clients are those that are turned away.
type Clients struct {
	Clients []Turned `json:"clients"`
	// Partial is set when there are more.
	Partial bool `json:"partial"`
}

// Turned is a client, or a network of them, that is turned away by one bound.
type Turned struct {
	// Network is an address, a network, or "everybody".
	Network string `json:"network"`
	// Bound is the key of [check.ddos] that has the bound, and Why says it for people.
	Bound string `json:"bound"`
	Why   string `json:"why"`
	// Until is when they are let in again if they do nothing. It is left out where that
	// hangs on connections that are open.
	Until time.Time `json:"until,omitzero"`
}

// Unblock names a client, or a network, that is to be let in again.
type Unblock struct {
	Network string `json:"network"`
}

// Accept names a source whose list, which was refused for what it lacks, is to be taken, and
// the digest of that list. Another one is not taken.
type Accept struct {
	Source string `json:"source"`
	Digest string `json:"digest"`
}

// Settled tells what a command has made of an entry of the quarantine, for the daemon's log.
type Settled struct {
	ID string `json:"id"`
	// Result is what became of it, as the command says it: deleted, released, held again
	// or uncertain.
	Result string `json:"result"`
	// By is the user who ran the command.
	By string `json:"by"`
	// Learned says what rspamd was told of it, as the command says it; empty: nothing.
	Learned string `json:"learned,omitempty"`
}

// ProbeQuestion asks for a probe of doctor --probe by its ID.
type ProbeQuestion struct {
	ID string `json:"id"`
}

// Probe is what the daemon has seen of one. Each part is left out until it came.
type Probe struct {
	Return *ProbeReturn `json:"return,omitempty"`
	Bounce *ProbeBounce `json:"bounce,omitempty"`
}

// ProbeReturn tells how a probe came back.
type ProbeReturn struct {
	When  time.Time `json:"when"`
	Point string    `json:"point"`
	// Platform is the one that is proven at S1, and Candidates are those from whose networks
	// the client comes.
	Platform   string   `json:"platform"`
	Candidates []string `json:"candidates"`
	// Entered and Proof say why it entered at Point.
	Entered string `json:"entered"`
	Proof   string `json:"proof"`
	Client  string `json:"client"`
	// TLS is its version, and Certificate the name in the client's, which the MTA trusts. They
	// are empty where there was none, or where the MTA does not tell.
	TLS         string `json:"tls"`
	Certificate string `json:"certificate"`
	// Unforwarded is set when it came for the address that it was sent to.
	Unforwarded bool `json:"unforwarded"`
}

// ProbeBounce tells of a bounce of a probe.
type ProbeBounce struct {
	When time.Time `json:"when"`
	// Final is set when the probe is given up, and not only late.
	Final     bool   `json:"final"`
	Status    string `json:"status"`
	Diagnosis string `json:"diagnosis"`
}

// Done is the answer to a request to change something. Found is false when there was
// nothing to be changed.
type Done struct {
	Found bool `json:"found"`
}

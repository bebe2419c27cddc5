package metrics

import "github.com/prometheus/client_golang/prometheus"

// kind is what a metric's value does.
type kind string

const (
	counter   kind = "counter"   // it grows until the daemon ends
	gauge     kind = "gauge"     // it goes up and down
	histogram kind = "histogram" // it counts by bounds
	summary   kind = "summary"   // it has a sum and a count
)

// metric is a row of the table.
type metric struct {
	name   string
	kind   kind
	labels []string
	help   string
}

// desc is the metric as the library knows it.
func (m *metric) desc() *prometheus.Desc {
	return prometheus.NewDesc(m.name, m.help, m.labels, nil)
}

// id is the place of a metric in the table.
type id int

const (
	messages id = iota
	recipients
	observedMessages
	observedRecipients
	findings
	unproven
	archived
	holdFailures
	stepSeconds
	scanSeconds

	buildInfo
	reloadOK
	configLoaded
	underWay
	connections
	overBound
	turnedAway
	scansUnderWay
	scanPlaces
	scannerAway
	redisAway
	redisSeconds
	redisFailures
	quarantineOpen
	quarantineEntries
	quarantineBytes
	quarantineMax
	quarantineKeep
	quarantineOldest
	sendersListed
	sendersFailed
	storeSeconds
	storeFailures
	recordsLost
	recordsFailed
	recordsBytes
	mtaLogFailed
	sourceAddresses
	sourcePutOff
	sourceLoaded
	sourceAsked
	sourceRefused
	sourceFailed
	networkCount
	networkAge
	networkOld
	networkFailed
	metricCount
)

// table has every metric of coexistd once. What is exported, and contrib/docs/metrics.md, are
// made of it. No label has a value that a stranger chooses, so that the configuration bounds
// how many series there are.
var table = [metricCount]metric{
	messages: {"coexistd_messages_total", counter, []string{"point", "platform", "verdict", "check", "ended"},
		"Messages, by the point where they entered, the platform proven at S1, what was done, and the check that decided. Those with ended=\"false\" did not come to their end, and had recipients refused"},
	recipients: {"coexistd_recipients_total", counter, []string{"point", "flow", "verdict", "check"},
		"Recipients, those refused alone as well, by the point where the message entered, the hops of their ways, what was done for them, and the check that decided. Whoever is refused or put off has no flow, nor has one who is only observed"},
	observedMessages: {"coexistd_observed_messages_total", counter, []string{"point", "platform", "verdict", "check"},
		"Messages with recipients for whom the mode is observe, by what would have been done for these. What was done is in coexistd_messages_total"},
	observedRecipients: {"coexistd_observed_recipients_total", counter, []string{"point", "flow", "verdict", "check"},
		"Recipients for whom the mode is observe, by what would have been done for them"},
	findings:     {"coexistd_findings_total", counter, []string{"check", "state"}, "What checks saw of messages: clean, hit or unknown"},
	unproven:     {"coexistd_unproven_messages_total", counter, []string{"platform"}, "Messages in our own name that were put off since they came from the platform's networks without proof of any tenant"},
	archived:     {"coexistd_archived_messages_total", counter, []string{"point"}, "Messages of which a copy went to the archive, by the point where they entered"},
	holdFailures: {"coexistd_quarantine_failures_total", counter, nil, "Messages that were put off since they could not be held"},
	stepSeconds:  {"coexistd_step_duration_seconds", histogram, []string{"step"}, "How long a step of a message's end took, where it was made"},
	scanSeconds:  {"coexistd_scan_duration_seconds", histogram, []string{"check"}, "How long a message was with the scanner of a check, the wait for a free place included"},

	buildInfo:         {"coexistd_build_info", gauge, []string{"version", "goversion"}, "1, with what the program was built of"},
	reloadOK:          {"coexistd_config_last_reload_successful", gauge, nil, "0 while the last reload was refused, and else 1"},
	configLoaded:      {"coexistd_config_loaded_timestamp_seconds", gauge, nil, "When the configuration in use was loaded"},
	underWay:          {"coexistd_messages_under_way", gauge, nil, "Connections with a message or a question of the MTA under way"},
	connections:       {"coexistd_connections", gauge, []string{"use", "address"}, "Connections that are open to a listener"},
	overBound:         {"coexistd_ddos_excesses_total", counter, []string{"at"}, "How often a client was found over a bound of [check.ddos]: at its connection, at a message, or at a recipient that was refused"},
	turnedAway:        {"coexistd_ddos_turned_away", gauge, nil, "Clients and networks that would be turned away now, 1000 at most"},
	scansUnderWay:     {"coexistd_scans_under_way", gauge, []string{"scanner"}, "Messages that a scanner works on"},
	scanPlaces:        {"coexistd_scan_places", gauge, []string{"scanner"}, "How many it works on at once, at most"},
	scannerAway:       {"coexistd_scanner_away", gauge, []string{"scanner"}, "1 while messages do not wait for the scanner, since it does not answer"},
	redisAway:         {"coexistd_redis_away", gauge, nil, "1 while messages do not wait for Redis, since it does not answer"},
	redisSeconds:      {"coexistd_redis_request_duration_seconds", summary, nil, "How long the questions to Redis took, those that failed as well"},
	redisFailures:     {"coexistd_redis_failures_total", counter, nil, "Questions to Redis that had no answer"},
	quarantineOpen:    {"coexistd_quarantine_open", gauge, nil, "1 while messages can be held"},
	quarantineEntries: {"coexistd_quarantine_entries", gauge, nil, "Entries that are held. It is known within a minute, like the next two"},
	quarantineBytes:   {"coexistd_quarantine_bytes", gauge, nil, "The size of what is kept in the quarantine"},
	quarantineMax:     {"coexistd_quarantine_max_bytes", gauge, nil, "The quarantine's max_size; 0: there is no bound"},
	quarantineKeep:    {"coexistd_quarantine_keep_seconds", gauge, nil, "The quarantine's keep; 0: for ever"},
	quarantineOldest:  {"coexistd_quarantine_oldest_timestamp_seconds", gauge, nil, "When the oldest entry came that is held. It is missing while there is none"},
	sendersListed:     {"coexistd_senders", gauge, []string{"kind"}, "Senders that recipients have allowed or blocked, as messages are decided by"},
	sendersFailed:     {"coexistd_senders_failed", gauge, nil, "1 while these cannot be read, so that those from before hold"},
	storeSeconds:      {"coexistd_store_change_duration_seconds", summary, []string{"file"}, "How long changes to a file of SQLite took, the wait for others and those that failed included: store.db has what is held and the audit, messages.db the records of messages"},
	storeFailures:     {"coexistd_store_failures_total", counter, []string{"file"}, "Changes that such a file did not take: the disk is full, the file damaged or in use"},
	recordsLost:       {"coexistd_records_lost_total", counter, nil, "Records of messages that could not be written, so that coexistd messages does not find these. The mail itself went on"},
	recordsFailed:     {"coexistd_records_failed", gauge, nil, "1 while no record of a message can be written"},
	recordsBytes:      {"coexistd_records_bytes", gauge, nil, "The size of the records of messages on disk"},
	mtaLogFailed:      {"coexistd_mta_log_failed", gauge, nil, "1 while the MTA's log cannot be read. It is missing where [messages] mta_log names none"},
	sourceAddresses:   {"coexistd_source_addresses", gauge, []string{"source"}, "Addresses of a directory in memory"},
	sourcePutOff:      {"coexistd_source_put_off_addresses", gauge, []string{"source"}, "Addresses for which mail is put off, since rows of the directory are wrong"},
	sourceLoaded:      {"coexistd_source_loaded_timestamp_seconds", gauge, []string{"source"}, "When the list in memory was taken. It is missing where there is none"},
	sourceAsked:       {"coexistd_source_asked_timestamp_seconds", gauge, []string{"source"}, "When a source outside this host last answered"},
	sourceRefused:     {"coexistd_source_refused", gauge, []string{"source"}, "1 while the newest list is not taken, or there is none"},
	sourceFailed:      {"coexistd_source_failed", gauge, []string{"source"}, "1 while a source outside this host cannot be read"},
	networkCount:      {"coexistd_networks", gauge, []string{"platform", "source"}, "Networks of a platform's list"},
	networkAge:        {"coexistd_networks_age_seconds", gauge, []string{"platform", "source"}, "How long ago the list was last known to be right"},
	networkOld:        {"coexistd_networks_old", gauge, []string{"platform", "source"}, "1 while that is longer ago than the platform's max_age"},
	networkFailed:     {"coexistd_networks_failed", gauge, []string{"platform", "source"}, "1 while the list cannot be refreshed"},
}

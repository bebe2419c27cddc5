package quarantine

import (
	"database/sql"
	"fmt"
	"time"

	"coexistd/milter/audit"
	"coexistd/milter/senders"
)

// migrations are those of store.db, in which rooms below this one have tables, too. Times are
// nanoseconds since 1970, lists are JSON.
var migrations = []string{`
CREATE TABLE facts (
	number INTEGER PRIMARY KEY,
	value  BIGINT NOT NULL
);
CREATE TABLE messages (
	number      INTEGER PRIMARY KEY,
	state       INTEGER NOT NULL,
	time        BIGINT NOT NULL,
	queue_id    TEXT NOT NULL,
	client      TEXT NOT NULL,
	login       TEXT NOT NULL,
	sender      TEXT NOT NULL,
	point       TEXT NOT NULL,
	platform    TEXT NOT NULL,
	size        BIGINT NOT NULL,
	header_from TEXT NOT NULL,
	subject     TEXT NOT NULL,
	message_id  TEXT NOT NULL,
	proven      TEXT NOT NULL
);
CREATE INDEX messages_drafts ON messages (time) WHERE state = 1;
CREATE INDEX messages_unkept ON messages (number) WHERE state = 2;
CREATE TABLE chunks (
	number   INTEGER PRIMARY KEY,
	checksum BIGINT NOT NULL,
	data     BLOB NOT NULL
);
CREATE TABLE entries (
	number    INTEGER PRIMARY KEY,
	id        TEXT NOT NULL UNIQUE,
	message   BIGINT NOT NULL,
	time      BIGINT NOT NULL,
	address   TEXT NOT NULL,
	owner     TEXT NOT NULL,
	notify    TEXT NOT NULL,
	orcpt     TEXT NOT NULL,
	rewritten TEXT NOT NULL,
	checks    TEXT NOT NULL,
	found     TEXT NOT NULL,
	passed    TEXT NOT NULL,
	report    BOOLEAN NOT NULL,
	report_to TEXT NOT NULL,
	state     TEXT NOT NULL,
	changed   BIGINT NOT NULL,
	reported  BOOLEAN NOT NULL,
	digest    BLOB NOT NULL,
	releaser  TEXT NOT NULL
);
CREATE INDEX entries_by_time ON entries (time, number);
CREATE INDEX entries_open ON entries (time, number) WHERE state IN ('held', 'releasing');
CREATE INDEX entries_settled ON entries (changed) WHERE state IN ('released', 'deleted', 'expired');
CREATE INDEX entries_to_expire ON entries ((report AND NOT reported), time, number) WHERE state = 'held';
CREATE INDEX entries_by_message ON entries (message, state);
CREATE INDEX entries_held ON entries (digest) WHERE state = 'held';
`, audit.Schema, senders.Schema}

// The tables of store.db, in the order in which they are saved from a damaged file: what
// others hang on comes last.
var tables = []string{"audit", "senders", "senders_version", "facts", "chunks", "messages", "entries"}

// A message's state.
const (
	whole  = 0 // some entry needs it
	draft  = 1 // it is still being written
	unkept = 2 // nobody needs it: its chunks go
	swept  = 3 // they are gone
)

// The numbers of facts.
const (
	bytesFact      = 1 // the size of all whole messages
	lastReportFact = 2
	lastSentFact   = 3
)

// chunkSize is the length of a message's chunks but its last, in bytes, and maxChunks how
// many a message may have. Both are part of the format: a chunk's number is its message's
// times maxChunks, plus its place.
const (
	chunkSize = 128 << 10
	maxChunks = 1 << 20
)

// openStates chooses entries that are neither settled nor gone, and settledStates the others, as
// the indexes of these have it.
const (
	openStates    = "state IN ('held', 'releasing')"
	settledStates = "state IN ('released', 'deleted', 'expired')"
)

// mended brings tables into order of which some rows are lost. A message without all of its
// chunks cannot be released: its entries are deleted.
func mended(tx *sql.Tx) (lost string, err error) {
	// Its number is another's some day, whose entries they would become.
	gone, err := change(tx, "DELETE FROM entries WHERE NOT EXISTS (SELECT 1 FROM messages m WHERE m.number = entries.message)")
	if err != nil {
		return "", err
	}
	entries, err := change(tx, "UPDATE entries SET state = ?, changed = ?, releaser = '' WHERE "+openStates+` AND NOT EXISTS (
		SELECT 1 FROM messages m WHERE m.number = entries.message AND m.state = ? AND (m.size + ?) / ? =
			(SELECT count(*) FROM chunks c WHERE c.number >= m.number * ? AND c.number < (m.number + 1) * ?))`,
		Deleted, time.Now().UnixNano(), whole, chunkSize-1, chunkSize, maxChunks, maxChunks)
	if err != nil {
		return "", err
	}
	// Of one that is still being written, some may be lost: it must not come to its end.
	messages, err := change(tx, "UPDATE messages SET state = ? WHERE state = ? OR state = ? AND NOT EXISTS (SELECT 1 FROM entries e WHERE e.message = messages.number AND e."+openStates+")",
		unkept, draft, whole)
	if err != nil {
		return "", err
	}
	// Chunks whose message is lost have nobody who removes them.
	chunks, err := change(tx, "DELETE FROM chunks WHERE NOT EXISTS (SELECT 1 FROM messages m WHERE m.number = chunks.number / ?)", maxChunks)
	if err != nil {
		return "", err
	}
	if err := senders.Mended(tx); err != nil {
		return "", err
	}
	if _, err := change(tx, "DELETE FROM facts WHERE number = ?", bytesFact); err != nil {
		return "", err
	}
	var bytes int64
	if err := tx.QueryRow("SELECT coalesce(sum(size), 0) FROM messages WHERE state = ?", whole).Scan(&bytes); err != nil {
		return "", err
	}
	if err := addFact(tx, bytesFact, bytes); err != nil || gone+entries+messages+chunks == 0 {
		return "", err
	}
	return fmt.Sprintf("entries of messages of which nothing is known: %d; entries whose message cannot be read: %d; messages for which no entry can be read, or which cannot be read themselves: %d; pieces of other messages: %d", gone, entries, messages, chunks), nil
}

// change changes rows, and tells how many.
func change(tx *sql.Tx, query string, args ...any) (changed int64, err error) {
	result, err := tx.Exec(query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// fact reads a fact; 0: there is none.
func fact(tx *sql.Tx, number int) (value int64, err error) {
	err = tx.QueryRow("SELECT coalesce(max(value), 0) FROM facts WHERE number = ?", number).Scan(&value)
	return value, err
}

func setFact(tx *sql.Tx, number int, value int64) error {
	_, err := tx.Exec("INSERT INTO facts VALUES (?, ?) ON CONFLICT (number) DO UPDATE SET value = excluded.value", number, value)
	return err
}

func addFact(tx *sql.Tx, number int, value int64) error {
	_, err := tx.Exec("INSERT INTO facts VALUES (?, ?) ON CONFLICT (number) DO UPDATE SET value = facts.value + excluded.value", number, value)
	return err
}

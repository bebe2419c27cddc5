package messages

import (
	"database/sql"
	"log/slog"

	"coexistd/milter/store"
)

// migrations make the tables of messages.db, one after the other.
//
// The numbers of messages are handed out in order, and a run of some tens of them is one row: the
// number of its first message as the id, that of its last, the times of its earliest and its
// latest, in microseconds since 1970, and the messages in a form of their own (see run.go). The
// last run is written anew with more messages until it is full.
//
// A message is found by its terms (see terms.go). A span of some thousands of messages is indexed
// once it is full: a row of spans, with the same four numbers, and one of blocks for each part of
// its index. That way an index row is written once, behind all others, and never changed; to have
// each term's rows in an order of their own would cost several times the processor time and the
// disk.
var migrations = []string{`
CREATE TABLE runs (
	id INTEGER PRIMARY KEY,
	last INTEGER NOT NULL,
	earliest INTEGER NOT NULL,
	latest INTEGER NOT NULL,
	messages BLOB NOT NULL
);
CREATE TABLE spans (
	id INTEGER PRIMARY KEY,
	last INTEGER NOT NULL,
	earliest INTEGER NOT NULL,
	latest INTEGER NOT NULL
);
CREATE TABLE blocks (
	id INTEGER PRIMARY KEY,
	entries BLOB NOT NULL
);
CREATE TABLE counts (
	minute INTEGER NOT NULL,
	point TEXT NOT NULL,
	flow TEXT NOT NULL,
	verdict TEXT NOT NULL,
	deciding TEXT NOT NULL,
	messages INTEGER NOT NULL,
	recipients INTEGER NOT NULL,
	PRIMARY KEY (minute, point, flow, verdict, deciding)
)`, deliveryTables}

// file are the options of messages.db. What is in it is no mail: it may lose the last changes
// in a crash of the machine, and is begun anew when it is damaged.
func file(path string, log *slog.Logger) store.Options {
	return store.Options{
		Path: path, Migrations: migrations, Log: log,
		Mended: func(*sql.Tx) (string, error) { return "all records of messages", nil },
	}
}

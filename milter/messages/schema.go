package messages

import (
	"database/sql"
	"log/slog"

	"coexistd/milter/store"
)

// migrations make the tables of messages.db, one after the other.
//
// A message is found by its terms (see terms.go). The numbers of messages are handed out in
// order, and each span of so many of them is indexed once it is full: a row of spans, with the
// times of its messages in microseconds since 1970, and one of blocks for each part of its
// index. That way an index row is written once, and never changed; to have each term's rows in
// an order of their own would cost several times the processor time and the disk.
var migrations = []string{`
CREATE TABLE messages (
	id INTEGER PRIMARY KEY,
	time INTEGER NOT NULL,
	queue_id TEXT NOT NULL,
	client TEXT NOT NULL,
	login TEXT NOT NULL,
	sender TEXT NOT NULL,
	message_id TEXT NOT NULL,
	subject TEXT NOT NULL,
	size INTEGER NOT NULL,
	point TEXT NOT NULL,
	platform TEXT NOT NULL,
	verdict TEXT NOT NULL,
	deciding TEXT NOT NULL,
	details TEXT NOT NULL
);
CREATE TABLE spans (
	id INTEGER PRIMARY KEY,
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

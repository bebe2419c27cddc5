package quarantine

import (
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// row is an entry as the store has it.
type row struct {
	Entry
	number int64
	// digest tells sender, recipient and content from all others.
	digest []byte
	// releaser names the process that has claimed it; empty: none has.
	releaser string
}

// textList is a list in a column.
type textList struct{ list *[]string }

// Scan is sql.Scanner's.
func (t textList) Scan(value any) error {
	text, is := value.(string)
	if !is {
		return fmt.Errorf("a list is a %T", value)
	}
	*t.list = nil
	return json.Unmarshal([]byte(text), t.list)
}

func listText(list []string) string {
	if len(list) == 0 {
		return "[]"
	}
	text, err := json.Marshal(list)
	if err != nil {
		panic(err) // of a list of strings there is no error
	}
	return string(text)
}

// nanoseconds is a time in a column.
type nanoseconds struct{ at *time.Time }

// Scan is sql.Scanner's.
func (n nanoseconds) Scan(value any) error {
	since, is := value.(int64)
	if !is {
		return fmt.Errorf("a time is a %T", value)
	}
	*n.at = time.Unix(0, since).UTC()
	return nil
}

// selectEntries reads rows of entries with their messages, in the order of scanRow.
const selectEntries = `SELECT e.number, e.id, e.message, m.time, m.queue_id, m.client, m.login, m.sender, m.point, m.platform, m.size,
	m.header_from, m.subject, m.message_id, m.proven, e.address, e.owner, e.notify, e.orcpt, e.rewritten, e.checks, e.found, e.passed, e.report, e.report_to,
	e.state, e.changed, e.reported, e.digest, e.releaser FROM entries e JOIN messages m ON m.number = e.message `

func scanRow(from interface{ Scan(...any) error }) (r row, err error) {
	var point string
	err = from.Scan(&r.number, &r.ID, &r.Message, nanoseconds{&r.Time}, &r.QueueID, &r.Client, &r.Login, &r.Sender, &point, &r.Platform, &r.Size,
		&r.From, &r.Subject, &r.MessageID, &r.Proven, &r.Address, &r.Owner, &r.Notify, &r.ORcpt, textList{&r.Rewritten}, textList{&r.Checks}, textList{&r.Found}, textList{&r.Passed}, &r.Report, textList{&r.ReportTo},
		&r.State, nanoseconds{&r.Changed}, &r.Reported, &r.digest, &r.releaser)
	if err == nil {
		err = r.Point.UnmarshalText([]byte(point))
	}
	return r, err
}

// rows reads the entries that a condition chooses.
func rows(tx *sql.Tx, condition string, args ...any) (list []row, err error) {
	found, err := tx.Query(selectEntries+condition, args...)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		r, err := scanRow(found)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, found.Err()
}

// get returns the entry with that ID, or ErrNotFound.
func get(tx *sql.Tx, id string) (row, error) {
	r, err := scanRow(tx.QueryRow(selectEntries+"WHERE e.id = ?", id))
	if errors.Is(err, sql.ErrNoRows) {
		return row{}, fmt.Errorf("%w %.40q", ErrNotFound, id)
	}
	return r, err
}

// holder returns the newest entry that holds the message for the recipient of a digest, if it
// is newer than one by its number.
func holder(tx *sql.Tx, digest []byte, than int64) (r row, found bool, err error) {
	r, err = scanRow(tx.QueryRow(selectEntries+"WHERE e.digest = ? AND e.state = 'held' AND e.number > ? ORDER BY e.number DESC LIMIT 1", digest, than))
	if errors.Is(err, sql.ErrNoRows) {
		return row{}, false, nil
	}
	return r, err == nil, err
}

// insertMessage adds a message.
func insertMessage(tx *sql.Tx, number int64, state int, item Item) error {
	_, err := tx.Exec("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		number, state, item.Time.UnixNano(), item.QueueID, item.Client, item.Login, item.Sender, item.Point.String(), item.Platform, item.Size,
		item.From, item.Subject, item.MessageID, item.Proven)
	return err
}

// goOn notes how a message goes on that was begun. Where the clock was set forward, Prune may
// have taken it for one left over: what is gone of it then must not be missing from what is
// held. Its number may have become another's since, which its time tells.
func goOn(tx *sql.Tx, number int64, state int, item Item) error {
	changed, err := change(tx, "UPDATE messages SET state = ?, size = ? WHERE number = ? AND time = ? AND state = ?",
		state, item.Size, number, item.Time.UnixNano(), draft)
	if err == nil && changed == 0 {
		err = errors.New("what was written of it was cleared out before its end came")
	}
	return err
}

// insertEntries adds the entries of a message's recipients, which are held from now on.
func insertEntries(tx *sql.Tx, message int64, item Item, recipients []named) error {
	insert, err := tx.Prepare("INSERT INTO entries VALUES ((SELECT coalesce(max(number), 0) + 1 FROM entries), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'held', ?, ?, ?, '')")
	if err != nil {
		return err
	}
	defer insert.Close()
	at := item.Time.UnixNano()
	for _, r := range recipients {
		_, err := insert.Exec(r.id, message, at, r.Address, r.Owner, r.Notify, r.ORcpt,
			listText(r.Rewritten), listText(r.Checks), listText(r.Found), listText(r.Passed), r.Report, listText(r.ReportTo), at, false, r.digest)
		if err != nil {
			return err
		}
	}
	return nil
}

// entryDigest tells a message to one recipient from all others.
func entryDigest(sender, recipient string, content []byte) []byte {
	hash := sha256.New()
	fmt.Fprintf(hash, "%d %s %d %s ", len(sender), sender, len(recipient), recipient)
	hash.Write(content)
	return hash.Sum(nil)
}

// set stores what has become of an entry. A message that no entry needs any more is unkept
// then, and its size freed.
func set(tx *sql.Tx, r *row, state State, releaser string, now time.Time) (freed int64, err error) {
	settles := r.isOpen() && state != Held && state != Releasing
	r.State, r.Changed, r.releaser = state, now, releaser
	if _, err := tx.Exec("UPDATE entries SET state = ?, changed = ?, releaser = ? WHERE number = ?", state, now.UnixNano(), releaser, r.number); err != nil || !settles {
		return 0, err
	}
	changed, err := change(tx, "UPDATE messages SET state = ? WHERE number = ? AND state = ? AND NOT EXISTS (SELECT 1 FROM entries WHERE message = ? AND "+openStates+")",
		unkept, r.Message, whole, r.Message)
	if err != nil || changed == 0 {
		return 0, err
	}
	return r.Size, addFact(tx, bytesFact, -r.Size)
}

package quarantine

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"iter"
	"os"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// The keys of the bucket meta.
var (
	bytesKey      = []byte("bytes")       // the size of all messages' files
	lastReportKey = []byte("last report") // as time.Time marshals itself
	lastSentKey   = []byte("last sent")   // likewise
)

// record is an entry as the index has it.
type record struct {
	Entry
	// Digest tells sender, recipient and content from all others.
	Digest []byte `json:"digest"`
}

// share is what the index has of a message's file: its size, and how many
// entries still need it.
type share struct {
	Size, Needed int64
}

// errDamaged is the error of an index that cannot be read.
var errDamaged = errors.New("the index is damaged")

// index is one transaction on the index.
type index struct {
	entries  *bolt.Bucket // age key (see ageKey) to record
	open     *bolt.Bucket // the age keys of entries that are not settled
	ids      *bolt.Bucket // ID to age key
	digests  *bolt.Bucket // record.Digest to the ID of the newest entry with it
	messages *bolt.Bucket // a message's name to share
	meta     *bolt.Bucket
	// unneeded are the messages whose files go once the transaction is done.
	unneeded []string
}

// buckets are those of an index, by name.
func (ix *index) buckets() map[string]**bolt.Bucket {
	return map[string]**bolt.Bucket{
		"entries": &ix.entries, "open": &ix.open, "ids": &ix.ids, "digests": &ix.digests, "messages": &ix.messages, "meta": &ix.meta,
	}
}

// withIndex calls do with the index at path, in one transaction that is given up
// when do returns an error. The caller holds the lock. What is wrong with the
// index itself becomes errDamaged, also where bbolt panics at it or reads behind
// its end; the file is missing then or can be set aside.
func withIndex(path string, write bool, do func(*index) error) (err error) {
	var file *os.File
	options := &bolt.Options{
		ReadOnly: !write,
		Timeout:  time.Second, // the lock of ours keeps everybody out already
		OpenFile: func(name string, flag int, mode os.FileMode) (opened *os.File, err error) {
			opened, err = os.OpenFile(name, flag&^os.O_CREATE, mode)
			file = opened
			return opened, err
		},
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			// Closing it in an orderly way could panic again.
			file.Close()
			err = fmt.Errorf("%w: %v", errDamaged, v)
		}
	}()
	if err := checkMeta(path); err != nil {
		return err
	}
	db, err := bolt.Open(path, 0, options)
	switch {
	case err == nil:
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return fmt.Errorf("%w: %w", errDamaged, err)
	default:
		return err
	}
	err = inTransaction(db, write, do)
	return errors.Join(err, db.Close())
}

// bbolt's file begins with two meta pages, which its transactions write in turn:
// 16 bytes that head every page, a magic number of 4 bytes, 52 more bytes, and the
// FNV-1a checksum of these 56.
const (
	pageSize  = 4096
	metaStart = 16
	metaSize  = 64
	metaMagic = 0xED0CDAED
)

// checkMeta wants both meta pages to be whole. With one of them, bbolt would go on
// without the last transaction: a message of which the MTA was told would have a
// file without entries.
func checkMeta(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	for page := range int64(2) {
		meta := make([]byte, metaSize)
		if _, err := file.ReadAt(meta, page*pageSize+metaStart); err == io.EOF {
			return fmt.Errorf("%w: it is too short", errDamaged)
		} else if err != nil {
			return err
		}
		sum := fnv.New64a()
		sum.Write(meta[:metaSize-8])
		if binary.NativeEndian.Uint32(meta) != metaMagic || binary.NativeEndian.Uint64(meta[metaSize-8:]) != sum.Sum64() {
			return fmt.Errorf("%w: meta page %d is not whole", errDamaged, page)
		}
	}
	return nil
}

func inTransaction(db *bolt.DB, write bool, do func(*index) error) error {
	run := db.View
	if write {
		run = db.Update
	}
	return run(func(tx *bolt.Tx) error {
		ix := &index{}
		for name, bucket := range ix.buckets() {
			if *bucket = tx.Bucket([]byte(name)); *bucket == nil {
				return fmt.Errorf("%w: a part of it is missing", errDamaged)
			}
		}
		return do(ix)
	})
}

// newIndex makes an index and has fill put messages into it, batch by batch.
func newIndex(path string, batches iter.Seq[[]string], fill func(*index, []string) error) (err error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, NoSync: true, PageSize: pageSize})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.Update(func(tx *bolt.Tx) error {
		for name := range new(index).buckets() {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for batch := range batches {
		if err := inTransaction(db, true, func(ix *index) error { return fill(ix, batch) }); err != nil {
			return err
		}
	}
	return db.Sync()
}

// ageKey orders entries by the age of their messages.
func ageKey(e *Entry) []byte {
	// With the sign turned round, times before 1970 come before the others.
	return append(binary.BigEndian.AppendUint64(nil, uint64(e.Time.UnixNano())^1<<63), e.ID...)
}

// entryDigest tells a message to one recipient from all others.
func entryDigest(sender, recipient string, content []byte) []byte {
	hash := sha256.New()
	fmt.Fprintf(hash, "%d %s %d %s ", len(sender), sender, len(recipient), recipient)
	hash.Write(content)
	return hash.Sum(nil)
}

// add puts an entry into the index that is held from now on.
func (ix *index) add(r *record) error {
	key := ageKey(&r.Entry)
	if ix.ids.Get([]byte(r.ID)) != nil {
		return fmt.Errorf("the ID %s exists already", r.ID)
	}
	return errors.Join(ix.put(key, r), ix.open.Put(key, nil), ix.ids.Put([]byte(r.ID), key), ix.digests.Put(r.Digest, []byte(r.ID)))
}

func (ix *index) put(key []byte, r *record) error {
	value, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return ix.entries.Put(key, value)
}

func (ix *index) share(name string) (share, error) {
	value := ix.messages.Get([]byte(name))
	if value == nil {
		return share{}, nil
	}
	if len(value) != 16 {
		return share{}, fmt.Errorf("%w: the message %q has no size", errDamaged, name)
	}
	return share{int64(binary.BigEndian.Uint64(value)), int64(binary.BigEndian.Uint64(value[8:]))}, nil
}

func (ix *index) putShare(name string, s share) error {
	value := binary.BigEndian.AppendUint64(nil, uint64(s.Size))
	return ix.messages.Put([]byte(name), binary.BigEndian.AppendUint64(value, uint64(s.Needed)))
}

// bytes is the size of all messages' files.
func (ix *index) bytes() int64 {
	if value := ix.meta.Get(bytesKey); len(value) == 8 {
		return int64(binary.BigEndian.Uint64(value))
	}
	return 0
}

func (ix *index) count(size int64) error {
	return ix.meta.Put(bytesKey, binary.BigEndian.AppendUint64(nil, uint64(max(0, ix.bytes()+size))))
}

// get returns the entry with that ID, or ErrNotFound.
func (ix *index) get(id string) (record, error) {
	key := ix.ids.Get([]byte(id))
	if key == nil {
		return record{}, fmt.Errorf("%w %.40q", ErrNotFound, id)
	}
	return parseRecord(ix.entries.Get(key))
}

func parseRecord(value []byte) (r record, err error) {
	if err := json.Unmarshal(value, &r); err != nil {
		return r, fmt.Errorf("%w: an entry cannot be read: %w", errDamaged, err)
	}
	return r, nil
}

// holder returns the entry that holds the message for the recipient of a digest.
func (ix *index) holder(digest []byte) (r record, found bool, err error) {
	id := ix.digests.Get(digest)
	if id == nil {
		return r, false, nil
	}
	r, err = ix.get(string(id))
	return r, err == nil && r.State == Held, err
}

// set stores what has become of an entry. A message that no entry needs any more
// is unneeded then.
func (ix *index) set(r *record, state State, now time.Time) error {
	settled := r.isOpen() && state != Held && state != Releasing
	r.State, r.Changed = state, now
	key := ageKey(&r.Entry)
	if err := ix.put(key, r); err != nil || !settled {
		return err
	}
	if err := ix.open.Delete(key); err != nil {
		return err
	}
	s, err := ix.share(r.Message)
	if err != nil || s.Needed == 0 {
		return err
	}
	if s.Needed--; s.Needed > 0 {
		return ix.putShare(r.Message, s)
	}
	ix.unneeded = append(ix.unneeded, r.Message)
	return errors.Join(ix.messages.Delete([]byte(r.Message)), ix.count(-s.Size))
}

// forget removes a settled entry's record.
func (ix *index) forget(r *record) error {
	err := errors.Join(ix.entries.Delete(ageKey(&r.Entry)), ix.ids.Delete([]byte(r.ID)))
	if bytes.Equal(ix.digests.Get(r.Digest), []byte(r.ID)) {
		err = errors.Join(err, ix.digests.Delete(r.Digest))
	}
	return err
}

// records yields the records whose age keys a bucket has, the oldest first. An error is
// the last that comes. Nothing may be changed meanwhile.
func (ix *index) records(bucket *bolt.Bucket) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		c := bucket.Cursor()
		for key, value := c.First(); key != nil; key, value = c.Next() {
			if bucket != ix.entries {
				value = ix.entries.Get(key)
			}
			if r, err := parseRecord(value); !yield(r, err) || err != nil {
				return
			}
		}
	}
}

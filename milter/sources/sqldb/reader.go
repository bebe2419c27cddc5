package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"coexistd/milter/sources"
	"coexistd/policy/config/files"
	"coexistd/policy/mail"
)

const (
	maxRows    = 10_000_000
	maxColumns = 100
	maxValue   = 64 << 10 // bytes
)

// Reader reads the list of a database. It changes nothing there.
type Reader struct {
	options   Options
	place     string
	db        *sql.DB
	begin     *sql.TxOptions
	allowance *atomic.Int64 // what connections may still read before the next row
	murmur    murmur
	dialled   atomic.Pointer[bounded] // the last connection
}

var _ sources.Reader = (*Reader)(nil)

// Close ends what the Reader has open.
func (r *Reader) Close() {
	r.db.Close() //nolint:errcheck // There is nothing that it could lose.
}

// Mark asks the MarkQuery.
func (r *Reader) Mark(ctx context.Context) (sources.Mark, error) {
	if r.options.MarkQuery == "" {
		return nil, nil
	}
	var mark sources.Mark
	err := r.ask(ctx, "the query of the mark", r.options.MarkQuery, func(a answer) (err error) {
		switch {
		case a.number == 0:
			return nil
		case a.number > 1:
			return errors.New("it gives more than one row; count, or take the greatest, so that it gives one")
		}
		mark, err = markOf(a.columns, a.values)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case mark == nil:
		return nil, r.fail("the query of the mark", "it gives no row; count, or take the greatest, so that it gives one", nil)
	}
	return mark, nil
}

// Read asks the Query, and gives each row to add as it comes. Of a result without rows,
// too, the columns must be right.
func (r *Reader) Read(ctx context.Context, add func(sources.Row) error) error {
	const asked = "the query"
	keep := keeper{want: r.options.Keep, wanted: true}
	var refused error // by add: that error is not ours to word
	err := r.ask(ctx, asked, r.options.Query, func(a answer) error {
		if a.number == 0 {
			if !slices.Contains(a.columns, "address") {
				return errNoAddress(a.columns)
			}
			return nil
		}
		if a.number > maxRows {
			return fmt.Errorf("it gives more than %d rows; name fewer", maxRows)
		}
		row, err := r.options.row(a.number, a.columns, a.values)
		if err != nil || row.Address == "" || !keep.wants(row.Address) {
			return err
		}
		refused = add(row)
		return refused
	})
	if refused != nil {
		return refused
	}
	return err
}

// answer is a row of a result; that of number 0 comes before all and has no values.
type answer struct {
	number  int
	columns []string // their names in lower case
	values  []any    // good until the next
}

// ask asks a query, and hands on the rows of its result until there is no other. An error
// of take ends it.
func (r *Reader) ask(ctx context.Context, asked, query string, take func(answer) error) error {
	if r.options.Driver == SQLite {
		if _, err := files.Look(r.options.Database); err != nil {
			return fmt.Errorf("the SQLite file %s %w", r.options.Database, err)
		}
	}
	watched, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := patience{time.AfterFunc(r.options.Timeout, func() { cancel(errSilent) }), r.options.Timeout, r.allowance}
	defer p.rest()
	r.murmur.take()
	err := r.stream(watched, cancel, query, p, func(a answer) error {
		if err := take(a); err != nil {
			return err
		}
		return ctx.Err() // what came is not the whole answer, however much of it is here already
	})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return r.fail(asked, ctx.Err().Error(), ctx.Err())
	case context.Cause(watched) == errSilent:
		return r.fail(asked, sources.Silence(r.options.Timeout), err)
	}
	said := &told{}
	if errors.As(err, &said) {
		return r.fail(asked, said.Error(), err)
	}
	return r.fail(asked, r.words(err), err)
}

// told is an error in our own words.
type told struct{ error }

// stream asks a query in a transaction of its own. When it ends before the last row it
// cancels first: the drivers would read all that are left.
func (r *Reader) stream(ctx context.Context, cancel context.CancelCauseFunc, query string, p patience, take func(answer) error) (err error) {
	taking := false
	defer func() {
		// MySQL's driver trusts in what a server says to have the form that it should.
		fault := recover()
		switch {
		case fault == nil:
			return
		case taking:
			panic(fault)
		}
		if conn := r.dialled.Load(); conn != nil {
			conn.Close()
		}
		err = fmt.Errorf("what the server says cannot be read: %v", fault)
	}()
	p.wait()
	tx, err := r.db.BeginTx(ctx, r.begin)
	if err != nil {
		return err
	}
	defer tx.Rollback() // It changes nothing that could be lost.
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	err = each(rows, p, func(a answer) error {
		taking = true
		err := take(a)
		taking = false
		return err
	})
	if err == nil {
		err = rows.Err()
	}
	if err != nil {
		cancel(nil)
	}
	p.wait()
	return err
}

// each hands on the columns, and the rows until there is no other.
func each(rows *sql.Rows, p patience, take func(answer) error) error {
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	a := answer{columns: make([]string, len(names)), values: make([]any, len(names))}
	places := make([]any, len(names))
	for i, name := range names {
		a.columns[i], places[i] = strings.ToLower(name), &a.values[i]
	}
	if err := checkColumns(a.columns); err != nil {
		return &told{err}
	}
	for {
		p.rest()
		if err := take(a); err != nil {
			return &told{err}
		}
		p.wait()
		if !rows.Next() {
			return nil
		}
		if err := rows.Scan(places...); err != nil {
			return err
		}
		a.number++
	}
}

var errSilent = errors.New("the server is silent")

// patience ends a question that waits too long for one answer.
type patience struct {
	timer     *time.Timer
	most      time.Duration
	allowance *atomic.Int64
}

// wait begins the wait for an answer of the server.
func (p patience) wait() {
	p.allowance.Store(maxAnswer)
	p.timer.Reset(p.most)
}

// rest says that nobody waits for the server.
func (p patience) rest() { p.timer.Stop() }

// keeper tells which addresses are wanted. Those of one domain often follow each other.
type keeper struct {
	want   func(domain string) bool
	domain string
	wanted bool
}

// wants reports whether an address is wanted. One without a domain is: that it is wrong is
// for others to say.
func (k *keeper) wants(address string) bool {
	at := strings.LastIndexByte(address, '@')
	if k.want == nil || at < 0 {
		return true
	}
	if written := address[at+1:]; written != k.domain {
		normal := mail.DomainOf(written)
		k.domain, k.wanted = written, normal == "" || k.want(normal)
	}
	return k.wanted
}

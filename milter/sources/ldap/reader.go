package ldap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"coexistd/milter/sources"
)

// rest is how long a server that failed is tried last.
const rest = 5 * time.Minute

// Reader is a sources.Reader of the people in a directory server. Between its calls it keeps
// one connection, so that a Mark and the Read after it are of the same server.
type Reader struct {
	o       Options
	mapping *mapping
	servers []*server
	kept    *conn
	marked  *conn // whom the last Mark asked
	unsure  bool  // the last Read asked another
	now     func() time.Time
}

var _ sources.Reader = (*Reader)(nil)

// New returns a Reader, or all that is wrong with the options. It asks no server.
func New(o Options) (*Reader, error) {
	o, err := o.complete()
	r := &Reader{o: o, now: time.Now}
	wrong := []error{err}
	for _, text := range o.Servers {
		s, err := newServer(text, o.StartTLS)
		wrong, r.servers = append(wrong, err), append(r.servers, s)
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	r.mapping = newMapping(o)
	return r, nil
}

// Close ends the connection that is kept. The Reader makes a new one when it is asked again.
func (r *Reader) Close() {
	if r.kept != nil {
		r.kept.close()
		r.kept = nil
	}
}

// Mark reads OpenLDAP's contextCSN or Active Directory's highestCommittedUSN. Of other
// servers, and where that may not be read, it is empty.
func (r *Reader) Mark(ctx context.Context) (mark sources.Mark, err error) {
	err = r.ask(ctx, func(c *conn) (err error) {
		mark, err = c.mark(ctx)
		r.marked = c
		return err
	}, func() bool { return false })
	if err == nil && r.unsure && len(mark) > 0 {
		// What was read may be older than the mark that was read before it, so this one must
		// differ from both that and the next.
		mark["read from elsewhere"], r.unsure = "", false
	}
	return mark, err
}

// Read gives the rows of all entries. When a server fails before it has given one, the next
// is asked.
func (r *Reader) Read(ctx context.Context, add func(sources.Row) error) error {
	rows := 0
	count := func(row sources.Row) error {
		if rows++; rows > maxRows {
			return fmt.Errorf("there are more than %d rows", maxRows)
		}
		if err := add(row); err != nil {
			return &taken{err}
		}
		return nil
	}
	err := r.ask(ctx, func(c *conn) error {
		r.unsure = c != r.marked
		return r.read(ctx, c, count)
	}, func() bool { return rows > 0 })
	if theirs, ok := errors.AsType[*taken](err); ok {
		return theirs.error
	}
	return err
}

// read gives the rows of all entries of one server.
func (r *Reader) read(ctx context.Context, c *conn, add func(sources.Row) error) error {
	if err := r.readGroups(ctx, c); err != nil {
		return err
	}
	entries := 0
	return c.search(ctx, r.o.Filter, r.mapping.wanted, func(e *goldap.Entry) error {
		if entries++; entries > maxRows {
			return fmt.Errorf("it sent more than %d entries", maxRows)
		}
		if err := checkNames(e, r.mapping.wanted); err != nil {
			return err
		}
		found, err := gather(e, r.mapping.wanted)
		if err != nil {
			return err
		}
		for _, row := range r.mapping.rows(e.DN, found) {
			if err := add(row); err != nil {
				return err
			}
		}
		return nil
	})
}

// readGroups looks whether the groups are there, and who is in them, where the members
// themselves do not tell.
func (r *Reader) readGroups(ctx context.Context, c *conn) error {
	g := r.mapping.groups
	if g.nested {
		root, err := c.entry(ctx, "", "supportedCapabilities")
		if err != nil {
			return err
		}
		if !slices.Contains(root["supportedcapabilities"], activeDirectory) {
			return c.o.fail(c.server, "reading nested groups", errors.New("it is no Active Directory, and knows no nested groups; leave Nested out"))
		}
	}
	g.members = make(map[string]int)
	for place, group := range g.choices {
		switch found, err := c.entry(ctx, group.Value, noAttributes); {
		case err != nil:
			return err
		case found == nil:
			return c.o.fail(c.server, "reading the group "+group.Value, errors.New("it is not there, or may not be read, so that nobody would be a member of it; check its DN"))
		case g.nested:
			filter := "(&" + r.o.Filter + "(memberOf:" + inChain + ":=" + goldap.EscapeFilter(group.Value) + "))"
			err := c.search(ctx, filter, []string{noAttributes}, func(e *goldap.Entry) error { return g.addMember(e.DN, place) })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

const (
	// activeDirectory is the capability of one (LDAP_CAP_ACTIVE_DIRECTORY_OID).
	activeDirectory = "1.2.840.113556.1.4.800"
	// inChain matches through groups of groups (LDAP_MATCHING_RULE_IN_CHAIN).
	inChain = "1.2.840.113556.1.4.1941"
)

// ask has one server do something: the kept connection's, or the first that does it. Once
// it is under way, it is not begun anew with another.
func (r *Reader) ask(ctx context.Context, do func(*conn) error, underWay func() bool) error {
	order := r.order()
	if c := r.kept; c != nil && c.server == order[0] {
		err := r.use(c, do)
		// The server may have ended a connection that was idle: that is no fault of it.
		if err == nil || ctx.Err() != nil || isFinal(err) {
			return err
		}
		if underWay() {
			c.server.failed = r.now()
			return err
		}
	}
	r.Close()
	var failures []error
	for _, s := range order {
		c, err := connect(ctx, &r.o, s)
		if err == nil {
			err = r.use(c, do)
		}
		if err == nil {
			s.failed = time.Time{}
			return nil
		}
		failures = append(failures, err)
		if _, theirs := errors.AsType[*taken](err); theirs || ctx.Err() != nil {
			break
		}
		if s.failed = r.now(); isFinal(err) || underWay() {
			break
		}
	}
	return joined(failures)
}

// use has a connection do something, and keeps it when that went well.
func (r *Reader) use(c *conn, do func(*conn) error) error {
	err := do(c)
	if err != nil {
		r.kept = nil
		c.close()
		return err
	}
	r.kept = c
	return nil
}

// isFinal reports an error that another server would give, too. Where a password is wrong,
// each further try brings the account closer to being locked.
func isFinal(err error) bool {
	_, theirs := errors.AsType[*taken](err)
	return theirs || isResult(err, goldap.LDAPResultInvalidCredentials)
}

// order returns the servers as they are tried: those that failed a while ago at their
// places, those that failed lately behind them.
func (r *Reader) order() []*server {
	failedLately := func(s *server) bool { return !s.failed.IsZero() && r.now().Sub(s.failed) < rest }
	order := slices.Clone(r.servers)
	slices.SortStableFunc(order, func(a, b *server) int {
		switch lately := failedLately(a); {
		case lately == failedLately(b):
			return 0
		case lately:
			return 1
		}
		return -1
	})
	return order
}

// joined makes one error of those of several servers.
func joined(failures []error) error {
	if len(failures) == 1 {
		return failures[0]
	}
	text := ""
	for i, err := range failures {
		if i > 0 {
			text += "; "
		}
		text += err.Error()
	}
	return &several{text, failures}
}

// several are the failures of several servers, on one line.
type several struct {
	text     string
	failures []error
}

// Error returns what each server did not do.
func (s *several) Error() string { return s.text }

// Unwrap returns the failures.
func (s *several) Unwrap() []error { return s.failures }

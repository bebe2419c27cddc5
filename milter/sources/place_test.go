package sources_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/milter/sources"
)

// person is somebody whom every place can have.
type person struct {
	name                        string   // the entry's, in lower case
	addresses                   []string // the first is of ASCII
	lives                       string   // "here", "office365" or "both"
	login, target, kind, hourly string
}

// words are how places write where somebody lives.
var words = map[string]string{"here": "Local", "office365": "Cloud", "both": "Two"}

// place is where a list of people stands: a server that the lab runs, or a file.
type place struct {
	// open makes a Reader.
	open func(asking) (sources.Reader, error)
	// change has entries go, and then others come.
	change func(gone []string, come []person) error
	// backup keeps all that there is, and restore brings it back.
	backup, restore func() error
	// says is what the place can say of a row; nil: all.
	says func(sources.Row) sources.Row
	// timeless is set where the mark does not tell which of two states is older.
	timeless bool
	// longest is how many bytes may belong together.
	longest int
	// noNUL is set where no text may hold that byte.
	noNUL bool

	// server is at addr, and knows who asks by a password. A file has none.
	server         server
	addr, password string
	// several is set where a Reader may ask more than one server.
	several bool
	// part makes a Reader of a file that has a share of this one.
	part func(share float64) (sources.Reader, error)

	now, kept map[string]person // whom it has, and whom the backup has
}

// asking is how a Reader is to ask.
type asking struct {
	addrs    []string      // of servers
	timeout  time.Duration // zero: the usual one
	password string
}

// server is a real server that the lab runs.
type server interface {
	Suspend() error
	Continue() error
	Kill() error
	Start(context.Context) error
	Stop() error
	Log() string
}

// stopAfter ends a server with the test.
func stopAfter(t *testing.T, s server) {
	t.Cleanup(func() {
		if t.Failed() {
			log := s.Log()
			t.Log(log[max(0, len(log)-10_000):])
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// deadline is a context that outlasts any test that is not stuck.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put has people come, or be as they are now.
func (p *place) put(t *testing.T, list ...person) {
	t.Helper()
	var gone []string
	for _, one := range list {
		if _, is := p.now[one.name]; is {
			gone = append(gone, one.name)
		}
		p.now[one.name] = one
	}
	do(t, p.change(gone, list))
}

// remove has people go, or all where none are named.
func (p *place) remove(t *testing.T, names ...string) {
	t.Helper()
	if names == nil {
		names = slices.Sorted(maps.Keys(p.now))
	}
	for _, name := range names {
		delete(p.now, name)
	}
	do(t, p.change(names, nil))
}

// save keeps all that there is for goBack.
func (p *place) save(t *testing.T) {
	t.Helper()
	do(t, p.backup())
	p.kept = maps.Clone(p.now)
}

func (p *place) goBack(t *testing.T) {
	t.Helper()
	do(t, p.restore())
	p.now = maps.Clone(p.kept)
}

// make makes a Reader, which is the caller's to close.
func (p *place) make(a asking) (sources.Reader, error) {
	if a.addrs == nil {
		a.addrs = []string{p.addr}
	}
	a.password = cmp.Or(a.password, p.password)
	return p.open(a)
}

// reader makes a Reader for the test.
func (p *place) reader(t *testing.T, a asking) sources.Reader {
	t.Helper()
	r, err := p.make(a)
	do(t, err)
	t.Cleanup(r.Close)
	return r
}

// proxy stands before the place's server.
func (p *place) proxy(t *testing.T) *lab.Proxy {
	t.Helper()
	proxy, err := lab.StartProxy(p.addr)
	do(t, err)
	t.Cleanup(func() { do(t, proxy.Close()) })
	return proxy
}

// rows are those that the place must give, as texts in their order.
func (p *place) rows() (all []string) {
	for _, one := range p.now {
		for _, address := range one.addresses {
			if strings.HasSuffix(address, elsewhere) {
				continue
			}
			row := sources.Row{
				Address: address, Residence: one.lives, Login: one.login, Target: one.target, Kind: one.kind, Further: map[string]string{"hourly": one.hourly},
			}
			if p.says != nil {
				row = p.says(row)
			}
			all = append(all, shown(row))
		}
	}
	slices.Sort(all)
	return all
}

func shown(r sources.Row) string {
	return fmt.Sprintf("%q", []string{r.Address, r.Residence, r.Login, r.Target, r.Kind, r.Further["hourly"]})
}

// read reads a list to its end, or to its first error.
func read(t *testing.T, r sources.Reader) (all []string, err error) {
	t.Helper()
	err = r.Read(deadline(t), func(row sources.Row) error {
		if row.Origin == "" {
			t.Errorf("%s has no origin", row.Address)
		}
		all = append(all, shown(row))
		return nil
	})
	slices.Sort(all)
	return all, err
}

// mustRead is read where nothing is wrong.
func (p *place) mustRead(t *testing.T, r sources.Reader) {
	t.Helper()
	got, err := read(t, r)
	if want := p.rows(); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v; it gives\n%.3000s\nwant\n%.3000s", err, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func mark(t *testing.T, r sources.Reader) sources.Mark {
	t.Helper()
	m, err := r.Mark(deadline(t))
	do(t, err)
	return m
}

// crowd are so many people here, of an address each.
func crowd(n int) (all []person) {
	for i := range n {
		name := fmt.Sprintf("user%03d", i)
		all = append(all, person{name: name, addresses: []string{name + "@acmecorp.com"}, lives: "office365", kind: "user", login: name, hourly: "7"})
	}
	return all
}

// elsewhere ends addresses of which nothing is wanted.
const elsewhere = "@elsewhere.example"

// keeps are the domains of the site.
func keeps(domain string) bool { return domain == "acmecorp.com" || domain == "xn--bcher-kva.example" }

// reaches tells which domain is a platform's.
func reaches(domain string) bool { return domain == "acmecorp-com.onmicrosoft.com" }

package sources_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coexistd/contrib/fake"
	"coexistd/milter/sources"
	"coexistd/policy/directory"
	"coexistd/policy/route"
)

// followed is a place with its Poller, and the list that counts.
type followed struct {
	*sources.Poller
	lists sources.Directories
	reads atomic.Int64
	log   *fake.Log
}

// counted is a Reader that counts how often it reads.
type counted struct {
	sources.Reader
	f *followed
}

// Read counts.
func (c counted) Read(ctx context.Context, add func(sources.Row) error) error {
	c.f.reads.Add(1)
	return c.Reader.Read(ctx, add)
}

// follow has a place polled until the test ends.
func (p *place) follow(t *testing.T, a asking) *followed {
	domains := make(map[string]*route.Domain)
	for _, name := range []string{"acmecorp.com", "xn--bcher-kva.example"} {
		domains[name] = &route.Domain{Name: name, Alternates: map[string]string{"office365": "acmecorp-com.onmicrosoft.com"}}
	}
	source := directory.Source{
		Path: "source:people", Copy: filepath.Join(t.TempDir(), "people"), Domains: domains, Limits: []string{"hourly"},
		Platforms: []*route.Platform{{Name: "office365", Letter: "O"}}, MaxLoss: 0.10,
	}
	f := &followed{log: fake.NewLog(), lists: sources.Open([]directory.Source{source}, nil)}
	polling := sources.Polling{
		Name: source.Path, Copy: source.Copy, Columns: source.Limits, Domains: []string{"acmecorp.com", "xn--bcher-kva.example"},
		Interval: 20 * time.Millisecond, FullInterval: time.Hour, FullTimeout: time.Hour,
	}
	f.Poller = sources.NewPoller(polling, func() (sources.Reader, error) {
		r, err := p.make(a)
		return counted{r, f}, err
	}, f.log.Logger)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx, nil) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if t.Failed() {
			t.Log(f.log)
		}
	})
	return f
}

// await has the lists judged until something is so.
func (f *followed) await(t *testing.T, what string, isSo func(list *sources.List) bool) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for ctx := deadline(t); !isSo(f.lists[0]); <-again.C {
		f.lists.Poll(time.Now())
		if ctx.Err() != nil {
			t.Fatalf("%s: that does not come; the list's error is %v, the source's state %+v", what, f.lists[0].Err, f.State())
		}
	}
}

// shows waits until the list is that of a place.
func (f *followed) shows(t *testing.T, what string, p *place) {
	t.Helper()
	f.await(t, what, func(list *sources.List) bool {
		if list.Snapshot == nil || list.Err != nil || list.Snapshot.Len() != len(p.rows()) {
			return false
		}
		for _, one := range p.now {
			for _, address := range one.addresses {
				e, found := list.Snapshot.Lookup(address)
				if !found {
					return false
				}
				row := sources.Row{Address: e.Address(), Residence: e.Column("residence"), Login: e.Login(), Target: e.Target(), Kind: e.Column("kind"), Further: map[string]string{"hourly": e.Column("hourly")}}
				want := sources.Row{Address: address, Residence: one.lives, Login: one.login, Target: one.target, Kind: one.kind, Further: map[string]string{"hourly": one.hourly}}
				if p.says != nil {
					want = p.says(want)
				}
				if !strings.EqualFold(shown(row), shown(want)) {
					return false
				}
			}
		}
		return true
	})
}

// has reports how many addresses count.
func (f *followed) has() int { return f.lists[0].Snapshot.Len() }

func usersSee(t *testing.T, p *place) {
	p.put(t, crowd(40)...)
	f := p.follow(t, asking{})
	f.shows(t, "the first list", p)
	for read := f.State().Asked; f.State().Asked.Sub(read) < 3*f.Interval; {
		asked := f.State().Asked
		f.await(t, "another poll", func(*sources.List) bool { return f.State().Asked.After(asked) })
	}
	if n := f.reads.Load(); n != 1 {
		t.Errorf("without a change it is read %d times", n)
	}
	p.save(t)
	p.put(t, person{name: "late", addresses: []string{"late@acmecorp.com", "later@acmecorp.com"}, lives: "here", kind: "user", login: "late"})
	f.shows(t, "somebody comes", p)
	p.put(t, person{name: "late", addresses: []string{"latest@acmecorp.com", "later@acmecorp.com"}, lives: "office365", kind: "shared", target: "late" + there})
	f.shows(t, "somebody changes", p)
	p.remove(t, "user039")
	f.shows(t, "somebody goes", p)

	n := f.has()
	refused := func(what, why string) {
		t.Helper()
		f.await(t, what, func(list *sources.List) bool { return list.Err != nil && strings.Contains(list.Err.Error(), why) })
		if f.has() != n {
			t.Errorf("%s: %d addresses count", what, f.has())
		}
	}
	late := p.now["late"]
	if p.goBack(t); p.timeless {
		f.shows(t, "a restored list", p)
		n = f.has()
	} else {
		refused("a restored list", "at an earlier time")
	}
	p.remove(t)
	refused("an emptied place", "lists no address")
	p.put(t, crowd(20)...)
	refused("a place that lacks half of them", "lacks ")
	p.put(t, append(crowd(40), late)...)
	f.shows(t, "a place that has them again", p)
	// Nobody suffers from what another's entry holds.
	if !p.noNUL {
		before := f.State().Read
		p.put(t, person{name: "nul", addresses: []string{"n\x00l@acmecorp.com"}, lives: "office365", kind: "user"})
		f.await(t, "another list", func(*sources.List) bool { return f.State().Read.After(before) })
		f.lists.Poll(time.Now())
		for _, address := range late.addresses {
			if _, found := f.lists[0].Snapshot.Lookup(address); !found {
				t.Errorf("%s is not found any more", address)
			}
		}
	}
}

package sources_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"coexistd/milter/sources"
)

// TestConformance holds every Reader to the promises of sources.Reader, and shows what users
// see of its place.
func TestConformance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		open func(*testing.T) *place
	}{
		{"slapd", slapd},
		{"Active Directory", activeDirectory},
		{"PostgreSQL", postgres},
		{"MariaDB", mariaDB},
		{"SQLite", sqlite},
		{"an export", export},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := c.open(t)
			p.now = make(map[string]person)
			conform(t, p)
		})
	}
}

func conform(t *testing.T, p *place) {
	served := p.server != nil // a file neither hangs nor asks for a password
	for _, c := range []struct {
		behaviour string
		check     func(*testing.T, *place)
		has       bool // the place can behave so
	}{
		{"rows of all kinds come out alike", rowsComeOutAlike, true},
		{"texts come out as they are, or are told to be too long", textsAreBounded, true},
		{"the mark moves when something changes, and only then", marksMove, true},
		{"whoever takes the rows may end the reading", readingsEnd, true},
		{"what users see follows the place", usersSee, true},
		{"an answer that was cut short is an error", cutShortIsAnError, true},
		{"a server that hangs is given up", hangingIsGivenUp, served},
		{"a wrong password is told, and no password", passwordsAreNotTold, served},
		{"a server that is away is told, and read when it is back", awayIsTold, served},
		{"a server that fails is left for the next", nextIsAsked, p.several},
	} {
		if !c.has {
			continue
		}
		t.Run(c.behaviour, func(t *testing.T) {
			p.remove(t)
			c.check(t, p)
		})
	}
}

const there = "@acmecorp-com.onmicrosoft.com"

func rowsComeOutAlike(t *testing.T, p *place) {
	r := p.reader(t, asking{})
	p.mustRead(t, r)
	p.put(t,
		person{name: "alice", addresses: []string{"Alice@AcmeCorp.com", "al@acmecorp.com", "zoë.müller@bücher.example", "alice" + elsewhere}, lives: "office365", login: "alice", target: "alice.smith" + there, kind: "user", hourly: "100"},
		person{name: "bob", addresses: []string{"bob@acmecorp.com"}, lives: "here", login: `o'brien,"x"\y;`, kind: "user"},
		person{name: "carol", addresses: []string{"carol@acmecorp.com"}, lives: "both", login: "καρολ", target: "carol" + there, kind: "user", hourly: "7"},
		person{name: "all", addresses: []string{"all@acmecorp.com", "everybody@acmecorp.com"}, lives: "here", kind: "group"},
		person{name: "hall", addresses: []string{"hall@acmecorp.com"}, lives: "here", kind: "room"},
		person{name: "info", addresses: []string{"info@acmecorp.com"}, lives: "office365", kind: "shared"},
		person{name: "odd", addresses: []string{"o'brien+x=y&z/{}~%$!#*?^_`@acmecorp.com", "日本@acmecorp.com"}, lives: "here", kind: "user"},
		person{name: "nobody", lives: "here", login: "nobody", kind: "user"},
	)
	p.mustRead(t, r)
	p.put(t, person{name: "bob", addresses: []string{"bob" + elsewhere}, lives: "here", kind: "user"})
	p.mustRead(t, r)
}

func textsAreBounded(t *testing.T, p *place) {
	r := p.reader(t, asking{})
	long := person{name: "long", addresses: []string{"long@acmecorp.com"}, lives: "office365", kind: "user", hourly: strings.Repeat("é", 5_000)}
	p.put(t, long)
	p.mustRead(t, r)
	if !p.noNUL {
		p.put(t, person{name: "nul", addresses: []string{"nul@acmecorp.com", "n\x00l@acmecorp.com"}, lives: "office365", kind: "user"})
		p.mustRead(t, r)
	}
	long.hourly = strings.Repeat("x", 2*p.longest)
	p.put(t, long)
	if _, err := read(t, r); err == nil || !strings.Contains(err.Error(), fmt.Sprint(p.longest)) {
		t.Errorf("a text of %d bytes: %.1000v", 2*p.longest, err)
	}
}

func marksMove(t *testing.T, p *place) {
	p.put(t, crowd(3)...)
	p.save(t)
	r := p.reader(t, asking{})
	first := mark(t, r)
	p.mustRead(t, r)
	if again := mark(t, r); !again.Same(first) {
		t.Errorf("without a change, the mark was %q and is %q", first, again)
	}
	for what, change := range map[string]func(){
		"somebody comes": func() { p.put(t, crowd(9)[8]) },
		"somebody changes": func() {
			p.put(t, person{name: "user001", addresses: []string{"first@acmecorp.com"}, lives: "here", kind: "user"})
		},
		"somebody goes": func() { p.remove(t, "user002") },
	} {
		before := mark(t, r)
		change()
		after := mark(t, r)
		if after.Same(before) || after.WentBack(before) || before.WentBack(after) == p.timeless {
			t.Errorf("%s: the mark was %q and is %q", what, before, after)
		}
		p.mustRead(t, r)
	}
	last := mark(t, r)
	p.goBack(t)
	if now := mark(t, r); now.Same(last) || now.WentBack(last) == p.timeless {
		t.Errorf("after a restored backup, the mark was %q and is %q", last, now)
	}
	p.mustRead(t, r)
}

var errEnough = errors.New("enough")

func readingsEnd(t *testing.T, p *place) {
	p.put(t, crowd(20)...)
	r := p.reader(t, asking{timeout: time.Hour})
	end := func(ctx context.Context, r sources.Reader, what func() error) error {
		t.Helper()
		n := 0
		err := r.Read(ctx, func(sources.Row) error {
			if n++; n == 5 {
				return what()
			}
			return nil
		})
		if n == len(p.now) {
			t.Error("it went on to the end")
		}
		return err
	}
	enough := func() error { return errEnough }
	if err := end(deadline(t), r, enough); err != errEnough {
		t.Errorf("an error of who takes the rows comes back as %v", err)
	}
	ctx, cancel := context.WithCancel(deadline(t))
	if err := end(ctx, r, func() error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("the end of the context: %v", err)
	}
	p.mustRead(t, r)
	if p.server == nil {
		return
	}
	// It waits for no row that would follow.
	p.put(t, many...)
	proxy := p.proxy(t)
	r = p.reader(t, asking{addrs: []string{proxy.Addr}, timeout: time.Hour})
	p.mustRead(t, r)
	proxy.HangAfter(proxy.Passed() / 2)
	ctx = deadline(t)
	if err := end(ctx, r, enough); err != errEnough || ctx.Err() != nil {
		t.Errorf("in an answer that does not end: %v, %v", err, ctx.Err())
	}
}

// many are more than one page of a directory, and more than one packet of a server.
var many = func() []person {
	all := crowd(120)
	for i := range all {
		all[i].hourly = strings.Repeat("0123456789", 20)
	}
	return all
}()

func cutShortIsAnError(t *testing.T, p *place) {
	p.put(t, many...)
	for _, share := range []float64{0, 0.001, 0.1, 0.5, 0.9} {
		r, place, err := sources.Reader(nil), "part", error(nil)
		if p.server != nil {
			proxy := p.proxy(t)
			r, place = p.reader(t, asking{addrs: []string{proxy.Addr}}), proxy.Addr
			p.mustRead(t, r)
			proxy.EndAfter(int64(share * float64(proxy.Passed())))
		} else {
			r, err = p.part(share)
			do(t, err)
			t.Cleanup(r.Close)
		}
		if got, err := read(t, r); err == nil || !strings.Contains(err.Error(), place) || len(got) >= len(p.now) {
			t.Errorf("of %v of the answer, %d rows come: %v", share, len(got), err)
		}
	}
}

func hangingIsGivenUp(t *testing.T, p *place) {
	p.put(t, many...)
	const timeout = time.Second
	must := func(err error, addr string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), "no answer within 1s") {
			t.Errorf("%v", err)
		}
	}
	proxy := p.proxy(t)
	p.mustRead(t, p.reader(t, asking{addrs: []string{proxy.Addr}}))
	whole := float64(proxy.Passed())
	for _, share := range []float64{0, 0.001, 0.5, 0.9} {
		proxy.HangAfter(int64(share * whole))
		got, err := read(t, p.reader(t, asking{addrs: []string{proxy.Addr}, timeout: timeout}))
		if must(err, proxy.Addr); len(got) >= len(p.now) {
			t.Errorf("of %v of the answer, %d rows come", share, len(got))
		}
	}
	do(t, p.server.Suspend())
	r := p.reader(t, asking{timeout: timeout})
	_, err := read(t, r)
	must(err, p.addr)
	_, err = r.Mark(deadline(t))
	must(err, p.addr)
	do(t, p.server.Continue())
	p.mustRead(t, p.reader(t, asking{}))
}

func passwordsAreNotTold(t *testing.T, p *place) {
	const wrong = "another secret"
	r := p.reader(t, asking{password: wrong})
	_, err := read(t, r)
	_, errOfMark := r.Mark(deadline(t))
	for _, err := range []error{err, errOfMark} {
		if err == nil || !strings.Contains(err.Error(), p.addr) || !strings.Contains(err.Error(), "reader") || strings.Contains(err.Error(), wrong) || strings.Contains(err.Error(), p.password) {
			t.Errorf("%v", err)
		}
	}
}

func awayIsTold(t *testing.T, p *place) {
	p.put(t, crowd(3)...)
	r := p.reader(t, asking{})
	p.mustRead(t, r)
	before := mark(t, r)
	do(t, p.server.Kill())
	_, err := read(t, r)
	_, errOfMark := r.Mark(deadline(t))
	for _, err := range []error{err, errOfMark} {
		if err == nil || !strings.Contains(err.Error(), p.addr) {
			t.Errorf("%v", err)
		}
	}
	do(t, p.server.Start(deadline(t)))
	p.mustRead(t, r)
	if now := mark(t, r); now.WentBack(before) {
		t.Errorf("the mark was %q and is %q", before, now)
	}
	// A connection that was idle may have ended meanwhile.
	do(t, errors.Join(p.server.Kill(), p.server.Start(deadline(t))))
	p.mustRead(t, r)
}

func nextIsAsked(t *testing.T, p *place) {
	p.put(t, crowd(3)...)
	away, silent := p.proxy(t), p.proxy(t)
	away.EndAfter(0)
	silent.HangAfter(0)
	r := p.reader(t, asking{addrs: []string{"127.0.0.1:1", away.Addr, silent.Addr, p.addr}, timeout: 2 * time.Second})
	// A machine that is busy may take longer than that, too.
	for ctx := deadline(t); ctx.Err() == nil; {
		if _, err := read(t, r); err == nil {
			break
		}
	}
	p.mustRead(t, r)
	if m := mark(t, r); len(m) == 0 {
		t.Error("there is no mark")
	}
}

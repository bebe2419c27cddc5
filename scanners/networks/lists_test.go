package networks

import (
	"context"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"coexistd/contrib/fake"
	"coexistd/contrib/lab"
	"coexistd/policy/tenant"
)

// site is Lists with a name server, a clock and a log of the test's own.
type site struct {
	*testing.T
	*Lists
	dns    *lab.DNS
	config Config
	clock  *fake.Clock
	said   *fake.Log
}

const day = 24 * time.Hour

// patience bounds each wait for something that must happen. Only what hangs takes so
// long, on a machine that does other things as well.
const patience = 5 * time.Minute

// newSite has one platform, office365, with a network of its own and the record of
// p.example, which names 192.0.2.0/24.
func newSite(t *testing.T) *site {
	t.Helper()
	d, resolver := startDNS(t)
	zone(d, "p.example TXT v=spf1 ip4:192.0.2.0/24 -all")
	s := &site{T: t, dns: d, clock: fake.NewClock(time.Now()), config: Config{
		Dir: filepath.Join(t.TempDir(), "networks"), Resolver: resolver,
		Platforms: []Platform{{Name: "office365", Networks: prefixes(t, "203.0.113.0/24"), MaxAge: 30 * day, Sources: []Source{{SPF, "p.example"}}}},
	}}
	s.start()
	return s
}

// start makes Lists anew, as a start of the daemon does.
func (s *site) start() {
	s.said = fake.NewLog()
	s.Lists = New(s.said.Logger, s.clock.Now)
	s.Configure(s.config)
}

// lookNow does what is due, to its end.
func (s *site) lookNow() {
	var fetching sync.WaitGroup
	s.look(s.Context(), &fetching)
	fetching.Wait()
}

// later moves the clock and does what is due then.
func (s *site) later(d time.Duration) {
	s.clock.Move(d)
	s.lookNow()
}

func (s *site) want(platform, networks string, pending bool) {
	s.Helper()
	known := s.Live()[platform]
	wantPrefixes(s, known.Networks.Prefixes(), networks)
	if known.Pending != pending {
		s.Errorf("pending is %v; want %v", known.Pending, pending)
	}
}

// wantSaid checks the log since the last call: one line with each text, and no
// other.
func (s *site) wantSaid(texts ...string) {
	s.Helper()
	said := s.said.Take()
	if n := strings.Count(said, "\n"); n != len(texts) {
		s.Errorf("the log has %d lines; want %d, with %q:\n%s", n, len(texts), texts, said)
	}
	for _, text := range texts {
		if !strings.Contains(said, text) {
			s.Errorf("the log has no line with %q:\n%s", text, said)
		}
	}
}

func (s *site) wantChange(want bool) {
	s.Helper()
	select {
	case <-s.Changed():
		if !want {
			s.Error("a change was told; want none")
		}
	default:
		if want {
			s.Error("no change was told")
		}
	}
}

func (s *site) wantErr(text string) {
	s.Helper()
	if err := s.Status()[0].Err; text == "" && err != nil || text != "" && (err == nil || !strings.Contains(err.Error(), text)) {
		s.Errorf("the status has the error %v; want %q", err, text)
	}
}

func TestAPlatformIsPendingUntilItsRecordWasFetched(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.want("office365", "203.0.113.0/24", true)
	s.wantChange(false)
	s.lookNow()
	s.want("office365", "192.0.2.0/24 203.0.113.0/24", false)
	s.wantChange(true)
	s.wantChange(false)
	s.wantSaid("the networks of a platform are known")
	for path, mode := range map[string]fs.FileMode{s.config.Dir: 0o700, savedPath(s.config.Dir, Source{SPF, "p.example"}): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want mode %v", path, info, err, mode)
		}
	}
	if found, err := os.ReadDir(s.config.Dir); err != nil || len(found) != 1 {
		t.Errorf("the folder holds %v, %v; want one file", found, err)
	}
}

func TestAPlatformWithoutSourcesIsNeverPending(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.config.Platforms[0].Sources = nil
	s.start()
	s.want("office365", "203.0.113.0/24", false)
	s.want("google", "", false)
}

func TestASavedListIsUsedAtOnceAfterARestart(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.lookNow()
	s.dns.Fail("p.example", lab.DNSServFail)
	asked := s.dns.Asked("p.example")
	s.start()
	s.want("office365", "192.0.2.0/24 203.0.113.0/24", false)
	s.later(freshTime - time.Second)
	if n := s.dns.Asked("p.example"); n != asked {
		t.Errorf("the record was asked for %d times though the saved list is fresh", n-asked)
	}
	s.wantSaid()
	s.later(time.Second)
	s.want("office365", "192.0.2.0/24 203.0.113.0/24", false)
	s.wantSaid("server misbehaving")
}

func TestAListThatWasSavedInTheFutureIsFetchedAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.lookNow()
	s.clock.Move(-365 * day)
	s.start()
	s.want("office365", "192.0.2.0/24 203.0.113.0/24", false)
	s.dns.Set("p.example", "TXT", "v=spf1 ip4:192.0.2.0/25")
	s.lookNow()
	s.want("office365", "192.0.2.0/25 203.0.113.0/24", false)
}

func TestARecordIsFetchedOnceAnHour(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.lookNow()
	asked := s.dns.Asked("p.example")
	for range 48 {
		s.later(30 * time.Minute)
	}
	// An hour, give or take a tenth, ends at every second half hour or the next.
	if n := s.dns.Asked("p.example") - asked; n < 16 || n > 24 {
		t.Errorf("the record was fetched %d times in 24 hours, looked at each half hour", n)
	}
}

func TestAFailureKeepsTheListAndIsSaidOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.lookNow()
	s.wantSaid("the networks of a platform are known")
	s.wantChange(true)
	for _, fail := range []func(){
		func() { s.dns.Fail("p.example", lab.DNSServFail) },
		func() { s.dns.Set("p.example", "TXT") },
		func() { s.dns.Set("p.example", "TXT", "v=spf1 -all") },
		func() { s.dns.Set("p.example", "TXT", "v=spf1 ip4:192.0.2.0/24 include:none.example") },
		func() { s.dns.Set("p.example", "TXT", "v=spf1 ip4:0.0.0.0/1") },
	} {
		fail()
		for range 3 {
			s.later(2 * freshTime)
		}
		s.want("office365", "192.0.2.0/24 203.0.113.0/24", false)
		s.wantErr("gives no list of networks")
		s.wantSaid("the networks of a platform cannot be refreshed")
		s.dns.Clear("p.example")
		s.dns.Set("p.example", "TXT", "v=spf1 ip4:192.0.2.0/24 -all")
		s.later(againTime)
		s.wantErr("")
		s.wantSaid("can be refreshed again")
		s.wantChange(false)
	}
}

func TestAPendingSourceIsTriedAgainSoon(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.dns.Fail("p.example", lab.DNSServFail)
	s.lookNow()
	s.wantSaid("mail from unknown clients is put off")
	s.dns.Clear("p.example")
	s.dns.Set("p.example", "TXT", "v=spf1 ip4:192.0.2.0/24 -all")
	s.later(pendingTime)
	s.want("office365", "192.0.2.0/24 203.0.113.0/24", false)
}

func TestAChangedRecordChangesTheList(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.lookNow()
	s.wantChange(true)
	s.said.Take()
	s.dns.Set("p.example", "TXT", "v=spf1 ip4:192.0.2.0/25 ip4:198.51.100.0/24 exists:%{i}.p.example -all")
	s.later(2 * freshTime)
	s.wantChange(true)
	s.want("office365", "192.0.2.0/25 198.51.100.0/24 203.0.113.0/24", false)
	s.wantSaid("added=2 removed=1 networks=2")
	if got := s.Status()[0].Skipped; len(got) != 1 {
		t.Errorf("skipped are %q; want one", got)
	}
	s.start()
	s.want("office365", "192.0.2.0/25 198.51.100.0/24 203.0.113.0/24", false)
}

func TestARecordThatLacksMostOfTheListIsBelievedTheSecondTime(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.dns.Set("p.example", "TXT", "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24 ip4:198.18.0.0/15")
	s.lookNow()
	s.said.Take()
	const all = "192.0.2.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24"
	s.dns.Set("p.example", "TXT", "v=spf1 ip4:192.0.2.0/24")
	s.later(2 * freshTime)
	s.want("office365", all, false)
	s.wantErr("lacks 2 of 3 networks")
	s.wantSaid("lacks 2 of 3 networks")
	s.later(freshTime - time.Second)
	s.want("office365", all, false)
	s.later(time.Second)
	s.want("office365", "192.0.2.0/24 203.0.113.0/24", false)
	s.wantSaid("can be refreshed again", "added=0 removed=2")
}

func TestAListThatOverlapsOthersIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.config.Ours = ours(t, "198.51.100.0/24")
	s.config.Platforms = append(s.config.Platforms,
		Platform{Name: "google", Networks: prefixes(t, "198.18.0.0/24"), Sources: []Source{{SPF, "g.example"}}})
	zone(s.dns, "g.example TXT v=spf1 ip4:198.19.0.0/24")
	s.start()
	s.lookNow()
	s.said.Take()
	for _, c := range []struct{ network, want string }{
		{"198.51.100.7", "198.51.100.7/32 overlaps 198.51.100.0/24 of our_networks"},
		{"198.51.0.0/16", "198.51.0.0/16 overlaps 198.51.100.0/24 of our_networks"},
		{"198.18.0.1", "198.18.0.1/32 overlaps 198.18.0.0/24 of platform.google.networks; only a proof tells from which of the two a message comes, and platform google has none"},
		{"198.19.0.0/25", "198.19.0.0/25 overlaps 198.19.0.0/24 of platform.google.networks (spf:g.example)"},
	} {
		s.dns.Set("p.example", "TXT", "v=spf1 ip4:192.0.2.0/24 ip4:"+c.network)
		s.later(2 * freshTime)
		s.want("office365", "192.0.2.0/24 203.0.113.0/24", false)
		s.wantErr(c.want)
		s.dns.Set("p.example", "TXT", "v=spf1 ip4:192.0.2.0/24")
		s.later(againTime)
		s.wantErr("")
	}
}

func TestPlatformsWithProofsShareNetworks(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.config.Ours = ours(t, "192.0.2.128/25")
	s.config.Tenants = tenant.Rules{"office365": {Tenant: "3f2504e0-4f89-11d3-9a0c-0305e82c3301"}, "second": {Tenant: "11111111-2222-3333-4444-555555555555"}}
	s.config.Platforms = append(s.config.Platforms, Platform{
		Name: "second", Networks: prefixes(t, "203.0.113.0/25"), Sources: []Source{{SPF, "p.example"}, {SPF, "g.example"}},
	})
	s.dns.Set("p.example", "TXT", "v=spf1 ip4:192.0.2.0/25 ip4:198.51.100.0/24 -all")
	zone(s.dns, "g.example TXT v=spf1 ip4:198.51.100.7 ip4:203.0.113.0/28 -all")
	s.start()
	s.lookNow()
	s.want("office365", "192.0.2.0/25 198.51.100.0/24 203.0.113.0/24", false)
	s.want("second", "192.0.2.0/25 198.51.100.0/24 203.0.113.0/25", false)
	for _, c := range []struct{ client, of string }{
		{"192.0.2.1", "office365 second"}, {"198.51.100.7", "office365 second"}, {"203.0.113.200", "office365"}, {"192.0.2.129", ""},
	} {
		of, pending := s.Live().Of(netip.MustParseAddr(c.client))
		if strings.Join(of, " ") != c.of || pending != "" {
			t.Errorf("%s is of %v, pending %q; want %s", c.client, of, pending, c.of)
		}
	}
	for _, one := range s.Status() {
		if one.Err != nil {
			t.Errorf("%s: %v", one.Source, one.Err)
		}
	}

	// Ours stay ours.
	s.dns.Set("p.example", "TXT", "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24 -all")
	s.later(2 * freshTime)
	s.want("office365", "192.0.2.0/25 198.51.100.0/24 203.0.113.0/24", false)
	s.wantErr("192.0.2.0/24 overlaps 192.0.2.128/25 of our_networks; a client cannot be both")
	s.dns.Set("p.example", "TXT", "v=spf1 ip4:192.0.2.0/25 ip4:198.51.100.0/24 -all")
	s.later(againTime)
	s.wantErr("")

	// One that a reload leaves without a proof of its own has what is its alone.
	s.config.Tenants["second"] = s.config.Tenants["office365"]
	s.config.Platforms[0], s.config.Platforms[1] = s.config.Platforms[1], s.config.Platforms[0]
	s.Configure(s.config)
	s.want("second", "203.0.113.0/25", false)
	s.wantErr("the tenant 3f2504e0-4f89-11d3-9a0c-0305e82c3301 proves both")
}

func TestWhatANewConfigurationGivesToOthersIsTakenOutOfTheLists(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.dns.Set("p.example", "TXT", "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24")
	s.lookNow()
	s.said.Take()
	s.config.Ours = ours(t, "198.51.0.0/16")
	s.Configure(s.config)
	s.want("office365", "192.0.2.0/24 203.0.113.0/24", false)
	s.wantSaid("198.51.100.0/24 overlaps 198.51.0.0/16 of our_networks")
	s.start()
	s.want("office365", "192.0.2.0/24 203.0.113.0/24", false)
	s.wantSaid("198.51.100.0/24 overlaps 198.51.0.0/16 of our_networks")
	s.config.Ours = ours(t, "")
	s.Configure(s.config)
	s.later(againTime)
	s.want("office365", "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24", false)
}

func TestAReloadKeepsTheListsOfSourcesThatStay(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.lookNow()
	if err := os.RemoveAll(s.config.Dir); err != nil {
		t.Fatal(err)
	}
	s.config.Platforms[0].Networks = nil
	s.config.Platforms[0].Sources = append(s.config.Platforms[0].Sources, Source{SPF, "new.example"}, Source{SPF, "p.example"})
	s.Configure(s.config)
	s.want("office365", "192.0.2.0/24", true)
	if n := len(s.Status()); n != 2 {
		t.Errorf("%d sources; want 2, of which none is there twice", n)
	}
	s.config.Platforms[0].Sources = s.config.Platforms[0].Sources[1:2]
	s.Configure(s.config)
	s.want("office365", "", true)
}

func TestAReloadHasTheRecordsFetchedAnew(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.lookNow()
	s.dns.Set("p.example", "TXT", "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24 -all")
	s.lookNow()
	s.want("office365", "192.0.2.0/24 203.0.113.0/24", false)
	s.Configure(s.config)
	s.want("office365", "192.0.2.0/24 203.0.113.0/24", false)
	s.lookNow()
	s.want("office365", "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24", false)
}

func TestWhatIsFetchedForASourceThatIsGoneIsDropped(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	held, release := make(chan struct{}), make(chan struct{})
	s.config.Resolver = heldBack{s.config.Resolver, held, release}
	s.start()
	var fetching sync.WaitGroup
	s.look(s.Context(), &fetching)
	<-held
	s.config.Platforms[0].Sources = nil
	s.Configure(s.config)
	close(release)
	fetching.Wait()
	s.want("office365", "203.0.113.0/24", false)
	s.wantChange(false)
	s.wantSaid()
}

// heldBack tells when a record is asked for, and waits for leave to ask.
type heldBack struct {
	Resolver
	held, release chan struct{}
}

func (h heldBack) LookupTXT(ctx context.Context, name string) ([]string, error) {
	close(h.held)
	<-h.release
	return h.Resolver.LookupTXT(ctx, name)
}

func TestALostListIsSaidToBeOldOnceADay(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.lookNow()
	s.dns.Fail("p.example", lab.DNSServFail)
	s.later(30 * day)
	s.wantSaid("are known", "cannot be refreshed")
	for range 3 {
		s.later(time.Hour)
	}
	s.wantSaid("not been refreshed for long")
	s.later(22 * time.Hour)
	s.wantSaid("not been refreshed for long")
	if got := s.Status()[0]; !got.Old || got.Age != 31*day+time.Hour || got.Count != 1 || got.Platform != "office365" || got.Source != "spf:p.example" {
		t.Errorf("the status is %+v", got)
	}
	s.want("office365", "192.0.2.0/24 203.0.113.0/24", false)
}

func TestAFullOrMissingFolderCostsOnlyTheSavedList(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.config.Dir = filepath.Join(blocked, "networks")
	s.start()
	s.said.Take()
	s.lookNow()
	s.wantSaid("are known", "cannot be saved")
	s.later(2 * freshTime)
	s.want("office365", "192.0.2.0/24 203.0.113.0/24", false)
	s.wantSaid()
}

func TestANameServerThatHangsHoldsUpNoOtherSource(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	zone(s.dns, "g.example TXT v=spf1 ip4:198.19.0.0/24")
	s.config.Platforms = append(s.config.Platforms, Platform{Name: "google", Sources: []Source{{SPF, "g.example"}}})
	asked, hung := make(chan struct{}), make(chan error, 1)
	s.config.Resolver = hanging{s.config.Resolver, "p.example.", asked, hung}
	s.start()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() { defer close(ended); s.Lists.Run(ctx) }()
	<-asked
	select {
	case <-s.Changed():
	case <-time.After(patience):
		t.Fatal("no list came")
	}
	s.want("google", "198.19.0.0/24", false)
	s.want("office365", "203.0.113.0/24", true)
	cancel()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("Run did not end with its context")
	}
	if err := <-hung; err != context.Canceled {
		t.Errorf("what hung has ended with %v; it must end with Run", err)
	}
	s.wantSaid("are known")
}

// hanging does not answer for one name. It tells when it is asked, and why it no longer
// is.
type hanging struct {
	Resolver
	name  string
	asked chan<- struct{}
	ended chan<- error
}

func (h hanging) LookupTXT(ctx context.Context, name string) ([]string, error) {
	if name != h.name {
		return h.Resolver.LookupTXT(ctx, name)
	}
	close(h.asked)
	<-ctx.Done()
	h.ended <- ctx.Err()
	return nil, ctx.Err()
}

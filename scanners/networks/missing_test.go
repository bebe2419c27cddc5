package networks

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"coexistd/contrib/lab"
)

func TestAFirstListThatOverlapsOthersIsTakenWithoutWhatIsTheirs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.config.Ours = ours(t, "198.51.100.0/24")
	s.dns.Set("p.example", "TXT", "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.7")
	s.start()
	s.lookNow()
	s.want("office365", "192.0.2.0/24 203.0.113.0/24", false)
	s.wantErr("198.51.100.7/32 overlaps 198.51.100.0/24 of our_networks")
	s.wantSaid("level=ERROR msg=\"networks of a platform are not its alone", "are known")
	s.wantChange(true)

	// It is kept fresh, and the same trouble is not said again.
	s.dns.Set("p.example", "TXT", "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.7 ip4:198.18.0.0/15")
	s.later(2 * freshTime)
	s.want("office365", "192.0.2.0/24 198.18.0.0/15 203.0.113.0/24", false)
	s.wantSaid("added=1 removed=0")

	// What was saved is whole, for the day on which the configuration is right.
	s.start()
	s.want("office365", "192.0.2.0/24 198.18.0.0/15 203.0.113.0/24", false)
	s.wantSaid("not its alone")
	s.config.Ours = ours(t, "")
	s.dns.Fail("p.example", lab.DNSServFail)
	s.start()
	s.lookNow()
	s.want("office365", "192.0.2.0/24 198.18.0.0/15 198.51.100.7/32 203.0.113.0/24", false)
}

func TestAListOfWhichOthersHaveAllIsKnown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.config.Platforms[0].Networks = nil
	s.config.Ours = ours(t, "192.0.0.0/16")
	s.start()
	s.want("office365", "", true)
	s.lookNow()
	s.want("office365", "", false)
	s.wantChange(true)
	s.wantErr("of our_networks")
	s.config.Ours = ours(t, "")
	s.Configure(s.config)
	s.lookNow()
	s.want("office365", "192.0.2.0/24", false)
	s.wantErr("")
}

func TestACollisionIsSaidThoughTheDNSFailedBefore(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.config.Ours = ours(t, "192.0.2.7/32")
	s.dns.Fail("p.example", lab.DNSServFail)
	s.start()
	s.lookNow()
	s.wantSaid("are not known")
	s.dns.Clear("p.example")
	s.dns.Set("p.example", "TXT", "v=spf1 ip4:192.0.2.0/24 ip4:198.18.0.0/15")
	s.later(pendingTime)
	s.wantSaid("not its alone", "are known")
	s.want("office365", "198.18.0.0/15 203.0.113.0/24", false)
}

func TestAListThatNeverCameIsSaidEveryTenMinutes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.dns.Fail("p.example", lab.DNSServFail)
	s.lookNow()
	s.wantSaid("mail from unknown clients is put off")
	s.later(remindTime - time.Second)
	s.wantSaid()
	s.later(pendingTime)
	s.wantSaid("level=ERROR msg=\"the networks of a platform are not known: mail from unknown clients is put off until they are\"")
}

func TestAListThatNeverCameIsNotWaitedForForGood(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.dns.Fail("p.example", lab.DNSServFail)
	s.config.Platforms = append(s.config.Platforms, Platform{Name: "google", Sources: []Source{{SPF, "g.example"}}})
	s.dns.Fail("g.example", lab.DNSServFail)
	s.start()
	s.lookNow()
	s.later(waitTime - time.Second)
	s.want("office365", "203.0.113.0/24", true)
	s.wantChange(false)
	s.said.Take()
	s.later(pendingTime)
	s.wantChange(true)
	s.want("office365", "203.0.113.0/24", false)
	// Of this one nothing is known, and its mail would be taken for a stranger's.
	s.want("google", "", true)
	s.wantSaid("no longer waited for: mail from there is judged as anybody's", "mail from unknown clients is put off")
	s.wantErr("server misbehaving")
	s.later(remindTime)
	s.wantSaid("no longer waited for", "put off")

	s.Configure(s.config)
	s.want("office365", "203.0.113.0/24", false)
	s.config.Platforms[0].Networks = nil
	s.Configure(s.config)
	s.want("office365", "", true)
	s.dns.Clear("p.example")
	s.dns.Set("p.example", "TXT", "v=spf1 ip4:192.0.2.0/24 -all")
	s.later(pendingTime)
	s.want("office365", "192.0.2.0/24", false)
}

func TestAReloadSaysWhichListMailWaitsFor(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.lookNow()
	s.said.Take()
	s.config.Platforms[0].Sources = append(s.config.Platforms[0].Sources, Source{SPF, "new.example"})
	s.Configure(s.config)
	s.wantSaid("mail from unknown clients is put off until it is known")
	s.Configure(s.config)
	s.want("office365", "192.0.2.0/24 203.0.113.0/24", true)
}

func TestAFileThatIsFarTooWideIsNotTaken(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	path := filepath.Join(t.TempDir(), "google.txt")
	s.config.Platforms[0].Sources = []Source{{File, path}}
	for text, want := range map[string]string{
		"192.0.2.0/24\n0.0.0.0/1\n":            "it names 0.0.0.0/1, and no network of a platform is wider than /8",
		"2000::/3\n":                           "it names 2000::/3, and no network of a platform is wider than /24",
		"12.0.0.0/8\n11.0.0.0/32\n12.1.0.0/16": "its networks are together wider than a /8",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s.start()
		s.want("office365", "203.0.113.0/24", true)
		s.wantErr(path + " is not taken: " + want)
	}
}

func TestASavedListOfAFileIsBounded(t *testing.T) {
	t.Parallel()
	dir, source := t.TempDir(), Source{File, "/etc/list"}
	if err := save(dir, source, time.Now(), prefixes(t, "0.0.0.0/1")); err != nil {
		t.Fatal(err)
	}
	if s, err := load(dir, source); err == nil {
		t.Errorf("%v was taken", s.Networks)
	}
}

package networks

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAFileIsReadAgainWhenItHasChanged(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	path := filepath.Join(t.TempDir(), "google.txt")
	write := func(text string, age time.Duration) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		at := s.clock.Now().Add(-age)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	write("192.0.2.1\n", 0)
	s.config.Platforms[0].Sources = []Source{{File, path}}
	s.config.Platforms[0].MaxAge = day
	s.start()
	s.want("office365", "192.0.2.1/32 203.0.113.0/24", false)
	s.wantSaid("are known")
	s.wantChange(true)

	// A second change within one tick of the file system's clock shows all the same.
	write("192.0.2.2\n", 0)
	s.lookNow()
	s.want("office365", "192.0.2.1/32 203.0.113.0/24", false)
	s.later(settleTime)
	s.want("office365", "192.0.2.2/32 203.0.113.0/24", false)
	s.wantChange(true)
	s.wantSaid("added=1 removed=1")

	// A file that is being written is left alone.
	write("192.0.2.3\n", time.Second)
	s.lookNow()
	s.want("office365", "192.0.2.2/32 203.0.113.0/24", false)
	s.later(time.Second)
	s.want("office365", "192.0.2.3/32 203.0.113.0/24", false)
	s.said.Take()

	// While it is as it was, its list is not old.
	s.later(2 * day)
	if got := s.Status()[0]; got.Age != 0 || got.Old || got.Source != "file:"+path {
		t.Errorf("the status is %+v", got)
	}
	s.wantSaid()

	for _, c := range []struct {
		spoil func()
		want  string
	}{
		{func() { os.Remove(path) }, "does not exist"},
		{func() { os.Mkdir(path, 0o700) }, "not a regular file"},
		{func() { os.Remove(path); write("192.0.2.4\n192.0.2\nx", time.Minute) }, "google.txt:2: \"192.0.2\" is not a CIDR; write it as 192.0.2.0/24; and 1 more mistakes"},
		{func() { write("# none\n", time.Minute) }, "holds no network"},
		{func() { write(strings.Repeat(" ", maxFile+1), time.Minute) }, "larger than 4 MiB"},
	} {
		c.spoil()
		s.later(time.Hour)
		s.later(time.Hour)
		s.want("office365", "192.0.2.3/32 203.0.113.0/24", false)
		s.wantErr(c.want)
	}
	s.wantSaid("cannot be refreshed")
	write(`[{"ips": ["192.0.2.5/32"], "tcpPorts": "25,587"}, {"ips": ["192.0.2.6/32"], "tcpPorts": "443"}]`, time.Minute)
	s.later(time.Hour)
	s.want("office365", "192.0.2.5/32 203.0.113.0/24", false)
	s.wantErr("")
	s.wantSaid("can be refreshed again", "added=1 removed=1")
}

func TestAFileThatIsBrokenAtStartLeavesTheListThatWasSaved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "google.txt")
	config := Config{Dir: t.TempDir(), Platforms: []Platform{{Name: "google", Sources: []Source{{File, path}}}}}
	list := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/9"), netip.MustParsePrefix("192.0.2.0/24")}
	if err := save(config.Dir, config.Platforms[0].Sources[0], time.Now(), list); err != nil {
		t.Fatal(err)
	}
	lists := New(slog.New(slog.DiscardHandler), time.Now)
	lists.Configure(config)
	if known := lists.Live()["google"]; known.Pending || !slices.Equal(known.Networks.Prefixes(), list) {
		t.Errorf("without the file the networks are %v, pending %v", known.Networks, known.Pending)
	}
	if status := lists.Status()[0]; status.Err == nil {
		t.Error("nothing tells that the file is gone")
	}
}

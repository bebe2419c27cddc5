package networks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"coexistd/policy/networks"
)

func TestADamagedSavedListIsIgnored(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.lookNow()
	path := savedPath(s.config.Dir, Source{SPF, "p.example"})
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := func(source, fetched, networks string) string {
		return fmt.Sprintf(`{"source":%q,"fetched":%q,"networks":[%s]}`, source, fetched, networks)
	}
	const then = "2026-01-02T03:04:05Z"
	for name, content := range map[string]string{
		"empty":            "",
		"cut off":          string(good[:len(good)/2]),
		"longer":           string(good) + string(good),
		"zeros":            string(make([]byte, len(good))),
		"of another":       text("spf:q.example", then, `"192.0.2.0/24"`),
		"without networks": text("spf:p.example", then, ""),
		"no network":       text("spf:p.example", then, `"192.0.2"`),
		"empty network":    text("spf:p.example", then, `""`),
		"everybody":        text("spf:p.example", then, `"0.0.0.0/0"`),
		"mapped":           text("spf:p.example", then, `"::ffff:1.2.3.4/128"`),
		"no time":          `{"source":"spf:p.example","networks":["192.0.2.0/24"]}`,
		"too long":         strings.Repeat(" ", maxSaved) + string(good),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		s.start()
		if known := s.Live()["office365"]; !known.Pending || known.Networks.Len() != 1 {
			t.Errorf("%s: the list is %v", name, known)
		}
		s.wantSaid("is of no use")
		s.lookNow()
		s.want("office365", "192.0.2.0/24 203.0.113.0/24", false)
	}
}

func TestTheLargestListCanBeSavedAndLoaded(t *testing.T) {
	t.Parallel()
	var list []netip.Prefix
	for i := range networks.Max {
		list = append(list, netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0xfd, 0xb8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x10 | byte(i>>8), byte(i)}), 128))
	}
	list = networks.Normal(list)
	if err := networks.Bounded(list); err != nil {
		t.Fatal(err)
	}
	dir, source := t.TempDir(), Source{SPF, strings.Repeat("a", 253)}
	// What a process that was killed left behind is in nobody's way.
	if err := os.WriteFile(savedPath(dir, source)+".new", bytes.Repeat([]byte("x"), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := save(dir, source, time.Now(), list); err != nil {
		t.Fatal(err)
	}
	if got, err := load(dir, source); err != nil || !slices.Equal(got.Networks, list) {
		t.Errorf("loaded are %d networks of %d, %v", len(got.Networks), len(list), err)
	}
}

func FuzzSavedList(f *testing.F) {
	source := Source{SPF, "p.example"}
	for _, list := range []string{"192.0.2.0/24", "192.0.2.77/24 2001:db8::/32", ""} {
		text, err := json.Marshal(saved{source.String(), time.Now(), prefixes(f, list)})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"source":"spf:p.example","fetched":"2026-01-02T03:04:05Z","networks":["::ffff:1.2.3.4/96",""]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseSaved(text, source)
		if err != nil {
			return
		}
		if err := networks.Bounded(s.Networks); err != nil || !slices.Equal(s.Networks, networks.Normal(s.Networks)) || s.Fetched.IsZero() {
			t.Errorf("%q gives %v of %s, %v", text, s.Networks, s.Fetched, err)
		}
	})
}

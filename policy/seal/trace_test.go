package seal_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"coexistd/policy/seal"
)

const (
	alice = "alice@acmecorp.com"
	bob   = "bob@acmecorp.com"
	carol = "carol@acmecorp.com"
)

// sendOn signs a message on its way that has these traces, and returns the one that
// takes their place. Each number is a nonce of its own.
func sendOn(number int, traces []string, owners ...string) string {
	return keys.SignTrace(keys.OpenTraces(traces, itsMarks), hostname, nonce(number), itsMarks, owners)
}

func nonce(number int) [8]byte { return [8]byte{byte(number >> 8), byte(number)} }

// passes returns how often a message with these traces was sent on for an owner.
func passes(owner string, traces ...string) int {
	return keys.OpenTraces(traces, itsMarks).Passes(owner)
}

var valueForm = regexp.MustCompile(`^v=2;by=mail\.acmecorp\.com;id=([0-9a-f]{16});((?:[1-9][0-9]?=[A-Za-z0-9_-]{11}(?:,[A-Za-z0-9_-]{11})*;)+)sig=[A-Za-z0-9_-]{22}$`)

// namesOf returns a trace's id, and the passes of all its names.
func namesOf(t testing.TB, trace string) (id string, names map[string]int) {
	t.Helper()
	found := valueForm.FindStringSubmatch(squeeze(trace))
	if found == nil {
		t.Fatalf("not a trace: %q", trace)
	}
	names = map[string]int{}
	last := 0
	for group := range strings.SplitSeq(strings.TrimSuffix(found[2], ";"), ";") {
		number, list, _ := strings.Cut(group, "=")
		count, err := strconv.Atoi(number)
		if err != nil || count <= last {
			t.Fatalf("the group %q follows that of %d: %q", group, last, trace)
		}
		last = count
		for hash := range strings.SplitSeq(list, ",") {
			if names[hash] != 0 {
				t.Errorf("the hash %s stands twice in %q", hash, trace)
			}
			names[hash] = count
		}
	}
	return found[1], names
}

func TestATraceLooksAsItIsDocumented(t *testing.T) {
	value := sendOn(0x1122, nil, alice)
	if !strings.HasPrefix(value, "v=2; by=mail.acmecorp.com; id=1122000000000000;\n\t1=") {
		t.Errorf("the trace is %q", value)
	}
	if i := strings.Index(value, ";\n\tsig="); i < 0 || strings.Contains(value, "\r") {
		t.Errorf("the trace is %q", value)
	}
	namesOf(t, value)
}

func TestEachPassIsCountedForThosePresent(t *testing.T) {
	value := ""
	for n := range 120 {
		for owner, count := range map[string]int{alice: n, bob: n / 2, carol: 0, "anna@acmecorp.com": 0, "alice@acme.net": 0, "": 0} {
			want(t, fmt.Sprintf("passes of %q after %d", owner, n), passes(owner, value), min(count, 99))
		}
		present := []string{alice}
		if n%2 == 1 {
			present = []string{bob, alice, bob}
		}
		value = sendOn(n+1, []string{value}, present...)
	}
	if len(value) > 8000 {
		t.Errorf("the trace has grown to %d bytes", len(value))
	}
}

func TestNoCountEverFalls(t *testing.T) {
	owners := make([]string, 30)
	for i := range owners {
		owners[i] = fmt.Sprintf("user%d@acmecorp.com", i)
	}
	counts, value := map[string]int{}, ""
	for n := 1; n < 40; n++ {
		// Each time some others, so that most are absent.
		present := owners[n*7%23 : n*7%23+n%8]
		value = sendOn(n, []string{value}, present...)
		for _, owner := range present {
			counts[owner]++
		}
		for _, owner := range owners {
			want(t, fmt.Sprintf("passes of %s after %d", owner, n), passes(owner, value), counts[owner])
		}
	}
}

// A circle: alice lives there, her mailbox sends on to bob, who lives here; his mailbox
// sends on to alice. Whatever one hop keeps of the header fields, the counts grow.
func TestAHopThatKeepsOneOfSeveralFieldsHidesNothing(t *testing.T) {
	first := func(fields []string) []string { return fields[:1] }
	last := func(fields []string) []string { return fields[len(fields)-1:] }
	for about, keep := range map[string]func([]string) []string{
		"all":             slices.Clone[[]string],
		"the first":       first,
		"the last":        last,
		"all, last first": func(fields []string) []string { slices.Reverse(fields); return fields },
		"all, each twice": func(fields []string) []string { return append(fields, fields...) },
	} {
		fields := []string{"v=2; by=far.example; id=0011223344556677; 1=AAAAAAAAAAA; sig=AAAAAAAAAAAAAAAAAAAAAA"}
		if about != "all" {
			fields = nil
		}
		for n := range 6 {
			present, absent := alice, bob
			if n%2 == 1 {
				present, absent = bob, alice
			}
			traces := keys.OpenTraces(fields, itsMarks)
			want(t, fmt.Sprintf("keeps %s: passes of %s before pass %d", about, present, n), traces.Passes(present), n/2)
			value := keys.SignTrace(traces, hostname, nonce(n), itsMarks, []string{present})
			want(t, fmt.Sprintf("keeps %s: passes of %s after pass %d", about, present, n), passes(present, value), n/2+1)
			want(t, fmt.Sprintf("keeps %s: passes of %s, who is absent in pass %d", about, absent, n), passes(absent, value), (n+1)/2)
			// What an MTA does when it takes the genuine ones out and puts one in, on top.
			for _, place := range slices.Backward(traces.Genuine()) {
				fields = slices.Delete(fields, place-1, place)
			}
			fields = keep(slices.Insert(fields, 0, value))
		}
	}
}

func TestAnMTAThatTakesNoTraceOutHidesNothing(t *testing.T) {
	for about, keep := range map[string]func([]string) []string{
		"all":       slices.Clone[[]string],
		"the first": func(fields []string) []string { return fields[:1] },
	} {
		var fields []string
		for n := range 8 {
			present := []string{alice, bob}[n%2]
			want(t, "keeps "+about+": passes", passes(present, fields...), n/2)
			fields = keep(slices.Insert(fields, 0, sendOn(n, fields, present)))
		}
	}
}

func TestTheTraceThatTakesAnothersPlaceKeepsItsId(t *testing.T) {
	one := sendOn(1, nil, alice)
	id, _ := namesOf(t, one)
	two := sendOn(2, []string{"forged", one}, alice, bob)
	next, _ := namesOf(t, two)
	want(t, "id", next, id)
	// Copies of one message went different ways and came together again.
	other := sendOn(3, []string{one}, carol)
	for _, fields := range [][]string{{other, two}, {two, other}} {
		merged := sendOn(4, fields, "gina@acmecorp.com")
		next, _ = namesOf(t, merged)
		want(t, "id of the merged", next, id)
		for owner, count := range map[string]int{alice: 2, bob: 1, carol: 1, "gina@acmecorp.com": 1} {
			want(t, "passes of "+owner, passes(owner, merged), count)
		}
	}
}

func TestOfTwoIdsTheOneWithMorePassesIsKept(t *testing.T) {
	once := sendOn(1, nil, alice, carol)
	twice := sendOn(3, []string{sendOn(2, nil, bob)}, bob)
	twice = sendOn(4, []string{twice}, bob)
	kept, _ := namesOf(t, twice)
	for _, fields := range [][]string{{once, twice}, {twice, once}} {
		traces := keys.OpenTraces(fields, itsMarks)
		for owner, count := range map[string]int{alice: 1, bob: 3, carol: 1} {
			want(t, "passes of "+owner, traces.Passes(owner), count)
		}
		value := keys.SignTrace(traces, hostname, nonce(5), itsMarks, []string{alice})
		id, _ := namesOf(t, value)
		want(t, "id", id, kept)
		// Nobody can say who carol is in the trace with the other id.
		for owner, count := range map[string]int{alice: 2, bob: 3, carol: 0} {
			want(t, "passes after it of "+owner, passes(owner, value), count)
		}
	}
	// Of equals, the first.
	other := sendOn(6, nil, bob)
	id, _ := namesOf(t, sendOn(7, []string{once, other}, bob))
	first, _ := namesOf(t, once)
	want(t, "id of equals", id, first)
}

func TestTheGenuineTracesAreNamedByTheirPlaces(t *testing.T) {
	one := sendOn(1, nil, alice)
	other := sendOn(2, nil, alice)
	for _, c := range []struct {
		fields []string
		want   []int
	}{
		{nil, nil},
		{[]string{"", "forged"}, nil},
		{[]string{one}, []int{1}},
		{[]string{"forged", one, "", other, one}, []int{2, 4, 5}},
		{append(slices.Repeat([]string{"forged"}, 99), one, other), []int{100}},
	} {
		if got := keys.OpenTraces(c.fields, itsMarks).Genuine(); !slices.Equal(got, c.want) {
			t.Errorf("%d fields: the genuine ones are %v, want %v", len(c.fields), got, c.want)
		}
	}
}

func TestWhatHopsDoToATraceChangesNothing(t *testing.T) {
	genuine := sendOn(1, nil, alice)
	flat := strings.Join(strings.Fields(genuine), " ")
	for name, value := range map[string]string{
		"as it was":               genuine,
		"a leading space":         " " + genuine,
		"CRLF for LF":             strings.ReplaceAll(genuine, "\n", "\r\n"),
		"unfolded":                flat,
		"folded at every space":   strings.ReplaceAll(flat, " ", "\r\n    "),
		"folded inside a hash":    genuine[:70] + "\r\n\t" + genuine[70:],
		"without any white space": strings.ReplaceAll(flat, " ", ""),
		"trailing white space":    genuine + " \r\n",
		"a lot of white space":    strings.ReplaceAll(flat, " ", strings.Repeat("\r\n\t", 30_000)),
	} {
		if passes(alice, value) != 1 {
			t.Errorf("%s: the trace is no longer recognised: %.200q", name, value)
		}
	}
}

func TestTheOrderOfTracesDoesNotMatter(t *testing.T) {
	all := []string{sendOn(1, nil, alice)}
	for n := 2; n < 4; n++ {
		all = append(all, sendOn(n, all[len(all)-1:], alice))
	}
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}} {
		if got := passes(alice, "forged", all[order[0]], "", all[order[1]], all[order[2]]); got != 3 {
			t.Errorf("in the order %v there are %d passes", order, got)
		}
	}
}

func TestADoubledTraceIsOnePass(t *testing.T) {
	one := sendOn(1, nil, alice)
	refolded := strings.Join(strings.Fields(one), "\r\n ")
	copies := []string{one, one, refolded, " " + one, one}
	want(t, "passes", passes(alice, copies...), 1)
	want(t, "passes after the next", passes(alice, sendOn(2, copies, alice)), 2)
}

func TestAForgedAlteredOrForeignTraceCountsForNothing(t *testing.T) {
	genuine := sendOn(1, nil, alice)
	body, sig, _ := strings.Cut(genuine, "sig=")
	otherBody, otherSig, _ := strings.Cut(sendOn(2, nil, "gina@acmecorp.com"), "sig=")
	signedBy := func(k seal.Keys) string {
		return k.SignTrace(seal.Traces{}, hostname, nonce(1), itsMarks, []string{alice})
	}
	for name, value := range map[string]string{
		"empty":               "",
		"no signature":        body,
		"an empty signature":  body + "sig=",
		"half a signature":    body + "sig=" + sig[:len(sig)/2],
		"a longer signature":  genuine + "A",
		"two signatures":      genuine + "; sig=" + sig,
		"another's signature": body + "sig=" + otherSig,
		"another's body":      otherBody + "sig=" + sig,
		"another host":        strings.Replace(genuine, "mail.acmecorp.com", "mail.evil.example", 1),
		"another version":     strings.Replace(genuine, "v=2", "v=1", 1),
		"another id":          strings.Replace(genuine, "id=0", "id=1", 1),
		"a hash more":         strings.Replace(genuine, "1=", "1=AAAAAAAAAAA,", 1),
		"another count":       strings.Replace(genuine, "1=", "2=", 1),
		"in upper case":       strings.ToUpper(genuine),
		"text after it":       genuine + " (checked)",
		"text before it":      "x" + genuine,
		"a foreign key":       signedBy(foreign),
		"no key":              signedBy(unkeyed),
		"only separators":     ";;;,,,===sig=;sig=sig=",
		"very long":           "v=2;" + strings.Repeat("1=,", 100_000) + "sig=" + sig,
	} {
		if got := passes(alice, value); got != 0 {
			t.Errorf("%s counts: %.200q", name, value)
		}
		if got := passes(alice, value, genuine); got != 1 {
			t.Errorf("%s hides the genuine trace", name)
		}
	}
	want(t, "passes for Keys without a secret", unkeyed.OpenTraces([]string{signedBy(unkeyed)}, itsMarks).Passes(alice), 0)
	// Each single byte that is altered breaks the trace.
	for i := range len(genuine) {
		if strings.ContainsRune(" \t\n", rune(genuine[i])) {
			continue
		}
		if passes(alice, genuine[:i]+string(genuine[i]^1)+genuine[i+1:]) != 0 {
			t.Errorf("byte %d may be altered", i)
		}
	}
}

func TestATraceHoldsForItsMessageOnly(t *testing.T) {
	const id, date, from = "Message-Id", "Date", "From"
	for _, c := range []struct {
		about       string
		first, then []string
		counts      bool
	}{
		{"the same", []string{id, " <one@far.example>"}, []string{id, "\r\n\t<one@far.example> "}, true},
		{"another", []string{id, "<one@far.example>"}, []string{id, "<two@far.example>"}, false},
		{"another of that date", []string{id, "<1@x>", date, "Mon"}, []string{id, "<2@x>", date, "Mon"}, false},
		{"a list's From", []string{id, "<1@x>", from, "a@x"}, []string{id, "<1@x>", from, "list@y"}, true},
		{"Message-Id lost", []string{id, "<1@x>"}, nil, false},
		{"Message-Id added", []string{date, "Mon", from, "a@x"}, []string{id, "<1@x>", date, "Mon", from, "a@x"}, true},
		{"Message-Id and Date added", []string{from, "a@x"}, []string{id, "<1@x>", date, "Mon", from, "a@x"}, true},
		{"all added", nil, []string{id, "<1@x>", date, "Mon", from, "a@x"}, true},
		{"another date", []string{date, "Mon"}, []string{id, "<1@x>", date, "Tue"}, false},
		{"the value in another field", []string{date, "Mon"}, []string{from, "Mon"}, false},
	} {
		value := keys.SignTrace(seal.Traces{}, hostname, nonce(1), seal.MarksOf(header(c.first...)), []string{alice})
		traces := keys.OpenTraces([]string{value}, seal.MarksOf(header(c.then...)))
		if got := traces.Passes(alice) == 1; got != c.counts {
			t.Errorf("%s: the trace counts: %v, want %v", c.about, got, c.counts)
		}
	}
}

func TestTwoTracesOfOneRecipientHaveNothingInCommon(t *testing.T) {
	seen := map[string]bool{}
	for n := range 3 {
		value := sendOn(n, nil, alice)
		_, names := namesOf(t, value)
		_, sig, _ := strings.Cut(value, "sig=")
		for _, text := range append(slices.Collect(maps.Keys(names)), sig) {
			if seen[text] {
				t.Errorf("%s stands twice", text)
			}
			seen[text] = true
		}
	}
}

// atLeastFour is the next power of two, at least four.
func atLeastFour(n int) int {
	padded := 4
	for padded < n {
		padded *= 2
	}
	return padded
}

func TestATraceHidesWhoAndHowMany(t *testing.T) {
	var owners []string
	for i := range 40 {
		secret := fmt.Sprintf("secret%d@acmecorp.com", i)
		// One who is named twice needs no hash of their own.
		owners = append(owners, secret, secret)
		value := sendOn(i, nil, owners...)
		_, names := namesOf(t, value)
		want(t, fmt.Sprintf("hashes as which %d recipients show", i+1), len(names), atLeastFour(i+1))
		for _, count := range names {
			want(t, "passes", count, 1)
		}
		if strings.Contains(value, "secret") || strings.Contains(value, "office365") {
			t.Errorf("the trace names somebody: %q", value)
		}
		for line := range strings.SplitSeq(seal.TraceHeader+": "+value, "\n") {
			if len(line) > 78 {
				t.Errorf("a line has %d characters: %q", len(line), line)
			}
		}
		if i > 0 && i%7 == 0 {
			slices.Reverse(owners)
			want(t, "the trace of the same in another order", sendOn(i, nil, owners...), value)
		}
	}
}

// Who holds two traces of one message sees who of the first was sent on again, but not
// how many are new, or whether anybody is.
func TestATraceThatTakesAnothersPlaceHidesHowManyAreNew(t *testing.T) {
	before := sendOn(1, nil, alice)
	_, old := namesOf(t, before)
	for added := range 20 {
		owners := []string{alice}
		for i := range added {
			owners = append(owners, fmt.Sprintf("secret%d@acmecorp.com", i))
		}
		_, names := namesOf(t, sendOn(2, []string{before}, owners...))
		grown, fresh := 0, 0
		for hash, count := range names {
			switch {
			case old[hash] == 0:
				fresh++
				want(t, "passes of a new name", count, 1)
			case count == 2:
				grown++
			}
		}
		want(t, "names that were sent on again", grown, 1)
		want(t, fmt.Sprintf("hashes as which %d new recipients show", added), fresh, atLeastFour(added))
		want(t, "all hashes", len(names), len(old)+fresh)
	}
}

func TestCopiesThatWentDifferentWaysShareNoNewHash(t *testing.T) {
	before := sendOn(1, nil, alice)
	_, old := namesOf(t, before)
	_, one := namesOf(t, sendOn(2, []string{before}, bob))
	_, other := namesOf(t, sendOn(3, []string{before}, carol))
	for hash := range one {
		if other[hash] != 0 && old[hash] == 0 {
			t.Errorf("%s stands in both: it is nobody's", hash)
		}
	}
}

func TestABccCannotBeGuessedWithoutTheKey(t *testing.T) {
	// The attacker knows host, id and candidate; only the key is secret.
	guess := seal.NewKeys([]byte("a guess")).SignTrace(seal.Traces{}, hostname, nonce(1), itsMarks, []string{alice})
	_, theirs := namesOf(t, guess)
	_, names := namesOf(t, sendOn(1, nil, alice))
	for hash := range names {
		if theirs[hash] != 0 {
			t.Errorf("the hash %s does not depend on the key", hash)
		}
	}
}

// users returns owners with numbers from one to before another.
func users(from, to int) []string {
	var owners []string
	for i := from; i < to; i++ {
		owners = append(owners, fmt.Sprintf("user%d@acmecorp.com", i))
	}
	return owners
}

// kept counts how many owners have passes.
func kept(traces seal.Traces, owners []string) int {
	n := 0
	for _, owner := range owners {
		if traces.Passes(owner) > 0 {
			n++
		}
	}
	return n
}

func TestATraceHolds4096NamesAndDropsThoseWithTheFewestPassesFirst(t *testing.T) {
	open := func(value string) seal.Traces {
		t.Helper()
		_, names := namesOf(t, value)
		want(t, "names", len(names), 4096)
		if len(value) >= 64_000 {
			t.Errorf("the value has %d bytes", len(value))
		}
		return keys.OpenTraces([]string{value}, itsMarks)
	}
	often, once := users(0, 1000), users(1000, 4000)
	value := sendOn(1, nil, slices.Concat(often, once)...)
	value = sendOn(2, []string{value}, often...)
	traces := open(value)
	want(t, "kept of those sent on twice", kept(traces, often), 1000)
	want(t, "kept of those sent on once", kept(traces, once), 3000)

	// The new ones take the place of some of those with one pass.
	fresh := users(4000, 5000)
	value = sendOn(3, []string{value}, fresh...)
	traces = open(value)
	want(t, "kept of those sent on twice", kept(traces, often), 1000)
	want(t, "kept of the new ones", kept(traces, fresh), 1000)
	if n := kept(traces, once); n < 2000 || n > 2096 {
		t.Errorf("%d are kept of those sent on once", n)
	}

	// Those who are present stay before all who are not, so that their circle ends.
	fresh = users(5000, 5000+4000)
	value = sendOn(4, []string{value}, fresh...)
	traces = open(value)
	want(t, "kept of the new ones", kept(traces, fresh), 4000)
	want(t, "kept of those sent on twice", kept(traces, often), 96)

	// Of too many who are present, those with the most passes stay.
	value = sendOn(5, []string{value}, slices.Concat(users(9000, 14000), fresh[:500])...)
	traces = open(value)
	want(t, "kept of those sent on again", kept(traces, fresh[:500]), 500)
	want(t, "kept of the absent ones", kept(traces, fresh[500:])+kept(traces, often), 0)
}

func TestTheLongestTraceIsBelow64000BytesAndIsOpened(t *testing.T) {
	owners := users(0, 4096)
	name := strings.Repeat(strings.Repeat("a", 62)+".", 4) + "x"
	value := keys.SignTrace(seal.Traces{}, name, nonce(0), itsMarks, owners)
	for n := range 99 {
		traces := keys.OpenTraces([]string{value}, itsMarks)
		value = keys.SignTrace(traces, name, nonce(n), itsMarks, owners[n*41:])
	}
	if size := len(strings.ReplaceAll(value, "\n", "\r\n")); size >= 64_000 {
		t.Errorf("the value has %d bytes on the wire", size)
	}
	traces := keys.OpenTraces([]string{value}, itsMarks)
	for n := range 99 {
		want(t, "passes of "+owners[n*41], traces.Passes(owners[n*41]), min(n+2, 99))
	}
	for line := range strings.SplitSeq(value, "\n") {
		if len(line) > 78 && !strings.Contains(line, name) {
			t.Errorf("a line has %d characters: %q", len(line), line)
		}
	}
}

func FuzzTraces(f *testing.F) {
	first := sendOn(1, nil, alice)
	genuine := sendOn(2, []string{first}, alice)
	f.Add(genuine, "")
	f.Add(strings.ReplaceAll(genuine, "\n", "\r\n"), first)
	f.Add("v=2; by=x; id=; 1=,,; sig=", "sig=sig=;;1=")
	f.Fuzz(func(t *testing.T, one, two string) {
		expected := 0
		for _, text := range []string{one, two} {
			switch squeeze(text) {
			case squeeze(first):
				expected = max(expected, 1)
			case squeeze(genuine):
				expected = 2
			}
		}
		traces := keys.OpenTraces([]string{one, two}, itsMarks)
		want(t, "passes", traces.Passes(alice), expected)
		value := keys.SignTrace(traces, hostname, nonce(3), itsMarks, []string{alice})
		want(t, "passes after it", passes(alice, value), expected+1)
	})
}

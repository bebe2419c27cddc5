package limits_test

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/policy/rate"
	"coexistd/policy/verdict"
	"coexistd/scanners/limits"
)

// listed asks for the buckets of some rules.
func listed(t testing.TB, l limits.Limiter, most int, rules ...*rate.Rule) limits.Listing {
	t.Helper()
	got, err := l.List(t.Context(), about(most, rules...))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func about(most int, rules ...*rate.Rule) limits.Query {
	q := limits.Query{Most: most}
	for _, r := range rules {
		q.Rules = append(q.Rules, *r)
	}
	return q
}

// brief is a listing in a line, with what does not change as time passes.
func brief(l limits.Listing) string {
	var all []string
	for _, b := range l.Buckets {
		text := fmt.Sprintf("%s %s %d/%d", b.Rule.Name, b.Key, b.Used, b.Burst)
		if b.Over {
			text += " over"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func reset(t testing.TB, l limits.Limiter, rule, key string, was bool) {
	t.Helper()
	if got, err := l.Reset(t.Context(), rule, key); got != was || err != nil {
		t.Errorf("reset %q %q: there was one: %v, %v; want %v", rule, key, got, err, was)
	}
}

func isListed(t testing.TB, got limits.Listing, want string) {
	t.Helper()
	if text := brief(got); text != want {
		t.Errorf("listed are\n%s, want\n%s", text, want)
	}
}

// conformOnLists holds a Limiter to the promises of List and Reset.
func conformOnLists(t *testing.T, l limits.Limiter) {
	t.Run("the fullest come first", func(t *testing.T) {
		a, b := long("list a", 4, verdict.Tempfail), long("list b", 10, verdict.Reject)
		begun := time.Now()
		take(t, l, charge(a, "ann", 1), charge(a, "bob", 4), charge(b, "ann", 9), charge(b, "2001:db8::/64", 5), charge(long("list c", 1, verdict.Tag), "x", 1))
		got := listed(t, l, 10, a, b)
		isListed(t, got, "list a bob 4/4 over, list b ann 9/10, list b 2001:db8::/64 5/10, list a ann 1/4")
		if got.Cut || got.Partly || got.Damaged > 0 {
			t.Errorf("the listing is %+v, want whole", got)
		}
		passed := time.Since(begun)
		for i, units := range []float64{4, 9, 5, 1} {
			most := time.Duration(units * float64(unit))
			if b := got.Buckets[i]; b.EmptyIn > most || b.EmptyIn < most-passed-time.Second || math.Abs(b.Share-float64(b.EmptyIn)/float64(b.Burst)/float64(unit)) > 1e-6 {
				t.Errorf("%+v, want it empty in %v", b, most)
			}
		}
		if got := listed(t, l, 2, a, b); brief(got) != "list a bob 4/4 over, list b ann 9/10" || !got.Cut {
			t.Errorf("the two fullest are %s, more: %v", brief(got), got.Cut)
		}
		if got := listed(t, l, 0, a); len(got.Buckets) > 0 || !got.Cut {
			t.Errorf("none of them is %s, more: %v", brief(got), got.Cut)
		}
		isListed(t, listed(t, l, 10), "")
		isListed(t, listed(t, l, 10, long("list", 1, verdict.Tag)), "")
	})
	t.Run("what is told goes by the limit of today", func(t *testing.T) {
		r := long("list lowered", 10, verdict.Tempfail)
		take(t, l, charge(r, "bob", 8), charge(r, "ann", 2), charge(r, "eve", 2))
		r.Burst, r.Accounts = 4, map[string]int64{"ann": 60, "eve": rate.Unlimited}
		isListed(t, listed(t, l, 10, r), "list lowered bob 4/4 over, list lowered ann 4/8, list lowered eve 0/0")
	})
	t.Run("a bucket that is let go is empty", func(t *testing.T) {
		r := long("list reset", 2, verdict.Tempfail)
		take(t, l, charge(r, "bob", 2), charge(r, "ann", 1))
		take(t, l, charge(r, "bob", 1))
		reset(t, l, r.Name, "bob", true)
		reset(t, l, r.Name, "bob", false)
		reset(t, l, "list", "ann", false)
		isListed(t, listed(t, l, 10, r), "list reset ann 1/2")
		if g := take(t, l, charge(r, "bob", 2))[0]; g.Over {
			t.Errorf("after a reset: %+v", g)
		}
		if g := take(t, l, charge(r, "bob", 1))[0]; !g.First {
			t.Errorf("the first refusal after a reset: %+v", g)
		}
	})
	t.Run("strange keys are listed and let go", func(t *testing.T) { conformOnStrangeLists(t, l) })
	t.Run("a rule is let go and no other", func(t *testing.T) { conformOnAllKeys(t, l) })
}

func conformOnStrangeLists(t *testing.T, l limits.Limiter) {
	r := long("list: strange", 1, verdict.Tempfail)
	for _, key := range []string{"a:b", "#", "\x00", "ä@example.net", strings.Repeat("x", 200), "[a]?", ""} {
		take(t, l, charge(r, key, 1))
		got := listed(t, l, 10, r)
		if len(got.Buckets) != 1 || got.Damaged > 0 {
			t.Fatalf("of the key %q is listed %+v", key, got)
		}
		shown := got.Buckets[0].Key
		if shown != key && (len(shown) != 33 || shown[0] != '#') {
			t.Errorf("the key %q is shown as %q", key, shown)
		}
		reset(t, l, r.Name, shown, true)
		take(t, l, charge(r, key, 1))
		reset(t, l, r.Name, key, true)
		isListed(t, listed(t, l, 10, r), "")
	}
}

func conformOnAllKeys(t *testing.T, l limits.Limiter) {
	for _, name := range []string{"all", "all*", "all?", "[all]", `all\`, "all:all", "#all", "a\nl"} {
		r := long(name, 1, verdict.Tempfail)
		others := []*rate.Rule{long("all:a", 1, verdict.Tag), long("all", 1, verdict.Tag), long("allx", 1, verdict.Tag), long("a", 1, verdict.Tag)}
		others = slices.DeleteFunc(others, func(o *rate.Rule) bool { return o.Name == name })
		for _, o := range append(others, r) {
			take(t, l, charge(o, "bob", 1), charge(o, "ann", 1))
			take(t, l, charge(o, "ann", 1))
		}
		reset(t, l, name, limits.AllKeys, true)
		reset(t, l, name, limits.AllKeys, false)
		isListed(t, listed(t, l, 10, r), "")
		if got := listed(t, l, 100, others...); len(got.Buckets) != 2*len(others) {
			t.Errorf("beside %q, let go are others than\n%s", name, brief(got))
		}
		got := take(t, l, charge(r, "bob", 1), charge(r, "ann", 1))
		if got[0].Over || got[1].Over {
			t.Errorf("%q was let go: %+v", name, got)
		}
		if g := take(t, l, charge(r, "ann", 1))[0]; !g.First {
			t.Errorf("the first refusal after a reset of %q: %+v", name, g)
		}
		reset(t, l, name, limits.AllKeys, true)
	}
}

func TestMemoryNamesTheFullestOfAFlood(t *testing.T) {
	clock := int64(1)
	m := at(100_000, &clock)
	r := long("senders", 20, verdict.Tempfail)
	for i := range 10 {
		take(t, m, charge(r, fmt.Sprintf("spammer %d", i), 20))
	}
	for i := range 50_000 {
		take(t, m, charge(r, fmt.Sprintf("stranger %d", i), 1))
	}
	got := listed(t, m, 10, r)
	if !got.Partly || !got.Cut {
		t.Errorf("in part: %v, more: %v; want both", got.Partly, got.Cut)
	}
	for _, b := range got.Buckets {
		if !strings.HasPrefix(b.Key, "spammer") || !b.Over || !b.InMemory {
			t.Errorf("among the fullest ten is %+v", b)
		}
	}
	if all := len(listed(t, m, 50_000, r).Buckets); all < 1000 || all > 6000 {
		t.Errorf("%d names are known, want some thousand", all)
	}
	reset(t, m, r.Name, limits.AllKeys, true)
	for i := range 50_000 {
		if g := take(t, m, charge(r, fmt.Sprintf("stranger %d", i), 20))[0]; g.Over {
			t.Fatalf("one whose name was not known is not let go: %+v", g)
		}
	}
}

func TestListsAndResetsGoSideBySideWithMessages(t *testing.T) {
	m := limits.NewMemory(1000)
	r := long("crowd", 5, verdict.Tempfail)
	var crowd sync.WaitGroup
	for i := range 4 {
		crowd.Go(func() {
			for n := range 500 {
				m.Take(t.Context(), []rate.Charge{charge(r, strconv.Itoa(n%50), 1), charge(r, strconv.Itoa(i), 1)})
			}
		})
	}
	crowd.Go(func() {
		for n := range 50 {
			m.List(t.Context(), about(10, r))
			m.Reset(t.Context(), r.Name, strconv.Itoa(n))
			m.Reset(t.Context(), r.Name, limits.AllKeys)
		}
	})
	crowd.Wait()
	m.Reset(t.Context(), r.Name, limits.AllKeys)
	isListed(t, listed(t, m, 100, r), "")
	if g := take(t, m, charge(r, "1", 5))[0]; g.Over {
		t.Errorf("after all were let go: %+v", g)
	}
}

func TestABucketsNameGoesWhenItIsEmpty(t *testing.T) {
	clock := int64(1)
	m := at(1000, &clock)
	r := &rate.Rule{Name: "clients", Limit: 1, Per: 60, Burst: 1, OnLimit: verdict.Tempfail}
	for range 3 {
		take(t, m, charge(r, "bob", 1))
		if got := listed(t, m, 10, r); brief(got) != "clients bob 1/1 over" || got.Buckets[0].EmptyIn != time.Minute {
			t.Errorf("listed is %+v", got)
		}
		clock += 59_999_999
		if got := listed(t, m, 10, r); brief(got) != "clients bob 1/1 over" || got.Buckets[0].EmptyIn != time.Microsecond {
			t.Errorf("a microsecond before it is empty, listed is %+v", got)
		}
		clock++
		isListed(t, listed(t, m, 10, r), "")
		reset(t, m, r.Name, "bob", false)
	}
}

func TestWhatIsNoBucketInRedisIsLeftOutAndCounted(t *testing.T) {
	t.Parallel()
	server := startRedis(t, lab.RedisConfig{})
	r := patient(t, limits.RedisOptions{Addresses: []string{server.Addr}})
	rule := long("garbage", 2, verdict.Tempfail)
	take(t, r, charge(rule, "good", 1))
	for i, value := range []string{"", "x", "nan", "-1", "inf", "1e3", " 1", "9007199254740992", strings.Repeat("9", 1000)} {
		bucket, _ := limits.Keys(charge(rule, fmt.Sprint(i), 1))
		do(t, server, "SET", bucket, value)
	}
	full, _ := limits.Keys(charge(rule, "full", 1))
	do(t, server, "SET", full, "9007199254740991")
	prefix := strings.TrimSuffix(full, "full")
	do(t, server, "LPUSH", prefix+"list", "1")
	for _, name := range []string{"", "a\nb", strings.Repeat("k", 129), strings.Repeat("k", 1<<20), "#12"} {
		do(t, server, "SET", prefix+name, "9007199254740991")
	}
	for _, rules := range [][]*rate.Rule{{rule}, {rule, long("other", 1, verdict.Tag)}} {
		got := listed(t, r, 10, rules...)
		isListed(t, got, "garbage full 2/2 over, garbage good 1/2")
		if got.Damaged != 15 || got.Partly {
			t.Errorf("%d are counted as damaged, want 15", got.Damaged)
		}
	}
	reset(t, r, rule.Name, "list", true)
	reset(t, r, rule.Name, limits.AllKeys, true)
	if got := do(t, server, "DBSIZE"); got != "0" {
		t.Errorf("%s keys are left", got)
	}
}

func TestManyKeysOfOthersAreLookedAtInPart(t *testing.T) {
	t.Parallel()
	server := startRedis(t, lab.RedisConfig{})
	r := patient(t, limits.RedisOptions{Addresses: []string{server.Addr}})
	rule := long("crowded", 2, verdict.Tempfail)
	take(t, r, charge(rule, "bob", 1))
	do(t, server, "EVAL", "for i = 1, 400000 do redis.call('SET', 'other:' .. i, '') end", "0")
	if got := listed(t, r, 10, rule); !got.Partly {
		t.Errorf("of 400,001 keys all were looked at: %+v", got)
	}
	if _, err := r.Reset(t.Context(), rule.Name, limits.AllKeys); err == nil || !strings.Contains(err.Error(), "100000 of them") {
		t.Errorf("of 400,001 keys all were looked at: %v", err)
	}
	reset(t, r, "crowded", "nobody", false)
}

func TestListingNeedsTheRightToScan(t *testing.T) {
	t.Parallel()
	server := startRedis(t, lab.RedisConfig{})
	do(t, server, "ACL", "SETUSER", "few", "on", ">pw", "~{coexistd}:*", "+evalsha", "+eval", "+time", "+get", "+set")
	do(t, server, "ACL", "SETUSER", "enough", "on", ">pw", "~{coexistd}:*", "+evalsha", "+eval", "+time", "+get", "+set", "+scan", "+del")
	rule := long("rights", 2, verdict.Tempfail)
	few := patient(t, limits.RedisOptions{Addresses: []string{server.Addr}, Username: "few", Password: "pw"})
	enough := patient(t, limits.RedisOptions{Addresses: []string{server.Addr}, Username: "enough", Password: "pw"})
	take(t, few, charge(rule, "bob", 1))
	_, list := few.List(t.Context(), about(10, rule))
	_, one := few.Reset(t.Context(), rule.Name, "bob")
	_, all := few.Reset(t.Context(), rule.Name, limits.AllKeys)
	for _, err := range []error{list, one, all} {
		if err == nil || !strings.Contains(err.Error(), "+scan") || !strings.Contains(err.Error(), server.Addr) {
			t.Errorf("with too few rights: %v", err)
		}
	}
	isListed(t, listed(t, enough, 10, rule), "rights bob 1/2")
	reset(t, enough, rule.Name, "bob", true)
	reset(t, enough, rule.Name, limits.AllKeys, false)
}

func TestAwayFromRedisTheMemorysOwnBucketsAreTold(t *testing.T) {
	t.Parallel()
	k, log := keeper(t, limits.RedisOptions{Addresses: []string{"127.0.0.1:1"}})
	memory := onError(long("memory", 2, verdict.Tempfail), rate.ErrorMemory)
	stop := onError(long("stop", 2, verdict.Tempfail), rate.ErrorTempfail)
	got, err := k.List(t.Context(), about(10, memory, stop))
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || len(got.Buckets) > 0 {
		t.Errorf("without anything counted: %+v, %v", got, err)
	}
	if went(log) != 0 {
		t.Error("a List says that Redis is away")
	}
	k.Take(t.Context(), []rate.Charge{charge(memory, "bob", 1)})
	got, err = k.List(t.Context(), about(10, stop, memory))
	isListed(t, got, "memory bob 1/2")
	if err == nil || !got.Buckets[0].InMemory {
		t.Errorf("a bucket that is in memory alone: %+v, %v", got, err)
	}
	for _, was := range []bool{true, false} {
		if got, err := k.Reset(t.Context(), memory.Name, "bob"); got != was || err == nil {
			t.Errorf("a reset in memory: %v, %v; want %v and an error", got, err, was)
		}
	}
	if went(log) != 1 || came(log) != 0 {
		t.Errorf("the log says %d times that Redis went and %d that it came, want once and never", went(log), came(log))
	}
}

func TestListsAndResetsOfAHungRedisEndAtOnceAndHoldNobodyUp(t *testing.T) {
	t.Parallel()
	server := startRedis(t, lab.RedisConfig{})
	k, log := keeper(t, limits.RedisOptions{Addresses: []string{server.Addr}})
	asked := charge(onError(long("hung", 1<<40, verdict.Tempfail), rate.ErrorTempfail), "bob", 1)
	await(t, "Redis answers", func() bool { return !k.Take(t.Context(), []rate.Charge{asked})[0].Unknown })
	hadGone := went(log)
	if err := server.Suspend(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	for range 3 {
		if _, err := k.List(t.Context(), about(10, asked.Rule)); err == nil {
			t.Error("a hung Redis lists")
		}
		if _, err := k.Reset(t.Context(), asked.Rule.Name, "bob"); err == nil {
			t.Error("a hung Redis resets")
		}
	}
	if took := time.Since(begun); took > slack {
		t.Errorf("it took %v to say so", took)
	}
	if went(log) != hadGone {
		t.Error("messages are told that Redis is away, by a List")
	}
	if err := server.Continue(); err != nil {
		t.Fatal(err)
	}
	await(t, "it is listed again", func() bool {
		got, err := k.List(t.Context(), about(10, asked.Rule))
		return err == nil && !got.Partly
	})
}

func TestAListAndAResetWithARedisAreOfRedis(t *testing.T) {
	t.Parallel()
	k := patientKeeper(t, limits.RedisOptions{Addresses: []string{startRedis(t, lab.RedisConfig{}).Addr}})
	r := onError(long("both", 2, verdict.Tempfail), rate.ErrorMemory)
	k.Take(t.Context(), []rate.Charge{charge(r, "bob", 1)})
	got, err := k.List(t.Context(), about(10, r))
	isListed(t, got, "both bob 1/2")
	if err != nil || got.Buckets[0].InMemory {
		t.Errorf("a bucket in Redis: %+v, %v", got, err)
	}
	for _, was := range []bool{true, false} {
		if got, err := k.Reset(t.Context(), r.Name, "bob"); got != was || err != nil {
			t.Errorf("a reset: %v, %v; want %v", got, err, was)
		}
	}
}

func FuzzListBearsWhateverRedisHolds(f *testing.F) {
	f.Add("{coexistd}:rate:per user:bob", "1", int64(0), int64(10), int64(5), int64(3600))
	f.Add("{coexistd}:rate:per user:#00112233445566778899aabbccddeeff", "9007199254740991", int64(1<<52), int64(1), int64(1<<62), int64(1<<62))
	f.Add("{coexistd}:rate::", "-1", int64(-1), int64(-1), int64(-1), int64(-1))
	f.Fuzz(func(t *testing.T, name, value string, now, limit, burst, per int64) {
		now &= 1<<52 - 1
		rule := rate.Rule{Name: "per user", Limit: limit, Burst: burst, Per: per}
		b, ok := limits.ReadBucket(&rule, name, value, now)
		if !ok {
			return
		}
		if !strings.HasPrefix(name, "{coexistd}:rate:") || b.Key == "" || len(b.Key) > 128 || strings.ContainsFunc(b.Key, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Errorf("of %q %q is read %+v", name, value, b)
		}
		// EmptyIn is 0 when it is past.
		if b.Share < 0 || b.Share > 1 || b.Used < 0 || b.Used > max(burst, 1) || b.EmptyIn < 0 || b.EmptyIn > 366*24*time.Hour {
			t.Errorf("of %q %q with %+v at %d: %+v", name, value, rule, now, b)
		}
	})
}

func FuzzAnAnswerOfRedisIsAPageOrAnError(f *testing.F) {
	f.Add("1", "2", int64(3), "key", "value", byte(0))
	f.Add("4294967296", "1000000", int64(-1), "", "", byte(2))
	f.Fuzz(func(t *testing.T, seconds, micros string, count int64, key, value string, kind byte) {
		page := []any{seconds, micros, count, key, value, []any{key}, nil, int64(1)}
		page = page[:int(kind)%(len(page)+1)]
		now, strange, pairs, err := limits.ReadPage(page)
		if err == nil && (now < 0 || now >= 1<<53 || strange < 0 || len(pairs)%2 != 0) {
			t.Errorf("of %q is read %d, %d, %q", page, now, strange, pairs)
		}
	})
}

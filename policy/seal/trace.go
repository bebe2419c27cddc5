package seal

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"coexistd/policy/mail"
)

// TraceHeader is the name of the header field that every message carries which is sent
// on to another platform. Its value names the host that did so last and, by keyed
// hashes, the recipients for whom the message was sent on, sorted by how often:
//
//	v=2; by=mail.acmecorp.com; id=0011223344556677; 1=HASH,HASH,HASH; 2=HASH; sig=MAC
//
// One field carries all counts and takes the place of the one that came, so a hop that
// keeps only one of several fields of a name hides nothing. Each time, the number of
// names that are new is filled up to a power of two, so a Bcc stays secret.
const TraceHeader = "X-Coexist-Trace"

// The bounds of a trace. All names at once make a value of some 52,000 bytes.
const (
	maxNames  = 4096
	maxPasses = 99
	// leastNames is how many names are new each time, at least.
	leastNames = 4
	// maxTraces is how many fields of a message are looked at.
	maxTraces = 100
)

// Traces are the genuine traces of one message. The zero Traces are those of a message
// that has none.
type Traces struct {
	keys    Keys
	list    []trace
	genuine []int
}

// trace is what one genuine value says.
type trace struct {
	id     string
	passes map[name]int
	// sum is the sum of all passes.
	sum int
	// signature tells a value from others.
	signature string
}

// OpenTraces finds the genuine ones among the values of a message's fields of the name
// TraceHeader, of which it looks at the first 100. A value that is forged, altered, or
// signed for another message or with another secret counts for nothing.
func (k Keys) OpenTraces(values []string, marks Marks) Traces {
	if len(values) == 0 || k.IsZero() {
		return Traces{}
	}
	t, key := Traces{keys: k}, k.keyed()
	defer k.giveBack(key)
	for i, value := range values[:min(len(values), maxTraces)] {
		body, signature, _ := strings.Cut(mail.Unfold(value), "sig=")
		if !key.hasSigned(forTrace, body, signature, marks) {
			continue
		}
		t.genuine = append(t.genuine, i+1)
		if !slices.ContainsFunc(t.list, func(one trace) bool { return one.signature == signature }) {
			t.list = append(t.list, parseTrace(body, signature))
		}
	}
	return t
}

// parseTrace reads an unfolded body that we have written.
func parseTrace(body, signature string) trace {
	t := trace{passes: make(map[name]int), signature: signature}
	for field := range strings.SplitSeq(body, ";") {
		key, value, _ := strings.Cut(field, "=")
		if key == "id" {
			t.id = value
		}
		passes, err := strconv.Atoi(key)
		if err != nil || passes < 1 || passes > maxPasses {
			continue
		}
		for hash := range strings.SplitSeq(value, ",") {
			var n name
			if len(hash) != encoding.EncodedLen(len(n)) {
				continue
			}
			if _, err := encoding.Decode(n[:], []byte(hash)); err == nil {
				t.passes[n] = passes
				t.sum += passes
			}
		}
	}
	return t
}

// Passes returns how often the message was sent on for an owner (see mail.Address). Of
// several traces, the one that says most holds.
func (t Traces) Passes(owner string) int {
	if len(t.list) == 0 {
		return 0
	}
	key, most := t.keys.keyed(), 0
	defer t.keys.giveBack(key)
	for _, one := range t.list {
		most = max(most, one.passes[key.name(one.id, owner)])
	}
	return most
}

// Genuine returns the places of the genuine traces, counted from 1 among all fields of
// the name TraceHeader, as an MTA wants them that is to change or delete a field.
func (t Traces) Genuine() []int { return t.genuine }

// SignTrace returns the value that takes the place of a message's traces when hostname
// sends it on for owners, who may be named more than once. Lines end with a bare
// newline. It keeps the id of the genuine trace with the most passes, and all its
// counts, and counts one more for each of the owners. Counts of a trace with another id
// are kept for these owners only: nobody can tell who else is meant there. Of more than
// 4,096 names, owners stay before others, and those with more passes before those with
// less. The nonce must be random; a message that has no trace yet gets it as its id.
func (k Keys) SignTrace(t Traces, hostname string, nonce [8]byte, marks Marks, owners []string) string {
	key := k.keyed()
	defer k.giveBack(key)
	id, names := t.kept()
	if id == "" {
		id = hex.EncodeToString(nonce[:])
	}
	before := len(names)
	names = slices.Grow(names, filledUp(len(owners)))
	for _, owner := range owners {
		names = append(names, counted{key.name(id, owner), min(t.Passes(owner)+1, maxPasses), true})
	}
	names = eachOnce(names)
	names = key.fillUp(names, min(before+filledUp(len(names)-before), maxNames), id, nonce)

	value := folded{text: make([]byte, 0, 256), column: len(TraceHeader + ": ")}
	value.put("v=2;")
	value.put(" by=", hostname, ";")
	value.put(" id=", id, ";")
	value.putNames(keptNames(names))
	return key.sign(forTrace, value.text, marks.best())
}

// kept returns the best trace's id and its names. Other values with that id are taken in.
func (t Traces) kept() (id string, names []counted) {
	if len(t.list) == 0 {
		return "", nil
	}
	best := slices.MaxFunc(t.list, func(a, b trace) int { return cmp.Compare(a.sum, b.sum) })
	for _, one := range t.list {
		if one.id == best.id {
			for n, passes := range one.passes {
				names = append(names, counted{n, passes, false})
			}
		}
	}
	return best.id, eachOnce(names)
}

// filledUp returns the number as which so many new names show.
func filledUp(n int) int {
	shown := leastNames
	for shown < n {
		shown *= 2
	}
	return shown
}

// fillUp adds names of nobody until there are so many. They look like recipients' who
// were passed once. The nonce keeps those of two copies of one message apart.
func (k *keyed) fillUp(names []counted, until int, id string, nonce [8]byte) []counted {
	for i := 0; len(names) < until; i++ {
		// A space begins no address, so a filler equals no recipient's hash. One sum is
		// enough for several.
		var room [32]byte
		filler := strconv.AppendInt(append(append(room[:0], ' '), nonce[:]...), int64(i), 10)
		sum := k.of(forName, id, string(filler))
		for ; len(sum) > 0 && len(names) < until; sum = sum[nameBytes:] {
			names = append(names, counted{name(sum[:nameBytes]), 1, false})
		}
	}
	return names
}

// counted is a name with its passes. The message is present for it now, or not.
type counted struct {
	name    name
	passes  int
	present bool
}

// eachOnce returns the names without those that stand twice, of which the one with the
// most passes stays: a present one has more than it came with.
func eachOnce(names []counted) []counted {
	slices.SortFunc(names, func(a, b counted) int {
		return cmp.Or(bytes.Compare(a.name[:], b.name[:]), cmp.Compare(b.passes, a.passes))
	})
	return slices.CompactFunc(names, func(a, b counted) bool { return a.name == b.name })
}

// keptNames returns the names that a trace has room for, those with the fewest passes
// first. The order of equals tells nothing.
func keptNames(names []counted) []counted {
	slices.SortFunc(names, func(a, b counted) int {
		return cmp.Or(cmp.Compare(a.passes, b.passes), bytes.Compare(a.name[:], b.name[:]))
	})
	excess := max(0, len(names)-maxNames)
	names = slices.DeleteFunc(names, func(n counted) bool {
		if excess == 0 || n.present {
			return false
		}
		excess--
		return true
	})
	return names[excess:]
}

// folded is a header field's value, on lines of at most 78 characters as far as its
// pieces allow (RFC 5322 section 2.1.1).
type folded struct {
	text []byte
	// column is the length of the last line.
	column int
}

// put adds a piece in its parts, on a new line if it needs one.
func (f *folded) put(parts ...string) {
	length := 0
	for _, part := range parts {
		length += len(part)
	}
	if f.column+length > 78 {
		f.text = append(f.text, "\n\t"...)
		f.column = len("\t")
		length -= len(parts[0])
		parts[0] = strings.TrimPrefix(parts[0], " ")
		length += len(parts[0])
	}
	for _, part := range parts {
		f.text = append(f.text, part...)
	}
	f.column += length
}

// putNames adds names that are sorted by their passes.
func (f *folded) putNames(names []counted) {
	var hash [11]byte // what encoding makes of nameBytes
	for i, n := range names {
		passes, end := "", ","
		if i == 0 || names[i-1].passes != n.passes {
			passes = " " + strconv.Itoa(n.passes) + "="
		}
		if i == len(names)-1 || names[i+1].passes != n.passes {
			end = ";"
		}
		encoding.Encode(hash[:], n.name[:])
		f.put(passes, string(hash[:]), end)
	}
}

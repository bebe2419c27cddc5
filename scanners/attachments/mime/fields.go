package mime

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"coexistd/policy/mail"
)

// maxParameters is how many parameters of one field are read.
const maxParameters = 1000

// parameter is one parameter of a Content-Type or Content-Disposition field
// (RFC 2045 section 5.1), in one of the ways in which programs read it.
type parameter struct{ key, value string }

// parameters takes a field apart: what stands before the first semicolon, in
// lower case, and the parameters. It takes what mail programs take: values with
// spaces and without quotes, quotes that are not closed, text behind a quoted
// value, and backslashes that escape or are meant. A value with several
// readings is there once for each. ok is false when there are too many.
func parameters(field string) (kind string, list []parameter, ok bool) {
	kind, rest, _ := strings.Cut(field, ";")
	if equals := strings.IndexByte(kind, '='); equals >= 0 {
		// The semicolon is missing, or the kind is: "filename=a.exe".
		end := 1 + strings.LastIndexAny(strings.TrimRight(kind[:equals], " \t"), " \t")
		kind, rest = field[:end], field[end:]
	}
	kind = strings.ToLower(strings.Trim(mail.WithoutComments(kind), " \t\""))
	isLonger := false // the last one is that before it, with more behind it
	for rest != "" {
		if len(list) > maxParameters {
			return kind, list, false
		}
		rest = strings.TrimLeft(rest, "; \t")
		end := strings.IndexAny(rest, "=;")
		if end < 0 || rest[end] == ';' {
			var loose string
			loose, rest, _ = strings.Cut(rest, ";")
			if n := len(list); n > 0 && strings.TrimSpace(loose) != "" {
				// The value before it may have held a semicolon without quotes, or several.
				longer := parameter{list[n-1].key, list[n-1].value + ";" + loose}
				if isLonger {
					list = list[:n-1]
				}
				list, isLonger = append(list, longer), true
			}
			continue
		}
		isLonger = false
		key := strings.ToLower(strings.Trim(mail.WithoutComments(rest[:end]), " \t\""))
		key = key[strings.LastIndexAny(key, " \t")+1:] // a semicolon is missing before it
		var values []string
		values, rest = parameterValue(strings.TrimLeft(rest[end+1:], " \t"))
		for _, value := range values {
			list = append(list, parameter{key, value})
		}
	}
	return kind, list, true
}

// parameterValue reads the value that s begins with, in each of its readings,
// and returns what follows it.
func parameterValue(s string) (values []string, rest string) {
	quoted, isQuoted := strings.CutPrefix(s, `"`)
	if !isQuoted {
		return bareValue(s)
	}
	s = quoted
	var escaped strings.Builder
	end, backslash := 0, false
	for end < len(s) && s[end] != '"' {
		if s[end] == '\\' && end+1 < len(s) {
			end++
			backslash = true
		}
		escaped.WriteByte(s[end])
		end++
	}
	values = append(values, escaped.String())
	if backslash {
		// In "C:\a.exe" it is no escape, nor is it where a quote ends "a\".
		values = append(values, s[:end])
		if quote := strings.IndexByte(s, '"'); quote >= 0 && quote < end {
			values = append(values, s[:quote])
		}
	}
	if end == len(s) {
		value, rest, cut := strings.Cut(s, ";")
		if !cut {
			return values, ""
		}
		return append(values, value), rest
	}
	tail, rest, _ := strings.Cut(s[end+1:], ";")
	if equals := strings.IndexByte(tail, '='); equals >= 0 {
		// The next parameter, before which the semicolon is missing.
		rest = s[end+1:]
		tail = tail[:1+strings.LastIndexAny(tail[:equals], " \t")]
	}
	if strings.TrimSpace(tail) != "" {
		values = append(values, escaped.String()+tail)
	}
	return values, rest
}

// bareValue is parameterValue of a value without quotes.
func bareValue(s string) (values []string, rest string) {
	value, rest, _ := strings.Cut(s, ";")
	values = append(values, strings.TrimRight(value, " \t"))
	if end := strings.IndexAny(values[0], " \t("); end > 0 {
		if strings.Contains(values[0][end:], "=") {
			rest = s[end:] // the next parameter, before which the semicolon is missing
		}
		values = append(values, values[0][:end])
	}
	return values, rest
}

// segment is one piece of a value that RFC 2231 section 3 splits up.
type segment struct {
	number  int
	percent bool // it is encoded (section 4)
	value   string
}

// newSegment reads a section of "name*section": a number, or nothing where the value is whole.
// Either is followed by a further asterisk, or not.
func newSegment(section, value string) (one segment, isWhole bool, err error) {
	section, percent := strings.CutSuffix(section, "*")
	if section == "" {
		return segment{0, true, value}, true, nil
	}
	number, err := strconv.ParseUint(section, 10, 16)
	return segment{int(number), percent, value}, false, err
}

// values returns what the parameter of that name may be: each plain value, and
// as encoded the pieces of "name*0*" put together and decoded, in each of the ways in which
// programs do so. doubt is what could not be decoded, or empty.
func values(list []parameter, name string) (plain []string, encoded []string, doubt string) {
	var segments []segment
	var ways [][]segment
	for _, p := range list {
		if p.key == name {
			if !slices.Contains(plain, p.value) {
				plain = append(plain, p.value)
			}
			continue
		}
		section, ok := strings.CutPrefix(p.key, name+"*")
		if !ok {
			continue
		}
		one, isWhole, err := newSegment(section, p.value)
		if err != nil {
			doubt = "the parameter " + mail.PrintableName(p.key) + " cannot be read"
			continue
		}
		segments = append(segments, one)
		if isWhole { // as most programs take it, whatever else there is
			ways = append(ways, []segment{one})
		}
	}
	if len(segments) == 0 {
		return plain, nil, doubt
	}
	for _, way := range append(ways, orders(segments)...) {
		joined, why := joinSegments(way)
		if why != "" {
			doubt = why
		}
		if !slices.Contains(encoded, joined) {
			encoded = append(encoded, joined)
		}
	}
	return plain, encoded, doubt
}

// orders returns the pieces of a value as programs take them: all of them; of those that have
// the same number the first, or the last; and up to the first number that is missing.
func orders(pieces []segment) [][]segment {
	byNumber := func(a, b segment) int { return cmp.Compare(a.number, b.number) }
	isSame := func(a, b segment) bool { return a.number == b.number }
	all := slices.SortedStableFunc(slices.Values(pieces), byNumber)
	pieces = slices.Clone(pieces)
	slices.Reverse(pieces)
	first := slices.CompactFunc(slices.Clone(all), isSame)
	last := slices.CompactFunc(slices.SortedStableFunc(slices.Values(pieces), byNumber), isSame)
	ways := [][]segment{all}
	for _, way := range [...][]segment{first, last} {
		end := 0
		for end < len(way) && way[end].number == end {
			end++
		}
		if ways = append(ways, way); end > 0 {
			ways = append(ways, way[:end])
		}
	}
	return ways
}

func joinSegments(segments []segment) (joined, doubt string) {
	var b strings.Builder
	for i, seg := range segments {
		if i > 0 && seg.number == segments[i-1].number {
			doubt = "a piece of a parameter stands twice"
		}
		value := seg.value
		if seg.percent {
			if i == 0 {
				parts := strings.SplitN(value, "'", 3) // charset, language, text
				value = parts[len(parts)-1]
				switch {
				case len(parts) < 3:
					doubt, value = "an encoded parameter lacks its charset", seg.value
				case parts[0] != "" && !isKnownCharset(parts[0]):
					doubt = "a file name has the unknown charset " + mail.PrintableName(parts[0])
				}
			}
			decoded, ok := mail.Unhex(value, '%')
			if !ok {
				doubt = "a file name's percent encoding is broken"
			}
			value = decoded
		}
		b.WriteString(value)
	}
	return b.String(), doubt
}

// charsetFamilies begin the names of charsets in which the bytes of ASCII mean
// ASCII, or the same with NULs between them, so that an extension can be read
// without the charset's table.
var charsetFamilies = []string{
	"utf-8", "utf8", "us-ascii", "ascii", "ansi_x3.4", "iso-8859", "iso8859", "iso_8859", "latin", "windows-", "cp125", "cp437", "cp85",
	"cp86", "cp93", "cp949", "cp950", "ibm437", "ibm85", "ibm86", "koi8", "gb2312", "gbk", "gb18030", "big5", "hz-gb", "shift_jis", "shift-jis", "sjis", "x-sjis", "ms932",
	"ms_kanji", "euc-", "x-euc", "iso-2022", "ks_c_5601", "ksc5601", "ksc_5601", "tis-620", "viscii", "x-mac", "macintosh", "mac", "utf-16", "utf16",
	"armscii", "x-gbk", "unknown", "x-unknown", "win-", "cp-", "default", "x-default", "binary",
}

func isKnownCharset(charset string) bool {
	charset = strings.ToLower(charset)
	return slices.ContainsFunc(charsetFamilies, func(family string) bool { return strings.HasPrefix(charset, family) })
}

// fileNames returns every name that the fields' parameters may give a file, the
// decoded ones first, and what could not be decoded.
func fileNames(list []parameter) (names []string, doubt string) {
	note := func(why string) {
		if why != "" {
			doubt = why
		}
	}
	var raw []string
	for _, key := range [...]string{"filename", "name"} {
		plain, encoded, why := values(list, key)
		note(why)
		raw = append(append(raw, encoded...), plain...)
	}
	for _, name := range raw {
		if strings.Contains(name, "=?") {
			text, words := mail.DecodeWords(name)
			switch {
			case words.Broken:
				note("an encoded word in a file name is broken")
			case words.Unknown != "" && !isKnownCharset(words.Unknown):
				note("a file name has the unknown charset " + mail.PrintableName(words.Unknown))
			}
			if names = append(names, words.Bytes); text != words.Bytes {
				names = append(names, text)
			}
		}
	}
	names = append(names, raw...)
	if doubt != "" && endAlike(names) {
		doubt = ""
	}
	for _, name := range raw {
		if strings.Contains(name, "%") {
			decoded, _ := mail.Unhex(name, '%')
			names = append(names, decoded)
		}
	}
	return names, doubt
}

// endAlike reports that all readings of a file's name have the same ending, so that it does
// not matter which of them is right.
func endAlike(names []string) bool {
	const most = 5
	first := ""
	for i, name := range names {
		ending := strings.ToLower(name[strings.LastIndexByte(name, '.')+1:])
		odd := func(c rune) bool { return c < '0' || c > '9' && c < 'a' || c > 'z' }
		if len(ending) == len(name) || ending == "" || len(ending) > most || strings.ContainsFunc(ending, odd) || i > 0 && ending != first {
			return false
		}
		first = ending
	}
	return first != ""
}

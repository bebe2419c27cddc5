package postconf

import "regexp"

var (
	// spacedTables are those whose rows have blanks that mean something.
	spacedTables = regexp.MustCompile(`(?i)\b(regexp|pcre|cidr):\{.*\s`)

	assigned = regexp.MustCompile(`\s*=\s*`)
	opened   = regexp.MustCompile(`\{[\s,]+`)
	closed   = regexp.MustCompile(`[\s,]+\}`)
	parted   = regexp.MustCompile(`[\s,]+`)
)

// Unspaced writes a setting's list without blanks, which is the one form that postconf -P takes: -o
// NAME=VALUE of master(5). Possible is false for tables between braces whose rows need theirs.
func Unspaced(value string) (text string, possible bool) {
	if spacedTables.MatchString(value) {
		return value, false
	}
	for _, one := range []struct {
		blank *regexp.Regexp
		by    string
	}{{assigned, "="}, {opened, "{"}, {closed, "}"}, {parted, ","}} {
		value = one.blank.ReplaceAllString(value, one.by)
	}
	return value, true
}

package directory

import (
	"fmt"
	"strings"

	"coexistd/policy/route"
)

// maxReportTo bounds the addresses that one row names to be told.
const maxReportTo = 20

// readReportTo reads who is told of what is held for a row's address, as route.Row.Told has
// it: addresses with blanks or semicolons between them, or route.ToldNobody. It returns them with
// one space between each.
func readReportTo(written string) (string, error) {
	if written == "" {
		return "", nil
	}
	to := strings.FieldsFunc(written, func(r rune) bool { return r == ';' || r == ' ' || r == '\t' })
	if len(to) == 1 && to[0] == route.ToldNobody {
		return route.ToldNobody, nil
	}
	if len(to) > maxReportTo {
		return "", fmt.Errorf("the column %q names %d addresses; at most %d are told", route.ReportToColumn, len(to), maxReportTo)
	}
	for i, one := range to {
		address, err := parseAddress(one, "")
		if err != nil {
			return "", fmt.Errorf("the column %q: %w; it would be an address, or several with blanks or ; between them, or %s for nobody", route.ReportToColumn, err, route.ToldNobody)
		}
		to[i] = address.Path
	}
	return strings.Join(to, " "), nil
}

package directory

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"

	"coexistd/policy/mail"
	"coexistd/policy/rate"
)

// maxLimit bounds a limit in a row.
const maxLimit = 1_000_000_000_000

// quotas are the limits that rows give to their logins, by the columns of
// Source.Limits in their order. A login whose rows say nothing of any has none.
//
// Logins are known by a hash of 64 bits that nobody outside can foresee, so that
// many are still two objects for the garbage collector: of a million, two share
// their limits by chance in one of 37 million directories.
type quotas struct {
	places map[uint64]uint32 // where in limits a login's begin
	limits []int64           // zero: nothing is said
}

// give gives a row's limits to its logins, which may have some from other rows.
func (q *quotas) give(s *Snapshot, logins string, limits []int64) {
	if !slices.ContainsFunc(limits, func(limit int64) bool { return limit != 0 }) {
		return
	}
	for login := range strings.FieldsSeq(logins) {
		hash := s.hashLogin(login)
		at, known := q.places[hash]
		if !known {
			if q.places == nil {
				q.places = make(map[uint64]uint32)
			}
			at = uint32(len(q.limits))
			q.places[hash] = at
			q.limits = append(q.limits, limits...)
			continue
		}
		for i, limit := range limits {
			q.limits[int(at)+i] = stricter(q.limits[int(at)+i], limit)
		}
	}
}

// limitOf returns what a column of Source.Limits says of a login: zero, where it
// says nothing. Found is set when the snapshot is known to have the login.
func (s *Snapshot) limitOf(login, column string) (limit int64, found bool) {
	i := slices.Index(s.source.Limits, column)
	if i < 0 {
		return 0, false
	}
	at, found := s.quotas.places[s.hashLogin(login)]
	if found {
		limit = s.quotas.limits[int(at)+i]
	}
	address, err := mail.ParseAddress(login, s.source.Delimiters)
	if err != nil {
		return limit, found
	}
	e, listed := s.Find(address)
	if !listed {
		return limit, found
	}
	// The Builder has refused what is no limit.
	own, _ := parseLimit(e.Column(column))
	return stricter(limit, own), true
}

func (s *Snapshot) hashLogin(login string) uint64 {
	return maphash.String(s.seed, strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, login))
}

// stricter returns the smaller of two limits. One that says nothing is the least
// strict, and rate.Unlimited comes next.
func stricter(a, b int64) int64 {
	switch {
	case a > 0 && b > 0:
		return min(a, b)
	case a > 0 || b > 0:
		return max(a, b)
	}
	return min(a, b)
}

// parseLimit reads a field of a column of limits. It is zero where that is empty.
func parseLimit(value string) (int64, error) {
	switch {
	case value == "":
		return 0, nil
	case strings.EqualFold(value, "unlimited"):
		return rate.Unlimited, nil
	}
	limit, err := strconv.ParseInt(value, 10, 64)
	if err != nil || limit < 1 || limit > maxLimit {
		return 0, fmt.Errorf("%q; a limit is a whole number from 1 to %d, or unlimited, or nothing for that of the rule", clip(value), maxLimit)
	}
	return limit, nil
}

package doctor

import (
	"context"
	"slices"
	"strings"
)

// surveyFilters looks at content filters.
func surveyFilters(_ context.Context, s *survey) []Finding {
	return lookAtContentFilters(s.examination)
}

// surveyChroots looks for services that would not see a Unix socket of ours.
func surveyChroots(_ context.Context, s *survey) []Finding {
	var sockets []string
	for _, l := range slices.Concat(s.conf.Listeners, s.conf.Lookups) {
		if path, is := strings.CutPrefix(l.Address, "unix:"); is {
			sockets = append(sockets, path)
		}
	}
	names := s.mta.chrooted()
	if len(names) > 0 && len(sockets) == 0 {
		return []Finding{fine("Postfix runs %s in its chroot: they reach coexistd at inet:127.0.0.1:PORT, and at no Unix socket", strings.Join(names, ", "))}
	}
	return s.judgeChroot(names, sockets)
}

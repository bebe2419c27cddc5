package doctor

import (
	"context"
	"slices"

	"coexistd/cmd/coexistd/postconf"
)

// surveyMilters looks at the other milters: whether all mail meets them, their order, and what
// becomes of mail while one is away.
func surveyMilters(_ context.Context, s *survey) []Finding {
	return slices.Concat(
		together("smtpd", s.mta.Running("smtpd"), serviceName, s.judgePassing),
		s.ofLists(s.tellOrder),
		lookAtOtherMilters(s.examination),
		surveyOriginal(s),
	)
}

// judgePassing looks for a service whose mail passes by milters. It reads on from the service's name.
func (s *survey) judgePassing(service *postconf.Service) (Finding, bool) {
	switch maps := s.mta.Value(service, "smtpd_milter_maps"); {
	case s.mta.IsReturn(service):
		return Finding{}, false // surveyFilters tells of it.
	case !s.mta.AsksMilters(service):
		return failure("asks no milter, as receive_override_options has no_milters: its mail will pass by coexistd, and that for users who live elsewhere goes astray").
			do("take no_milters out of %s, save for a service on loopback that takes mail back from a content filter", service.Where("receive_override_options")), true
	case maps != "":
		return failure("has other milters, or none, for the clients that smtpd_milter_maps (%s) names: their mail will pass by coexistd", maps).
			do("take smtpd_milter_maps out, or let it name coexistd for each client"), true
	}
	return Finding{}, false
}

// tellOrder tells of milters that stand in the right order.
func (s *survey) tellOrder(service *postconf.Service, setting string) (Finding, bool) {
	list := s.standings(s.mta.Value(service, setting))
	if len(list) == 0 || !inTurn(list) {
		return Finding{}, false
	}
	return fine("asks %s: coexistd setup postfix puts coexistd before them, so that they see what it makes of a message", names(list)), true
}

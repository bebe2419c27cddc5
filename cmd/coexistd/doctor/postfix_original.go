package doctor

import (
	"strings"

	"coexistd/cmd/coexistd/postconf"
)

// lookAtOriginal looks for a cleanup service that forgets the recipients whom the client named.
// Such a service puts the address from the lookup aliases into the message before the milter does,
// takes the milter's for one that is there already, and then takes out both: the message is
// accepted, and delivered to nobody.
func lookAtOriginal(p *postfix) []Finding {
	return together("cleanup", p.Running("cleanup"), serviceName, func(s *postconf.Service) (Finding, bool) {
		if !p.forgetsOriginal(s) {
			return Finding{}, false
		}
		return failure("loses mail for users who live elsewhere: enable_original_recipient is no in %s, so that it takes out the address that the milter adds", s.Where("enable_original_recipient")).
			do("write into %s: enable_original_recipient = yes; then run: postfix reload", s.Where("enable_original_recipient")), true
	})
}

func (p *postfix) forgetsOriginal(s *postconf.Service) bool {
	return strings.EqualFold(p.Value(s, "enable_original_recipient"), "no")
}

// surveyOriginal tells of the same before coexistd is attached.
func surveyOriginal(s *survey) []Finding {
	return together("cleanup", s.mta.Running("cleanup"), serviceName, func(service *postconf.Service) (Finding, bool) {
		if !s.mta.forgetsOriginal(service) {
			return Finding{}, false
		}
		return failure("has enable_original_recipient = no in %s: it would lose mail for users who live elsewhere, as it would take out the address that coexistd adds", service.Where("enable_original_recipient")).
			do("write into %s: enable_original_recipient = yes (coexistd setup postfix does so in main.cf). Who is named by two addresses then gets two copies where both lead to them", service.Where("enable_original_recipient")), true
	})
}

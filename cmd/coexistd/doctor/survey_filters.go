package doctor

import (
	"context"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
)

// surveyFilters looks at content filters: what milters can do before them, and by which way the
// mail comes back.
func surveyFilters(_ context.Context, s *survey) []Finding {
	findings := together("smtpd", s.mta.Running("smtpd"), serviceName, func(service *postconf.Service) (f Finding, is bool) {
		proxy := s.mta.Value(service, "smtpd_proxy_filter")
		if proxy == "" {
			return f, false
		}
		return failure("hands mail to the proxy %s (smtpd_proxy_filter) while it comes in: milters see no message there, and cannot rewrite a recipient", proxy).
			do("make it a content_filter, or a milter (amavisd-milter), before coexistd is attached"), true
	})
	filters := s.mta.ContentFilters()
	for _, filter := range filters {
		findings = append(findings, s.judgeFilter(filter))
	}
	if len(filters) == 0 {
		return findings
	}
	return append(findings, together("smtpd", s.mta.Running("smtpd"), serviceName, func(service *postconf.Service) (f Finding, is bool) {
		switch takesBack := postconf.IsOnLoopback(service.Name) && s.mta.Value(service, "content_filter") == ""; {
		case !takesBack:
			return f, false
		case !s.mta.IsReturn(service):
			return failure("takes mail back from the content filter, and asks milters: coexistd would decide on it a second time, as mail of our own users").
				do("write into its lines in master.cf: -o receive_override_options=%s", joinedOptions(s.mta.Value(service, "receive_override_options"), "no_milters")), true
		}
		return fine("takes mail back from the content filter, without milters: coexistd sees it once, before the filter"), true
	})...)
}

// judgeFilter tells of a content filter.
func (s *survey) judgeFilter(filter string) Finding {
	name, _, _ := strings.Cut(filter, ":")
	isPipe := slices.ContainsFunc(s.mta.Services, func(service *postconf.Service) bool {
		return service.Name == name && service.Kind == "unix" && service.Program == "pipe"
	})
	if isPipe {
		return warning("content_filter %s is a program: where it hands mail back by the sendmail command, milters are asked again, and coexistd would decide on it a second time, as mail of our own users", filter).
			do("let it hand mail back by SMTP to a service on loopback that has -o content_filter= -o receive_override_options=no_milters in master.cf")
	}
	return fine("content_filter %s takes mail behind the milters: it will see recipients as coexistd has rewritten them", filter)
}

// joinedOptions adds an option to a list, as -o takes it.
func joinedOptions(list, more string) string {
	return strings.Join(append(postconf.List(list), more), ",")
}

// surveyChroots looks for services that would not see a Unix socket of ours.
func surveyChroots(_ context.Context, s *survey) []Finding {
	var names, sockets []string
	for _, service := range s.mta.Services {
		if service.Chroot && slices.Contains(askingPrograms, service.Program) {
			names = append(names, service.Name)
		}
	}
	for _, l := range slices.Concat(s.conf.Listeners, s.conf.Lookups) {
		if strings.HasPrefix(l.Address, "unix:") {
			sockets = append(sockets, l.Address)
		}
	}
	switch {
	case len(names) == 0:
		return nil
	case len(sockets) > 0:
		return []Finding{failure("Postfix runs %s in its chroot, where they will not see %s: all mail would be put off", strings.Join(names, ", "), some(sockets)).
			do("write n into the chroot column of their lines in master.cf and restart Postfix, or let coexistd listen on inet:127.0.0.1:8701 and inet:127.0.0.1:8702")}
	}
	return []Finding{fine("Postfix runs %s in its chroot: they reach coexistd at inet:127.0.0.1:PORT, and at no Unix socket", strings.Join(names, ", "))}
}

package doctor

import (
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
)

// lookAtContentFilters looks at content filters: what milters can do before them, and by which way the
// mail comes back.
func lookAtContentFilters(x *examination) []Finding {
	findings := together("smtpd", x.mta.Running("smtpd"), serviceName, x.mta.judgeProxy)
	filters := x.mta.ContentFilters()
	for _, filter := range filters {
		findings = append(findings, x.mta.judgeContentFilter(filter))
	}
	if len(filters) == 0 {
		return findings
	}
	return append(findings, together("smtpd", x.mta.Running("smtpd"), serviceName, x.mta.judgeReturn)...)
}

// judgeProxy looks for a filter that has each message before milters have. It reads on from the service's name.
func (p *postfix) judgeProxy(s *postconf.Service) (f Finding, is bool) {
	const setting = "smtpd_proxy_filter"
	proxy := p.Value(s, setting)
	if proxy == "" {
		return f, false
	}
	host, port, found := strings.Cut(proxy, ":")
	if !found {
		host, port = "127.0.0.1", proxy
	}
	return failure("hands mail to the proxy %s (%s) while it comes in: milters see no message there, and cannot rewrite a recipient", proxy, setting).
		do("in %s, write content_filter=smtp:[%s]:%s in the place of %s=%s; then run: postfix reload; or have a milter do its work, such as amavisd-milter", s.Where(setting), host, port, setting, proxy), true
}

// judgeContentFilter tells of a content filter.
func (p *postfix) judgeContentFilter(filter string) Finding {
	name, _, _ := strings.Cut(filter, ":")
	isPipe := slices.ContainsFunc(p.Services, func(s *postconf.Service) bool {
		return s.Name == name && s.Kind == "unix" && s.Program == "pipe"
	})
	if isPipe && !slices.ContainsFunc(p.Running("smtpd"), p.takesBack) {
		return warning("content_filter %s is a program: where it hands mail back by the sendmail command, milters are asked again, and coexistd decides on it a second time, as mail of our own users", filter).
			do("let it hand mail back by SMTP to a service on loopback, and add that to master.cf: 127.0.0.1:10025 inet n - n - - smtpd -o content_filter= -o receive_override_options=no_milters; then run: postfix reload")
	}
	return fine("content_filter %s takes mail behind the milters: it sees recipients as coexistd has rewritten them", filter)
}

// takesBack reports a service by which a content filter hands mail back: on loopback, without the filter, and with
// an option that such a service has (FILTER_README, SMTPD_PROXY_README).
func (p *postfix) takesBack(s *postconf.Service) bool {
	isUsual := slices.ContainsFunc([]string{"content_filter", "smtpd_proxy_filter", "receive_override_options", "smtpd_authorized_xforward_hosts"}, func(option string) bool {
		_, own := s.Own[option]
		return own
	})
	return (isUsual || p.IsReturn(s)) && postconf.IsOnLoopback(s.Name) && p.Value(s, "content_filter") == "" && p.Value(s, "smtpd_proxy_filter") == ""
}

// judgeReturn tells of a service that takes mail back. It reads on from the service's name.
func (p *postfix) judgeReturn(s *postconf.Service) (f Finding, is bool) {
	const setting = "receive_override_options"
	switch {
	case !p.takesBack(s):
		return f, false
	case !p.IsReturn(s):
		options := strings.Join(append(postconf.List(p.Value(s, setting)), "no_milters"), ",")
		return failure("takes mail back from the content filter, and asks milters: coexistd decides on it a second time, as mail of our own users").
			do("put into the lines of %s in master.cf: -o %s=%s; then run: postfix reload", s.Name, setting, options), true
	}
	return fine("takes mail back from the content filter, without milters: coexistd sees it once, before the filter"), true
}

package postconf

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Service is one line of master.cf.
type Service struct {
	// Name and Kind are the first two fields: "smtp", "inet". Program is the file's name
	// in the last one.
	Name, Kind, Program string
	// Chroot says that the program sees the queue directory alone.
	Chroot bool
	// Own are its -o options by name.
	Own map[string]string
}

// Where says in words where a setting stands, as it holds for the service.
func (s *Service) Where(name string) string {
	if _, own := s.Own[name]; own {
		return "the -o options of " + s.Name + " in master.cf"
	}
	return "main.cf"
}

// Value is a setting as it holds for a service.
func (p *Settings) Value(s *Service, name string) string {
	if value, own := s.Own[name]; own {
		return value
	}
	return p.Main[name]
}

// Running are the services that run a program.
func (p *Settings) Running(program string) []*Service {
	return slices.DeleteFunc(slices.Clone(p.Services), func(s *Service) bool { return s.Program != program })
}

// Filtered are the services that take mail by SMTP of which milters are asked: each smtpd, save those
// whose receive_override_options say otherwise, and those that take mail back.
func (p *Settings) Filtered() []*Service {
	return slices.DeleteFunc(p.Running("smtpd"), func(s *Service) bool { return !p.AsksMilters(s) || p.IsReturn(s) })
}

// AsksMilters reports a service that no receive_override_options keep from asking milters.
func (p *Settings) AsksMilters(s *Service) bool {
	return !slices.Contains(List(p.Value(s, "receive_override_options")), "no_milters")
}

// IsReturn reports a service on loopback by which mail comes back that the milters of main.cf have seen:
// from a content filter of this host, or as Zimbra has it, from Postfix itself. Options of its own say
// that it asks no milters, or none of those.
func (p *Settings) IsReturn(s *Service) bool {
	if !IsOnLoopback(s.Name) {
		return false
	}
	if _, own := s.Own["receive_override_options"]; own && !p.AsksMilters(s) {
		return true
	}
	milters, own := s.Own["smtpd_milters"]
	filter, ends := s.Own["content_filter"]
	return own && (milters == "" && ends && filter == "" || slices.ContainsFunc(p.ContentFilters(), func(filter string) bool {
		_, next, _ := strings.Cut(filter, ":")
		return sameAddress(next, s.Name)
	}))
}

// ContentFilters are the filters that main.cf and the services of master.cf name, each once.
func (p *Settings) ContentFilters() (list []string) {
	for _, s := range p.Services {
		filter := ""
		if s.Program == "smtpd" || s.Program == "pickup" {
			filter = p.Value(s, "content_filter")
		}
		if filter != "" && !slices.Contains(list, filter) {
			list = append(list, filter)
		}
	}
	return list
}

// sameAddress compares two of HOST:PORT, with the host in brackets or not.
func sameAddress(a, b string) bool {
	host, port, err := net.SplitHostPort(a)
	otherHost, otherPort, otherErr := net.SplitHostPort(b)
	return err == nil && otherErr == nil && host == otherHost && port == otherPort
}

// IsOnLoopback reports an address with a port that only this host reaches.
func IsOnLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	parsed, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && parsed.Unmap().IsLoopback()
}

// The ports of SMTP and of submission (RFC 5321 section 4.5.4.2, RFC 6409, RFC 8314).
const (
	SMTPPort        = "25"
	SubmissionPort  = "587"
	SubmissionsPort = "465"
)

// Port is the number of the port at which a service listens; empty: it listens at none.
func (s *Service) Port() string {
	if s.Kind != "inet" {
		return ""
	}
	switch name := s.Name[strings.LastIndexByte(s.Name, ':')+1:]; name {
	case "smtp":
		return SMTPPort
	case "submission":
		return SubmissionPort
	case "submissions", "smtps", "ssmtp", "urd":
		return SubmissionsPort
	default:
		return name
	}
}

package doctor

import "coexistd/cmd/coexistd/sendmailcf"

// lookAtDaemons looks for listeners that Sendmail cannot open side by side.
func lookAtDaemons(s *sendmail) (findings []Finding) {
	daemons := s.Listening()
	for i, one := range daemons {
		for _, other := range daemons[:i] {
			if one.Meets(other) && !one.MayLack() && !other.MayLack() {
				findings = append(findings, failure("the daemons %s and %s listen at one port, %d, of the same address: Sendmail cannot open it twice, and ends within a minute", other.Name, one.Name, sendmailcf.PortNumber(one.Port)).
					do("take the DAEMON_OPTIONS of one of them out of sendmail.mc (Debian's own are MTA-v4 and MSP-v4)%s", remade))
			}
		}
	}
	return findings[:min(len(findings), mostNamed)]
}

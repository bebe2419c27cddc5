package doctor

import "strings"

// lookAtRelayMailers sees whether Sendmail can take mail to the relays of [[route]].
func lookAtRelayMailers(x *examination) []Finding {
	ports := x.conf.Rules.Routes.RelayPorts()
	if len(ports) == 0 || len(x.conf.Lookups) == 0 {
		return nil
	}
	if lacking := x.sendmail.LacksRelays(&x.conf.Rules.Routes); len(lacking) > 0 {
		return []Finding{failure("sendmail.cf has no mailer for relays of [[route]] at port %s: their mail bounces or waits in the queue", strings.Join(lacking, ", ")).
			inMC("define(`COEXISTD_RELAY_PORTS', `%s')dnl before the include of coexistd.m4", strings.Join(ports, " "))}
	}
	return []Finding{fine("Sendmail has a mailer for the relays of [[route]]")}
}

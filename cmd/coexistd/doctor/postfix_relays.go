package doctor

import (
	"slices"

	"coexistd/cmd/coexistd/postconf"
)

// lookAtRoutes sees whether Postfix can take mail to the relays of [[route]].
func lookAtRoutes(x *examination) []Finding {
	if !x.conf.Rules.Routes.HasRelays() || len(x.conf.Lookups) == 0 {
		return nil
	}
	const remedy = "run coexistd setup postfix, and what it prints for the service %s of master.cf"
	i := slices.IndexFunc(x.mta.Services, func(s *postconf.Service) bool { return s.Name == postconf.RelayService && s.Kind == "unix" })
	switch {
	case i < 0 || x.mta.Services[i].Program != "smtp":
		return []Finding{failure("master.cf has no service %s that is smtp(8): mail that a [[route]] takes to a relay waits in the queue", postconf.RelayService).do(remedy, postconf.RelayService)}
	case !slices.ContainsFunc(postconf.Tables(x.mta.Services[i].Own["smtp_generic_maps"]), func(table string) bool { return x.mta.IsOurs(table, "generic", x.conf.Lookups) }):
		return []Finding{failure("the service %s does not ask coexistd for generic: relays get mail for addresses of route.invalid, which they do not know", postconf.RelayService).do(remedy, postconf.RelayService)}
	}
	return []Finding{fine("the service %s takes mail to the relays of [[route]], and asks coexistd for generic", postconf.RelayService)}
}

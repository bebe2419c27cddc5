package config

import (
	"fmt"
	"time"

	"coexistd/policy/config/sockets"
	"coexistd/policy/config/wording"
)

const day = 24 * time.Hour

// refuseOwn refuses the address of a server that is one of our own sockets.
func (r *reader) refuseOwn(network, addr string) error {
	for _, l := range r.config.Sockets() {
		kind, own, err := sockets.Parse(l.Address)
		if err == nil && kind == network && sockets.Reaches(network, addr, own) {
			return fmt.Errorf("%s is where coexistd itself listens (%s); write the address of the other server", wording.Quote(addr), l.Address)
		}
	}
	return nil
}

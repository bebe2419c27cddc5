package doctor

import (
	"maps"
	"slices"

	"coexistd/cmd/coexistd/sendmailcf"
)

// lookAtClientBounds looks for bounds of connections that the hosts of platforms reach.
func lookAtClientBounds(x *examination) (findings []Finding) {
	access, err := x.sendmail.Table("access")
	if err != nil {
		return nil // It cannot be told.
	}
	bounds := x.sendmail.ClientBounds(access)
	for _, name := range slices.Sorted(maps.Keys(x.networks)) {
		var low, lines []string
		for _, network := range x.networks[name].Networks.Prefixes() {
			for _, part := range sendmailcf.Parts(network) {
				for _, b := range bounds {
					if b.IsLow(part.Addr()) {
						low = append(low, part.String())
						lines = append(lines, b.Tag+":"+sendmailcf.AccessKey(part)+" 0")
					}
				}
			}
		}
		if low, lines = slices.Compact(low), slices.Compact(lines); len(low) > 0 {
			findings = append(findings, warning("a host of %s may make few connections only (ClientRate, ClientConn), and more get 421, so that mail comes late: %s", name, some(low)).
				do("write into /etc/mail/access a line for each: %s; then run: make -C /etc/mail", some(lines)))
		}
	}
	return findings
}

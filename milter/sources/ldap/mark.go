package ldap

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"coexistd/milter/sources"
)

// mark reads the counters of the server's state. Each has the server in its name: another
// that lags behind is no server that went back. Those of OpenLDAP are what its replicas have in
// common, too.
func (c *conn) mark(ctx context.Context) (sources.Mark, error) {
	root, err := c.entry(ctx, "", "namingContexts", "highestCommittedUSN", "dsServiceName")
	if err != nil {
		return nil, err
	}
	if usn := root.first("highestCommittedUSN"); usn != "" {
		return c.usn(ctx, usn, root.first("dsServiceName"))
	}
	suffix, isKept := suffixOf(c.o.Base, root["namingcontexts"])
	if !isKept {
		return nil, nil
	}
	top, err := c.entry(ctx, suffix, "contextCSN")
	if err != nil {
		return nil, err
	}
	mark := make(sources.Mark)
	for _, csn := range top["contextcsn"] {
		// TIME#COUNT#SID#MODIFICATION, each of the same length in all.
		if parts := strings.Split(csn, "#"); len(parts) == 4 && len(csn) <= 64 {
			mark[fmt.Sprintf("contextCSN %s of %s", parts[2], c.server.url)] = csn
			mark[sources.Progress+"contextCSN "+parts[2]] = csn
		}
	}
	return mark, nil
}

// usn is the mark of a domain controller. Its invocationId changes when it was restored
// from a backup, since what it counts then begins anew.
func (c *conn) usn(ctx context.Context, usn, service string) (sources.Mark, error) {
	count, err := strconv.ParseUint(usn, 10, 64)
	if err != nil {
		return nil, c.o.fail(c.server, "reading highestCommittedUSN", fmt.Errorf("it is %q, and no number", usn))
	}
	id, mark := c.server.url, make(sources.Mark)
	if service != "" {
		id = strings.ToLower(service)
		its, err := c.entry(ctx, service, "invocationId")
		if err != nil {
			return nil, err
		}
		if invocation := its.first("invocationId"); invocation != "" {
			mark[sources.Identity+id] = hex.EncodeToString([]byte(invocation))
			id = mark[sources.Identity+id]
		}
	}
	mark["highestCommittedUSN of "+id] = fmt.Sprintf("%020d", count)
	return mark, nil
}

// suffixOf returns which of the trees that a server keeps a DN is in, the innermost.
func suffixOf(base string, contexts []string) (suffix string, isKept bool) {
	below, err := goldap.ParseDN(base)
	if err != nil {
		return "", false
	}
	longest := -1
	for _, context := range contexts {
		dn, err := goldap.ParseDN(context)
		if err != nil || len(dn.RDNs) <= longest || !dn.EqualFold(below) && !dn.AncestorOfFold(below) {
			continue
		}
		suffix, longest = context, len(dn.RDNs)
	}
	return suffix, longest >= 0
}

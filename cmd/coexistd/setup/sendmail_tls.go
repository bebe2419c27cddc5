package setup

import (
	"slices"

	"coexistd/cmd/coexistd/sendmailcf"
)

// demands are the lines of the access map for what [[tls]] demands of servers.
func (g *sendmailSide) demands() []sendmailcf.Demand { return sendmailcf.Demands(g.Conf.Rules) }

// hasDemands reports that the access map has what is demanded.
func (g *sendmailSide) hasDemands(access map[string]string) bool {
	return !slices.ContainsFunc(g.demands(), func(one sendmailcf.Demand) bool { return !one.IsIn(access) })
}

// printDemands writes them, within a script.
func (g *sendmailSide) printDemands() (text string) {
	for _, one := range g.demands() {
		text += "\tprintf '%s\\n' " + quote(one.Key+"\t"+one.Value) + "\n"
	}
	return text
}

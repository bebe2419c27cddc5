package main

import (
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"coexistd/cmd/coexistd/daemon"
	"coexistd/cmd/coexistd/sendmailcf"
	"coexistd/policy/config"
	"coexistd/policy/networks"
)

func networksCommand(c *call) *cobra.Command {
	return c.group(cobra.Command{
		Use:     "networks ACTION",
		Short:   "hand on the platforms' networks to others",
		Long:    `networks tells from where the platforms send, as the configuration and the lists that the daemon keeps have it.`,
		Example: `  coexistd networks export --for nft office365`,
	}, networksExportCommand(c))
}

// table is a form in which networks are exported.
type table struct {
	write func(w io.Writer, list []netip.Prefix) error
	// relays says that it lets all relay whom it has: it is for platforms with may_relay.
	relays bool
}

func tables() map[string]table {
	return map[string]table{"cidr": {writeCIDR, false}, "nft": {writeNFT, false}, "access": {writeAccess, true}, "clients": {writeClients, false}, "rates": {writeRates, false}}
}

func networksExportCommand(c *call) *cobra.Command {
	var form string
	forms := slices.Sorted(maps.Keys(tables()))
	cmd := c.command(cobra.Command{
		Use:   "export [NAME ...]",
		Short: "print the networks of platforms and upstreams as a table for another program",
		Long: `export prints the networks of all platforms, or of the platforms and upstreams that are
named, for another program: cidr is a table of Postfix's (cidr_table(5)), access are lines for Sendmail's
access map, by which clients there may relay, clients are lines by which blocklists
(FEATURE dnsbl) are not asked about clients there, rates are lines that lift that map's bounds
of connections (ClientRate, ClientConn), and nft are commands for nft -f, which fill the
sets platforms4 and platforms6 of the table inet coexistd, and may be run again.

All tenants of a platform send from its networks; access has platforms with may_relay
alone. While a list is not known, nothing is printed, and the exit status is 2: a table
without it would shut the platform out. So write into a file beside the table, and put it
in the table's place when that has worked.`,
		Example: `  coexistd networks export --for nft | nft -f -
  coexistd networks export --for cidr office365 > /etc/postfix/office365.new &&
    mv /etc/postfix/office365.new /etc/postfix/office365.cidr`,
	}, func(args []string) int { return exportNetworks(c, form, args) })
	cmd.Flags().StringVar(&form, "for", "", "the `FORM` of the table: "+strings.Join(forms, ", "))
	if err := cmd.MarkFlagRequired("for"); err != nil {
		panic(err) // There is no such flag.
	}
	return cmd
}

func exportNetworks(c *call, form string, platforms []string) int {
	table, known := tables()[form]
	if !known {
		return c.wrong("--for %q is not known; it would be one of: %s", form, strings.Join(slices.Sorted(maps.Keys(tables())), ", "))
	}
	reading := config.Load(c.config)
	if reading.Config == nil {
		return c.fail(reading.Problems)
	}
	if table.relays {
		var err error
		if platforms, err = relaying(reading.Config, platforms); err != nil {
			return c.wrong("%v", err)
		}
	}
	list, err := networksOf(reading.Config, platforms)
	if err != nil {
		return c.wrong("%v", err)
	}
	if err := table.write(c.stdout, list); err != nil {
		return c.wrong("%v", err)
	}
	return exitYes
}

// relaying are the platforms with may_relay, sorted, or those named, which must have it.
func relaying(conf *config.Config, names []string) ([]string, error) {
	var all []string
	for _, platform := range conf.Rules.Routes.Platforms {
		if platform.MayRelay {
			all = append(all, platform.Name)
		} else if slices.Contains(names, platform.Name) {
			return nil, fmt.Errorf("the users of %s may not send through here, and these lines would let every client there relay: leave it out, or set platform.%s.may_relay = true in %s", platform.Name, platform.Name, conf.Path)
		}
	}
	switch {
	case len(names) > 0:
		return names, nil
	case len(all) == 0:
		return nil, fmt.Errorf("no platform of %s has may_relay = true, so that none of their clients is to relay", conf.Path)
	}
	slices.Sort(all)
	return all, nil
}

// networksOf returns the networks of platforms, none within another; without names those of
// all.
func networksOf(conf *config.Config, platforms []string) ([]netip.Prefix, error) {
	live := daemon.SavedLists(conf).Live()
	if len(platforms) == 0 {
		platforms = slices.DeleteFunc(slices.Sorted(maps.Keys(live)), func(name string) bool { return live[name].Upstream })
	}
	var list []netip.Prefix
	for _, name := range platforms {
		known, configured := live[name]
		switch {
		case !configured:
			return nil, fmt.Errorf("there is no platform or upstream %q in %s", name, conf.Path)
		case known.Pending:
			return nil, fmt.Errorf("the networks of %s are not all known yet: see that the daemon runs, and what coexistd doctor says of networks", name)
		case known.Networks.Len() == 0:
			return nil, fmt.Errorf("the platform %s has no networks: set platform.%s.networks in %s", name, name, conf.Path)
		}
		list = append(list, known.Networks.Prefixes()...)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s has no platform", conf.Path)
	}
	return networks.Normal(list), nil
}

func writeCIDR(w io.Writer, list []netip.Prefix) error {
	for _, network := range list {
		fmt.Fprintf(w, "%s OK\n", network)
	}
	return nil
}

// writeNFT writes commands that change both sets at once: nft takes a file as one transaction.
func writeNFT(w io.Writer, list []netip.Prefix) error {
	var v4, v6 []string
	for _, network := range list {
		if network.Addr().Is4() {
			v4 = append(v4, network.String())
		} else {
			v6 = append(v6, network.String())
		}
	}
	fmt.Fprintln(w, "add table inet coexistd")
	for _, set := range []struct {
		name, kind string
		elements   []string
	}{{"platforms4", "ipv4_addr", v4}, {"platforms6", "ipv6_addr", v6}} {
		fmt.Fprintf(w, "add set inet coexistd %s { type %s; flags interval; }\n", set.name, set.kind)
		fmt.Fprintf(w, "flush set inet coexistd %s\n", set.name)
		if len(set.elements) > 0 {
			fmt.Fprintf(w, "add element inet coexistd %s { %s }\n", set.name, strings.Join(set.elements, ", "))
		}
	}
	return nil
}

// mostAccessLines bounds the lines of an access map: networks that end within a group of an
// address's digits take a line for each value that the group may have.
const mostAccessLines = 1 << 16

// writeAccess writes lines for Sendmail's access map, by which clients may relay.
func writeAccess(w io.Writer, list []netip.Prefix) error { return writeConnect(w, list, "RELAY") }

// writeClients writes lines for Sendmail's access map, by which clients are taken whatever blocklists say.
func writeClients(w io.Writer, list []netip.Prefix) error { return writeConnect(w, list, "OK") }

// writeConnect writes lines for Sendmail's access map with the same value for all clients.
func writeConnect(w io.Writer, list []netip.Prefix, value string) error {
	lines := 0
	for _, network := range list {
		if lines += sendmailcf.CountWhole(network); lines > mostAccessLines {
			return fmt.Errorf("an access map would need more than %d lines for these networks: name fewer platforms", mostAccessLines)
		}
		for one := range sendmailcf.Whole(network) {
			fmt.Fprintf(w, "Connect:%s %s\n", sendmailcf.AccessKey(one), value)
		}
	}
	return nil
}

// writeRates writes lines for Sendmail's access map that lift its bounds of connections: for
// each network, or for the next wider one that the map can have.
func writeRates(w io.Writer, list []netip.Prefix) error {
	last := ""
	for _, network := range list {
		for _, part := range sendmailcf.Parts(network) {
			if key := sendmailcf.AccessKey(part); key != last {
				fmt.Fprintf(w, "ClientRate:%s 0\nClientConn:%s 0\n", key, key)
				last = key
			}
		}
	}
	return nil
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"coexistd/policy/config"
)

// lookAtPostfix compares Postfix's settings with ours.
func lookAtPostfix(_ context.Context, x *examination) []finding {
	switch err := x.mta.err; {
	case errors.Is(err, errNoPostfix):
		return []finding{warning("%v; the attachment of Sendmail is not looked at in this version", err).
			do("where there is a Postfix, put the folder of its postconf command into PATH")}
	case err != nil:
		return []finding{warning("Postfix's settings cannot be read: %v", err).do("see what postconf says as %s", ownName())}
	}
	return slices.Concat(
		lookAtMilters(x, "smtpd", "smtpd_milters"),
		lookAtMilters(x, "cleanup", "non_smtpd_milters"),
		lookAtProtocol(x.mta),
		lookAtMaps(x),
		lookAtChroot(x),
		lookAtDelimiters(x),
		lookAtNetworks(x),
	)
}

// milterEntry is one milter of a list in main.cf.
type milterEntry struct {
	address string
	// defaultAction is its own; empty: milter_default_action.
	defaultAction string
}

// milterEntries reads smtpd_milters: addresses, each with settings of its own when
// it stands between braces.
func milterEntries(text string) []milterEntry {
	var list []milterEntry
	for _, one := range postfixList(text) {
		inner, braced := strings.CutPrefix(one, "{")
		if !braced {
			list = append(list, milterEntry{address: one})
			continue
		}
		parts := strings.Split(strings.TrimSuffix(inner, "}"), ",")
		entry := milterEntry{address: strings.TrimSpace(parts[0])}
		for _, part := range parts[1:] {
			if name, value := setting(part); name == "default_action" {
				entry.defaultAction = value
			}
		}
		list = append(list, entry)
	}
	return list
}

// lookAtMilters sees whether the services that run a program give their mail to
// us. Services about which there is the same to say are told together.
func lookAtMilters(x *examination, program, setting string) []finding {
	services := x.mta.running(program)
	if len(services) == 0 {
		return []finding{warning("master.cf has no service that runs %s", program).do("add one, as contrib/postfix describes")}
	}
	var findings []finding
	names := make(map[finding][]string)
	for _, s := range services {
		f := judgeService(x, s, setting)
		if names[f] == nil {
			findings = append(findings, f)
		}
		names[f] = append(names[f], s.name)
	}
	for i, f := range findings {
		findings[i].Found = fmt.Sprintf("%s (%s) %s", program, strings.Join(names[f], ", "), f.Found)
	}
	return findings
}

// judgeService says of one service whether it gives its mail to us. What it finds
// reads on from the service's name.
func judgeService(x *examination, s *postfixService, setting string) finding {
	options, milters := x.mta.value(s, "receive_override_options"), x.mta.value(s, setting)
	file := "main.cf"
	if _, own := s.own[setting]; own {
		file = "the -o options of " + s.name + " in master.cf"
	}
	if slices.Contains(postfixList(options), "no_milters") {
		if _, own := s.own["receive_override_options"]; own && isLoopback(s.name) {
			return fine("takes mail back from a content filter, without milters")
		}
		return failure("asks no milter: receive_override_options has no_milters").
			do("take no_milters out of receive_override_options, save for a service that takes mail back from a content filter on loopback; then run: postfix reload")
	}
	for _, entry := range milterEntries(milters) {
		if !x.mta.leadsTo(entry.address, x.conf.Listeners) {
			continue
		}
		action := cmp.Or(entry.defaultAction, x.mta.value(s, "milter_default_action"))
		if action == "tempfail" {
			return fine("hands its mail to coexistd by %s", entry.address)
		}
		return warning("hands its mail to coexistd by %s, but while coexistd is away, %s", entry.address, whileAway(action)).
			do("put into main.cf: milter_default_action = tempfail; then run: postfix reload")
	}
	return failure("does not hand its mail to coexistd: %s is %q", setting, milters).
		do("put into %s: %s = %s; then run: postfix reload", file, setting, strings.TrimSuffix(x.conf.Listeners[0].Address+", "+milters, ", "))
}

// whileAway says what milter_default_action does.
func whileAway(action string) string {
	switch action {
	case "accept":
		return "mail passes by (milter_default_action = accept)"
	case "reject":
		return "mail is bounced (milter_default_action = reject)"
	}
	return "milter_default_action is " + action
}

// leadsTo reports that an address as Postfix writes it is one of our listeners':
// "unix:PATH" or "inet:HOST:PORT". A path may be one that Postfix sees from its
// queue directory.
func (p *postfix) leadsTo(address string, listeners []config.Listener) bool {
	kind, rest, _ := strings.Cut(address, ":")
	for _, l := range listeners {
		network, ours, err := config.ParseListen(l.Address)
		switch {
		case err != nil:
		case kind == "unix" && network == "unix":
			if filepath.Clean(rest) == ours || filepath.Join(p.main["queue_directory"], rest) == ours {
				return true
			}
		case kind == "inet" && network == "tcp":
			if sameSocket(rest, ours) {
				return true
			}
		}
	}
	return false
}

// sameSocket reports that a connection to address, HOST:PORT, comes to a socket
// of ours.
func sameSocket(address, ours string) bool {
	host, port, err := net.SplitHostPort(address)
	ourHost, ourPort, ourErr := net.SplitHostPort(ours)
	if err != nil || ourErr != nil || port != ourPort {
		return false
	}
	our, _ := netip.ParseAddr(ourHost)
	switch {
	case strings.EqualFold(host, ourHost), our.IsUnspecified():
		return true
	case strings.EqualFold(host, "localhost"):
		return our.IsLoopback()
	}
	theirs, err := netip.ParseAddr(host)
	return err == nil && theirs.Unmap() == our.Unmap()
}

func isLoopback(service string) bool {
	host, _, err := net.SplitHostPort(service)
	if err != nil {
		return false
	}
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.Unmap().IsLoopback()
}

func lookAtProtocol(p *postfix) []finding {
	if version := p.main["milter_protocol"]; version != "6" {
		return []finding{warning("milter_protocol is %s: what the sender asked to be told (NOTIFY, ORCPT) is lost when a recipient is rewritten", version).
			do("put into main.cf: milter_protocol = 6; then run: postfix reload")}
	}
	return nil
}

// lookAtMaps sees whether Postfix asks our lookups.
func lookAtMaps(x *examination) []finding {
	if len(x.conf.Lookups) == 0 {
		return nil
	}
	var findings []finding
	for _, one := range [...]struct {
		name     string
		settings []string
		without  string
	}{
		{"recipients", []string{"virtual_mailbox_maps", "local_recipient_maps", "relay_recipient_maps"}, "Postfix refuses users who live elsewhere"},
		{"aliases", []string{"virtual_alias_maps"}, "bounces and forwarded mail for users who live elsewhere end in a mailbox here that nobody reads"},
		{"transport", []string{"transport_maps"}, "mail that no milter sees is not put off for a mailbox that is being moved, and no platform's relay is used"},
	} {
		if i := slices.IndexFunc(one.settings, func(setting string) bool { return x.mta.asks(setting, one.name, x.conf.Lookups) }); i >= 0 {
			findings = append(findings, fine("%s asks coexistd for %s", one.settings[i], one.name))
			continue
		}
		value := strings.TrimPrefix(x.mta.main[one.settings[0]]+", socketmap:"+x.conf.Lookups[0].Address+":"+one.name, ", ")
		findings = append(findings, failure("%s does not ask coexistd for %s: %s", strings.Join(one.settings, " or "), one.name, one.without).
			do("put into main.cf: %s = %s; then run: postfix reload", one.settings[0], value))
	}
	return findings
}

// asks reports that a setting names the map of that name at one of our lookups.
func (p *postfix) asks(setting, name string, lookups []config.Listener) bool {
	// Tables may stand in braces, as in unionmap:{one, two}.
	for _, table := range strings.FieldsFunc(p.main[setting], func(c rune) bool { return strings.ContainsRune(", \t\r\n{}", c) }) {
		address, is := strings.CutPrefix(strings.TrimPrefix(table, "proxy:"), "socketmap:")
		if address, named := strings.CutSuffix(address, ":"+name); is && named && p.leadsTo(address, lookups) {
			return true
		}
	}
	return false
}

// lookAtChroot looks for services that cannot see a Unix socket of ours, because
// the queue directory is all that they see.
func lookAtChroot(x *examination) []finding {
	var used strings.Builder
	for _, setting := range postfixSettings {
		used.WriteString(x.mta.main[setting] + " ")
	}
	hidden := slices.ContainsFunc(slices.Concat(x.conf.Listeners, x.conf.Lookups), func(l config.Listener) bool {
		return strings.HasPrefix(l.Address, "unix:") && strings.Contains(used.String(), l.Address)
	})
	var names []string
	for _, s := range x.mta.services {
		if s.chroot && slices.Contains([]string{"smtpd", "cleanup", "trivial-rewrite", "pickup"}, s.program) {
			names = append(names, s.name)
		}
	}
	if !hidden || len(names) == 0 {
		return nil
	}
	return []finding{failure("Postfix runs %s in its chroot, where they do not see coexistd's Unix sockets: all mail is put off", strings.Join(names, ", ")).
		do("write n into the chroot column of their lines in master.cf, or let coexistd listen on inet:127.0.0.1:8701; then run: systemctl restart postfix")}
}

func lookAtDelimiters(x *examination) []finding {
	ours, theirs := x.conf.Rules.Delimiters, x.mta.main["recipient_delimiter"]
	if ours == theirs {
		return nil
	}
	return []finding{warning("recipient_delimiter is %q in main.cf and %q here, so one of us takes a subaddress for another's address", theirs, ours).
		do("set recipient_delimiter = %q in %s, or put into main.cf: recipient_delimiter = %s", theirs, x.conf.Path, ours)}
}

// lookAtNetworks compares the clients that need no login.
func lookAtNetworks(x *examination) []finding {
	var findings []finding
	var lacking []string
	list, _ := x.mta.networks()
	for _, network := range list {
		for _, platform := range x.conf.Rules.Routes.Platforms {
			if _, overlaps := x.networks[platform.Name].Networks.Overlapping(network); overlaps {
				findings = append(findings, failure("mynetworks has %s, from where every tenant of %s sends: all of them may relay through Postfix", network, platform.Name).
					do("take it out of mynetworks in main.cf; see may_relay in contrib/postfix for the platform's own users"))
			}
		}
		if !x.conf.Rules.OurNetworks.Holds(network) {
			lacking = append(lacking, fmt.Sprintf("%q", network))
		}
	}
	if len(lacking) > 0 {
		findings = append(findings, warning("mynetworks has %s, which our_networks lacks: mail from there counts as the Internet's, and that for other domains is refused", strings.Join(lacking, ", ")).
			do("add to our_networks in %s: %s", x.conf.Path, strings.Join(lacking, ", ")))
	}
	return findings
}

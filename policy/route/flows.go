package route

import (
	"slices"

	"coexistd/policy/mail"
	"coexistd/policy/verdict"
)

// FlowRow is one row of the table of flows: who writes to whom, and the ways. There are
// none where the message is refused.
type FlowRow struct {
	From     string
	To       string
	Ways     Ways
	PassesUs bool
}

// Flows returns the way of every kind of message between a domain's users here, its
// users at one platform, and the Internet, and from those users to the domain's mailboxes
// at other platforms. Ways that pass our MTA are those that Find
// gives; the others follow from the domain's MX. Provable tells of a platform whether
// any message can prove that it comes from our tenant there: what comes from another
// enters at S0.
func (r *Rules) Flows(domain *Domain, platform *Platform, provable func(*Platform) bool) []FlowRow {
	ours := func(residence Residence) Recipient {
		return Recipient{
			Address: mail.Address{Domain: domain.Name},
			Listing: Listing{Found: true, Residence: residence},
		}
	}
	here, there := ours(Residence{Kind: Here}), ours(Residence{Kind: There, Platform: platform.Name})
	internet := Recipient{Address: mail.Address{Domain: "internet.invalid"}}
	colleague, stranger := mail.Address{Domain: domain.Name}, mail.Address{Domain: "internet.invalid"}
	name := platform.Name
	user := Origin{Point: verdict.S2}
	tenant := Origin{Point: verdict.S1, Platform: platform}

	at := func(number uint8) Hop { return Hop{platform.Letter, number} }
	past := func(from, to string, hops ...Hop) FlowRow { return FlowRow{From: from, To: to, Ways: Ways{hops}} }
	row := func(from, to string, o Origin, sender mail.Address, recipient Recipient) FlowRow {
		ways := r.Find(o, sender, &recipient).Ways
		if o.Point == verdict.S1 && !provable(o.Platform) {
			if r.Find(Origin{Point: verdict.S0, Upstream: true}, sender, &recipient).Verdict != verdict.Accept {
				ways = nil
			}
			for _, way := range ways {
				way[slices.Index(way, Ours(verdict.S1))] = Ours(verdict.S0)
			}
		}
		return FlowRow{From: from, To: to, Ways: ways, PassesUs: true}
	}
	outside := Origin{Point: verdict.S0, Upstream: true}
	if domain.MX != "" {
		outside = Origin{Point: verdict.S1, Platform: r.Platform(domain.MX)}
	}
	fromInternet := row("Internet", "mailbox at "+name, outside, stranger, there)
	if domain.MX == name {
		fromInternet = past("Internet", "mailbox at "+name, at(1), LD)
	}
	rows := []FlowRow{
		row("Internet", "mailbox here", outside, stranger, here),
		fromInternet,
		row("user here", "mailbox here", user, colleague, here),
		row("user here", "mailbox at "+name, user, colleague, there),
		row("user here", "Internet", user, colleague, internet),
		row("user at "+name, "mailbox here", tenant, colleague, here),
		past("user at "+name, "mailbox at "+name, at(2), LD),
		past("user at "+name, "Internet", at(2), at(4), ED),
	}
	for _, other := range r.Platforms {
		if other != platform && other.Holds(domain) {
			rows = append(rows, row("user at "+name, "mailbox at "+other.Name, tenant, colleague, ours(Residence{Kind: There, Platform: other.Name})))
		}
	}
	if platform.MayRelay {
		rows = append(rows, row("user at "+name, "Internet, through us", tenant, colleague, internet))
	}
	return rows
}

package policy

import "strings"

// FlowRow is one row of the table of flows: who writes to whom, and the way.
type FlowRow struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Flow     string `json:"flow"`
	PassesUs bool   `json:"passes_us"`
}

// Flows returns the way of every kind of message between a domain's users here,
// its users at one platform, and the Internet. Ways that pass our MTA are those
// that Decide gives; the others follow from the domain's MX. What comes from a
// platform that no message can prove itself to come from enters at S0.
func (p *Policy) Flows(domain *Domain, platform *Platform) []FlowRow {
	ours := func(residence Residence) Recipient {
		return Recipient{
			Address: Address{Domain: domain.Name},
			Listing: Listing{Found: true, Residence: residence},
		}
	}
	here, there := ours(Residence{}), ours(Residence{Kind: There, Platform: platform.Name})
	internet := Recipient{Address: Address{Domain: "internet.invalid"}}
	colleague, stranger := Address{Domain: domain.Name}, Address{Domain: "internet.invalid"}
	letter, name := platform.Letter, platform.Name
	user := origin{point: S2}
	tenant := origin{point: S1, platform: platform}

	row := func(from, to string, o origin, sender Address, r Recipient) FlowRow {
		flow := p.rule(o, sender, r).Flow
		if o.point == S1 && (!o.platform.Proof.Any() || len(o.platform.Networks) == 0) {
			flow = strings.Replace(flow, "=>S1=>", "=>S0=>", 1)
		}
		return FlowRow{From: from, To: to, Flow: flow, PassesUs: true}
	}
	rows := make([]FlowRow, 0, 8)
	if domain.MX == name {
		rows = append(rows,
			row("Internet", "mailbox here", tenant, stranger, here),
			FlowRow{From: "Internet", To: "mailbox at " + name, Flow: letter + "1=>LD"})
	} else {
		internet := origin{point: S0}
		if domain.MX != "" {
			internet = origin{point: S1, platform: p.Platform(domain.MX)}
		}
		rows = append(rows,
			row("Internet", "mailbox here", internet, stranger, here),
			row("Internet", "mailbox at "+name, internet, stranger, there))
	}
	rows = append(rows,
		row("user here", "mailbox here", user, colleague, here),
		row("user here", "mailbox at "+name, user, colleague, there),
		row("user here", "Internet", user, colleague, internet),
		row("user at "+name, "mailbox here", tenant, colleague, here),
		FlowRow{From: "user at " + name, To: "mailbox at " + name, Flow: letter + "2=>LD"},
		FlowRow{From: "user at " + name, To: "Internet", Flow: letter + "2=>" + letter + "4=>ED"})
	if platform.MayRelay {
		rows = append(rows, row("user at "+name, "Internet, through us", tenant, colleague, internet))
	}
	return rows
}

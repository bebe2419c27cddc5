package doctor

import (
	"context"

	"coexistd/cmd/coexistd/postconf"
	"coexistd/policy/route"
)

// lookAtCanonical looks for names that Postfix itself makes addresses elsewhere of, by canonical(5). It tells
// a milter of the new address, and takes a recipient of the sendmail command out by the old one
// alone: coexistd, which does not learn of that, cannot take it out.
func lookAtCanonical(ctx context.Context, x *examination) (findings []Finding) {
	asked := &aliases{x: x, set: x.lists().Set()}
	for _, setting := range []string{"canonical_maps", "recipient_canonical_maps"} {
		for _, table := range postconf.Tables(x.mta.Main[setting]) {
			rows, listed, err := x.mta.Rows(ctx, table)
			var elsewhere []string
			for _, one := range rows {
				if p, _, ours := asked.place(one.Value); ours && p.Residence.Kind == route.There {
					elsewhere = append(elsewhere, one.Key+" ("+one.Value+")")
				}
			}
			const twice = "mail of the sendmail command to a name that it makes the address of who lives elsewhere arrives there twice"
			const remedy = "write such rows into a table of virtual_alias_maps in its place, and run: postfix reload"
			switch {
			case err != nil || !listed:
				findings = append(findings, warning("%s asks %s, which cannot be listed: %s", setting, table, twice).do("%s", remedy))
			case len(elsewhere) > 0:
				findings = append(findings, warning("%s asks %s: %s: %s", setting, table, twice, some(elsewhere)).do("%s", remedy))
			}
		}
	}
	return findings
}

package directory

import (
	"fmt"
	"slices"
	"strings"

	"coexistd/policy/route"
)

// readTarget reads the target of a row, which may be empty. It returns the target with its
// domain in normal form. Where the mailbox lives at a platform, that one must own the
// target's domain, or mail would go astray; otherwise any platform may, for a mailbox that
// is to move there.
func (b *Builder) readTarget(domain *route.Domain, lives route.Residence, written string) (string, error) {
	if written == "" {
		return "", b.needTarget(domain, lives)
	}
	target, err := parseAddress(written, "")
	if err != nil {
		return "", fmt.Errorf("the target %w", err)
	}
	known := b.targetDomains(domain, lives)
	switch {
	case slices.Contains(known, target.Domain):
		if strings.HasSuffix(target.Path, "@"+target.Domain) {
			return target.Path, nil
		}
		return target.Local + "@" + target.Domain, nil
	case b.list.source.Domains[target.Domain] != nil:
		remedy := "one that target_domains of its platform names"
		if known != nil {
			remedy = strings.Join(known, ", ")
		}
		return "", fmt.Errorf("the target %s would come back: %s is one of our domains; it would be of %s", target.Key, target.Domain, remedy)
	case known == nil:
		return "", fmt.Errorf("the target %s is of no domain that is known to reach another platform; name %s in target_domains of its platform", target.Key, target.Domain)
	}
	return "", fmt.Errorf("the target %s is of the domain %s; it would be of %s, or of another that target_domains of the platform names",
		target.Key, target.Domain, strings.Join(known, ", "))
}

// targetDomains returns those that may be a target's. Of a million rows there are few answers,
// so each is found once.
func (b *Builder) targetDomains(domain *route.Domain, lives route.Residence) []string {
	key := targetKey{domain, lives.Platform}
	if known, found := b.targets[key]; found {
		return known
	}
	var known []string
	for _, platform := range b.list.source.Platforms {
		if lives.Platform != "" && platform.Name != lives.Platform {
			continue
		}
		known = append(known, platform.TargetDomains...)
		if alternate := domain.Alternates[platform.Name]; alternate != "" {
			known = append(known, alternate)
		}
	}
	b.targets[key] = known
	return known
}

// targetKey is what decides which domains a target may have.
type targetKey struct {
	domain   *route.Domain
	platform string
}

// needTarget refuses a row without a target where nothing else reaches the mailbox.
func (b *Builder) needTarget(domain *route.Domain, lives route.Residence) error {
	if lives.Platform == "" || domain.Alternates[lives.Platform] != "" {
		return nil
	}
	i := slices.IndexFunc(b.list.source.Platforms, func(p *route.Platform) bool { return p.Name == lives.Platform })
	if lives.Kind == route.There && b.list.source.Platforms[i].ByRelay {
		return nil
	}
	return fmt.Errorf("the row needs a target: nothing else reaches the mailbox at %s, since %s has no alternate domain there", lives.Platform, domain.Name)
}

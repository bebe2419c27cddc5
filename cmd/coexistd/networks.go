package main

import (
	"path/filepath"

	"coexistd/policy"
	"coexistd/policy/config"
	"coexistd/scanners/networks"
)

// listsOf is what a configuration says of the platforms' networks.
func listsOf(conf *config.Config, resolver networks.Resolver) networks.Config {
	c := networks.Config{Dir: filepath.Join(conf.StateDir, "networks"), Resolver: resolver, Ours: conf.Policy.OurNetworks}
	for _, p := range conf.Policy.Platforms {
		one := networks.Platform{Name: p.Name, Networks: conf.Listed[p.Name], MaxAge: conf.MaxAge[p.Name]}
		for _, source := range conf.Sources {
			if source.Platform == p.Name {
				one.Sources = append(one.Sources, networks.Source{Kind: source.Kind, Name: source.Name})
			}
		}
		c.Platforms = append(c.Platforms, one)
	}
	return c
}

// withNetworks returns the policy with the platforms' networks as they are now.
func withNetworks(p *policy.Policy, lists *networks.Lists) *policy.Policy {
	now := *p
	now.Platforms = nil
	for _, platform := range p.Platforms {
		one := *platform
		one.Networks, one.Pending = lists.Networks(one.Name)
		now.Platforms = append(now.Platforms, &one)
	}
	return &now
}

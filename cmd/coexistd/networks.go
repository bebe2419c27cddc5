package main

import (
	"path/filepath"

	"coexistd/policy/config"
	"coexistd/scanners/networks"
)

// listsOf is what a configuration says of the platforms' networks.
func listsOf(conf *config.Config, resolver networks.Resolver) networks.Config {
	c := networks.Config{Dir: filepath.Join(conf.StateDir, "networks"), Resolver: resolver, Ours: conf.Rules.OurNetworks, Tenants: conf.Rules.Tenants}
	for _, p := range conf.Rules.Routes.Platforms {
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

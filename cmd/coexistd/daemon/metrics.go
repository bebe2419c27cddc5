package daemon

import (
	"net/netip"
	"time"

	"coexistd/cmd/coexistd/control"
	"coexistd/milter/metrics"
)

// metricsState tells metrics how the daemon is. All of it stands in memory.
func (d *Daemon) metricsState() metrics.State {
	v, now := d.view.Load(), time.Now()
	s := d.Status()
	m := metrics.State{
		Version: s.Version, Loaded: s.Configuration.Loaded, Refused: len(s.Configuration.Refused) > 0, UnderWay: s.Messages,
		Quarantine: metrics.Quarantine{Open: s.Quarantine.Open, Max: v.conf.Quarantine.MaxBytes, Keep: v.conf.Quarantine.Keep},
		Senders:    metrics.Senders{Allowed: s.Senders.Allowed, Blocked: s.Senders.Blocked, Failed: s.Senders.Error != ""},
	}
	m.Excesses.Connections, m.Excesses.Messages, m.Excesses.Recipients = d.flood.Excesses()
	turned, _ := d.flood.Turned(now, &d.runtime.Load().Policy.DDoS, mostTold)
	who := make(map[netip.Prefix]bool) // some are over several bounds
	for _, one := range turned {
		who[one.Who] = true
	}
	m.TurnedAway = len(who)
	for _, l := range s.Listeners {
		if l.Use != string(useMetrics) {
			m.Listeners = append(m.Listeners, metrics.Listener{Use: l.Use, Address: l.Address, Open: len(l.Connections)})
		}
	}
	for _, one := range s.Scanners {
		m.Scanners = append(m.Scanners, metrics.Scanner{Name: one.Name, Scans: one.Scans, Places: one.Places, Away: one.Away})
	}
	if s.Redis != nil {
		asked := v.limits.Asked()
		m.Redis = &metrics.Redis{Away: s.Redis.Away, Asked: asked.Questions, Failed: asked.Failed, Took: asked.Took}
	}
	if usage := d.keeper.usage.Load(); usage != nil && m.Quarantine.Open {
		m.Quarantine.Known, m.Quarantine.Entries, m.Quarantine.Bytes, m.Quarantine.Oldest = true, usage.Entries, usage.Bytes, usage.Oldest
	}
	m.Stores, m.Records = storesOf(v.generation), recordsOf(&s.Records)
	for _, one := range s.Directories {
		source := metrics.Source{Name: one.Source, Addresses: one.Addresses, PutOff: one.PutOff, Loaded: one.Loaded, Refused: len(one.Refused) > 0}
		if o := one.Outside; o != nil {
			source.Outside, source.Asked, source.Failed = true, o.Asked, o.Failed != ""
		}
		m.Sources = append(m.Sources, source)
	}
	for _, one := range s.Networks {
		m.Networks = append(m.Networks, metrics.Networks{
			Platform: one.Platform, Source: one.Source, Count: one.Count, Age: time.Duration(one.Age) * time.Second, Old: one.Old, Failed: one.Error != "",
		})
	}
	return m
}

// storesOf tells of the files of SQLite.
func storesOf(g *generation) []metrics.Store {
	held, records := g.file.Changes(), g.messages.Changes()
	return []metrics.Store{
		{File: "store.db", Changes: held.Asked, Failed: held.Failed, Took: held.Took},
		{File: "messages.db", Changes: records.Asked, Failed: records.Failed, Took: records.Took},
	}
}

// recordsOf tells of the records of messages, where any are kept.
func recordsOf(r *control.Records) *metrics.Records {
	if r.Keep == 0 {
		return nil
	}
	records := &metrics.Records{Lost: r.Lost, Bytes: r.Bytes, Failed: r.Failed != ""}
	if r.MTALog != nil {
		records.MTALog = &metrics.MTALog{Failed: r.MTALog.Failed != ""}
	}
	return records
}

package doctor

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"coexistd/cmd/coexistd/control"
	"coexistd/cmd/coexistd/daemon"
	"coexistd/cmd/coexistd/sidebyside"
	"coexistd/milter/ownmail"
	"coexistd/milter/sources"
	"coexistd/policy/config"
	"coexistd/policy/mail"
	"coexistd/policy/route"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

const (
	// Probes is the subject of the findings of probes.
	Probes = "probe"
	// askEvery is how often the daemon is asked for a probe.
	askEvery = 200 * time.Millisecond
	// late is how long after the wait a probe is still dropped when it comes back.
	late = time.Hour
	// again is what to do about what was broken off.
	again = "run it again, and let it wait"
)

// prober sends probes and waits for them.
type prober struct {
	conf   *config.Config
	post   ownmail.Post
	client *control.Client
	log    *MailLog
	port   string // at which hosts of the Internet take mail
}

// probed is one probe, and what became of it.
type probed struct {
	platform *route.Platform // nil: it goes no further than this host's MTA
	to       string
	way      route.Way
	letter   ownmail.Letter
	refused  error // why the MTA does not take it, or nil
	answer   control.Probe
	unasked  error // why the daemon could not be asked last, or nil
	fate     fate
	// brokenOff says that nobody waited any longer before it was known what became of it.
	brokenOff bool
}

// Probe sends a message of ours through each flow that can be probed, and waits for it until
// ctx ends at the latest. What was not known by then is told to have been broken off. Of a flow from the Internet, only the dialogue up to RCPT is tried.
// Log may be nil.
func Probe(ctx context.Context, path string, log *MailLog) []Finding {
	p, lacks := newProber(path, log)
	if lacks == nil {
		lacks = p.lookAtMode()
	}
	if lacks == nil {
		lacks = p.lookAtAddresses()
	}
	if lacks != nil {
		return named(Probes, lacks)
	}
	outside := make(chan []Finding, 1)
	go func() { outside <- p.askMX(ctx) }()
	here := &probed{to: p.conf.Probe.From, way: route.Way{route.Ours(verdict.S2)}}
	p.send(ctx, here)
	findings := []Finding{p.judge(here)}
	if findings[0].Status == OK {
		findings = append(findings, p.sendOver(ctx)...)
	} else {
		findings = append(findings, warning("no platform was probed: what coexistd does not see on its way out, it would not know when it comes back"))
	}
	return named(Probes, append(findings, <-outside...))
}

// newProber makes the prober of a configuration. It returns what keeps it from probing.
func newProber(path string, log *MailLog) (*prober, []Finding) {
	reading := config.Load(path)
	conf := reading.Config
	switch {
	case len(reading.Problems) > 0:
		return nil, []Finding{failure("nothing is probed while the configuration has mistakes")}
	case conf.Probe == nil:
		return nil, []Finding{failure("nothing is probed: %s has no [probe]", conf.Path).
			do("add [probe] with from, an address of ours that lives here, and addresses, one at each platform, whose mail a rule over there sends back to from; contrib/docs/probe.md tells how, then run: systemctl reload coexistd")}
	}
	keys, err := daemon.ReadKeys(conf)
	if err == nil && keys.IsZero() {
		err = fmt.Errorf("there is no key at %s", daemon.KeyPath(conf))
	}
	if err != nil {
		return nil, []Finding{failure("probes cannot be signed: %v", err).do("start the daemon, which makes the key, and run this as root or as its user")}
	}
	return &prober{port: "25", conf: conf, client: control.NewClient(daemon.ControlPath(conf)), log: log, post: ownmail.Post{
		Keys: keys, Delimiters: conf.Rules.Delimiters, MTA: conf.Quarantine.SMTP, Hostname: conf.Rules.Hostname,
	}}, nil
}

// lookAtAddresses sees that each address lives where [probe] says: what goes to a mailbox of
// the wrong side would not come back.
func (p *prober) lookAtAddresses() (lacks []Finding) {
	set := sources.Open(p.conf.Directories, nil).Set()
	lives := func(address string) route.Place {
		a, _ := mail.ParseAddress(address, p.conf.Rules.Delimiters)
		return p.conf.Rules.Routes.Place(a, set.List(p.conf.Rules.Routes.Home(a)))
	}
	wrong := func(key, address, right string, place route.Place) {
		found := failure("%s of [probe] is %s, and %s", key, address, saysOf(place))
		lacks = append(lacks, found.do("have it live %s in the directory, or name another in %s", right, p.conf.Path))
	}
	if place := lives(p.conf.Probe.From); place.Refused.Code != "" || place.Residence.Kind != route.Here {
		wrong("from", p.conf.Probe.From, "here", place)
	}
	for _, to := range p.conf.Probe.To {
		if place := lives(to.Address); place.Refused.Code != "" || place.Residence.Kind != route.There || place.Residence.Platform != to.Platform {
			wrong("addresses."+to.Platform, to.Address, "at "+to.Platform, place)
		}
	}
	return lacks
}

func saysOf(place route.Place) string {
	if place.Refused.Code != "" {
		return place.Refused.String()
	}
	if place.Residence.Kind == route.Here {
		return "the directory says that it lives here"
	}
	return "the directory says that it lives at " + place.Residence.String()
}

// sendOver probes the platforms, all at once.
func (p *prober) sendOver(ctx context.Context) []Finding {
	if len(p.conf.Probe.To) == 0 {
		return []Finding{warning("no platform was probed: [probe] names no addresses").
			do("add to %s: addresses = { PLATFORM = \"ADDRESS\" }; contrib/docs/probe.md tells of the rule over there", p.conf.Path)}
	}
	return sidebyside.Ask(p.conf.Probe.To, len(p.conf.Probe.To), func(to config.ProbeTo) Finding {
		platform := p.conf.Rules.Routes.Platform(to.Platform)
		one := &probed{platform: platform, to: to.Address, way: thereAndBack(platform)}
		p.send(ctx, one)
		return p.judge(one)
	})
}

// thereAndBack is the way of a probe to a platform, which sends it back to us.
func thereAndBack(p *route.Platform) route.Way {
	return route.Way{route.Ours(verdict.S2), route.Ours(verdict.S4), {Side: p.Letter, Number: 1}, {Side: p.Letter, Number: 3}, route.Ours(verdict.S1)}
}

// send sends a probe, and waits until it is known what became of it.
func (p *prober) send(ctx context.Context, one *probed) {
	now, from := time.Now(), p.conf.Probe.From
	probe := &seal.Probe{ID: strings.ToLower(rand.Text()), Sent: now.Unix(), Until: now.Add(p.conf.Probe.Wait + late).Unix()}
	if one.platform != nil {
		probe.Platform = one.platform.Name
	}
	one.letter = ownmail.Letter{
		Kind: "probe", Name: "coexistd", From: from, To: one.to, Sender: from, Date: now, Probe: probe,
		Subject: fmt.Sprintf("coexistd probes %s", one.way),
		Text: "coexistd doctor --probe sent this message to see whether mail comes back on this way.\n" +
			"Nobody need read it. A rule for " + one.to + " is to send it on to " + from + ".\n",
	}
	p.log.watch(p.post.MessageID(&one.letter))
	if one.refused = p.post.Send(ctx, &one.letter); one.refused == nil {
		p.await(ctx, one)
	} else {
		one.brokenOff = ctx.Err() != nil
	}
}

// await asks the daemon, and reads the MTA's log, until the probe came back, bounced, or was
// waited for long enough.
func (p *prober) await(ctx context.Context, one *probed) {
	waiting, cancel := context.WithTimeout(ctx, p.conf.Probe.Wait)
	defer cancel()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		answer, err := p.ask(one)
		if one.unasked = err; err == nil {
			one.answer = answer
		}
		one.fate = p.log.fateOf(p.post.MessageID(&one.letter))
		if one.answer.Return != nil || one.answer.Bounce != nil && one.answer.Bounce.Final || one.fate.state == bounced {
			return
		}
		select {
		case <-waiting.Done():
			one.brokenOff = ctx.Err() != nil
			return
		case <-tick.C:
		}
	}
}

// ask asks the daemon for a probe. That the wait is over breaks off no question.
func (p *prober) ask(one *probed) (control.Probe, error) {
	ctx, cancel := context.WithTimeout(context.Background(), questionTime)
	defer cancel()
	return p.client.Probe(ctx, control.ProbeQuestion{ID: one.letter.Probe.ID})
}

// isFrom reports that the client that brought a probe back is in a platform's networks.
func isFrom(r *control.ProbeReturn, platform *route.Platform) bool {
	return slices.Contains(r.Candidates, platform.Name)
}

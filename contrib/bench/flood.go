package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"coexistd/contrib/lab"
)

// The flood is one client's, whom coexistd refuses as it does when nothing is
// configured. The mail beside it comes from others, each message on a connection
// of its own.
const (
	floodRate   = 5000 // connections a second
	floodLength = 10 * time.Second
	floodAtOnce = 20
	floodRounds = 3
	floodPause  = 10 * time.Millisecond // between two messages of the others
)

// spell is what was measured in one run.
type spell struct {
	latencies []float64     // of each message of the others, in milliseconds
	cpu       time.Duration // of coexistd
	flood     lab.Flooded   // zero without one
}

func (s spell) median() float64 { return spreadOf(s.latencies).median }

// most is the latency that 19 of 20 messages stay below.
func (s spell) most() float64 {
	sorted := slices.Sorted(slices.Values(s.latencies))
	return sorted[len(sorted)*19/20]
}

// benchFlood measures the others' mail without and with the flood, in turn, and
// prints both.
func benchFlood(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "coexistd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	load := loadAverage()
	if err := writeDirectory(filepath.Join(dir, "users.csv")); err != nil {
		return err
	}
	if err := buildSubject(ctx, dir, &s.program); err != nil {
		return err
	}
	subject, err := startSubject(ctx, dir, s.program, `"ddos", "malware"`, "")
	if err != nil {
		return err
	}
	defer subject.stop()
	others := &passers{socket: subject.address, message: newMessage(4<<10, true), random: rand.New(rand.NewPCG(1, 2))}
	if _, err := others.spell(ctx, subject, false); err != nil { // warm up
		return err
	}
	before, err := subject.peakMemory()
	if err != nil {
		return err
	}
	var calm, stormy []spell
	for round := range floodRounds {
		fmt.Fprintf(os.Stderr, "bench: flood, round %d of %d\n", round+1, floodRounds)
		for _, flooded := range []bool{false, true} {
			one, err := others.spell(ctx, subject, flooded)
			if err != nil {
				return err
			}
			if flooded {
				stormy = append(stormy, one)
			} else {
				calm = append(calm, one)
			}
		}
	}
	after, err := subject.peakMemory()
	if err != nil {
		return err
	}
	fmt.Print(floodReport(load, calm, stormy, before, after))
	return nil
}

// passers are the clients that send mail beside the flood.
type passers struct {
	socket  string
	message *message
	random  *rand.Rand
	sent    uint32
}

// spell sends messages for as long as a flood lasts, with one or without.
func (p *passers) spell(ctx context.Context, v *server, flooded bool) (one spell, err error) {
	cpu, err := v.cpu()
	if err != nil {
		return one, err
	}
	ctx, cancel := context.WithTimeout(ctx, floodLength)
	defer cancel()
	flood := make(chan error, 1)
	go func() {
		var err error
		if flooded {
			f := lab.Flood{Socket: p.socket, Client: netip.MustParseAddr(usualClient), Rate: floodRate, AtOnce: floodAtOnce}
			one.flood, err = f.Run(context.WithoutCancel(ctx), floodLength)
		}
		flood <- err
	}()
	for ctx.Err() == nil {
		begin := time.Now()
		if err = p.pass(); err != nil {
			break
		}
		one.latencies = append(one.latencies, time.Since(begin).Seconds()*1000)
		select {
		case <-time.After(floodPause):
		case <-ctx.Done():
		}
	}
	if failed := <-flood; err == nil {
		err = failed
	}
	if err != nil {
		return one, fmt.Errorf("%w\n%v", err, v.lastWords())
	}
	end, err := v.cpu()
	one.cpu = end - cpu
	return one, err
}

// pass sends one message on a connection of its own. It comes from another network
// than the one before, so that none of them is over a bound.
func (p *passers) pass() error {
	p.sent++
	var client [4]byte
	binary.BigEndian.PutUint32(client[:], 198<<24|18<<16|p.sent%512<<8|1) // 198.18.0.0/15 is for benchmarks (RFC 2544)
	mta, err := dial(postfix, p.socket, netip.AddrFrom4(client).String())
	if err != nil {
		return err
	}
	local := cloudUser(p.random)
	if err := mta.send(p.message, fmt.Sprintf("4C%08X", p.sent), "news@example.net", local+"@"+domain, local+"@"+alternate); err != nil {
		mta.conn.Close()
		return err
	}
	return mta.quit()
}

// floodReport has the conditions and the figures in Markdown. The runs are in
// pairs, and the ratios are those of each pair.
func floodReport(load string, calm, stormy []spell, before, after float64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d processors (%s) shared with the flood, Linux %s, %s; load before the start: %s. %d runs of %v without and with a flood in turn;\n",
		runtime.NumCPU(), processor(), kernel(), runtime.Version(), load, len(calm), floodLength)
	fmt.Fprintf(&b, "beside it a message of 4 KB from another client every %v and its own time, on a connection of its own.\n\n", floodPause)
	var ratios, costs, rates []float64
	letIn, refused := 0, 0
	for i, storm := range stormy {
		connections := storm.flood.LetIn + storm.flood.Refused
		ratios = append(ratios, storm.median()/calm[i].median())
		messages := float64(calm[i].cpu) * float64(len(storm.latencies)) / float64(len(calm[i].latencies))
		costs = append(costs, (float64(storm.cpu)-messages)/float64(connections)/1000)
		rates = append(rates, storm.flood.Rate())
		letIn, refused = letIn+storm.flood.LetIn, refused+storm.flood.Refused
	}
	b.WriteString("| | messages | connect to the end of the message, median ms | 95 % below, ms |\n|---|---|---|---|\n")
	for _, part := range []struct {
		name   string
		spells []spell
	}{{"without the flood", calm}, {"with it", stormy}} {
		count := 0
		for _, one := range part.spells {
			count += len(one.latencies)
		}
		fmt.Fprintf(&b, "| %s | %d, all taken | %.2f | %.2f |\n", part.name, count, figures(part.spells, spell.median).median, figures(part.spells, spell.most).median)
	}
	fmt.Fprintf(&b, "\nThe median with the flood to that without: %v. The flood came to %.0f connections a second (%d wanted): %d let in, %d refused,\n",
		spreadOf(ratios), spreadOf(rates).median, floodRate, letIn, refused)
	fmt.Fprintf(&b, "at %.0f µs of coexistd's processor time each. Its peak memory: %.0f MB before, %.0f MB after.\n", spreadOf(costs).median, before, after)
	return b.String()
}

package sender_test

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"coexistd/policy"
	"coexistd/scanners/sender"
)

func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(0, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func TestZZCPU(t *testing.T) {
	p := &policy.Policy{Hostname: "h", MaxPasses: 3, Delimiters: "+", Domains: map[string]*policy.Domain{"acmecorp.com": {Name: "acmecorp.com"}},
		Spoof:  policy.Spoof{DMARC: policy.Reject, SPF: policy.Tag},
		Points: map[policy.Checkpoint]policy.Point{policy.S0: {Checks: []policy.Check{{Name: "spoof", OnHit: policy.Reject}}}, policy.S2: {Checks: []policy.Check{{Name: "spoof", OnHit: policy.Reject}}}}}
	box := strings.Repeat("a@e.co,", 100)
	for about, from := range map[string]string{
		"group, g.c":        " " + strings.Repeat("g.c ", 1020) + ":" + box + ";",
		"group, cyrillic":   " " + strings.Repeat("а.б ", 680) + ":" + box + ";",
		"broken 64K":        "<" + strings.Repeat(strings.Repeat("@(", 250)+")"+strings.Repeat("a\u0301\u0301", 102)+"\n ", 64),
		"broken 64K é":      "<" + strings.Repeat(strings.Repeat("@(", 250)+")"+strings.Repeat("é", 255)+"\n ", 63),
		"words 64K":         strings.Repeat("=?a?q?,", 9300),
		"words 64K sp":      strings.Repeat("=?a?q? ", 9300),
		"brackets":          strings.Repeat("<a@b.c>", 9300),
		"group+64K junk":    strings.Repeat("g.c ", 1020) + ":" + strings.Repeat("!!!!,", 11900),
		"comments":          strings.Repeat("(", 64000),
		"charset":           strings.Repeat("=?gb18030?b?gTCBMIEwgTCBMIEwgTCBMA==?= =?big5?b?gTCBMIEwgTCBMIEwgTCBMA==?= ", 800),
	} {
		from := from[:min(len(from), 65000)]
		c0, w0 := cpu(), time.Now()
		a := sender.ReadAuthors(func(n string) []string {
			if n == "From" {
				return []string{from}
			}
			return nil
		})
		c1 := cpu()
		s, _ := policy.ParseAddress("x@e.co", "+")
		r, _ := policy.ParseAddress("bob@acmecorp.com", "+")
		d := p.Decide(policy.Message{Entry: policy.Entry{Point: policy.S0}, Sender: s, Client: netip.MustParseAddr("192.0.2.1"), Authors: a,
			Authentication: &policy.Authentication{DMARC: []policy.DMARC{{Domain: "e.co"}}},
			Recipients:     []policy.Recipient{{Path: r.Path, Address: r, Listing: policy.Listing{Found: true, Address: r.Key}}}})
		c2 := cpu()
		fmt.Printf("%-16s %6d bytes: read %v decide %v cpu (wall %v) %s %.80s mailboxes %d broken %.40q\n", about, len(from), c1-c0, c2-c1, time.Since(w0), d.Verdict, d.Reply, len(a.From), a.Broken)
	}
}

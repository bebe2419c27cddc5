// Command demo shows coexistd's main job on a real Postfix or Sendmail, with nothing to set
// up: it sends mail through both on loopback, and prints where each message arrived, and what
// coexistd tells of it. The exit status is 0 when all of it is where it should be, and told of
// as it was sent, 1 when some is not, and 2 when that could not be told.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"coexistd/contrib/lab"
	"coexistd/policy/seal"
)

// demoTime bounds the demonstration, downloads not counted.
const demoTime = 60 * time.Second

// shipment is one message of the demonstration: who hands it in, and where
// each recipient's copies must arrive.
type shipment struct {
	kind       string // what sort of message it is
	point      string // where it enters
	client     string // the client's address
	from       string
	data       []byte
	recipients []expectation
}

// expectation is a recipient with its flow and the places of arrival, each as
// "PLACE ADDRESS".
type expectation struct {
	address, args, flow string
	arrivals            []string
}

func main() {
	flags := flag.NewFlagSet("demo", flag.ExitOnError)
	folder := flags.String("lab", "", "the `FOLDER` for the programs of the MTA where none is installed")
	mta := flags.String("mta", string(lab.PostfixMTA), "the `MTA`: postfix or sendmail")
	program := flags.String("program", "./coexistd", "the coexistd to show, a `FILE`")
	_ = flags.Parse(os.Args[1:]) // it exits with 2 where they are wrong
	if flags.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "demo: %q is one argument too many; the flags are --lab, --mta and --program\n", flags.Arg(0))
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	ok, err := run(ctx, *folder, lab.MTA(*mta), *program, os.Stdout)
	switch {
	case err != nil:
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(2)
	case !ok:
		fmt.Println("\nNot every message went where it should, or not all of them are told of as they went.")
		os.Exit(1)
	}
	fmt.Println("\nEvery message arrived where it should, and nowhere else, and is told of as it went.")
}

func run(ctx context.Context, folder string, mta lab.MTA, program string, out io.Writer) (ok bool, err error) {
	fmt.Fprintf(out, "demo: looking for %s\n", mta)
	programs, err := lab.Open(ctx, folder, out)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, demoTime)
	defer cancel()
	fmt.Fprintf(out, "demo: starting %s, coexistd, and sinks for the Internet, Office 365, Google and the mailboxes here\n", mta)
	// Google writes no tenant into its mail; its DKIM signatures prove it.
	toml := strings.Replace(lab.SiteTOML, `tenant   = "`+lab.GoogleTenant+`"`, `proof    = { dkim = "globex.example" }`, 1)
	site, err := programs.StartSite(ctx, lab.SiteConfig{MTA: mta, Program: program, TOML: toml + toldTOML})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, site.Close()) }()
	if err := showConfiguration(site, out); err != nil {
		return false, err
	}
	shipments, err := theShipments()
	if err != nil {
		return false, err
	}
	fmt.Fprintf(out, "demo: sending %d messages\n", len(shipments))
	for _, s := range shipments {
		if err := s.send(ctx, site); err != nil {
			return false, err
		}
	}
	fmt.Fprintf(out, "demo: waiting until %s has delivered them\n", mta)
	if err := site.WaitEmpty(ctx); err != nil {
		return false, err
	}
	arrived := report(site, shipments, out)
	right, err := tell(ctx, site, program, shipments, out)
	return arrived && right, err
}

func showConfiguration(site *lab.Site, out io.Writer) error {
	for _, name := range []string{"coexistd.toml", "users.csv"} {
		text, err := os.ReadFile(filepath.Join(site.Dir, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "\n--- %s\n%s---\n", name, text)
	}
	fmt.Fprintln(out)
	return nil
}

// theShipments are the messages: each kind, from each side, to each side.
func theShipments() ([]shipment, error) {
	parts, err := lab.Multipart("bob@acmecorp.com", "alice@acmecorp.com", "demo 3", 40_000)
	if err != nil {
		return nil, err
	}
	tenant := func(id string, message []byte) []byte {
		return append([]byte("X-MS-Exchange-CrossTenant-Id: "+id+"\r\n"), message...)
	}
	return []shipment{
		{"plain", "S0", lab.FromInternet, "eve@example.net", lab.Plain("eve@example.net", "bob@acmecorp.com", "demo 1"), []expectation{
			{"bob@acmecorp.com", "", "S0=>LD", []string{"here bob@acmecorp.com"}},
		}},
		{"8-bit", "S0", lab.FromInternet, "eve@example.net", lab.EightBit("eve@example.net", "alice@acmecorp.com", "demo 2"), []expectation{
			{"alice@acmecorp.com", "", "S0=>S4=>O1=>LD", []string{"office365 alice@acmecorp-com.onmicrosoft.com"}},
			{"gail+news@globex.example", "", "S0=>S4=>G1=>LD", []string{"google gail+news@gapps.globex.example"}},
		}},
		{"attachment", "S2", lab.FromUser, "bob@acmecorp.com", parts, []expectation{
			{"alice@acmecorp.com", "", "S2=>S4=>O1=>LD", []string{"office365 alice@acmecorp-com.onmicrosoft.com"}},
			{"bob@acmecorp.com", "", "S2=>LD", []string{"here bob@acmecorp.com"}},
			{"carol@acmecorp.com", "", "S2=>LD, S2=>S4=>O1=>LD", []string{"here carol@acmecorp.com", "office365 carol@acmecorp-com.onmicrosoft.com"}},
			{"eve@example.net", "", "S2=>S3=>ED", []string{"Internet eve@example.net"}},
		}},
		{"DSN requested", "S2", lab.FromUser, "bob@acmecorp.com", lab.Plain("bob@acmecorp.com", "alice@acmecorp.com", "demo 4"), []expectation{
			{"Alice@AcmeCorp.com", "NOTIFY=FAILURE,DELAY ORCPT=rfc822;Alice@AcmeCorp.com", "S2=>S4=>O1=>LD", []string{"office365 Alice@acmecorp-com.onmicrosoft.com"}},
		}},
		{"plain", "S1", lab.FromOffice365, "alice@acmecorp.com", tenant(lab.OfficeTenant, lab.Plain("alice@acmecorp.com", "bob@acmecorp.com", "demo 5")), []expectation{
			{"bob@acmecorp.com", "", "O2=>O3=>S1=>LD", []string{"here bob@acmecorp.com"}},
			{"carol@acmecorp.com", "", "O2=>O3=>S1=>LD", []string{"here carol@acmecorp.com"}},
			{"hugo@globex.example", "", "O2=>O3=>S1=>LD", []string{"here hugo@globex.example"}},
			{"eve@example.net", "", "O2=>O3=>S1=>S3=>ED", []string{"Internet eve@example.net"}},
		}},
		{"another tenant's", "S0", lab.FromOffice365, "mallory@example.org", tenant("00000000-1111-2222-3333-444444444444", lab.Plain("mallory@example.org", "alice@acmecorp.com", "demo 6")), []expectation{
			{"alice@acmecorp.com", "", "S0=>S4=>O1=>LD", []string{"office365 alice@acmecorp-com.onmicrosoft.com"}},
		}},
	}, nil
}

func (s shipment) send(ctx context.Context, site *lab.Site) error {
	mail := lab.Mail{From: s.from, Data: s.data}
	for _, r := range s.recipients {
		mail.To = append(mail.To, lab.Rcpt{Address: r.address, Args: r.args})
	}
	result, err := lab.Client{Server: site.Addr("public"), Local: s.client}.Send(ctx, mail)
	if err == nil && !result.Accepted() {
		err = fmt.Errorf("%s", result.Data)
	}
	if err != nil {
		return fmt.Errorf("the message %q from %s was not taken: %w", s.kind, s.client, err)
	}
	return nil
}

// report prints where everything arrived, and returns whether it was right.
func report(site *lab.Site, shipments []shipment, out io.Writer) (ok bool) {
	ok = true
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nmessage\tentered at\trecipient\texpected flow\tarrived at\tas\t")
	for i, s := range shipments {
		arrived := arrivals(site, s)
		for _, r := range s.recipients {
			for _, want := range r.arrivals {
				place, address, _ := strings.Cut(want, " ")
				if at := slices.Index(arrived, want); at >= 0 {
					arrived = slices.Delete(arrived, at, at+1)
				} else {
					place, address, ok = "NOT THERE", "", false
				}
				fmt.Fprintf(table, "%d %s\t%s\t%s\t%s\t%s\t%s\t\n", i+1, s.kind, s.point, r.address, r.flow, place, address)
			}
		}
		for _, extra := range arrived {
			place, address, _ := strings.Cut(extra, " ")
			fmt.Fprintf(table, "%d %s\t%s\t-\t-\tNOT EXPECTED %s\t%s\t\n", i+1, s.kind, s.point, place, address)
			ok = false
		}
	}
	table.Flush()
	return ok
}

// arrivals returns where a shipment arrived, each as "PLACE ADDRESS".
func arrivals(site *lab.Site, s shipment) (arrived []string) {
	for _, place := range []struct {
		name string
		sink *lab.Sink
	}{{"here", site.Here}, {"office365", site.Office}, {"google", site.Google}, {"Internet", site.Outside}} {
		for _, d := range place.sink.All() {
			// Equal to the last byte, below what the servers have added.
			if !bytes.Equal(lab.Below(d.Data, "Received", "Authentication-Results", seal.TraceHeader), s.data) {
				continue
			}
			for _, to := range d.To() {
				arrived = append(arrived, place.name+" "+to)
			}
		}
	}
	return arrived
}

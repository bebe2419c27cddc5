package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"coexistd/milter/metrics"
	"coexistd/policy/config/sockets"
)

// maxMetrics bounds what is read of the metrics, in bytes.
const maxMetrics = 8 << 20

// lookAtMetrics asks for the metrics as Prometheus does, and says who else can.
func lookAtMetrics(ctx context.Context, x *examination) []Finding {
	if len(x.conf.Metrics) == 0 {
		return []Finding{fine("there is no [metrics]: Prometheus is told nothing")}
	}
	listener := x.conf.Metrics[0].Address
	network, address, err := sockets.Parse(listener)
	if err == nil {
		err = scrape(ctx, network, address)
	}
	if err != nil {
		return []Finding{failure("the metrics cannot be had at %s: %v", listener, plainNet(err)).
			do("see that the daemon runs and has this configuration (systemctl reload coexistd), and that no other program listens there (ss -lntp)")}
	}
	host, _, _ := net.SplitHostPort(address)
	at, _ := netip.ParseAddr(host)
	switch {
	case at.IsUnspecified():
		return []Finding{warning("the metrics are told at %s, to whoever reaches any address of this host", listener).
			do("where Prometheus runs here, write address = \"inet:127.0.0.1:8704\" in [metrics] of %s; else write the one address by which it comes, and have the firewall let it in alone", x.conf.Path)}
	case network == "tcp" && !at.IsLoopback() && !strings.EqualFold(host, "localhost"):
		return []Finding{fine("the metrics are told at %s, to whoever reaches it: the firewall should let in Prometheus alone", listener)}
	}
	return []Finding{fine("the metrics are told at %s", listener)}
}

// scrape asks for the metrics.
func scrape(ctx context.Context, network, address string) error {
	ctx, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, network, address) },
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://coexistd"+metrics.Path, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return errors.Unwrap(err) // without the URL, which is nobody's
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxMetrics))
	switch {
	case err != nil:
		return err
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("the answer is %s", answer.Status)
	case !strings.Contains(string(text), "\ncoexistd_build_info{"):
		return errors.New("what answers there is not coexistd")
	}
	return nil
}

package doctor

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"coexistd/milter/metrics"
	"coexistd/policy/config"
)

// tellMetrics serves metrics, or something else, at a socket until the test ends.
func tellMetrics(t *testing.T, network, address string, handler http.Handler) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: handler}}
	server.Start()
	t.Cleanup(server.Close)
	return l
}

func TestTheDoctorAsksForTheMetricsAsPrometheusDoes(t *testing.T) {
	s := newStand(t)
	handler := metrics.New(func() metrics.State { return metrics.State{} }).Server(slog.New(slog.DiscardHandler)).Handler
	socket := filepath.Join(s.dir, "metrics.sock")
	tellMetrics(t, "unix", socket, handler)
	_, port, _ := net.SplitHostPort(tellMetrics(t, "tcp", "0.0.0.0:0", handler).Addr().String())
	stranger := tellMetrics(t, "tcp", "127.0.0.1:0", http.NotFoundHandler()).Addr().String()
	other := tellMetrics(t, "tcp", "127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("# hello\nup 1\n")) })).Addr().String()
	for address, want := range map[string]string{
		"":                       OK + " there is no [metrics]",
		"unix:" + socket:         OK + " the metrics are told at unix:" + socket,
		"inet:127.0.0.1:" + port: OK + " the metrics are told at inet:127.0.0.1:" + port,
		"inet:0.0.0.0:" + port:   Warn + " the metrics are told at inet:0.0.0.0:" + port + ", to whoever reaches any address",
		"inet:" + stranger:       Fail + " the metrics cannot be had at inet:" + stranger + ": the answer is 404 Not Found",
		"inet:" + other:          Fail + " the metrics cannot be had at inet:" + other + ": what answers there is not coexistd",
		"unix:" + socket + ".no": Fail + " the metrics cannot be had at unix:" + socket + ".no: connect: no such file or directory",
	} {
		x := *s.x
		conf := *x.conf
		x.conf = &conf
		if address != "" {
			conf.Metrics = []config.Listener{{Address: address}}
		}
		found := lookAtMetrics(t.Context(), &x)
		if got := found[0].Status + " " + found[0].Found; len(found) != 1 || !strings.HasPrefix(got, want) || (found[0].Status == OK) != (found[0].Remedy == "") {
			t.Errorf("%q: the doctor says %+v; want %q", address, found, want)
		}
	}
}

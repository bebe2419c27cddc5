package daemon

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// scrape asks for the metrics at a socket in the stand's folder.
func (s *stand) scrape(socket string) (string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.dir, socket))
	}}}
	request, err := http.NewRequestWithContext(s.within(), http.MethodGet, "http://coexistd/metrics", nil)
	if err != nil {
		return "", err
	}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

// mustTell asks for the metrics until they have a line.
func (s *stand) mustTell(socket string, lines ...string) {
	s.t.Helper()
	for _, line := range lines {
		s.eventually(line, func() bool {
			text, err := s.scrape(socket)
			if err != nil {
				s.t.Fatal(err)
			}
			return strings.Contains(text, "\n"+strings.ReplaceAll(line, "{dir}", s.dir)+"\n")
		})
	}
}

func TestMetricsTellWhatTheDaemonHas(t *testing.T) {
	const metrics = "[messages]\nmta_log = \"{dir}/nowhere.log\"\n[metrics]\naddress = \"unix:{dir}/metrics.sock\"\n"
	s := start(t, metrics)
	s.mustTell("metrics.sock",
		`coexistd_config_last_reload_successful 1`, `coexistd_quarantine_open 1`, `coexistd_quarantine_entries 0`, `coexistd_quarantine_bytes 0`,
		`coexistd_senders{kind="allowed"} 0`, `coexistd_senders{kind="blocked"} 0`, `coexistd_senders_failed 0`,
		`coexistd_store_failures_total{file="store.db"} 0`, `coexistd_store_failures_total{file="messages.db"} 0`, `coexistd_records_lost_total 0`, `coexistd_records_failed 0`, `coexistd_mta_log_failed 1`,
		`coexistd_source_addresses{source="{dir}/users.csv"} 100`, `coexistd_source_refused{source="{dir}/users.csv"} 0`,
		`coexistd_connections{address="unix:{dir}/milter.sock",use="milter"} 0`, `coexistd_scanner_away{scanner="attachments"} 0`,
		`coexistd_unproven_messages_total{platform="office365"} 0`)
	if err := s.send(); err != nil {
		t.Fatal(err)
	}
	s.mustTell("metrics.sock", `coexistd_messages_total{check="",ended="true",platform="",point="S0",verdict="accept"} 1`)

	s.directory(10) // which lacks too many
	s.mustTell("metrics.sock", `coexistd_source_refused{source="{dir}/users.csv"} 1`, `coexistd_source_addresses{source="{dir}/users.csv"} 100`)
	s.write("coexistd.toml", usualTOML+metrics+"oops = 1\n")
	s.reload()
	s.mustTell("metrics.sock", `coexistd_config_last_reload_successful 0`)

	// A reload moves the socket, and what was counted stays.
	s.write("coexistd.toml", usualTOML+strings.Replace(metrics, "metrics.sock", "moved.sock", 1))
	s.reload()
	s.mustTell("moved.sock", `coexistd_config_last_reload_successful 1`, `coexistd_messages_total{check="",ended="true",platform="",point="S0",verdict="accept"} 1`)
	if _, err := s.scrape("metrics.sock"); err == nil {
		t.Error("the socket that the configuration no longer names is served")
	}
}

package doctor

import (
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coexistd/milter/messages"
	"coexistd/milter/record"
	"coexistd/policy"
	"coexistd/policy/config"
	"coexistd/policy/verdict"
)

func TestAGatewayOfWhichNobodyHasToldIsSeenByItsMail(t *testing.T) {
	const gateway, client = "192.0.2.7", "203.0.113.9"
	through := verdict.Because(verdict.Why(verdict.EnteredThrough, "filter").Of(netip.MustParseAddr(gateway)))
	mails := func(n, domains int, client string, why ...verdict.Reason) (list []*record.Record) {
		for i := range n {
			r := &record.Record{
				Time: time.Now(), Sender: fmt.Sprintf("x@d%d.example", i%domains), Count: 1, Ended: true, Paths: []string{"bob@acmecorp.com"},
				Decision: policy.Decision{Checkpoint: verdict.S0, Verdict: verdict.Accept, Reasons: through.And(why...)},
			}
			if len(why) == 0 {
				r.Decision.Reasons = verdict.Because(verdict.Why(verdict.EnteredByStranger).Of(netip.MustParseAddr(client)))
			}
			r.Client, _ = netip.ParseAddr(client)
			list = append(list, r)
		}
		return list
	}
	handed := verdict.Why(verdict.HandedFrom, "filter").Of(netip.MustParseAddr(client))
	for _, c := range []struct {
		about string
		list  []*record.Record
		want  string // "": nothing is said
	}{
		{"nothing came", nil, ""},
		{"one client with many senders", mails(12, 12, gateway), "the last messages from the Internet, 12, with senders of 12 domains, all came from one client, 192.0.2.7: it is a gateway"},
		{"one client with few senders", mails(12, 9, gateway), ""},
		{"two clients", append(mails(12, 12, gateway), mails(1, 1, client)...), ""},
		{"through an upstream, from one client", mails(12, 12, client, handed), ""},
		{"through an upstream that tells nothing", append(mails(12, 12, client, handed), mails(2, 1, "", verdict.Why(verdict.HandedUnread, "filter", "1", "by x"))...),
			`of the last messages through an upstream, 14, it is not known of 2 from whom the gateway had them: SPF cannot tell, and no limit counts their clients. The last: it came through filter (192.0.2.7); whom filter has it from is not known: its Received field, the number 1, cannot be read: "by x"`},
	} {
		o := messages.Options{Path: filepath.Join(t.TempDir(), "messages.db"), Keep: time.Hour, Log: slog.New(slog.DiscardHandler)}
		index := messages.New(o)
		for _, r := range c.list {
			index.Record(r)
		}
		index.Stop()
		all := messages.Open(o)
		defer all.Close()
		var said []string
		for _, f := range lookAtClients(t.Context(), &examination{conf: &config.Config{Path: "coexistd.toml"}, now: time.Now()}, all) {
			said = append(said, f.Found)
		}
		if got := strings.Join(said, "\n"); !strings.HasPrefix(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%s: got %q; want %q", c.about, got, c.want)
		}
	}
}

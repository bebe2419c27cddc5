package doctor

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coexistd/cmd/coexistd/postconf"
	"coexistd/contrib/lab"
	"coexistd/policy/config"
	"coexistd/policy/route"
)

// besidePostfix is an examination of a Postfix that a real postconf reads.
func besidePostfix(t *testing.T, main string) *examination {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"main.cf":   "compatibility_level = 3.6\nmyhostname = mail.acmecorp.com\nmail_owner = daemon\nsetgid_group = bin\n" + main,
		"master.cf": "smtp inet n - n - - smtpd\ncleanup unix n - n - 0 cleanup\n",
		"clients":   "192.0.2.0/24 OK\n",
		"coexistd.toml": "our_networks = [\"127.0.0.0/8\", \"::1\"]\n[[listen]]\naddress = \"inet:127.0.0.1:8701\"\n[[lookup]]\naddress = \"inet:127.0.0.1:8702\"\n" +
			"[platform.office365]\nnetworks = [\"192.0.2.0/24\"]\ntenant = \"3f2504e0-4f89-11d3-9a0c-0305e82c3301\"\nmay_relay = true\n" +
			"[domain.\"acmecorp.com\"]\nunlisted = \"office365\"\nalternate = { office365 = \"acmecorp-com.onmicrosoft.com\" }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "{dir}", dir)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := lab.Lend(t).WriteCommands(dir, dir); err != nil {
		t.Fatal(err)
	}
	settings, err := postconf.ReadBy(t.Context(), filepath.Join(dir, "postconf"))
	if err != nil {
		t.Fatal(err)
	}
	reading := config.Load(filepath.Join(dir, "coexistd.toml"))
	if reading.Config == nil {
		t.Fatal(reading.Problems)
	}
	return &examination{conf: reading.Config, networks: reading.Config.Networks, mta: &postfix{nil, settings}}
}

// statuses are findings as text.
func statuses(findings []Finding) string {
	var text strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&text, "%s %s\n", f.Status, f.Found)
	}
	return text.String()
}

func TestWhoExistsIsAskedForEachClassOfDomainsUnlessItsMapIsEmptyForOthers(t *testing.T) {
	t.Parallel()
	for main, want := range map[string]string{
		"virtual_mailbox_domains = acmecorp.com\n":                                           "fail virtual_mailbox_maps does not ask coexistd for recipients",
		"virtual_mailbox_domains = acmecorp.com, inline:{globex.example=x}\n":                "ok virtual_mailbox_maps is empty: Postfix takes mail to anybody of virtual_mailbox_domains",
		"relay_domains = acmecorp.com, inline:{globex.example=x}\n":                          "ok relay_recipient_maps is empty: Postfix takes mail to anybody of relay_domains",
		"relay_domains = acmecorp.com\nrelay_recipient_maps = hash:/a\n":                     "fail relay_recipient_maps does not ask coexistd for recipients",
		"mydestination = $myhostname, acmecorp.com\nlocal_recipient_maps =\n":                "ok local_recipient_maps is empty",
		"mydestination = $myhostname, acmecorp.com\nvirtual_mailbox_maps = {ours}\n":         "fail local_recipient_maps does not ask coexistd for recipients",
		"mydestination = $myhostname, acmecorp.com\nlocal_recipient_maps = hash:/a {ours}\n": "ok local_recipient_maps asks coexistd for recipients",
	} {
		x := besidePostfix(t, strings.ReplaceAll(main, "{ours}", "socketmap:inet:127.0.0.1:8702:recipients"))
		if got := statuses(lookAtRecipients(t.Context(), x)); !strings.HasPrefix(got, want) || strings.Count(got, "recipient_maps") != strings.Count(want, "recipient_maps") {
			t.Errorf("of\n%sis said %q; right is %q", main, got, want)
		}
	}
}

// With unlisted = "here", our map says nothing of most users.
func TestWhereUnlistedLiveHereTheDoctorWantsATableThatHasThem(t *testing.T) {
	t.Parallel()
	const (
		asks    = "ok %s asks coexistd for recipients"
		refuses = "fail %s has no table but coexistd's, which leaves unlisted addresses of acmecorp.com to Postfix (unlisted = \"here\"): Postfix refuses all whom the directory lacks"
		takes   = "ok %s is empty: Postfix takes mail to anybody of %s, and coexistd refuses whom the directory lacks, save in acmecorp.com, where unlisted is \"here\""
	)
	for _, c := range []struct{ main, want string }{
		{"virtual_mailbox_domains = acmecorp.com\nvirtual_mailbox_maps = {ours}\n", fmt.Sprintf(refuses, "virtual_mailbox_maps")},
		{"virtual_mailbox_domains = inline:{acmecorp.com=x}\nvirtual_mailbox_maps = {ours}\n", fmt.Sprintf(refuses, "virtual_mailbox_maps")},
		{"virtual_mailbox_domains = acmecorp.com\nvirtual_mailbox_maps = unionmap:{{ours}}\n", fmt.Sprintf(refuses, "virtual_mailbox_maps")},
		{"virtual_mailbox_domains = acmecorp.com\nvirtual_mailbox_maps = hash:/a, {ours}\n", fmt.Sprintf(asks, "virtual_mailbox_maps")},
		{"virtual_mailbox_domains = acmecorp.com\nvirtual_mailbox_maps = hash:/a\n", "fail virtual_mailbox_maps does not ask coexistd for recipients"},
		{"virtual_mailbox_domains = acmecorp.com\nvirtual_mailbox_maps = {ours}\nvirtual_alias_maps = inline:{{@acmecorp.com=bob@acmecorp.com}}\n", fmt.Sprintf(asks, "virtual_mailbox_maps")},
		{"virtual_mailbox_domains = acmecorp.com\n", fmt.Sprintf(takes, "virtual_mailbox_maps", "virtual_mailbox_domains")},
		{"relay_domains = acmecorp.com\n", fmt.Sprintf(takes, "relay_recipient_maps", "relay_domains")},
		{"mydestination = acmecorp.com\nlocal_recipient_maps = {ours}\n", fmt.Sprintf(refuses, "local_recipient_maps")},
		{"mydestination = acmecorp.com\nlocal_recipient_maps = $alias_maps {ours}\nalias_maps = hash:/a\n", fmt.Sprintf(asks, "local_recipient_maps")},
		{"mydestination =\nvirtual_mailbox_maps = {ours}\n", fmt.Sprintf(asks, "virtual_mailbox_maps")},
	} {
		x := besidePostfix(t, strings.ReplaceAll(c.main, "{ours}", "socketmap:inet:127.0.0.1:8702:recipients"))
		x.conf.Rules.Routes.Domains["acmecorp.com"].Unlisted = route.Residence{Kind: route.Here}
		if got := statuses(lookAtRecipients(t.Context(), x)); strings.TrimSpace(got) != c.want && !(c.want[0] == 'f' && strings.HasPrefix(got, c.want)) {
			t.Errorf("of\n%sis said %q; right is %q", c.main, got, c.want)
		}
	}
}

func TestAPlatformMayRelayByOurLookupOrByATableThatHasIt(t *testing.T) {
	t.Parallel()
	for restrictions, want := range map[string]bool{
		"permit_mynetworks, reject_unauth_destination":                                                        false,
		"check_client_access socketmap:inet:127.0.0.1:8702:networks, reject_unauth_destination":               true,
		"check_client_access socketmap:inet:127.0.0.1:8702:recipients, reject_unauth_destination":             false,
		"$mine\nmine = check_client_access socketmap:inet:127.0.0.1:8702:networks, reject_unauth_destination": true,
		"check_client_access inline:{{192.0.2=OK}}, reject_unauth_destination":                                true,
		"check_client_access cidr:{dir}/clients, reject_unauth_destination":                                   true,
		"check_client_access inline:{{198.51.100.7=REJECT}}, reject_unauth_destination":                       false,
	} {
		x := besidePostfix(t, "smtp_tls_security_level = may\nsmtpd_relay_restrictions = "+restrictions+"\n")
		x.networks = x.conf.Networks
		got := !strings.Contains(statuses(lookAtRelaying(t.Context(), x)), "may_relay is set for office365, but Postfix lets none of its hosts relay")
		if got != want || !x.networks["office365"].Networks.Has(netip.MustParseAddr("192.0.2.7")) {
			t.Errorf("with %q it may: %v", restrictions, got)
		}
	}
}

package e2e

import (
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

func TestTheDoctorSaysWhetherPostfixLearnsOfAGatewaysClients(t *testing.T) {
	t.Parallel()
	const received, mta = `client = "received"`, `client = "mta"`
	submission := strings.Replace(rightMaster, "- smtpd\n", "- smtpd -o smtpd_upstream_proxy_protocol=haproxy\nsubmission inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes\n", 1)
	for _, c := range []struct {
		about, client string
		main, files   map[string]string
		says          string
	}{
		{"by the field", received, nil, nil, "ok    postfix        Postfix leaves it to us to find the clients of the upstream filter, by their Received fields\n"},
		{"nobody tells", mta, nil, nil, "FAIL  postfix        the upstream filter tells the MTA of its clients (client), but Postfix hears nothing of the kind from 192.0.2.0/28: all that comes through it is judged as the gateway's own\n" +
			"  do: put into main.cf: smtpd_authorized_xclient_hosts = 192.0.2.0/28, where the gateway speaks XCLIENT, or "},
		{"XCLIENT", mta, map[string]string{"smtpd_authorized_xclient_hosts": "127.0.0.1, 192.0.2.7"}, nil, "ok    postfix        Postfix takes from the upstream filter who its clients are, by XCLIENT\n"},
		{"XCLIENT by names", mta, map[string]string{"smtpd_authorized_xclient_hosts": "gw.example"}, nil, "ok    postfix        Postfix takes from the upstream filter who its clients are, by XCLIENT\n"},
		{"XCLIENT of others", mta, map[string]string{"smtpd_authorized_xclient_hosts": "127.0.0.1"}, nil, "FAIL  postfix        the upstream filter tells the MTA of its clients"},
		{"PROXY", mta, map[string]string{"smtpd_upstream_proxy_protocol": "haproxy"}, nil, "ok    postfix        Postfix takes from the upstream filter who its clients are, by the PROXY protocol\n"},
		{"PROXY, but for logins", mta, nil, map[string]string{"master.cf": submission}, "ok    postfix        Postfix takes from the upstream filter who its clients are, by the PROXY protocol\n"},
		{"XCLIENT, and the field", received, map[string]string{"smtpd_authorized_xclient_hosts": "192.0.2.7"}, nil, "warn  postfix        Postfix takes XCLIENT from 192.0.2.0/28: when the gateway says it, mail no longer counts as that of the upstream filter"},
		{"PROXY, and the field", received, map[string]string{"smtpd_upstream_proxy_protocol": "haproxy"}, nil, "FAIL  postfix        all of Postfix's smtpd want the PROXY protocol, which tells who the client is: the upstream filter is not seen"},
		{"in mynetworks", received, map[string]string{"mynetworks": "192.0.2.7 127.0.4.0/24"}, nil, "warn  postfix        mynetworks has 192.0.2.7/32, from where the upstream filter hands on the Internet's mail"},
		{"excepted from mynetworks", received, map[string]string{"mynetworks": "!192.0.2.0/28 192.0.2.0/24 127.0.4.0/24"}, nil, "warn  postfix        mynetworks has \"192.0.2.0/24\", which our_networks lacks"},
	} {
		t.Run(c.about, func(t *testing.T) {
			t.Parallel()
			toml := strings.Replace(lab.SiteTOML, `[domain."acmecorp.com"]`, "[upstream.filter]\nnetworks = [\"192.0.2.0/28\"]\n"+c.client+"\n\n[domain.\"acmecorp.com\"]", 1)
			mustSay(t, ofPostfix(t, toml, c.main, c.files), c.says)
		})
	}
}

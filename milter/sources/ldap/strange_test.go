package ldap

import (
	"bufio"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/milter/sources"
)

// mostStrange bounds what is allocated for an answer of a server that speaks something else.
const mostStrange = 1 << 30

// TestAServerThatSpeaksSomethingElseIsAFailure has each bounded, whatever it sends.
func TestAServerThatSpeaksSomethingElseIsAFailure(t *testing.T) {
	ldapHeader := func(declared string) string { return "\x30\x84" + declared + "\x02\x01\x01" }
	for name, says := range map[string]struct {
		first string
		again string // without end
	}{
		"SMTP":                      {first: "220 mail.acmecorp.com ESMTP\r\n"},
		"HTTP":                      {first: "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"},
		"zeros":                     {again: strings.Repeat("\x00", 4096)},
		"a packet of two gigabytes": {first: ldapHeader("\x7f\xff\xff\xff"), again: "\x04\x82\x0f\xfc" + strings.Repeat("x", 4092)},
		"a text of two gigabytes":   {first: ldapHeader("\x7f\xff\xff\xff") + "\x04\x84\x7f\xff\xff\xf0", again: strings.Repeat("x", 4096)},
		"packets in packets":        {again: strings.Repeat("\x30\x80", 2048)},
		"empty packets":             {again: strings.Repeat("\x30\x00", 2048)},
		"many small parts":          {first: ldapHeader("\x7f\xff\xff\xff"), again: strings.Repeat("\x04\x00", 2048)},
		"answers to nobody":         {again: strings.Repeat("\x30\x0c\x02\x01\x77\x65\x07\x0a\x01\x00\x04\x00\x04\x00", 300)},
		"a farewell":                {first: "\x30\x24\x02\x01\x00\x78\x1f\x0a\x01\x34\x04\x00\x04\x00\x8a\x16\x31\x2e\x33\x2e\x36\x2e\x31\x2e\x34\x2e\x31\x2e\x31\x34\x36\x36\x2e\x32\x30\x30\x33\x36"},
	} {
		t.Run(name, func(t *testing.T) {
			url := "ldap://" + lab.Listen(t, func(conn net.Conn) {
				in := bufio.NewReader(conn)
				if _, err := in.Peek(1); err != nil {
					return
				}
				go io.Copy(io.Discard, in) // It ends with the connection.
				_, err := conn.Write([]byte(says.first))
				for err == nil && says.again != "" {
					_, err = conn.Write([]byte(says.again))
				}
			})
			for _, bind := range []string{"", "cn=reader,dc=acmecorp,dc=com"} {
				o := people(url)
				o.Bind, o.Password, o.Timeout = bind, "secret", 500*time.Millisecond
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				r := newReader(t, o)
				m, err := r.Mark(t.Context())
				runtime.ReadMemStats(&after)
				if failed := (*sources.Failure)(nil); !errors.As(err, &failed) || len(m) > 0 || len(err.Error()) > 1000 {
					t.Errorf("%v, %v; want a failure", m, err)
				}
				if says.again == "" && !strings.Contains(err.Error(), "see that an LDAP server listens there") {
					t.Errorf("%v; want a remedy", err)
				}
				if n := after.TotalAlloc - before.TotalAlloc; n > mostStrange {
					t.Errorf("%d MiB were allocated", n>>20)
				}
			}
		})
	}
}

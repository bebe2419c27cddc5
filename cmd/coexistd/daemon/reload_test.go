package daemon

import (
	"net"
	"strings"
	"testing"
)

func TestAQuarantineThatAReloadOpensHasNoError(t *testing.T) {
	s := start(t, "\n[quarantine]\ndir = \"/proc/none\"\n") // where nobody can make one
	if q := s.status().Quarantine; q.Open || q.Error == "" {
		t.Fatalf("the quarantine is %+v", q)
	}
	s.write("coexistd.toml", usualTOML+"\n[quarantine]\ndir = \"{dir}/quarantine\"\n")
	if r := s.reload(); !r.Applied {
		t.Fatalf("the reload is refused: %v", r.Refused)
	}
	if q := s.status().Quarantine; !q.Open || q.Error != "" {
		t.Errorf("the quarantine is %+v", q)
	}
}

func TestAReloadThatWantsAPortOfTheDaemonsOwnSaysSo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	on := func(hosts ...string) (text string) {
		for _, host := range hosts {
			text += "\n[[listen]]\naddress = \"inet:" + host + ":" + port + "\"\n"
		}
		return text
	}
	s := start(t, on("127.0.0.1"))
	for _, c := range []struct{ wanted, says string }{
		{on("[::]"), "the daemon itself has this port, and listens on inet:127.0.0.1:" + port},
		{on("localhost"), "the daemon itself has this port, and listens on inet:127.0.0.1:" + port},
	} {
		s.write("coexistd.toml", usualTOML+c.wanted)
		r := s.reload()
		if r.Applied || len(r.Refused) != 1 || !strings.Contains(r.Refused[0], c.says) || strings.Contains(r.Refused[0], "another process") {
			t.Errorf("a reload with %s says %+v", c.wanted, r)
		}
	}
	s.write("coexistd.toml", usualTOML+on("127.0.0.1"))
	if r := s.reload(); !r.Applied {
		t.Errorf("a reload with the same address says %+v", r)
	}
}

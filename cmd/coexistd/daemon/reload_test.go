package daemon

import "testing"

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

package daemon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"coexistd/cmd/coexistd/control"
	"coexistd/milter/sources"
)

// peopleTOML has twin.example's users in LDAP, at a port where nobody answers.
const peopleTOML = `
[domain."twin.example"]
directory = "source:people"
alternate = { office365 = "twin-example.onmicrosoft.com" }

[source.people]
type    = "ldap"
preset  = "openldap"
servers = ["ldaps://127.0.0.1:1"]
base    = "dc=twin,dc=example"
ca_file = "ca.pem"
interval = "5s"
`

// authority is a certificate in PEM, another one each time.
func authority(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano())}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}))
}

// people is what the status tells of the source.
func (s *stand) people() control.Directory {
	s.t.Helper()
	for _, one := range s.status().Directories {
		if one.Source == "source:people" {
			return one
		}
	}
	s.t.Fatal("the status does not tell of source:people")
	return control.Directory{}
}

// peopleFail waits until the status says why the source cannot be read.
func (s *stand) peopleFail(why string) {
	s.t.Helper()
	s.eventually("the source fails: "+why, func() bool {
		o := s.people().Outside
		return o != nil && strings.Contains(o.Failed, why)
	})
}

func TestADaemonStartsWithoutASourceThatCannotBeAskedAndTellsWhyUntilItCan(t *testing.T) {
	s := start(t, peopleTOML)
	s.peopleFail("the ca_file " + filepath.Join(s.dir, "ca.pem") + " does not exist")
	if status := s.status(); status.Well() {
		t.Error("all is said to be well")
	}
	if r := s.reload(); r.Applied || len(r.Refused) != 1 || !strings.Contains(r.Refused[0], "ca.pem does not exist") {
		t.Errorf("a reload says %+v", r)
	}
	s.write("ca.pem", authority(t))
	s.peopleFail("ldaps://127.0.0.1:1") // it asks there now
}

func TestAReloadAsksAnewByAnotherAuthority(t *testing.T) {
	s := start(t, "")
	s.write("ca.pem", authority(t))
	s.write("coexistd.toml", usualTOML+peopleTOML)
	poller := func() *sources.Poller {
		t.Helper()
		if r := s.reload(); !r.Applied {
			t.Fatalf("the reload is refused: %v", r.Refused)
		}
		return s.view.Load().pollers[0].Poller
	}
	first := poller()
	if poller() != first {
		t.Error("with nothing changed, a reload asks anew")
	}
	s.write("ca.pem", authority(t))
	if poller() == first {
		t.Error("with another authority in the same file, a reload asks as before")
	}
}

// stuck is a Reader that hangs whatever its context says.
type stuck struct {
	asked chan struct{} // told when it is asked
	let   chan struct{} // closed: it goes on
}

func (r *stuck) Mark(context.Context) (sources.Mark, error) {
	r.asked <- struct{}{}
	<-r.let
	return nil, os.ErrDeadlineExceeded
}
func (r *stuck) Read(context.Context, func(sources.Row) error) error { return nil }
func (r *stuck) Close()                                              {}

func TestAReaderThatHangsHoldsUpNoReloadAndIsWaitedForByTheNext(t *testing.T) {
	s := start(t, "")
	s.write("ca.pem", authority(t))
	o := outside{polling: sources.Polling{Name: "source:people", Copy: filepath.Join(s.dir, "state", "directories", "people"), Interval: time.Minute, FullInterval: time.Hour, FullTimeout: time.Hour}}
	hung := &stuck{make(chan struct{}, 1), make(chan struct{})}
	next := &stuck{make(chan struct{}, 1), hung.let}
	let := sync.OnceFunc(func() { close(hung.let) })
	t.Cleanup(let)
	poll := func(r *stuck) {
		s.change(func() {
			s.poll(o, func() (sources.Reader, error) {
				select {
				case <-hung.let:
				default:
					if r == next {
						t.Error("it begins before the one that hangs has ended")
					}
				}
				return r, nil
			})
		})
	}
	poll(hung)
	<-hung.asked
	if r := s.reload(); !r.Applied { // it names no source, and waits for none
		t.Fatalf("the reload is refused: %v", r.Refused)
	}
	if n := len(s.view.Load().pollers); n != 0 {
		t.Fatalf("%d are polled", n)
	}
	poll(next)
	s.status()
	of := s.view.Load().pollers[0]
	s.eventually("who asks next waits", func() bool { return of.State().Waits })
	let()
	<-next.asked
	if of.State().Waits {
		t.Error("it is said to wait")
	}
}

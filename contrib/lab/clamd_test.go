package lab

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func startClamd(t *testing.T, c ClamdConfig) *Clamd {
	t.Helper()
	f := LendFilters(t)
	clamd, err := f.StartClamd(deadline(t), c)
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, clamd.filter)
	return clamd
}

func stopAtEnd(t *testing.T, f *filter) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(f.Log())
		}
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// instream has clamd scan the content and returns its reply.
func instream(ctx context.Context, c *Clamd, content []byte) (string, error) {
	network, address, _ := strings.Cut(c.Addr(), ":")
	if network == "inet" {
		network = "tcp"
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	end, _ := ctx.Deadline()
	conn.SetDeadline(end)
	request := append([]byte("zINSTREAM\x00"), binary.BigEndian.AppendUint32(nil, uint32(len(content)))...)
	request = binary.BigEndian.AppendUint32(append(request, content...), 0)
	if _, err := conn.Write(request); err != nil {
		return "", err
	}
	reply, err := io.ReadAll(conn)
	return strings.TrimSuffix(string(reply), "\x00"), err
}

func scan(t *testing.T, c *Clamd, content string) string {
	t.Helper()
	reply, err := instream(deadline(t), c, []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func zipped(t *testing.T, content string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("readme.txt")
	if err == nil {
		_, err = io.WriteString(w, content)
	}
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestClamdFindsEICARWhereverItIs(t *testing.T) {
	t.Parallel()
	const found = "stream: " + EICARName + " FOUND"
	archive := zipped(t, strings.Repeat("filling ", 200)+EICAR)
	mail := string(Plain("carol@example.org", "bob@acmecorp.com", "hello"))
	attached := "From: carol@example.org\r\nSubject: hello\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		base64.StdEncoding.EncodeToString([]byte(archive)) + "\r\n"
	cases := map[string]struct{ content, want string }{
		"alone":                    {EICAR, found},
		"amid a file":              {strings.Repeat("x", 3000) + EICAR + "x", found},
		"in an archive":            {archive, found},
		"in an archive in a mail":  {attached, found},
		"a clean mail":             {mail, "stream: OK"},
		"nothing":                  {"", "stream: OK"},
		"an archive without it":    {zipped(t, "nothing here"), "stream: OK"},
		"a part of it, not enough": {EICAR[:60], "stream: OK"},
	}
	for _, tcp := range []bool{false, true} {
		c := startClamd(t, ClamdConfig{TCP: tcp})
		if kind := map[bool]string{false: "unix:/", true: "inet:127.0.0.1:"}[tcp]; !strings.HasPrefix(c.Addr(), kind) {
			t.Errorf("TCP %v: the address is %s; want %s...", tcp, c.Addr(), kind)
		}
		for name, test := range cases {
			if got := scan(t, c, test.content); got != test.want {
				t.Errorf("TCP %v, %s: %q; want %q", tcp, name, got, test.want)
			}
		}
	}
}

func TestClamdLooksAtTheEndOf30MB(t *testing.T) {
	t.Parallel()
	got := scan(t, startClamd(t, ClamdConfig{}), strings.Repeat("\x00\xff\x80", 10_000_000)+EICAR)
	if want := "stream: " + EICARName + " FOUND"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
}

func TestClamdTakesSettingsAndSignatures(t *testing.T) {
	t.Parallel()
	c := startClamd(t, ClamdConfig{
		Settings:   map[string]string{"StreamMaxLength": "1K"},
		Signatures: map[string]string{"own.ndb": "Lab.Own-1:0:*:6c61622d7669727573\n"},
	})
	if got, want := scan(t, c, "a lab-virus, named in hexadecimal above"), "stream: Lab.Own-1.UNOFFICIAL FOUND"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
	if got := scan(t, c, EICAR); !strings.HasSuffix(got, "FOUND") {
		t.Errorf("EICAR beside it: %q", got)
	}
	if got, want := scan(t, c, strings.Repeat("x", 1025)), "INSTREAM size limit exceeded. ERROR"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
}

func TestClamdscanAsksThisClamd(t *testing.T) {
	t.Parallel()
	c := startClamd(t, ClamdConfig{})
	cmd := c.Clamdscan(deadline(t), "--stream", "--no-summary", "-")
	cmd.Stdin = strings.NewReader(EICAR)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Skipf("clamd is here without clamdscan: %v", err)
	}
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(out), EICARName) {
		t.Errorf("exit code %d, %q; want 1 and the name", code, out)
	}
}

func TestASuspendedClamdAnswersNobodyUntilItContinues(t *testing.T) {
	t.Parallel()
	for _, tcp := range []bool{false, true} {
		c := startClamd(t, ClamdConfig{TCP: tcp})
		if err := c.Suspend(); err != nil {
			t.Fatal(err)
		}
		if states := groupStates(c.Pid()); len(states) == 0 || strings.Trim(states, "T") != "" {
			t.Errorf("the threads' states are %q; want T only", states)
		}
		short, cancel := context.WithTimeout(deadline(t), 200*time.Millisecond)
		defer cancel()
		if got, err := instream(short, c, []byte("hello")); !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("suspended it answered %q, %v", got, err)
		}
		if err := c.Continue(); err != nil {
			t.Fatal(err)
		}
		if got := scan(t, c, "hello"); got != "stream: OK" {
			t.Errorf("after that: %q", got)
		}
	}
}

func TestAKilledClamdStartsAgainAtTheSameAddress(t *testing.T) {
	t.Parallel()
	for _, tcp := range []bool{false, true} {
		c := startClamd(t, ClamdConfig{TCP: tcp})
		address := c.Addr()
		for _, end := range []func() error{c.Kill, func() error { return errors.Join(c.Suspend(), c.Kill()) }, c.Stop} {
			pid := c.Pid()
			if err := end(); err != nil {
				t.Fatal(err)
			}
			if c.Pid() != 0 || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
				t.Errorf("process %d is still there", pid)
			}
			if _, err := instream(deadline(t), c, nil); !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("when it is gone, connecting says: %v", err)
			}
			if err := c.Suspend(); err == nil {
				t.Error("one that does not run could be suspended")
			}
			if err := c.Start(deadline(t)); err != nil {
				t.Fatal(err)
			}
			if got := scan(t, c, EICAR); c.Addr() != address || !strings.HasSuffix(got, "FOUND") {
				t.Errorf("at %s, started again at %s: %q", address, c.Addr(), got)
			}
		}
		if err := c.Start(deadline(t)); err == nil {
			t.Error("one that runs could be started")
		}
	}
}

func TestAClamdThatCannotStartSaysWhyAndLeavesNothing(t *testing.T) {
	t.Parallel()
	f := LendFilters(t)
	socket := filepath.Join(t.TempDir(), "clamd.sock")
	_, err := f.StartClamd(deadline(t), ClamdConfig{Settings: map[string]string{"NoSuchSetting": "yes", "LocalSocket": socket}})
	if err == nil || !strings.Contains(err.Error(), "NoSuchSetting") {
		t.Errorf("%v; want an error that names the setting", err)
	}
	if _, err := os.Stat(socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket: %v", err)
	}
}

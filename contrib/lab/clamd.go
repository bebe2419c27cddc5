package lab

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// EICAR is the test file that every virus scanner finds, by agreement. It is
// written so that none finds it here.
const EICAR = `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-` + `STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`

// EICARName is what a Clamd reports for EICAR. The end is what clamd adds to a
// signature that does not come from ClamAV's makers.
const EICARName = "Eicar-Test-Signature.UNOFFICIAL"

// ClamdConfig says how a clamd differs from the lab's plain one. The plain one
// listens at a Unix socket that everybody may use, knows EICAR alone, finds it
// at any place of any file and in archives and mails, keeps no cache of
// clean files, and takes a stream of 64 MiB.
type ClamdConfig struct {
	// TCP has it listen at a port of 127.0.0.1 instead.
	TCP bool
	// Settings are clamd.conf settings; they win over the lab's own.
	Settings map[string]string
	// Signatures are further files of the database, by their bare names. The
	// end of the name tells clamd the format, such as .ndb or .hdb.
	Signatures map[string]string
}

// Clamd is a running clamd.
type Clamd struct {
	*filter
	addr      string
	clamdscan string
}

// StartClamd starts a clamd and returns when it answers. ctx bounds the start
// only; Stop ends clamd.
func (f *Filters) StartClamd(ctx context.Context, c ClamdConfig) (*Clamd, error) {
	host, port, err := freeAddress()
	if err != nil {
		return nil, err
	}
	dir, err := TempDir()
	if err != nil {
		return nil, err
	}
	clamd := &Clamd{clamdscan: "clamdscan"}
	if f.clamd.tree != "" {
		clamd.clamdscan = filepath.Join(f.clamd.tree, "usr/bin/clamdscan")
	}
	listen := map[string]string{"TCPAddr": host, "TCPSocket": port}
	network, address := "tcp", net.JoinHostPort(host, port)
	clamd.addr = "inet:" + address
	var socket string
	if !c.TCP {
		socket = filepath.Join(dir, "clamd.sock")
		listen = map[string]string{"LocalSocket": socket, "LocalSocketMode": "666"}
		network, address = "unix", socket
		clamd.addr = "unix:" + address
	}
	clamd.filter = &filter{
		name: "clamd", program: f.clamd, args: []string{"--config-file=" + filepath.Join(dir, "clamd.conf")},
		dir: dir, files: clamdFiles(dir, listen, c), socket: socket, log: newLogbook(),
		ready: func(ctx context.Context) error { return pingClamd(ctx, network, address) },
	}
	if err := clamd.Start(ctx); err != nil {
		return nil, err
	}
	return clamd, nil
}

// clamdFiles has clamd.conf and the database.
func clamdFiles(dir string, listen map[string]string, c ClamdConfig) map[string]string {
	settings := map[string]string{
		"Foreground":         "yes",
		"DatabaseDirectory":  filepath.Join(dir, "db"),
		"TemporaryDirectory": dir,
		"SelfCheck":          "0",
		"DisableCache":       "yes",
		"StreamMaxLength":    "64M",
		"MaxFileSize":        "64M",
		"MaxScanSize":        "256M",
		"MaxThreads":         "10",
	}
	maps.Copy(settings, listen)
	maps.Copy(settings, c.Settings)
	var conf strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&conf, "%s %s\n", name, settings[name])
	}
	files := map[string]string{
		"clamd.conf": conf.String(),
		// NAME:TARGET:OFFSET:HEX, where 0 is any kind of file and * any place.
		"db/eicar.ndb": "Eicar-Test-Signature:0:*:" + hex.EncodeToString([]byte(EICAR)) + "\n",
	}
	for name, content := range c.Signatures {
		files[filepath.Join("db", filepath.Base(name))] = content
	}
	return files
}

// Addr is where clamd listens: unix:PATH or inet:HOST:PORT.
func (c *Clamd) Addr() string { return c.addr }

// Clamdscan prepares ClamAV's own client to run against this clamd until ctx
// ends.
func (c *Clamd) Clamdscan(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.clamdscan, append(slices.Clone(c.args), args...)...)
	cmd.Env = environment(c.program.loadPath)
	return cmd
}

func pingClamd(ctx context.Context, network, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	end, _ := ctx.Deadline()
	conn.SetDeadline(end)
	if _, err := io.WriteString(conn, "zPING\x00"); err != nil {
		return err
	}
	answer, err := io.ReadAll(io.LimitReader(conn, 100))
	if err == nil && string(answer) != "PONG\x00" {
		err = fmt.Errorf("it answered PING with %q, not PONG", answer)
	}
	return err
}

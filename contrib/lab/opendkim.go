package lab

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"path/filepath"
	"strings"
)

// OpenDKIMConfig says what an OpenDKIM signs and verifies.
type OpenDKIMConfig struct {
	// Domain is whose mail it signs, with the selector OpenDKIMSelector, when a client of Internal hands it in,
	// or one that has logged in.
	Domain string
	// Internal are the addresses and networks of these clients.
	Internal []string
	// Host is the name in which it writes Authentication-Results of mail from others.
	Host string
	// Keys are the records of the keys of others, by their full names, in the place of the DNS.
	Keys map[string]string
}

// OpenDKIMSelector names the key of an OpenDKIM.
const OpenDKIMSelector = "lab"

// OpenDKIM is a running OpenDKIM, a milter that signs and verifies.
type OpenDKIM struct {
	*filter
	Addr   string // of the milter: HOST:PORT of 127.0.0.1
	Record string // the DNS record of its key
}

const opendkimConf = `Syslog no
Background no
Socket inet:{port}@{host}
Mode sv
Domain {domain}
Selector ` + OpenDKIMSelector + `
KeyFile {dir}/key.pem
RequireSafeKeys no
InternalHosts {dir}/internal
TestPublicKeys {dir}/keys
AuthservID {name}
Canonicalization relaxed/simple
`

// StartOpenDKIM starts an OpenDKIM with a new key, and returns when it listens. ctx bounds the
// start only; Stop ends it.
func (f *Filters) StartOpenDKIM(ctx context.Context, c OpenDKIMConfig) (*OpenDKIM, error) {
	private, record, err := newKey()
	if err != nil {
		return nil, err
	}
	host, port, err := freeAddress()
	if err != nil {
		return nil, err
	}
	dir, err := TempDir()
	if err != nil {
		return nil, err
	}
	var keys strings.Builder
	for name, key := range c.Keys {
		fmt.Fprintf(&keys, "%s %s\n", name, key)
	}
	m := &OpenDKIM{Addr: net.JoinHostPort(host, port), Record: record}
	m.filter = &filter{
		name: "opendkim", program: f.opendkim, args: []string{"-f", "-x", filepath.Join(dir, "opendkim.conf")}, dir: dir,
		files: map[string]string{
			"opendkim.conf": strings.NewReplacer("{dir}", dir, "{host}", host, "{port}", port, "{domain}", c.Domain, "{name}", c.Host).Replace(opendkimConf),
			"key.pem":       private, "internal": strings.Join(c.Internal, "\n") + "\n", "keys": keys.String(),
		},
		log:   newLogbook(),
		ready: func(ctx context.Context) error { return isListening(ctx, m.Addr) },
	}
	if err := m.Start(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

// newKey makes a key for signatures (RFC 6376 section 3.3.3), as a file and as the record that
// tells of it.
func newKey() (private, record string, err error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", "", fmt.Errorf("lab: making a key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return "", "", fmt.Errorf("lab: making a key: %w", err)
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return string(pem.EncodeToMemory(block)), "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(public), nil
}

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Who a Slapd knows, and where its directory begins. People are kept below ou=people
// and groups below ou=groups; both are there from the beginning.
const (
	SlapdSuffix = "dc=acmecorp,dc=com"

	SlapdAdmin         = "cn=admin," + SlapdSuffix // may do everything
	SlapdAdminPassword = "admin's secret"

	SlapdReader         = "cn=reader," + SlapdSuffix // may read everything but passwords
	SlapdReaderPassword = "reader's secret"
)

// SlapdConfig says how a slapd differs from the lab's plain one. The plain one has the
// schemas core, cosine, inetorgperson, nis and misc, and the class labMailRecipient for
// what mail servers with a schema of their own keep of a user. It shows nothing to who
// has not bound, keeps memberOf in step with what it is told of groups, and has a contextCSN.
type SlapdConfig struct {
	// LDIF are the first entries. It is loaded by slapadd, which fills in no memberOf.
	LDIF string
	// Schema are further lines of slapd.conf that define attributes and classes.
	Schema string
	// Limits are what the reader may have in one search, as the end of a line "limits"
	// of slapd.conf has it: "size=500 size.pr=100 size.prtotal=unlimited". Empty: all.
	Limits string
	// NoCheckpoint has it write down its contextCSN only when it ends by itself, as is
	// OpenLDAP's default: after Kill and Start it has an older one, with all entries.
	NoCheckpoint bool
	// Settings are further lines of the directory's section of slapd.conf.
	Settings []string
	// Authority has it offer StartTLS, and listen for TLS at a second port. Its
	// certificate is for ldap.acmecorp.com and for 127.0.0.1.
	Authority *Authority
}

// Slapd is a running slapd.
type Slapd struct {
	*filter
	URL       string // ldap://HOST:PORT
	SecureURL string // ldaps://HOST:PORT; empty without TLS
	SocketURL string // ldapi://PATH, with the slashes encoded
	// AuthorityFile is the path of the authority's certificate, there while it runs.
	AuthorityFile string
}

// {schemas} and {modules} stand for folders of the unpacked slapd, {dir} for the
// instance's. What is not synced is lost with the machine, not with the process.
const slapdConf = `include {schemas}/core.schema
include {schemas}/cosine.schema
include {schemas}/inetorgperson.schema
include {schemas}/nis.schema
include {schemas}/misc.schema
include {dir}/lab.schema
include {dir}/further.schema
modulepath {modules}
moduleload back_mdb
moduleload memberof
moduleload syncprov
pidfile {dir}/slapd.pid
{tls}
database config
rootdn "` + SlapdAdmin + `"

database mdb
suffix "` + SlapdSuffix + `"
rootdn "` + SlapdAdmin + `"
rootpw "` + SlapdAdminPassword + `"
directory {dir}/data
maxsize 17179869184
dbnosync
index objectClass,mail,uid,member,memberOf,mailAlternateAddress,entryCSN,entryUUID eq
limits {limits}
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="` + SlapdReader + `" read by * none
{settings}
overlay memberof
overlay syncprov
{checkpoint}
`

const slapdTLS = `TLSCACertificateFile {dir}/` + authorityFile + `
TLSCertificateFile {dir}/` + certificateFile + `
TLSCertificateKeyFile {dir}/` + keyFile + `
TLSVerifyClient never`

// OpenLDAP keeps 1.3.6.1.4.1.4203.666 for what has no number of its own. The attributes
// that misc.schema has are not here.
const labSchema = `objectidentifier lab 1.3.6.1.4.1.4203.666.1.1000
attributetype ( lab:1 NAME 'mailAlternateAddress' EQUALITY caseIgnoreIA5Match SUBSTR caseIgnoreIA5SubstringsMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.26{256} )
attributetype ( lab:2 NAME 'mailForwardingAddress' EQUALITY caseIgnoreIA5Match SUBSTR caseIgnoreIA5SubstringsMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.26{256} )
attributetype ( lab:3 NAME 'accountStatus' EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 SINGLE-VALUE )
attributetype ( lab:4 NAME 'proxyAddresses' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( lab:5 NAME 'targetAddress' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
objectclass ( lab:6 NAME 'labMailRecipient' SUP top AUXILIARY
  MAY ( mail $ mailLocalAddress $ mailHost $ mailRoutingAddress $ mailAlternateAddress $ mailForwardingAddress $
    accountStatus $ proxyAddresses $ targetAddress ) )
`

const slapdBase = `dn: ` + SlapdSuffix + `
objectClass: dcObject
objectClass: organization
dc: acmecorp
o: Acme

dn: ou=people,` + SlapdSuffix + `
objectClass: organizationalUnit
ou: people

dn: ou=groups,` + SlapdSuffix + `
objectClass: organizationalUnit
ou: groups

dn: ` + SlapdReader + `
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: ` + SlapdReaderPassword + `

`

// StartSlapd starts a slapd and returns when it answers. ctx bounds the start only; Stop
// ends it and removes its data, which Kill keeps.
func (d *Directories) StartSlapd(ctx context.Context, c SlapdConfig) (*Slapd, error) {
	_, securePort, err := freeAddress()
	if err != nil {
		return nil, err
	}
	at, err := newPlace(c.Authority, "ldap.acmecorp.com")
	if err != nil {
		return nil, err
	}
	maps.Copy(at.files, map[string]string{
		"slapd.conf": slapdSettings(d.slapd.tree, at.dir, c), "lab.schema": labSchema, "further.schema": c.Schema,
	})
	address, socket := net.JoinHostPort(at.host, at.port), filepath.Join(at.dir, "ldapi")
	s := &Slapd{URL: "ldap://" + address, SocketURL: "ldapi://" + url.PathEscape(socket), AuthorityFile: at.authority}
	listen := s.URL + " " + s.SocketURL
	if c.Authority != nil {
		s.SecureURL = "ldaps://" + net.JoinHostPort(at.host, securePort)
		listen += " " + s.SecureURL
	}
	s.filter = &filter{
		name: "slapd", program: d.slapd, dir: at.dir, files: at.files, socket: socket, log: newLogbook(),
		args: []string{"-d", "stats", "-f", filepath.Join(at.dir, "slapd.conf"), "-h", listen},
		prepare: func(ctx context.Context) error {
			if isDir(s.data()) {
				return nil
			}
			return s.load(ctx, strings.NewReader(slapdBase+c.LDIF))
		},
		ready: func(ctx context.Context) error { return bindNobody(ctx, address) },
	}
	if err := s.Start(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func slapdSettings(tree, dir string, c SlapdConfig) string {
	tls, checkpoint := "", "syncprov-checkpoint 1 1"
	if c.Authority != nil {
		tls = slapdTLS
	}
	if c.NoCheckpoint {
		checkpoint = ""
	}
	conf := strings.NewReplacer("{tls}", tls, "{checkpoint}", checkpoint, "{limits}", readerLimits(c.Limits),
		"{settings}", strings.Join(c.Settings, "\n")).Replace(slapdConf)
	return strings.NewReplacer("{dir}", dir,
		"{schemas}", filepath.Join(tree, "etc/ldap/schema"), "{modules}", filepath.Join(tree, "usr/lib/ldap")).Replace(conf)
}

func readerLimits(limits string) string {
	if limits == "" {
		limits = "size=unlimited time=unlimited"
	}
	return `dn.exact="` + SlapdReader + `" ` + limits
}

func (s *Slapd) data() string { return filepath.Join(s.dir, "data") }

// Load adds entries while it does not run, by slapadd, which is quick: the way to a
// directory of very many.
func (s *Slapd) Load(ctx context.Context, ldif io.Reader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		return errors.New("lab: slapd runs, and slapadd would write beside it: Kill it first, or use Apply")
	}
	return s.load(ctx, ldif)
}

func (s *Slapd) load(ctx context.Context, ldif io.Reader) error {
	if err := os.MkdirAll(s.data(), 0o700); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	_, err := outputOf(s.tool(ctx, "slapadd", "-q", "-w"), ldif)
	return err
}

// tool prepares a command that works on the folder of the data.
func (s *Slapd) tool(ctx context.Context, name string, args ...string) *exec.Cmd {
	all := append([]string{"-f", filepath.Join(s.dir, "slapd.conf"), "-b", SlapdSuffix}, args...)
	return s.program.command(ctx, filepath.Join("usr/sbin", name), all...)
}

// Backup is the whole directory as LDIF, with what the server keeps for itself, such as
// contextCSN, whether it runs or not.
func (s *Slapd) Backup(ctx context.Context) (string, error) {
	return outputOf(s.tool(ctx, "slapcat"), nil)
}

// Restore puts a Backup in the place of all that there is, and starts the server again
// if it ran.
func (s *Slapd) Restore(ctx context.Context, backup string) error {
	ran := s.Pid() != 0
	if err := s.Kill(); err != nil {
		return err
	}
	if err := os.RemoveAll(s.data()); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	if err := s.Load(ctx, strings.NewReader(backup)); err != nil || !ran {
		return err
	}
	return s.Start(ctx)
}

// Apply has the running server make changes, as LDIF has them: entries without a
// changetype are added. It ends at the first that fails.
func (s *Slapd) Apply(ctx context.Context, ldif string) error {
	_, err := outputOf(s.Client(ctx, "ldapmodify", "-a"), strings.NewReader(ldif))
	return err
}

// Limit changes SlapdConfig.Limits while it runs, and for each later start.
func (s *Slapd) Limit(ctx context.Context, limits string) error {
	err := s.Apply(ctx, "dn: olcDatabase={1}mdb,cn=config\nchangetype: modify\nreplace: olcLimits\nolcLimits: "+readerLimits(limits)+"\n")
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var conf strings.Builder
	for line := range strings.Lines(s.files["slapd.conf"]) {
		if strings.HasPrefix(line, "limits ") {
			line = "limits " + readerLimits(limits) + "\n"
		}
		conf.WriteString(line)
	}
	s.files["slapd.conf"] = conf.String()
	return nil
}

// Client prepares one of OpenLDAP's clients, such as "ldapsearch", to run until ctx
// ends. It comes as the admin over the socket, unless args (-H, -D, -w) say otherwise.
// Of TLS it trusts the server's authority.
func (s *Slapd) Client(ctx context.Context, name string, args ...string) *exec.Cmd {
	return ldapClient(ctx, s.program, name, s.AuthorityFile, args, []string{"-H", s.SocketURL, "-D", SlapdAdmin, "-w", SlapdAdminPassword})
}

// ldapClient prepares one of the clients that are unpacked beside slapd. Those of the
// options, each with its value, count that args have not.
func ldapClient(ctx context.Context, slapd filterProgram, name, authority string, args, options []string) *exec.Cmd {
	all := []string{"-x"}
	for option := range slices.Chunk(options, 2) {
		if !slices.Contains(args, option[0]) {
			all = append(all, option...)
		}
	}
	cmd := slapd.command(ctx, filepath.Join("usr/bin", name), append(all, args...)...)
	if authority != "" {
		cmd.Env = append(cmd.Env, "LDAPTLS_CACERT="+authority)
	}
	return cmd
}

// bindNobody binds without a name (RFC 4511, 4.2), which every server answers, be it
// with a refusal.
func bindNobody(ctx context.Context, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	// Message 1, a bind request: version 3, no name, no password.
	if _, err := conn.Write([]byte("\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00")); err != nil {
		return err
	}
	// Message 1, a bind response.
	answer, want := make([]byte, 6), []byte("\x02\x01\x01\x61")
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if !bytes.Equal(answer[2:], want) {
		return fmt.Errorf("it answered a bind request with % x", answer)
	}
	return nil
}

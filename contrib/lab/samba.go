package lab

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Who a Samba knows, and where its directory begins. Each who is known may read all of it.
const (
	SambaRealm  = "ad.acmecorp.com"
	SambaSuffix = "DC=ad,DC=acmecorp,DC=com"

	SambaAdmin         = "administrator@" + SambaRealm
	SambaAdminPassword = "Admin's-Secret-1"

	SambaReader         = "reader@" + SambaRealm
	SambaReaderPassword = "Reader's-Secret-1"
)

// SambaConfig says how a Samba differs from the lab's plain one. The plain one is an
// Active Directory's only controller, of which LDAP alone is started. It has the schema of
// Windows 2012 R2, and of what Exchange adds to that targetAddress, msExchRecipientTypeDetails
// and msExchRecipientDisplayType. It takes passwords without TLS, too.
type SambaConfig struct {
	// Authority has it offer StartTLS, and listen for TLS at a second port. Its
	// certificate is for dc.ad.acmecorp.com and for its address.
	Authority *Authority
	// Settings are global lines of smb.conf; they win over the lab's own.
	Settings map[string]string
}

// Samba is a running Samba. It listens at LDAP's own ports, of which it knows no others,
// at an address of 127.0.0.0/8 that it has for itself.
type Samba struct {
	*filter
	URL       string // ldap://HOST:389
	SecureURL string // ldaps://HOST:636; empty without TLS
	// AuthorityFile is the path of the authority's certificate, there while it runs.
	AuthorityFile string

	clients filterProgram
}

// StartSamba makes an Active Directory, which takes some ten seconds, and returns when it
// answers. ctx bounds the start only; Stop ends it and removes its data, which Kill keeps.
func (d *Directories) StartSamba(ctx context.Context, c SambaConfig) (*Samba, error) {
	host, err := freeHost("389")
	if err != nil {
		return nil, err
	}
	files, err := c.Authority.loopbackFiles("dc."+SambaRealm, host)
	if err != nil {
		return nil, err
	}
	dir, err := TempDir()
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort(host, "389")
	s := &Samba{URL: "ldap://" + address, clients: d.slapd}
	if c.Authority != nil {
		s.SecureURL = "ldaps://" + net.JoinHostPort(host, "636")
		s.AuthorityFile = filepath.Join(dir, authorityFile)
	}
	files["smb.conf"], files["empty.conf"] = sambaSettings(dir, host, c), ""
	program := d.samba
	program.path = "/bin/sh"
	s.filter = &filter{
		name: "samba", program: program, dir: dir, files: files, log: newLogbook(), apart: sambaNamespaces(),
		args: s.asInstalled(program.tree, "/usr/sbin/samba", "--foreground", "--no-process-group", "--debug-stdout",
			"--model=single", "--configfile="+filepath.Join(dir, "smb.conf")),
		prepare: s.provision,
		ready:   func(ctx context.Context) error { return bindNobody(ctx, address) },
	}
	if err := s.Start(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// What is not synced is lost with the machine, not with the process.
func sambaSettings(dir, host string, c SambaConfig) string {
	data := filepath.Join(dir, "data")
	settings := map[string]string{
		"netbios name":                    "DC",
		"workgroup":                       "ACME",
		"realm":                           strings.ToUpper(SambaRealm),
		"server role":                     "active directory domain controller",
		"server services":                 "ldap",
		"interfaces":                      host + "/8",
		"bind interfaces only":            "yes",
		"ldap server require strong auth": "no",
		"ldb:nosync":                      "true",
		"dsdb:schema update allowed":      "yes",
		"log level":                       "1",
		"private dir":                     filepath.Join(data, "private"),
		"lock directory":                  data,
		"state directory":                 filepath.Join(data, "state"),
		"cache directory":                 filepath.Join(data, "cache"),
		"binddns dir":                     filepath.Join(data, "bind-dns"),
		"pid directory":                   filepath.Join(dir, "run"),
		"ncalrpc dir":                     filepath.Join(dir, "run"),
		"tls enabled":                     "no",
	}
	if c.Authority != nil {
		settings["tls enabled"] = "yes"
		settings["tls cafile"] = filepath.Join(dir, authorityFile)
		settings["tls certfile"] = filepath.Join(dir, certificateFile)
		settings["tls keyfile"] = filepath.Join(dir, keyFile)
	}
	maps.Copy(settings, c.Settings)
	var conf strings.Builder
	conf.WriteString("[global]\n")
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&conf, "%s = %s\n", name, settings[name])
	}
	return conf.String()
}

// Samba looks for its modules at the place where it is installed, whatever it is told:
// its processes see the tree laid over /usr.
const sambaMachine = `set -e
mount --make-rprivate /
mount -t overlay -o "lowerdir=$1/usr:/usr" overlay /usr
shift
exec "$@"`

func (s *Samba) asInstalled(tree, program string, args ...string) []string {
	return append([]string{"-c", sambaMachine, "machine", tree, program}, args...)
}

func sambaNamespaces() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC}
}

// The rights of the shared folders, which need attributes of files that not every file
// system has, are of no use where no folder is shared. Exchange's numbers of its attributes
// do not matter here.
const sambaProvision = `import sys, samba.provision
from samba.auth import system_session
from samba.netcmd.main import cmd_sambatool
from samba.param import LoadParm
from samba.samdb import SamDB
samba.provision.setsysvolacl = lambda *args, **named: None
def tool(*args):
    status = cmd_sambatool()._run("samba-tool", *args)
    if status:
        sys.exit(status)
folder, realm, admin_password, reader, reader_password = sys.argv[1:]
tool("domain", "provision", "--quiet", "--configfile=" + folder + "/empty.conf", "--targetdir=" + folder + "/data",
    "--realm=" + realm, "--domain=ACME", "--adminpass=" + admin_password, "--server-role=dc", "--dns-backend=NONE",
    "--host-name=dc", "--host-ip=127.0.0.1", "--option=vfs objects=", "--option=ldb:nosync=true")
tool("user", "create", reader, reader_password, "--configfile=" + folder + "/smb.conf",
    "--URL=" + folder + "/data/private/sam.ldb")
parameters = LoadParm()
parameters.load(folder + "/smb.conf")
directory = SamDB(url=folder + "/data/private/sam.ldb", session_info=system_session(), lp=parameters)
schema = str(directory.get_schema_basedn())
names = []
for number, (name, syntax, kind) in enumerate([("targetAddress", "2.5.5.12", 64),
        ("msExchRecipientTypeDetails", "2.5.5.16", 65), ("msExchRecipientDisplayType", "2.5.5.9", 2)]):
    directory.add_ldif(f"""dn: CN={name},{schema}
objectClass: attributeSchema
lDAPDisplayName: {name}
attributeID: 1.3.6.1.4.1.4203.666.1.1001.{number}
attributeSyntax: {syntax}
oMSyntax: {kind}
isSingleValued: TRUE
""")
    names.append(name)
directory.set_schema_update_now()
lines = "".join(f"mayContain: {name}\n" for name in names)
directory.modify_ldif(f"dn: CN=Mail-Recipient,{schema}\nchangetype: modify\nadd: mayContain\n{lines}")
`

// provision makes the directory, where there is none yet.
func (s *Samba) provision(ctx context.Context) error {
	if s.AuthorityFile != "" {
		// It takes no key that others can read.
		if err := os.Chmod(filepath.Join(s.dir, keyFile), 0o600); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
	}
	if isDir(filepath.Join(s.dir, "data")) {
		return nil
	}
	for _, name := range []string{"data", "run"} {
		if err := os.Mkdir(filepath.Join(s.dir, name), 0o755); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
	}
	reader, _, _ := strings.Cut(SambaReader, "@")
	cmd := exec.CommandContext(ctx, s.program.path, s.asInstalled(s.program.tree, "/usr/bin/python3.11", "-I", "-B", "-c", sambaProvision,
		s.dir, strings.ToUpper(SambaRealm), SambaAdminPassword, reader, SambaReaderPassword)...)
	cmd.Env, cmd.Dir, cmd.SysProcAttr = environment(s.program.loadPath), "/", sambaNamespaces()
	_, err := outputOf(cmd, nil)
	return err
}

// Backup keeps all that there is, in the place of an earlier backup. The server is
// killed for it, and started again if it ran.
func (s *Samba) Backup(ctx context.Context) error { return s.copyData(ctx, "data", "backup") }

// Restore puts the backup in the place of all that there is, as Backup does.
func (s *Samba) Restore(ctx context.Context) error { return s.copyData(ctx, "backup", "data") }

func (s *Samba) copyData(ctx context.Context, from, to string) error {
	ran := s.Pid() != 0
	if err := s.Kill(); err != nil {
		return err
	}
	from, to = filepath.Join(s.dir, from), filepath.Join(s.dir, to)
	if err := os.RemoveAll(to); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	// There are sockets among the files.
	if _, err := outputOf(exec.CommandContext(ctx, "cp", "-a", from, to), nil); err != nil || !ran {
		return err
	}
	return s.Start(ctx)
}

// Apply has the running server make changes, as LDIF has them: entries without a
// changetype are added. It ends at the first that fails.
func (s *Samba) Apply(ctx context.Context, ldif string) error {
	_, err := outputOf(s.Client(ctx, "ldapmodify", "-a"), strings.NewReader(ldif))
	return err
}

// Client prepares one of OpenLDAP's clients, such as "ldapsearch", to run until ctx
// ends. It comes as the admin, without TLS, unless args (-H, -D, -w) say otherwise. Of
// TLS it trusts the server's authority.
func (s *Samba) Client(ctx context.Context, name string, args ...string) *exec.Cmd {
	return ldapClient(ctx, s.clients, name, s.AuthorityFile, args, []string{"-H", s.URL, "-D", SambaAdmin, "-w", SambaAdminPassword})
}

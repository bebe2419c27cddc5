package e2e

import (
	"os"
	"path/filepath"
	"strings"

	"coexistd/contrib/lab"
)

// startSQL starts a MariaDB in which a product's tables are, and gives the files by which its Postfix
// asks them: from the name to the query.
func (h *productHost) startSQL(database, tables string, queries map[string]string) {
	h.t.Helper()
	m, err := lab.LendDirectories(h.t).StartMariaDB(deadline(h.t), lab.MariaDBConfig{})
	h.do(err)
	h.t.Cleanup(func() { stopFilter(h.t, m.Stop) })
	h.sql = func(statements string) {
		h.t.Helper()
		_, err := m.Exec(deadline(h.t), statements)
		h.do(err)
	}
	h.sql("CREATE DATABASE " + database + "; CREATE USER vmail@'127.0.0.1' IDENTIFIED BY 'its secret'; GRANT SELECT ON " + database + ".* TO vmail@'127.0.0.1'; USE " + database + ";\n" + tables)
	for name, query := range queries {
		h.config.Files[name+".cf"] = "hosts = " + m.Addr + "\nuser = vmail\npassword = its secret\ndbname = " + database + "\nquery = " + query + "\n"
	}
	h.words = append(h.words, "127.0.0.1:13306", m.Addr, "127.0.0.1:3306", m.Addr)
}

// setMailcow has the settings, the queries and the tables of mailcow 2024-01, without what is for TLS,
// DNS lists and its web pages.
func (h *productHost) setMailcow() {
	h.startSQL("mailcow", `
CREATE TABLE domain (domain varchar(255) PRIMARY KEY, backupmx tinyint DEFAULT 0, created datetime, modified datetime, active tinyint DEFAULT 1);
CREATE TABLE alias_domain (alias_domain varchar(255) PRIMARY KEY, target_domain varchar(255), created datetime, modified datetime, active tinyint DEFAULT 1);
CREATE TABLE mailbox (username varchar(255) PRIMARY KEY, domain varchar(255), kind varchar(100) DEFAULT '', created datetime, modified datetime, active tinyint DEFAULT 1);
CREATE TABLE alias (id int PRIMARY KEY AUTO_INCREMENT, address varchar(255) UNIQUE, goto text, domain varchar(255) DEFAULT 'acmecorp.com', created datetime, modified datetime, active tinyint DEFAULT 1);
CREATE TABLE spamalias (address varchar(255) PRIMARY KEY, goto text, validity int);
CREATE TABLE transports (destination varchar(255), nexthop varchar(255), active tinyint);
INSERT INTO domain (domain) VALUES ('acmecorp.com');
INSERT INTO mailbox (username, domain) VALUES ('alice@acmecorp.com', 'acmecorp.com'), ('bob@acmecorp.com', 'acmecorp.com');
INSERT INTO alias (address, goto) VALUES ('alice@acmecorp.com', 'alice@acmecorp.com'), ('bob@acmecorp.com', 'bob@acmecorp.com'), ('sales@acmecorp.com', 'bob@acmecorp.com'),
('postmaster@acmecorp.com', 'bob@acmecorp.com'), ('abuse@acmecorp.com', 'bob@acmecorp.com'), ('all@acmecorp.com', 'alice@acmecorp.com,bob@acmecorp.com');
`, map[string]string{
		"mysql_virtual_alias_maps":        "SELECT goto FROM alias WHERE address = '%s' AND (active = '1' OR active = '2')",
		"mysql_virtual_resource_maps":     "SELECT 'null@localhost' FROM mailbox WHERE kind REGEXP 'location|thing|group' AND username = '%s'",
		"mysql_virtual_spamalias_maps":    "SELECT goto FROM spamalias WHERE address = '%s' AND validity >= UNIX_TIMESTAMP()",
		"mysql_virtual_alias_domain_maps": "SELECT username FROM mailbox, alias_domain WHERE alias_domain.alias_domain = '%d' AND mailbox.username = CONCAT('%u', '@', alias_domain.target_domain) AND mailbox.active IN ('1', '2') AND alias_domain.active = '1'",
		"mysql_virtual_domains_maps":      "SELECT alias_domain FROM alias_domain WHERE alias_domain = '%s' AND active = '1' UNION SELECT domain FROM domain WHERE domain = '%s' AND active = '1' AND backupmx = '0'",
		"mysql_virtual_mailbox_maps":      "SELECT CONCAT('maildir:/var/vmail/%d/%u/') FROM mailbox WHERE username = '%s' AND (active = '1' OR active = '2')",
		"mysql_virtual_relay_domain_maps": "SELECT domain FROM domain WHERE domain = '%s' AND backupmx = '1' AND active = '1'",
		"mysql_transport_maps":            "SELECT CONCAT('smtp_via_transport_maps:', nexthop) FROM transports WHERE active = '1' AND destination = '%s'",
		"mysql_virtual_sender_acl":        "SELECT goto FROM alias WHERE address = '%s' AND active IN ('1', '2')",
	})
	h.main(`
alias_maps = texthash:$config_directory/aliases
mydestination = localhost.localdomain, localhost
milter_default_action = accept
milter_mail_macros = i {mail_addr} {client_addr} {client_name} {auth_authen}
smtpd_milters = inet:{milter}
non_smtpd_milters = inet:{milter}
relay_domains = proxy:mysql:$config_directory/mysql_virtual_relay_domain_maps.cf
smtpd_recipient_restrictions = permit_sasl_authenticated, permit_mynetworks, reject_unauth_destination
smtp_tls_security_level = may
smtpd_sender_login_maps = proxy:mysql:$config_directory/mysql_virtual_sender_acl.cf
smtpd_sender_restrictions = reject_authenticated_sender_login_mismatch, permit_mynetworks, permit_sasl_authenticated, reject_unlisted_sender
virtual_alias_maps = proxy:mysql:$config_directory/mysql_virtual_alias_maps.cf,
  proxy:mysql:$config_directory/mysql_virtual_resource_maps.cf,
  proxy:mysql:$config_directory/mysql_virtual_spamalias_maps.cf,
  proxy:mysql:$config_directory/mysql_virtual_alias_domain_maps.cf
virtual_mailbox_base = /var/vmail/
virtual_mailbox_domains = proxy:mysql:$config_directory/mysql_virtual_domains_maps.cf
virtual_mailbox_maps = proxy:mysql:$config_directory/mysql_virtual_mailbox_maps.cf
virtual_transport = {here}
transport_maps = regexp:$config_directory/local_transport, proxy:mysql:$config_directory/mysql_transport_maps.cf, texthash:$config_directory/transport
`)
	h.remove = func() {
		h.sql("USE mailcow; DELETE FROM mailbox WHERE username = 'alice@acmecorp.com'; DELETE FROM alias WHERE address = 'alice@acmecorp.com'")
	}
	h.prove = func() {
		for _, to := range []string{"watchdog@localhost", "bob@acmecorp.com"} {
			port := map[bool]string{true: "589", false: "590"}[to == "watchdog@localhost"]
			r, err := lab.Client{Server: h.Addr(port), Local: lab.FromUser}.Send(deadline(h.t), lab.Mail{From: "watchdog@invalid", To: lab.To(to), Data: lab.Plain("watchdog@invalid", to, "of the product")})
			if h.do(err); !r.Accepted() {
				h.t.Errorf("the product's own mail at port %s is answered with %+v", port, r)
			}
		}
	}
	h.config.Files["aliases"] = "null /dev/null\nwatchdog /dev/null\n"
	h.config.Files["local_transport"] = "/localhost$/ local:\n"
	h.service("589", "smtpd_client_restrictions = permit_mynetworks, reject\nsmtpd_milters =\n")
	h.service("590", "smtpd_client_restrictions = permit_mynetworks, reject\nsmtpd_milters =\n")
	h.service("127.0.0.1:10026", "content_filter =\nreceive_override_options = no_unknown_recipient_checks, no_header_body_checks, no_milters\n")
	h.do(os.MkdirAll(filepath.Join(h.root, "data/conf/postfix"), 0o755))
	h.words = append(h.words, `["172.22.1.0/24"]`, `["127.0.4.0/24", "127.0.0.1"]`, "172.22.1.%", "127.0.0.1")
}

// setIRedMail has the settings and the tables of iRedMail 1.6, in its edition for MariaDB, without what
// is for TLS. In the place of amavis, mail goes straight to the service that takes it back.
func (h *productHost) setIRedMail() {
	h.startSQL("vmail", `
CREATE TABLE domain (domain varchar(255) PRIMARY KEY, transport varchar(255), backupmx tinyint DEFAULT 0, modified datetime, active tinyint DEFAULT 1);
CREATE TABLE alias_domain (alias_domain varchar(255) PRIMARY KEY, target_domain varchar(255), modified datetime, active tinyint DEFAULT 1);
CREATE TABLE mailbox (username varchar(255) PRIMARY KEY, domain varchar(255), storagenode varchar(255) DEFAULT 'vmail1', maildir varchar(255) DEFAULT '', transport varchar(255) DEFAULT '',
enabledeliver tinyint DEFAULT 1, modified datetime, active tinyint DEFAULT 1);
CREATE TABLE alias (address varchar(255) PRIMARY KEY, domain varchar(255), modified datetime, active tinyint DEFAULT 1);
CREATE TABLE maillists (id bigint PRIMARY KEY, address varchar(255), domain varchar(255), transport varchar(255), modified datetime, active tinyint DEFAULT 1);
CREATE TABLE forwardings (id bigint PRIMARY KEY AUTO_INCREMENT, address varchar(255), forwarding varchar(255), domain varchar(255) DEFAULT 'acmecorp.com',
is_maillist tinyint DEFAULT 0, is_list tinyint DEFAULT 0, is_forwarding tinyint DEFAULT 0, is_alias tinyint DEFAULT 0, active tinyint DEFAULT 1);
INSERT INTO domain (domain, transport) VALUES ('acmecorp.com', '`+h.Here.NextHop()+`');
INSERT INTO mailbox (username, domain) VALUES ('alice@acmecorp.com', 'acmecorp.com'), ('bob@acmecorp.com', 'acmecorp.com');
INSERT INTO alias (address, domain) VALUES ('all@acmecorp.com', 'acmecorp.com');
INSERT INTO forwardings (address, forwarding, is_forwarding) VALUES ('alice@acmecorp.com', 'alice@acmecorp.com', 1), ('bob@acmecorp.com', 'bob@acmecorp.com', 1);
INSERT INTO forwardings (address, forwarding, is_list) VALUES ('all@acmecorp.com', 'alice@acmecorp.com', 1), ('all@acmecorp.com', 'bob@acmecorp.com', 1);
INSERT INTO forwardings (address, forwarding, is_alias) VALUES ('sales@acmecorp.com', 'bob@acmecorp.com', 1), ('postmaster@acmecorp.com', 'bob@acmecorp.com', 1), ('abuse@acmecorp.com', 'bob@acmecorp.com', 1);
`, map[string]string{
		"transport_maps_user":     "SELECT mailbox.transport FROM mailbox, domain WHERE mailbox.username = '%s' AND mailbox.domain = '%d' AND mailbox.active = 1 AND mailbox.transport <> '' AND domain.domain = mailbox.domain AND domain.active = 1",
		"transport_maps_maillist": "SELECT maillists.transport FROM maillists, domain WHERE maillists.address = '%s' AND maillists.active = 1 AND maillists.domain = domain.domain AND domain.active = 1",
		"transport_maps_domain":   "SELECT transport FROM domain WHERE domain = '%s' AND active = 1",
		"sender_login_maps":       "SELECT username FROM mailbox WHERE username = '%s' AND active = 1",
		"virtual_mailbox_domains": "SELECT domain FROM domain WHERE domain = '%s' AND backupmx = 0 AND active = 1 UNION SELECT alias_domain FROM alias_domain WHERE alias_domain = '%s' AND active = 1",
		"relay_domains":           "SELECT domain FROM domain WHERE domain = '%s' AND backupmx = 1 AND active = 1",
		"virtual_mailbox_maps":    "SELECT CONCAT(mailbox.storagenode, '/', mailbox.maildir, '/Maildir/') FROM mailbox, domain WHERE mailbox.username = '%s' AND mailbox.active = 1 AND mailbox.enabledeliver = 1 AND domain.domain = mailbox.domain AND domain.active = 1",
		"virtual_alias_maps":      "SELECT forwardings.forwarding FROM forwardings, domain WHERE forwardings.address = '%s' AND forwardings.domain = '%d' AND forwardings.active = 1 AND domain.backupmx = 0 AND domain.domain = forwardings.domain AND domain.active = 1",
		"catchall_maps":           "SELECT forwardings.forwarding FROM forwardings, domain WHERE forwardings.address = '%d' AND '%u' NOT LIKE '%%+%%' AND forwardings.active = 1 AND forwardings.domain = domain.domain AND domain.active = 1",
	})
	h.main(`
alias_maps = texthash:$config_directory/aliases
content_filter = smtp-amavis:[127.0.0.1]:10025
myorigin = mail.acmecorp.com
mydestination = $myhostname, localhost, localhost.localdomain
enable_original_recipient = no
smtpd_reject_unlisted_recipient = yes
smtpd_reject_unlisted_sender = yes
smtpd_sender_restrictions = reject_non_fqdn_sender reject_unlisted_sender permit_mynetworks permit_sasl_authenticated
smtpd_recipient_restrictions = reject_non_fqdn_recipient reject_unlisted_recipient permit_mynetworks permit_sasl_authenticated reject_unauth_destination
smtp_tls_security_level = may
smtpd_sender_login_maps = proxy:mysql:$config_directory/sender_login_maps.cf
virtual_alias_domains =
virtual_mailbox_base = /var/vmail
virtual_mailbox_domains = proxy:mysql:$config_directory/virtual_mailbox_domains.cf
virtual_mailbox_maps = proxy:mysql:$config_directory/virtual_mailbox_maps.cf
virtual_alias_maps = proxy:mysql:$config_directory/virtual_alias_maps.cf proxy:mysql:$config_directory/catchall_maps.cf
relay_domains = $mydestination proxy:mysql:$config_directory/relay_domains.cf
transport_maps = proxy:mysql:$config_directory/transport_maps_user.cf proxy:mysql:$config_directory/transport_maps_maillist.cf proxy:mysql:$config_directory/transport_maps_domain.cf texthash:$config_directory/transport
`)
	h.remove = func() {
		h.sql("USE vmail; DELETE FROM mailbox WHERE username = 'alice@acmecorp.com'; DELETE FROM forwardings WHERE address = 'alice@acmecorp.com'")
	}
	h.config.Files["aliases"] = "root bob@acmecorp.com\n"
	const back = `content_filter =
local_recipient_maps =
relay_recipient_maps =
smtpd_client_restrictions = permit_mynetworks,reject
smtpd_sender_restrictions =
smtpd_recipient_restrictions = permit_mynetworks,reject
smtpd_end_of_data_restrictions =
`
	h.service("127.0.0.1:10025", back+"receive_override_options = no_header_body_checks,no_unknown_recipient_checks,no_address_mappings\n")
	h.service("127.0.0.1:10028", back+"receive_override_options = no_header_body_checks,no_unknown_recipient_checks\n")
	h.config.Master = append(h.config.Master, "smtp-amavis unix - - n - 10 smtp -o smtp_send_xforward_command=yes -o disable_dns_lookups=yes")
	h.words = append(h.words, `["127.0.0.1"]`, `["127.0.4.0/24", "127.0.0.1"]`)
}

const zimbraSchema = `
attributetype ( lab:131 NAME 'zimbraMailDeliveryAddress' EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )
attributetype ( lab:132 NAME 'zimbraMailAlias' EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )
attributetype ( lab:133 NAME 'zimbraMailStatus' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( lab:134 NAME 'zimbraMailTransport' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( lab:135 NAME 'zimbraMailForwardingAddress' EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )
attributetype ( lab:136 NAME 'zimbraDomainName' EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )
attributetype ( lab:137 NAME 'zimbraDomainType' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
objectclass ( lab:140 NAME 'zimbraAccount' AUXILIARY MAY ( mail $ zimbraMailDeliveryAddress $ zimbraMailAlias $ zimbraMailStatus $ zimbraMailTransport ) )
objectclass ( lab:141 NAME 'zimbraDistributionList' SUP top STRUCTURAL MUST uid MAY ( mail $ zimbraMailAlias $ zimbraMailStatus $ zimbraMailForwardingAddress ) )
objectclass ( lab:142 NAME 'zimbraDomain' SUP top AUXILIARY MAY ( zimbraDomainName $ zimbraDomainType $ zimbraMailStatus ) )
`

const zimbraEntries = `dn: ou=domain,dc=acmecorp,dc=com
objectClass: organizationalUnit
objectClass: zimbraDomain
ou: domain
zimbraDomainName: acmecorp.com
zimbraDomainType: local
zimbraMailStatus: enabled

dn: uid=alice,ou=people,dc=acmecorp,dc=com
objectClass: inetOrgPerson
objectClass: zimbraAccount
uid: alice
cn: alice
sn: alice
mail: alice@acmecorp.com
zimbraMailDeliveryAddress: alice@acmecorp.com
zimbraMailStatus: enabled
zimbraMailTransport: {here}

dn: uid=bob,ou=people,dc=acmecorp,dc=com
objectClass: inetOrgPerson
objectClass: zimbraAccount
uid: bob
cn: bob
sn: bob
mail: bob@acmecorp.com
zimbraMailDeliveryAddress: bob@acmecorp.com
zimbraMailAlias: sales@acmecorp.com
zimbraMailAlias: postmaster@acmecorp.com
zimbraMailAlias: abuse@acmecorp.com
zimbraMailStatus: enabled
zimbraMailTransport: {here}

dn: uid=all,ou=people,dc=acmecorp,dc=com
objectClass: zimbraDistributionList
uid: all
mail: all@acmecorp.com
zimbraMailAlias: all@acmecorp.com
zimbraMailForwardingAddress: alice@acmecorp.com
zimbraMailForwardingAddress: bob@acmecorp.com
zimbraMailStatus: enabled
`

// zmprov stands for Zimbra's, and for zmconfigd, which writes into main.cf what it has set.
const zmprov = `[ "$1" = ms ] || exit 1
case $3 in
zimbraMtaSmtpdMilters) name=smtpd_milters;;
zimbraMtaNonSmtpdMilters) name=non_smtpd_milters;;
zimbraMtaMilterDefaultAction) name=milter_default_action;;
zimbraMtaVirtualAliasMaps) name=virtual_alias_maps;;
zimbraMtaVirtualMailboxMaps) name=virtual_mailbox_maps;;
zimbraMtaTransportMaps) name=transport_maps;;
*) exit 1
esac
exec postconf -e "$name = $4"
`

// setZimbra has the settings and the tables of Zimbra 10, without what is for TLS, its milter and its
// policy servers. Mail for the domain of who has moved goes by a line of its table of transports.
func (h *productHost) setZimbra() {
	authority, err := lab.NewAuthority("Zimbra")
	h.do(err)
	slapd := startSlapd(h.t, lab.SlapdConfig{Schema: zimbraSchema, LDIF: strings.ReplaceAll(zimbraEntries, "{here}", h.Here.NextHop()), Authority: authority})
	for name, table := range map[string]string{
		"ldap-vmm":       "query_filter = (&(zimbraMailDeliveryAddress=%s)(zimbraMailStatus=enabled))\nresult_attribute = zimbraMailDeliveryAddress\n",
		"ldap-vmd":       "query_filter = (&(zimbraDomainName=%s)(zimbraDomainType=local)(zimbraMailStatus=enabled))\nresult_attribute = zimbraDomainName\n",
		"ldap-vad":       "query_filter = (&(zimbraDomainName=%s)(zimbraDomainType=alias)(zimbraMailStatus=enabled))\nresult_attribute = zimbraDomainName\n",
		"ldap-vam":       "query_filter = (&(|(zimbraMailDeliveryAddress=%s)(zimbraMailAlias=%s))(zimbraMailStatus=enabled))\nresult_attribute = zimbraMailDeliveryAddress,zimbraMailForwardingAddress\n",
		"ldap-transport": "query_filter = (&(|(zimbraMailDeliveryAddress=%s)(zimbraDomainName=%s))(zimbraMailStatus=enabled))\nresult_attribute = zimbraMailTransport\n",
	} {
		h.config.Files[name+".cf"] = "server_host = " + slapd.URL + "\nversion = 3\nbind_dn = " + lab.SlapdReader + "\nbind_pw = " + lab.SlapdReaderPassword + "\nsearch_base = " + lab.SlapdSuffix + "\n" + table
	}
	h.main(`
mydestination = localhost
alias_maps = texthash:$config_directory/aliases
virtual_alias_domains = proxy:ldap:$config_directory/ldap-vad.cf
virtual_alias_maps = proxy:ldap:$config_directory/ldap-vam.cf
virtual_mailbox_domains = proxy:ldap:$config_directory/ldap-vmd.cf
virtual_mailbox_maps = proxy:ldap:$config_directory/ldap-vmm.cf
virtual_transport = error
transport_maps = proxy:ldap:$config_directory/ldap-transport.cf, texthash:$config_directory/transport
smtp_tls_security_level = may
message_reject_characters = \0
smtpd_relay_restrictions = permit_sasl_authenticated, permit_mynetworks, reject_unauth_destination
smtpd_recipient_restrictions = reject_non_fqdn_recipient, permit_sasl_authenticated, permit_mynetworks, reject_unlisted_recipient
`)
	h.config.Files["aliases"] = "root bob@acmecorp.com\n"
	h.config.Services[0].Settings = map[string]string{"content_filter": "scan:[127.0.0.1]:10030"}
	h.config.Services[1].Settings["content_filter"] = "scan:[127.0.0.1]:10030"
	const back = `local_recipient_maps =
virtual_mailbox_maps =
virtual_alias_maps =
smtpd_client_restrictions = permit_mynetworks,reject
smtpd_recipient_restrictions = permit_mynetworks,reject
smtpd_relay_restrictions =
`
	h.service("127.0.0.1:10030", back+"receive_override_options = no_address_mappings\nsmtpd_milters = { inet:{milter}, default_action=accept }\ncontent_filter = smtp:[127.0.0.1]:10025\n")
	h.service("127.0.0.1:10025", back+"receive_override_options = no_header_body_checks,no_unknown_recipient_checks,no_address_mappings\nsmtpd_milters =\ncontent_filter =\n")
	h.config.Master = append(h.config.Master, "scan unix - - n - 10 smtp -o smtp_send_xforward_command=yes -o disable_mime_output_conversion=yes -o smtp_generic_maps=")
	h.remove = func() {
		h.do(slapd.Apply(deadline(h.t), "dn: uid=alice,ou=people,dc=acmecorp,dc=com\nchangetype: delete\n"))
	}
	h.words = append(h.words, `["127.0.0.0/8", "::1"]`, `["127.0.4.0/24", "127.0.0.1"]`, "ldap://mail.acmecorp.com", slapd.URL,
		"uid=zmpostfix,cn=appaccts,cn=zimbra", lab.SlapdReader, "/opt/zimbra/conf/ca/ca.pem", slapd.AuthorityFile)
}

// setPlesk has the settings and the tables of Plesk Obsidian, without what is for TLS. In the place of
// plesk_virtual, which writes mailboxes, stands LMTP.
func (h *productHost) setPlesk() {
	h.main(`
alias_maps = texthash:$config_directory/aliases
mydestination = localhost.acmecorp.com, localhost, localhost.localdomain
myorigin = localhost
virtual_mailbox_domains = $virtual_mailbox_maps, texthash:$config_directory/virtual_domains
virtual_alias_maps = $virtual_maps, texthash:$config_directory/virtual
virtual_mailbox_maps = , texthash:$config_directory/vmailbox
transport_maps = , texthash:$config_directory/plesk_transport, texthash:$config_directory/transport
virtual_mailbox_base = /var/qmail/mailnames
smtp_tls_security_level = may
smtpd_milters = , inet:{milter}
non_smtpd_milters =
milter_default_action = accept
smtpd_sender_restrictions = permit_sasl_authenticated
smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
`)
	h.explained = "names no login"
	h.config.Main["virtual_transport"] = strings.Replace(h.Here.NextHop(), "lmtp:", "plesk_virtual:", 1)
	h.config.Master = append(h.config.Master, "plesk_virtual unix - n n - - lmtp")
	h.config.Files["aliases"] = "root bob@acmecorp.com\n"
	h.config.Files["virtual_domains"] = "acmecorp.com x\n"
	h.config.Files["plesk_transport"] = ""
	const others = "bob@acmecorp.com acmecorp.com/bob/Maildir/\n"
	h.config.Files["vmailbox"] = "alice@acmecorp.com acmecorp.com/alice/Maildir/\n" + others
	h.config.Files["virtual"] = "sales@acmecorp.com bob@acmecorp.com\nall@acmecorp.com alice@acmecorp.com, bob@acmecorp.com\npostmaster@acmecorp.com bob@acmecorp.com\nabuse@acmecorp.com bob@acmecorp.com\n"
	h.remove = func() {
		h.do(os.WriteFile(filepath.Join(h.etc(), "vmailbox"), []byte(others), 0o644))
		h.do(h.Host.Again(deadline(h.t)))
	}
	h.words = append(h.words, `["127.0.0.0/8", "::1"]`, `["127.0.4.0/24", "127.0.0.1"]`)
}

package milter

import (
	"net/netip"
	"strconv"
	"strings"

	gomilter "github.com/emersion/go-milter"
)

// dialect is what an MTA does in a way of its own, where the protocol leaves room. An MTA
// names itself at CONNECT in the macro v.
//
// What all sessions bear needs no value: Sendmail sends no ABORT between the messages of a
// connection (milter_envfrom in its milter.c), so that MAIL ends a message, too; the queue id
// comes with MAIL (Sendmail) or after the first recipient (Postfix); header values have
// their leading spaces where that was negotiated. Both take a reply for a printf format,
// and both refuse one whose first digit is not that of a refusal.
type dialect struct {
	// is reports an MTA by what it says of itself in v. Postfix says "Postfix 3.7.11",
	// unless milter_macro_v has it say otherwise; Sendmail says its bare version.
	is func(v string) bool
	// text is a text of the client's, a login or the name of a certificate, as it was before
	// the MTA wrote it into a macro.
	text func(macro string) string
	// certificate returns the common name of a client's certificate whose chain the MTA
	// trusts, or "".
	certificate func(c certificate) string
	// refusal reports that a recipient of the mailer "error" is one that the MTA has
	// refused, by the recipient's host.
	refusal func(host string) bool
	// onHost reports that the MTA's own host made the message, without SMTP.
	onHost func(c origin) bool
	// offersDSN says that ADDRCPT_PAR is always taken with NOTIFY and ORCPT. Where it is
	// not, session.takesArguments finds out.
	offersDSN bool
}

// certificate is what an MTA tells of a client's certificate: {cert_subject}, {cn_subject}
// and {verify}.
type certificate struct{ subject, name, verify string }

// origin is where a session comes from, as CONNECT tells it.
type origin struct {
	host   string
	family gomilter.ProtoFamily
	addr   netip.Addr // invalid when there is none
	port   uint16
}

// postfix is Postfix, as of 3.7.
var postfix = dialect{
	is:   func(v string) bool { return strings.HasPrefix(v, "Postfix") },
	text: asItIs,
	// It tells of a certificate only where it trusts the chain, and the common name
	// alone (smtpd_milter.c).
	certificate: func(c certificate) string {
		if c.verify != "" && c.verify != "OK" {
			return ""
		}
		return c.subject
	},
	// It has the mailer "error" for addresses of virtual_alias_domains, too, which it
	// takes. The host of those is a code and a text; that of a refused one is the bare code
	// (smtpd_milter.c).
	refusal: isStatus,
	// For mail that did not come by SMTP (non_smtpd_milters) it emulates a session
	// (cleanup_milter.c).
	onHost:    fromNoPort,
	offersDSN: true, // cleanup_milter.c parses the arguments whatever smtpd announces
}

// sendmail is Sendmail, as of 8.17.
var sendmail = dialect{
	is: func(v string) bool {
		major, _, found := strings.Cut(v, ".")
		return found && len(major) <= 2 && strings.Trim(major, "0123456789") == "" && major != ""
	},
	// It writes them in xtext (RFC 3461 section 4): proxy_policy in its srvrsmtp.c, tls_get_info
	// in its tls.c.
	text: fromXtext,
	// It tells of any certificate, and in {verify} what it thinks of it (tls.c).
	certificate: verified,
	// It has the mailer "error" for refused recipients alone; the host is a code or missing
	// (srvrsmtp.c, behind RCPT).
	refusal: func(string) bool { return true },
	// Mail of sendmail -bs on a pipe has no address (milter_connect in milter.c).
	onHost: fromNowhere,
	// It offers DSN unless it is told not to (PrivacyOptions, srv_features; srvrsmtp.c). Then
	// ADDRCPT_PAR with an argument does not add the recipient, and prints an error into
	// the SMTP session (milter_addrcpt_par in milter.c): the mail would be lost.
	offersDSN: false,
}

// unknown is an MTA of which nothing is known. It is believed what any MTA could say, and
// asked for nothing that one is known to refuse.
var unknown = dialect{
	is:          func(string) bool { return true },
	text:        asItIs,
	certificate: verified,
	refusal:     func(string) bool { return true },
	// No connection looks like either.
	onHost:    func(c origin) bool { return fromNoPort(c) || fromNowhere(c) },
	offersDSN: false,
}

// dialects are the MTAs known, and behind them the one for all others.
var dialects = [...]*dialect{&postfix, &sendmail, &unknown}

// dialectOf returns the dialect of an MTA that calls itself v.
func dialectOf(v string) *dialect {
	for _, d := range dialects {
		if d.is(v) {
			return d
		}
	}
	return &unknown
}

// asItIs returns a text that needs no decoding.
func asItIs(text string) string { return text }

// fromXtext decodes xtext, "bob+2Bx" for "bob+x". What is none, or hides a control character,
// stays as it is.
func fromXtext(text string) string {
	head, rest, coded := strings.Cut(text, "+")
	if !coded {
		return text
	}
	decoded := []byte(head)
	for coded {
		if len(rest) < 2 {
			return text
		}
		c, err := strconv.ParseUint(rest[:2], 16, 8)
		if err != nil || c < ' ' || c == 0x7f {
			return text
		}
		head, rest, coded = strings.Cut(rest[2:], "+")
		decoded = append(append(decoded, byte(c)), head...)
	}
	return string(decoded)
}

// verified returns the common name of a certificate that was found good. Of Sendmail's
// subject, "/CN=mail.example/OU=x", no part can be told from another: any of them may hold
// a "/CN=".
func verified(c certificate) string {
	if c.verify != "OK" {
		return ""
	}
	return c.name
}

// fromNoPort reports port 0 of 127.0.0.1, which no connection comes from.
func fromNoPort(c origin) bool {
	return c.family == gomilter.FamilyInet && c.port == 0 && c.addr == netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// fromNowhere reports the name localhost without an address.
func fromNowhere(c origin) bool { return !c.addr.IsValid() && c.host == "localhost" }

// isStatus reports an enhanced status code (RFC 3463 section 2) of a refusal.
func isStatus(code string) bool {
	return len(code) > 2 && len(code) <= 9 && (code[0] == '4' || code[0] == '5') && code[1] == '.' &&
		strings.Trim(code[2:], "0123456789.") == ""
}

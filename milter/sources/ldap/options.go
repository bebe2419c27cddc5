// Package ldap reads a directory of users from OpenLDAP, Active Directory and their like.
package ldap

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
)

const (
	usualPage    = 500
	usualTimeout = 30 * time.Second
	usualFilter  = "(objectClass=*)"
	// Active Directory gives at most 1,000 entries at once, and takes a larger page for its own.
	largestPage = 999
)

// Options say which servers a Reader asks, for what, and what the answers mean.
// Attributes are named in any case.
type Options struct {
	// Servers are URLs: ldap://HOST[:PORT], ldaps://HOST[:PORT], or ldapi://PATH with %2F
	// for each slash of the path. The first that answers is used.
	Servers []string
	// StartTLS has each ldap:// server asked for TLS before anything else. One that does not
	// give it is not used.
	StartTLS bool
	// TLS is for StartTLS and ldaps://. Without a ServerName the host of the URL is expected.
	// Nil is a plain tls.Config.
	TLS *tls.Config
	// Bind is the DN that the Reader comes as (Active Directory takes a userPrincipalName,
	// too), with Password. Without one it comes as nobody.
	Bind, Password string
	// Base is the DN below which everybody is sought, the entry itself included, and Filter
	// whom (RFC 4515). An empty Filter means every entry.
	Base, Filter string
	// Page is how many entries are asked for at once, from 1 to 999; 0 means 500.
	Page int
	// Timeout is how long connecting, TLS, the bind, and each page may take; 0 means 30 seconds.
	Timeout time.Duration

	// Address and Aliases are the attributes that hold addresses. Each of their values makes a
	// row. A value may begin with "smtp:" in any case, as those of proxyAddresses do. One that
	// begins with another such word, as in "x500:" or "sip:", is left out, and so is one
	// without "@".
	Address, Aliases []string
	// Login are the attributes whose values may log in as the entry.
	Login []string
	// Target are the attributes that may hold the one address that reaches the mailbox at
	// another platform, with or without "smtp:". The first value counts that is of a domain
	// which Residence.Platforms knows, or else the first of all.
	Target []string
	// Kind are the attributes that tell what an entry is, and Kinds their values' meanings:
	// "user", "group", "room" or "shared".
	Kind  []string
	Kinds []Choice
	// Further are columns beside these, limits among them: the name of each column, in lower
	// case, and its attribute. The first of several values in their order as texts counts.
	Further map[string]string
	// Keep reports a domain of ours, in its normal form. Addresses of others make no row. Nil
	// keeps all.
	Keep func(domain string) bool
	// Residence says how an entry tells where its mailbox lives.
	Residence Residence
}

// Residence is how an entry tells where its mailbox lives. Its values are asked first, then
// its target, then its groups: the first that says something counts. A target at no other
// platform leaves it to the groups, and means "here" when they say nothing.
type Residence struct {
	// Attribute has values that stand for residences.
	Attribute string
	Values    []Choice
	// Platforms returns the platform that a domain, in its normal form, reaches, or "" when
	// that is none but here. Nil: the target tells nothing.
	Platforms func(domain string) (platform string)
	// Groups are the DNs of groups whose members live somewhere, as memberOf of the members
	// has them. A group that is not there is an error.
	Groups []Choice
	// Nested has members of a group's groups count, too, as only Active Directory tells them.
	Nested bool
	// Default is for an entry of which none of these says anything.
	Default string
}

// Choice is what a value means. Of several that fit an entry, the first counts. The value is
// compared without regard to case. One that ends with "*" fits what begins so, and one that
// is "&" with a number fits a number that has all its bits.
type Choice struct{ Value, Means string }

// server is one of those that may be asked.
type server struct {
	url           string // for people
	scheme        string
	host, address string    // address: what is dialed
	failed        time.Time // when it failed last; zero: it has not
}

// complete returns the options with what they leave unsaid, or all that is wrong with them.
func (o Options) complete() (Options, error) {
	var wrong []error
	if len(o.Servers) == 0 {
		wrong = append(wrong, errors.New("there is no server; name one such as ldaps://ldap.example.com"))
	}
	o.Page, o.Timeout, o.Filter = cmp.Or(o.Page, usualPage), cmp.Or(o.Timeout, usualTimeout), cmp.Or(o.Filter, usualFilter)
	if o.Page < 1 || o.Page > largestPage {
		wrong = append(wrong, fmt.Errorf("a page of %d entries: it would be 1 to %d", o.Page, largestPage))
	}
	if o.Timeout < 0 {
		wrong = append(wrong, fmt.Errorf("a timeout of %v: it would be more than nothing", o.Timeout))
	}
	if _, err := goldap.CompileFilter(o.Filter); err != nil {
		wrong = append(wrong, fmt.Errorf("the filter %q: %w; it would be such as (objectClass=person), with parentheses", o.Filter, err))
	}
	for _, dn := range append([]Choice{{Value: o.Base}}, o.Residence.Groups...) {
		if _, err := goldap.ParseDN(dn.Value); err != nil {
			wrong = append(wrong, fmt.Errorf("the DN %q: %w; it would be such as dc=example,dc=com", dn.Value, err))
		}
	}
	if len(o.Address)+len(o.Aliases) == 0 {
		wrong = append(wrong, errors.New("no attribute holds addresses; name one such as mail"))
	}
	if o.Bind != "" && o.Password == "" {
		wrong = append(wrong, fmt.Errorf("%q has no password, and servers take that for a bind as nobody; give one, or bind as nobody", o.Bind))
	}
	return o, errors.Join(append(wrong, o.checkChoices()...)...)
}

// checkChoices returns what is wrong with the meanings of values.
func (o Options) checkChoices() (wrong []error) {
	for _, c := range o.Kinds {
		if !slices.Contains([]string{"user", "group", "room", "shared"}, c.Means) {
			wrong = append(wrong, fmt.Errorf("%q means the kind %q; it would be user, group, room or shared", c.Value, c.Means))
		}
	}
	for _, c := range slices.Concat(o.Kinds, o.Residence.Values) {
		if _, err := newMeaning(c); err != nil {
			wrong = append(wrong, err)
		}
	}
	if o.Residence.Nested && len(o.Residence.Groups) == 0 {
		wrong = append(wrong, errors.New("nested groups count, and there is no group; name one"))
	}
	return wrong
}

// newServer reads a server's URL.
func newServer(text string, startTLS bool) (*server, error) {
	const like = "it would be such as ldaps://ldap.example.com, ldap://192.0.2.1:389 or ldapi://%2Frun%2Fslapd%2Fldapi"
	if path, isSocket := strings.CutPrefix(text, "ldapi://"); isSocket {
		path, err := url.PathUnescape(path)
		if err != nil || !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("the server %q names no path of a socket; %s", text, like)
		}
		return &server{url: text, scheme: "ldapi", address: path}, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, fmt.Errorf("a server is no URL of a scheme, a host and perhaps a port; %s", like)
	}
	s := &server{url: u.Scheme + "://" + u.Host, scheme: u.Scheme, host: u.Hostname()}
	port := map[string]string{"ldap": goldap.DefaultLdapPort, "ldaps": goldap.DefaultLdapsPort}[u.Scheme]
	switch {
	case port == "":
		return nil, fmt.Errorf("the server %s has the scheme %q; %s", s.url, u.Scheme, like)
	case startTLS && u.Scheme == "ldaps":
		return nil, fmt.Errorf("the server %s has TLS from the beginning, and cannot start it once more; leave StartTLS out, or write ldap://", s.url)
	}
	s.address = net.JoinHostPort(s.host, cmp.Or(u.Port(), port))
	return s, nil
}

// meaning is a Choice that was read.
type meaning struct {
	text   string // in lower case
	prefix bool
	mask   int64 // 0: none
	means  string
}

func newMeaning(c Choice) (meaning, error) {
	m := meaning{text: strings.ToLower(c.Value), means: c.Means}
	if bits, isMask := strings.CutPrefix(c.Value, "&"); isMask {
		mask, err := strconv.ParseInt(bits, 10, 64)
		if err != nil || mask == 0 {
			return m, fmt.Errorf("the value %q: after & stands a number other than 0", c.Value)
		}
		m.mask = mask
	}
	m.text, m.prefix = strings.CutSuffix(m.text, "*")
	return m, nil
}

// fits reports that an attribute's value is meant.
func (m meaning) fits(value string) bool {
	switch {
	case m.mask != 0:
		number, err := strconv.ParseInt(value, 10, 64)
		return err == nil && number&m.mask == m.mask
	case m.prefix:
		return strings.HasPrefix(strings.ToLower(value), m.text)
	}
	return strings.ToLower(value) == m.text
}

// firstMeaning returns what the first meaning says that fits one of the values, or "".
func firstMeaning(of []meaning, values []string) string {
	for _, m := range of {
		if slices.ContainsFunc(values, m.fits) {
			return m.means
		}
	}
	return ""
}

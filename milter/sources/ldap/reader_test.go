package ldap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"coexistd/milter/sources"
)

// people are options for the entries below ou=people, at a server.
func people(servers ...string) Options {
	return Options{
		Servers: servers, Base: "ou=people,dc=acmecorp,dc=com",
		Address: []string{"mail"}, Aliases: []string{"mailAlternateAddress"}, Login: []string{"uid"},
		Residence: Residence{Default: "here"},
	}
}

func newReader(t *testing.T, o Options) *Reader {
	t.Helper()
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// read returns the addresses that a Reader gives.
func read(t *testing.T, r *Reader) (addresses []string, err error) {
	t.Helper()
	err = r.Read(t.Context(), func(row sources.Row) error {
		addresses = append(addresses, row.Address)
		return nil
	})
	slices.Sort(addresses)
	return addresses, err
}

func mark(t *testing.T, r *Reader) sources.Mark {
	t.Helper()
	m, err := r.Mark(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// user is an entry with that name.
func user(uid string) *ber.Packet {
	return found("uid="+uid, []string{"uid", uid}, []string{"mail", uid + "@acmecorp.com"})
}

func TestReadsPageAfterPageUntilThereIsNoCookie(t *testing.T) {
	var cookies []string
	r := newReader(t, people(fake(t, func(a asked) answer {
		if a.page != usualPage || a.base != "ou=people,dc=acmecorp,dc=com" || a.filter != usualFilter {
			return answer{done: result(goldap.LDAPResultUnwillingToPerform, fmt.Sprint(a))}
		}
		cookies = append(cookies, a.cookie)
		switch len(cookies) {
		case 1:
			return next("one", user("ann"))
		case 2:
			return next("two")
		}
		return last(user("bob"))
	})))
	got, err := read(t, r)
	if err != nil || !slices.Equal(got, []string{"ann@acmecorp.com", "bob@acmecorp.com"}) || !slices.Equal(cookies, []string{"", "one", "two"}) {
		t.Errorf("%q, %v, after the cookies %q", got, err, cookies)
	}
}

func TestAListThatMayLackSomethingIsAnError(t *testing.T) {
	many := make([]string, maxValues+2)
	for i := range many {
		many[i] = "mail"
	}
	for name, c := range map[string]struct {
		says answer
		want string
	}{
		"time limit":       {answer{[]*ber.Packet{user("ann")}, result(3, "slow"), nil, false}, "it answers 3 (Time Limit Exceeded) slow; the list is not whole"},
		"size limit":       {answer{[]*ber.Packet{user("ann")}, result(4, ""), nil, false}, "it answers 4 (Size Limit Exceeded); the list is not whole"},
		"admin limit":      {answer{[]*ber.Packet{user("ann")}, result(11, ""), nil, false}, "it answers 11 (Admin Limit Exceeded)"},
		"referral":         {answer{nil, result(10, ""), nil, false}, "another server keeps this"},
		"reference":        {last(user("ann"), elsewhere("ldap://sales.acmecorp.com/DC=sales,DC=acmecorp,DC=com")), "another server keeps a part of the list: ldap://sales.acmecorp.com/DC=sales"},
		"no such base":     {answer{nil, result(32, ""), nil, false}, "name one that exists"},
		"no pages":         {answer{[]*ber.Packet{user("ann")}, result(0, ""), nil, false}, "the page ended without a word on the next"},
		"dropped":          {answer{[]*ber.Packet{user("ann")}, nil, nil, true}, "unable to read LDAP response packet"},
		"a part of values": {last(found("uid=ann", []string{"mail"}, []string{"mail;range=0-1499", "ann@acmecorp.com"})), "uid=ann has so many values of mail"},
		"many values":      {last(found("uid=ann", many)), "more than 10000 values of mail"},
		"a long value":     {last(found("uid=ann", []string{"mail", strings.Repeat("a", maxValue+1)})), "with 65537 bytes"},
		"a long name":      {last(found("uid="+strings.Repeat("a", maxValue), []string{"mail", "ann@acmecorp.com"})), "a DN has 65540 bytes"},
		"dropped later":    {answer{[]*ber.Packet{user("ann")}, result(0, ""), next("more").controls, true}, "reading page 2"},
		"far too much":     {last(found("uid=ann", []string{"mail", strings.Repeat("a", maxAhead)})), "more than 8 MiB for one answer"},
		"a stranger":       {answer{nil, result(80, "\x1b[2J\r\nnasty "+strings.Repeat("x", 1000)), nil, false}, "it answers 80 (Other) ?[2J nasty xxx"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := fake(t, func(asked) answer { return c.says })
			_, err := read(t, newReader(t, people(url)))
			want := strings.ReplaceAll(c.want, "a DN has", "whose DN has")
			if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), url+": reading page ") {
				t.Fatalf("%v; want %q", err, want)
			}
			if len(err.Error()) > 800 {
				t.Errorf("the error has %d bytes: %v", len(err.Error()), err)
			}
		})
	}
}

func TestPagesWithoutEndAreAnError(t *testing.T) {
	_, err := read(t, newReader(t, people(fake(t, func(asked) answer { return next("more") }))))
	if err == nil || !strings.Contains(err.Error(), "1001 pages without an entry") {
		t.Error(err)
	}
}

func TestWhatActiveDirectoryKeepsOfItsZonesIsNoPartOfTheList(t *testing.T) {
	r := newReader(t, people(fake(t, func(asked) answer {
		return last(user("ann"), elsewhere("ldap://ForestDnsZones.acmecorp.com/DC=ForestDnsZones,DC=acmecorp,DC=com"),
			elsewhere("ldap://DomainDnsZones.acmecorp.com/DC=DomainDnsZones,DC=acmecorp,DC=com"),
			elsewhere("ldap://acmecorp.com/CN=Configuration,DC=acmecorp,DC=com"))
	})))
	if got, err := read(t, r); err != nil || len(got) != 1 {
		t.Error(got, err)
	}
}

func TestACancelledReadIsNoShortList(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := newReader(t, people(fake(t, func(asked) answer { return last(user("ann"), user("bob")) })))
	if err := r.Read(ctx, func(sources.Row) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("in the middle: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	silent := newReader(t, people(fake(t, func(asked) answer { cancel(); <-t.Context().Done(); return last() })))
	if err := silent.Read(ctx, func(sources.Row) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("while the server is silent: %v", err)
	}
	if !r.servers[0].failed.IsZero() || !silent.servers[0].failed.IsZero() {
		t.Error("the server is blamed")
	}
}

func TestAWrongPasswordIsTriedOnceAndNeverShown(t *testing.T) {
	search := func(asked) answer { return last() }
	o := people(fake(t, search), fake(t, search))
	o.Bind, o.Password = "cn=reader", "open sesame"
	r := newReader(t, o)
	_, err := read(t, r)
	if err == nil || !strings.HasSuffix(err.Error(), ": binding as cn=reader: it answers 49 (Invalid Credentials) no user has (the password); check the DN that binds and its password") {
		t.Error(err)
	}
	if r.servers[0].failed.IsZero() || !r.servers[1].failed.IsZero() {
		t.Error("the second server was asked, or the first will be asked first again")
	}
}

func TestTheErrorOfWhoTakesTheRowsComesBackAsItIs(t *testing.T) {
	full := errors.New("full")
	r := newReader(t, people(fake(t, func(asked) answer { return last(user("ann"), user("bob")) }), "ldap://127.0.0.1:1"))
	if err := r.Read(t.Context(), func(sources.Row) error { return full }); err != full || !r.servers[0].failed.IsZero() {
		t.Errorf("%v; the server failed at %v", err, r.servers[0].failed)
	}
}

func TestAServerThatFailedIsTriedLastForAWhile(t *testing.T) {
	var asks []string
	broken := true
	serve := func(name string) string {
		return fake(t, func(asked) answer {
			asks = append(asks, name)
			if broken && name == "one" {
				return answer{done: result(goldap.LDAPResultBusy, "")}
			}
			return last(user(name))
		})
	}
	r := newReader(t, people(serve("one"), serve("two")))
	now := time.Now()
	r.now = func() time.Time { return now }
	for _, c := range []struct {
		later time.Duration
		asked string
		list  string
	}{
		{0, "[one two]", "[two@acmecorp.com]"},
		{rest - time.Second, "[two]", "[two@acmecorp.com]"},
		{time.Second, "[one two]", "[two@acmecorp.com]"},
		{rest, "[one]", "[one@acmecorp.com]"},
	} {
		now = now.Add(c.later)
		broken = c.list != "[one@acmecorp.com]"
		asks = nil
		if got, err := read(t, r); err != nil || fmt.Sprint(got) != c.list || fmt.Sprint(asks) != c.asked {
			t.Errorf("after %v: %q, %v of %q; want %s of %s", c.later, got, err, asks, c.list, c.asked)
		}
	}
}

func TestWhenNoServerAnswersAllAreNamed(t *testing.T) {
	first := fake(t, func(asked) answer { return answer{done: result(goldap.LDAPResultBusy, "try later")} })
	_, err := read(t, newReader(t, people(first, "ldapi://%2Fnowhere%2Fldapi")))
	if err == nil || !strings.Contains(err.Error(), first+": reading page 1") || !strings.Contains(err.Error(), "; ldapi://%2Fnowhere%2Fldapi: connecting: dial unix /nowhere/ldapi") {
		t.Error(err)
	}
	if !isResult(err, goldap.LDAPResultBusy) {
		t.Errorf("the cause is lost: %#v", err)
	}
}

func TestAListThatHasBegunIsNotBegunAgainWithAnotherServer(t *testing.T) {
	cut := fake(t, func(asked) answer { return answer{before: []*ber.Packet{user("ann")}, hangUp: true} })
	whole := fake(t, func(asked) answer { return last(user("ann"), user("bob")) })
	r := newReader(t, people(cut, whole))
	if got, err := read(t, r); err == nil || len(got) != 1 {
		t.Errorf("%q, %v; want an error after ann", got, err)
	}
	if got, err := read(t, r); err != nil || len(got) != 2 {
		t.Errorf("the next time: %q, %v; want both", got, err)
	}
}

// controller is a fake of a domain controller.
func controller(t *testing.T, usn, invocation *string, answers func(asked) answer) string {
	const ntds = "CN=NTDS Settings,CN=DC1,CN=Servers,CN=Site,CN=Sites,CN=Configuration,DC=acmecorp,DC=com"
	return fake(t, func(a asked) answer {
		switch a.base {
		case "":
			root := found("", []string{"namingContexts", "DC=acmecorp,DC=com"}, []string{"highestCommittedUSN", *usn},
				[]string{"dsServiceName", ntds}, []string{"supportedCapabilities", activeDirectory, "1.2.840.113556.1.4.1670"})
			return answer{before: []*ber.Packet{root}, done: result(0, "")}
		case ntds:
			return answer{before: []*ber.Packet{found(ntds, []string{"invocationId", *invocation})}, done: result(0, "")}
		}
		return answers(a)
	})
}

func TestTheMarkOfActiveDirectoryIsTheUSNOfItsController(t *testing.T) {
	usn, invocation := "9", "\x01\x02\xfe\xff"
	r := newReader(t, people(controller(t, &usn, &invocation, nil)))
	before := mark(t, r)
	usn = "12345"
	after := mark(t, r)
	if want := (sources.Mark{
		"highestCommittedUSN of 0102feff": "00000000000000012345", "identity of cn=ntds settings,cn=dc1,cn=servers,cn=site,cn=sites,cn=configuration,dc=acmecorp,dc=com": "0102feff",
	}); !want.Same(after) {
		t.Errorf("%v; want %v", after, want)
	}
	if before.Same(after) || after.WentBack(before) || !before.WentBack(after) {
		t.Errorf("from %v to %v", before, after)
	}
	usn, invocation = "7", "\x00\x01\x02\x03"
	restored := mark(t, r)
	if restored.WentBack(after) || !restored.MayLack(after) || after.MayLack(before) {
		t.Errorf("from %v to %v, which is that of a restored controller", after, restored)
	}
	usn = "many"
	if m, err := r.Mark(t.Context()); err == nil {
		t.Errorf("%v of a USN that is no number", m)
	}
}

func TestAMarkOfAnotherServerThanTheListIsNotTrusted(t *testing.T) {
	usn, invocation := "9", "\x01\x02\xfe\xff"
	list := func(asked) answer { return last(user("ann")) }
	r := newReader(t, people(controller(t, &usn, &invocation, list)))
	before := mark(t, r)
	if _, err := read(t, r); err != nil {
		t.Fatal(err)
	}
	if now := mark(t, r); !now.Same(before) {
		t.Errorf("%v after a list by the same connection; want %v", now, before)
	}
	r.Close()
	if _, err := read(t, r); err != nil {
		t.Fatal(err)
	}
	now := mark(t, r)
	if now.Same(before) || now.WentBack(before) {
		t.Errorf("%v after a list by another connection; want it to differ", now)
	}
	if _, err := read(t, r); err != nil {
		t.Fatal(err)
	}
	if then := mark(t, r); then.Same(now) || !then.Same(before) {
		t.Errorf("%v after one more list; want %v", then, before)
	}
}

func TestAServerThatCountsNothingHasNoMark(t *testing.T) {
	r := newReader(t, people(fake(t, func(asked) answer { return answer{done: result(goldap.LDAPResultNoSuchObject, "")} })))
	if m := mark(t, r); len(m) != 0 {
		t.Error(m)
	}
}

func TestMembersOfNestedGroupsAreThoseThatActiveDirectoryTells(t *testing.T) {
	usn, invocation := "9", "\x01\x02\xfe\xff"
	const cloud, sales = "CN=Cloud,DC=acmecorp,DC=com", "CN=Sales (all),DC=acmecorp,DC=com"
	var filters []string
	url := controller(t, &usn, &invocation, func(a asked) answer {
		switch {
		case a.page == 0 && (a.base == cloud || a.base == sales):
			return answer{before: []*ber.Packet{found(a.base)}, done: result(0, "")}
		case strings.Contains(a.filter, "Cloud"):
			filters = append(filters, a.filter)
			return last(found("uid=ann"))
		case strings.Contains(a.filter, "Sales"):
			filters = append(filters, a.filter)
			return last(found("uid=ann"), found("UID=bob"))
		}
		return last(user("ann"), user("bob"), user("carl"))
	})
	o := people(url)
	o.Filter = "(uid=*)"
	o.Residence = Residence{Nested: true, Groups: []Choice{{cloud, "office365"}, {sales, "google"}}, Default: "here"}
	got := make(map[string]string)
	if err := newReader(t, o).Read(t.Context(), func(row sources.Row) error {
		got[row.Address] = row.Residence
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != "map[ann@acmecorp.com:office365 bob@acmecorp.com:google carl@acmecorp.com:here]" {
		t.Error(got)
	}
	if want := `(&(uid=*)(memberOf:1.2.840.113556.1.4.1941:=CN=Sales \28all\29,DC=acmecorp,DC=com))`; len(filters) != 2 || filters[1] != want {
		t.Errorf("%q; want %s", filters, want)
	}
}

func TestAGroupThatIsNotThereIsAnError(t *testing.T) {
	o := people(fake(t, func(asked) answer { return answer{done: result(goldap.LDAPResultNoSuchObject, "")} }))
	o.Residence.Groups = []Choice{{"cn=clowd,dc=acmecorp,dc=com", "office365"}}
	if _, err := read(t, newReader(t, o)); err == nil || !strings.Contains(err.Error(), "reading the group cn=clowd,dc=acmecorp,dc=com: it is not there") {
		t.Error(err)
	}
	o.Residence.Nested = true
	if _, err := read(t, newReader(t, o)); err == nil || !strings.Contains(err.Error(), "it is no Active Directory") {
		t.Error(err)
	}
}

func TestOptionsThatCannotWorkAreAllNamed(t *testing.T) {
	good := people("ldap://127.0.0.1")
	for want, change := range map[string]func(*Options){
		"there is no server":                   func(o *Options) { o.Servers = nil },
		"a server is no URL":                   func(o *Options) { o.Servers = []string{"127.0.0.1:389"} },
		`has the scheme "http"`:                func(o *Options) { o.Servers = []string{"http://127.0.0.1"} },
		"names no path of a socket":            func(o *Options) { o.Servers = []string{"ldapi://run"} },
		"cannot start it once more":            func(o *Options) { o.Servers, o.StartTLS = []string{"ldaps://127.0.0.1"}, true },
		"a page of 1000 entries":               func(o *Options) { o.Page = 1000 },
		"a timeout of -1s":                     func(o *Options) { o.Timeout = -time.Second },
		`the filter "uid=*"`:                   func(o *Options) { o.Filter = "uid=*" },
		`the DN "acmecorp.com"`:                func(o *Options) { o.Base = "acmecorp.com" },
		`the DN "cloud"`:                       func(o *Options) { o.Residence.Groups = []Choice{{"cloud", "office365"}} },
		"no attribute holds addresses":         func(o *Options) { o.Address, o.Aliases = nil, nil },
		`"cn=reader" has no password`:          func(o *Options) { o.Bind = "cn=reader" },
		`"1" means the kind "person"`:          func(o *Options) { o.Kinds = []Choice{{"1", "person"}} },
		`the value "&x"`:                       func(o *Options) { o.Residence.Values = []Choice{{"&x", "here"}} },
		"nested groups count, and there is no": func(o *Options) { o.Residence.Nested = true },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
	bad := Options{Servers: []string{"ldap://ann:secret@127.0.0.1"}, Page: 1000}
	_, err := New(bad)
	if err == nil || strings.Count(err.Error(), "\n") != 2 || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v; want three mistakes, and no password", err)
	}
}

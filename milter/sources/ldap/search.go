package ldap

import (
	"context"
	"errors"
	"fmt"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"
)

// maxEmpty is how many pages without an entry may follow each other. Active Directory sends
// some when it has long sought in vain.
const maxEmpty = 1000

// noAttributes asks for none (RFC 4511, 4.5.1.8).
const noAttributes = "1.1"

// entry returns values of one entry, or nil where there is no such entry for us.
func (c *conn) entry(ctx context.Context, dn string, attributes ...string) (values, error) {
	var found values
	asked := readingRoot
	if dn != "" {
		asked = fmt.Sprintf("reading the entry %q", dn)
	}
	err := c.within(ctx, asked, func(context.Context) error {
		result, err := c.ldap.Search(&goldap.SearchRequest{
			BaseDN: dn, Scope: goldap.ScopeBaseObject, Filter: usualFilter, Attributes: attributes,
		})
		switch {
		case isResult(err, goldap.LDAPResultNoSuchObject, goldap.LDAPResultInsufficientAccessRights):
			return nil
		case err != nil || len(result.Entries) == 0:
			return err
		}
		found, err = gather(result.Entries[0], lower(attributes))
		return err
	})
	return found, err
}

func lower(names []string) []string {
	small := make([]string, len(names))
	for i, name := range names {
		small[i] = strings.ToLower(name)
	}
	return small
}

// search gives each entry below the base that the filter fits, page by page. Without an
// error these are all. A *taken that each returns comes back as it is.
func (c *conn) search(ctx context.Context, filter string, attributes []string, each func(*goldap.Entry) error) error {
	paging := goldap.NewControlPaging(uint32(c.o.Page))
	request := &goldap.SearchRequest{
		BaseDN: c.o.Base, Scope: goldap.ScopeWholeSubtree, Filter: filter, Attributes: attributes,
		Controls: []goldap.Control{paging},
	}
	empty := 0
	for number := 1; ; number++ {
		var page page
		asked := fmt.Sprintf("reading page %d of %s below %q", number, filter, c.o.Base)
		err := c.within(ctx, asked, func(ctx context.Context) error { return page.read(ctx, c, request, each) })
		if err != nil {
			return err
		}
		if len(page.cookie) == 0 {
			return nil
		}
		if empty++; page.entries > 0 {
			empty = 0
		}
		if empty > maxEmpty {
			return c.o.fail(c.server, asked, fmt.Errorf("it sent %d pages without an entry one after the other, and says that more follow", empty))
		}
		paging.SetCookie(page.cookie)
	}
}

// page is one page of a search.
type page struct {
	entries int
	cookie  []byte // of the next page; empty: this is the last
}

// read asks for a page. The library ends a search without an error, as if nothing more
// had been found, when the context ends and when the connection was closed before. So a
// page has ended only when the server says where the next begins.
func (p *page) read(ctx context.Context, c *conn, request *goldap.SearchRequest, each func(*goldap.Entry) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := false
	for answer := c.ldap.SearchAsync(ctx, request, 0); ; {
		if !answer.Next() {
			if err := answer.Err(); err != nil {
				return err
			}
			break
		}
		c.raw.allow()
		switch {
		case answer.Entry() != nil:
			p.entries++
			if err := each(answer.Entry()); err != nil {
				return err
			}
		case answer.Referral() != "":
			if err := checkReferral(answer.Referral()); err != nil {
				return err
			}
		default:
			if next, ok := goldap.FindControl(answer.Controls(), goldap.ControlTypePaging).(*goldap.ControlPaging); ok {
				ended, p.cookie = true, next.Cookie
			}
		}
	}
	if !ended {
		if c.ldap.IsClosing() {
			return errors.New("the connection ended in the middle of the list")
		}
		return errors.New("the page ended without a word on the next, so nobody knows whether it is whole; the server must know pages (RFC 2696)")
	}
	return nil
}

// checkReferral refuses a part of the tree that another server keeps, and that would be
// missing, save those where Active Directory keeps no people: it names them to whoever
// seeks from a domain's top.
func checkReferral(url string) error {
	_, dn, _ := strings.Cut(strings.ToLower(url), "://")
	_, dn, _ = strings.Cut(dn, "/")
	for _, without := range []string{"dc=domaindnszones,", "dc=forestdnszones,", "cn=configuration,"} {
		if strings.HasPrefix(dn, without) {
			return nil
		}
	}
	return fmt.Errorf("another server keeps a part of the list: %s; name a base without it, and make a source of its own for that part, or ask a global catalog (port 3268)", url)
}

package ldap

import (
	"bufio"
	"net"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"coexistd/contrib/lab"
)

// asked is a search that the fake was sent.
type asked struct {
	base, filter string
	attributes   []string
	page         int64
	cookie       string
}

// answer is what the fake sends: messages without their envelope, controls of the last one.
type answer struct {
	before   []*ber.Packet
	done     *ber.Packet
	controls []*ber.Packet
	hangUp   bool // after that
}

// fake is a server that says what a real one can hardly be made to say. Whoever binds has the wrong
// password for it.
func fake(t *testing.T, search func(asked) answer) (url string) {
	t.Helper()
	return "ldap://" + lab.Listen(t, func(conn net.Conn) { serveFake(conn, search) })
}

func serveFake(conn net.Conn, search func(asked) answer) {
	in := bufio.NewReader(conn)
	for {
		request, err := ber.ReadPacket(in)
		if err != nil {
			return
		}
		id := request.Children[0].Value.(int64)
		switch op := request.Children[1]; op.Tag {
		case goldap.ApplicationBindRequest:
			password := op.Children[2].Data.String()
			send(conn, id, bound(goldap.LDAPResultInvalidCredentials, "no user has "+password), nil)
			continue
		case goldap.ApplicationUnbindRequest:
			return
		}
		said := search(readAsked(request))
		for _, p := range said.before {
			send(conn, id, p, nil)
		}
		if said.done != nil {
			send(conn, id, said.done, said.controls)
		}
		if said.hangUp {
			return
		}
	}
}

func readAsked(request *ber.Packet) asked {
	search := request.Children[1]
	a := asked{base: search.Children[0].Value.(string)}
	a.filter, _ = goldap.DecompileFilter(search.Children[6])
	for _, name := range search.Children[7].Children {
		a.attributes = append(a.attributes, name.Value.(string))
	}
	if len(request.Children) > 2 {
		control, err := goldap.DecodeControl(request.Children[2].Children[0])
		if paging, ok := control.(*goldap.ControlPaging); ok && err == nil {
			a.page, a.cookie = int64(paging.PagingSize), string(paging.Cookie)
		}
	}
	return a
}

func send(conn net.Conn, id int64, op *ber.Packet, controls []*ber.Packet) {
	message := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	message.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	message.AppendChild(op)
	if len(controls) > 0 {
		all := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
		for _, c := range controls {
			all.AppendChild(c)
		}
		message.AppendChild(all)
	}
	conn.SetWriteDeadline(time.Now().Add(time.Minute))
	conn.Write(message.Bytes())
}

func octets(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

// found is an entry. Each attribute is its name and its values.
func found(dn string, attributes ...[]string) *ber.Packet {
	entry := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationSearchResultEntry, nil, "")
	entry.AppendChild(octets(dn))
	list := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	for _, a := range attributes {
		one := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
		one.AppendChild(octets(a[0]))
		set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, value := range a[1:] {
			set.AppendChild(octets(value))
		}
		one.AppendChild(set)
		list.AppendChild(one)
	}
	entry.AppendChild(list)
	return entry
}

// elsewhere is a part of the tree that another server keeps.
func elsewhere(url string) *ber.Packet {
	reference := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationSearchResultReference, nil, "")
	reference.AppendChild(octets(url))
	return reference
}

// result ends a search.
func result(code int64, words string) *ber.Packet {
	return outcome(goldap.ApplicationSearchResultDone, code, words)
}

// bound answers a bind.
func bound(code int64, words string) *ber.Packet {
	return outcome(goldap.ApplicationBindResponse, code, words)
}

func outcome(op ber.Tag, code int64, words string) *ber.Packet {
	done := ber.Encode(ber.ClassApplication, ber.TypeConstructed, op, nil, "")
	done.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
	done.AppendChild(octets(""))
	done.AppendChild(octets(words))
	return done
}

// last is the end of the last page, next that of one that another follows.
func last(before ...*ber.Packet) answer { return next("", before...) }

func next(cookie string, before ...*ber.Packet) answer {
	paging := goldap.NewControlPaging(0)
	paging.SetCookie([]byte(cookie))
	return answer{before: before, done: result(0, ""), controls: []*ber.Packet{paging.Encode()}}
}

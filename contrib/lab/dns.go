package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// DNS is a name server on loopback that knows what Set has told it and asks
// nobody. A name that it does not know does not exist (NXDOMAIN); one that has
// records of other types only, or names below it, exists without any. Its
// methods may be called side by side.
type DNS struct {
	Addr string // HOST:PORT, the same for UDP and TCP

	packets net.PacketConn
	streams *server
	running sync.WaitGroup

	mu      sync.Mutex
	records map[string]map[dnsmessage.Type][]dnsmessage.ResourceBody // by dnsKey
	failing map[string]string
	asked   map[string]int
}

// What Fail can have the server do with the queries for a name.
const (
	DNSServFail = "servfail"
	DNSRefused  = "refused"
	DNSSilent   = "silent" // never answer
)

// StartDNS starts a name server that knows no name. Close ends it.
func StartDNS() (*DNS, error) { return dnsAt("127.0.0.1", "0") }

// StartDNSAtPort53 is StartDNS for who has no means to ask at another port, such as Postfix: the
// server has an address of 127.0.0.0/8 for itself.
func StartDNSAtPort53() (*DNS, error) {
	host, err := freeHost("53")
	if err != nil {
		return nil, err
	}
	return dnsAt(host, "53")
}

func dnsAt(host, port string) (*DNS, error) {
	packets, listener, err := listenDNS(net.JoinHostPort(host, port))
	if err != nil {
		return nil, err
	}
	d := &DNS{
		Addr: packets.LocalAddr().String(), packets: packets,
		records: map[string]map[dnsmessage.Type][]dnsmessage.ResourceBody{},
		failing: map[string]string{}, asked: map[string]int{},
	}
	d.streams = serveEach(listener, d.serveStream)
	d.running.Go(d.servePackets)
	return d, nil
}

// listenDNS listens at an address for both UDP and TCP. For port 0 it finds one that is free for both.
func listenDNS(address string) (net.PacketConn, net.Listener, error) {
	const tries = 100
	var err error
	for range tries {
		var packets net.PacketConn
		if packets, err = net.ListenPacket("udp", address); err != nil {
			break
		}
		var listener net.Listener
		if listener, err = net.Listen("tcp", packets.LocalAddr().String()); err == nil {
			return packets, listener, nil
		}
		packets.Close()
	}
	return nil, nil, fmt.Errorf("lab: found no free port for a name server: %w", err)
}

// Close ends the server.
func (d *DNS) Close() error {
	err := errors.Join(d.packets.Close(), d.streams.close())
	d.running.Wait()
	return err
}

// Set gives a name these records of a type, in the place of those that it had;
// without values it has none. Values are as in a zone file but without quotes:
// of an A or AAAA an address, of an MX "10 mx.example.", of a PTR, CNAME or NS
// a name. A TXT value is one record, whatever its length: it goes out in
// strings of up to 255 bytes (RFC 1035 section 3.3). The dot at a name's end
// may be left out. Another type, or a value that is none of its type, panics:
// it is a slip of the caller's.
func (d *DNS) Set(name, kind string, values ...string) {
	t, known := dnsTypes[kind]
	if !known {
		panic(fmt.Sprintf("lab: the name server has no records of type %q", kind))
	}
	var bodies []dnsmessage.ResourceBody
	for _, value := range values {
		body, err := dnsBody(t, value)
		if err == nil {
			err = canSend(name, body)
		}
		if err != nil {
			panic(fmt.Sprintf("lab: %q is no value of type %s for %s: %v", value, kind, name, err))
		}
		bodies = append(bodies, body)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	key := dnsKey(name)
	if d.records[key] == nil {
		d.records[key] = map[dnsmessage.Type][]dnsmessage.ResourceBody{}
	}
	d.records[key][t] = bodies
	if len(bodies) == 0 {
		delete(d.records[key], t)
	}
	if len(d.records[key]) == 0 {
		delete(d.records, key)
	}
}

// Fail has the queries for a name, of each type, fail as DNSServFail,
// DNSRefused or DNSSilent says, until Clear.
func (d *DNS) Fail(name, kind string) {
	if !slices.Contains([]string{DNSServFail, DNSRefused, DNSSilent}, kind) {
		panic(fmt.Sprintf("lab: the name server cannot fail as %q", kind))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failing[dnsKey(name)] = kind
}

// Clear takes back what Set and Fail have said of a name.
func (d *DNS) Clear(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.records, dnsKey(name))
	delete(d.failing, dnsKey(name))
}

// Asked is how many queries for a name, of any type, have come; those that
// were not answered count too.
func (d *DNS) Asked(name string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[dnsKey(name)]
}

var dnsTypes = map[string]dnsmessage.Type{
	"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "CNAME": dnsmessage.TypeCNAME, "MX": dnsmessage.TypeMX,
	"NS": dnsmessage.TypeNS, "PTR": dnsmessage.TypePTR, "TXT": dnsmessage.TypeTXT,
}

func dnsBody(t dnsmessage.Type, value string) (dnsmessage.ResourceBody, error) {
	switch t {
	case dnsmessage.TypeTXT:
		return &dnsmessage.TXTResource{TXT: dnsStrings(value)}, nil
	case dnsmessage.TypeA, dnsmessage.TypeAAAA:
		ip, err := netip.ParseAddr(value)
		if err != nil {
			return nil, err
		}
		if ip.Is4() != (t == dnsmessage.TypeA) {
			return nil, errors.New("it is an address of the other IP version")
		}
		if ip.Is4() {
			return &dnsmessage.AResource{A: ip.As4()}, nil
		}
		return &dnsmessage.AAAAResource{AAAA: ip.As16()}, nil
	}
	var preference uint64
	if t == dnsmessage.TypeMX {
		number, host, _ := strings.Cut(value, " ")
		var err error
		if preference, err = strconv.ParseUint(number, 10, 16); err != nil {
			return nil, err
		}
		value = host
	}
	name, err := dnsmessage.NewName(absolute(value))
	if err != nil {
		return nil, err
	}
	switch t {
	case dnsmessage.TypeMX:
		return &dnsmessage.MXResource{Pref: uint16(preference), MX: name}, nil
	case dnsmessage.TypePTR:
		return &dnsmessage.PTRResource{PTR: name}, nil
	case dnsmessage.TypeCNAME:
		return &dnsmessage.CNAMEResource{CNAME: name}, nil
	}
	return &dnsmessage.NSResource{NS: name}, nil
}

// canSend fails for a record that has no form on the wire, such as one with a
// label of more than 63 bytes.
func canSend(name string, body dnsmessage.ResourceBody) error {
	owner, err := dnsmessage.NewName(absolute(name))
	if err == nil {
		m := dnsmessage.Message{Answers: []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: owner}, Body: body}}}
		_, err = m.Pack()
	}
	return err
}

func dnsStrings(value string) []string {
	const most = 255
	parts := []string{}
	for len(value) > most {
		parts = append(parts, value[:most])
		value = value[most:]
	}
	return append(parts, value)
}

// absolute is a name with the dot at its end.
func absolute(name string) string { return strings.TrimSuffix(name, ".") + "." }

// dnsKey is what all spellings of a name have in common.
func dnsKey(name string) string { return strings.ToLower(absolute(name)) }

func (d *DNS) servePackets() {
	// A query is one question, and has 512 bytes at most.
	query := make([]byte, 512)
	for {
		n, from, err := d.packets.ReadFrom(query)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if answer := d.answer(query[:n], true); err == nil && answer != nil {
			d.packets.WriteTo(answer, from)
		}
	}
}

// serveStream answers the queries of a connection, each of which has its
// length before it (RFC 1035 section 4.2.2).
func (d *DNS) serveStream(conn net.Conn) {
	conn.SetDeadline(time.Now().Add(5 * time.Minute)) // for what hangs
	for {
		var length uint16
		if err := binary.Read(conn, binary.BigEndian, &length); err != nil {
			return
		}
		query := make([]byte, length)
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		answer := d.answer(query, false)
		if answer == nil {
			continue
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

// answer is nil where none is given: to what is no query, and to a name that
// fails silently.
func (d *DNS) answer(packet []byte, udp bool) []byte {
	var query dnsmessage.Message
	if err := query.Unpack(packet); err != nil || query.Response {
		return nil
	}
	reply := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: query.ID, OpCode: query.OpCode, Response: true, RecursionDesired: query.RecursionDesired,
			Authoritative: true, RecursionAvailable: true,
		},
		Questions: query.Questions,
	}
	limit := 512 // RFC 1035 section 4.2.1; EDNS says another (RFC 6891 section 6.2.3)
	for _, extra := range query.Additionals {
		if extra.Header.Type == dnsmessage.TypeOPT {
			limit = max(limit, int(extra.Header.Class))
			own := dnsmessage.Resource{Body: &dnsmessage.OPTResource{}}
			own.Header.SetEDNS0(4096, dnsmessage.RCodeSuccess, false)
			reply.Additionals = []dnsmessage.Resource{own}
		}
	}
	switch {
	case query.OpCode != 0:
		reply.RCode = dnsmessage.RCodeNotImplemented
	case len(query.Questions) != 1:
		reply.RCode = dnsmessage.RCodeFormatError
	default:
		if silent := d.look(&reply, query.Questions[0]); silent {
			return nil
		}
	}
	answer, err := reply.Pack()
	if err == nil && udp && len(answer) > limit {
		reply.Truncated, reply.Answers = true, nil
		answer, err = reply.Pack()
	}
	if err != nil || len(answer) > 0xffff {
		// More than a message can hold was said of this name.
		reply.Answers, reply.RCode = nil, dnsmessage.RCodeServerFailure
		answer, _ = reply.Pack()
	}
	return answer
}

// look fills in the answer to the question.
func (d *DNS) look(reply *dnsmessage.Message, q dnsmessage.Question) (silent bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked[dnsKey(q.Name.String())]++
	// Aliases that lead in a circle end somewhere.
	const longest = 8
	name := q.Name
	for range longest {
		key := dnsKey(name.String())
		switch d.failing[key] {
		case DNSSilent:
			return true
		case DNSServFail:
			reply.RCode = dnsmessage.RCodeServerFailure
			return false
		case DNSRefused:
			reply.RCode = dnsmessage.RCodeRefused
			return false
		}
		found := d.records[key][q.Type]
		alias := d.records[key][dnsmessage.TypeCNAME]
		isAlias := len(found) == 0 && len(alias) > 0
		if isAlias {
			found = alias[:1]
		}
		for _, body := range found {
			// A time to live of 0: nobody is to remember it past the next Set.
			header := dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET}
			reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: header, Body: body})
		}
		if !isAlias {
			if !d.exists(key) {
				reply.RCode = dnsmessage.RCodeNameError
			}
			return false
		}
		name = alias[0].(*dnsmessage.CNAMEResource).CNAME
	}
	return false
}

// exists says whether a name or one below it has records (RFC 8020).
func (d *DNS) exists(key string) bool {
	for name := range d.records {
		if name == key || strings.HasSuffix(name, "."+key) {
			return true
		}
	}
	return false
}

package verdict

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"coexistd/policy/mail"
)

// Reason is why something was decided: a code of the catalogue with what its texts are
// filled in with. Its texts are made when somebody reads them. The zero Reason says
// nothing.
type Reason struct {
	Code Code
	// Client is the connecting address, for the codes that name it.
	Client netip.Addr
	// Args fill in the catalogue's texts. They may hold strangers' texts: those are
	// made harmless where the texts are made.
	Args [5]string
}

// Why returns the reason with that code. There may be as many arguments as a Reason
// holds.
func Why(code Code, args ...string) Reason {
	r := Reason{Code: code}
	copy(r.Args[:], args)
	return r
}

// Of returns the reason with the client whom it names.
func (r Reason) Of(client netip.Addr) Reason {
	r.Client = client
	return r
}

// Reasons are the reasons for one decision, in the order in which people read them. They
// never change: to add one makes others.
type Reasons struct{ list []Reason }

// Because returns reasons of which these are all. Zero reasons are left out.
func Because(reasons ...Reason) Reasons { return Reasons{}.And(reasons...) }

// And returns the reasons with others after them.
func (r Reasons) And(more ...Reason) Reasons {
	r.list = slices.Clip(r.list)
	for i := range more {
		if more[i].Code != "" {
			r.list = append(r.list, more[i])
		}
	}
	return r
}

// AndAll returns the reasons with all of some others after them.
func (r Reasons) AndAll(others Reasons) Reasons {
	if len(r.list) == 0 {
		return others
	}
	return r.And(others.list...)
}

// List returns the reasons one by one. It is not to be changed.
func (r Reasons) List() []Reason { return r.list }

// Has reports that one of the reasons is the same in all.
func (r Reasons) Has(one Reason) bool { return slices.Contains(r.list, one) }

// HasCode reports that one of the reasons has that code.
func (r Reasons) HasCode(code Code) bool {
	return slices.ContainsFunc(r.list, func(one Reason) bool { return one.Code == code })
}

// String returns one sentence for the log, or for the administrator. A text of the
// catalogue that begins with a comma or a colon goes on in the sentence before it, and
// one that ends with a colon is followed by the next.
func (r Reasons) String() string {
	var b strings.Builder
	for _, one := range r.list {
		text := one.String()
		switch {
		case b.Len() == 0, text[:min(len(text), 1)] == ",", text[:min(len(text), 1)] == ":":
		case strings.HasSuffix(b.String(), ":"):
			b.WriteByte(' ')
		default:
			b.WriteString("; ")
		}
		b.WriteString(text)
	}
	return b.String()
}

// Reply returns what the SMTP client is told: the reply of the first reason that has
// one, or the zero Reply.
func (r Reasons) Reply() Reply {
	for _, one := range r.list {
		if reply := catalogue[one.Code].reply; !reply.IsZero() {
			reply.Text = one.fill(reply.Text, r)
			return reply
		}
	}
	return Reply{}
}

// String returns the reason's sentence. Of a reason that has no text of its own, it is
// that of its reply, and of a code that is not in the catalogue the code.
func (r Reason) String() string {
	row := catalogue[r.Code]
	return r.fill(cmp.Or(row.why, row.reply.Text, string(r.Code)), Reasons{})
}

// Reply returns what the SMTP client is told for this reason alone.
func (r Reason) Reply() Reply { return Because(r).Reply() }

// longestQuoted bounds, in bytes, an argument that is shown in quotes.
const longestQuoted = mail.MaxAddress

// fill puts the arguments into a text. {0} is an argument made harmless, {q0} the same
// in quotes; {=0} is taken as it is, for what was made harmless before; {u0} is one in
// quotes that may hold any letter. {client} is the client, and {why} are all reasons.
func (r Reason) fill(text string, all Reasons) string {
	if strings.IndexByte(text, '{') < 0 {
		return text
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "{")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		var name string
		name, text, _ = strings.Cut(after, "}")
		switch name {
		case "client":
			b.WriteString(r.Client.String())
			continue
		case "why":
			b.WriteString(all.String())
			continue
		}
		arg := r.Args[name[len(name)-1]-'0']
		switch name[0] {
		case '=':
			b.WriteString(arg)
		case 'q':
			b.WriteString(strconv.Quote(mail.Printable(arg)))
		case 'u':
			b.WriteString(strconv.Quote(arg[:min(len(arg), longestQuoted)]))
		default:
			b.WriteString(mail.Printable(arg))
		}
	}
}

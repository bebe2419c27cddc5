package messages

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"net/netip"
	"time"

	"coexistd/policy"
	"coexistd/policy/verdict"
)

// codec writes a message, or reads one: both go through the same fields in the same order. A
// number has as few bytes as it needs, and a text its length before it. What is read may be
// damaged in any way.
type codec struct {
	reading bool
	bytes   []byte // what was written, or is read
	text    string // bytes as a string, of which the texts that are read are parts
	at      int    // how far it is read
	err     error
}

var errCut = errors.New("it is not as it was written")

// mostListed bounds how many there can be of anything in one message: of more, the first are
// written.
const mostListed = mostRecipients

// reader returns a codec that reads.
func reader(record []byte) *codec { return &codec{reading: true, bytes: record, text: string(record)} }

// fail has all that is yet to be read be zero.
func (c *codec) fail() { c.err, c.at = errCut, len(c.bytes) }

// length writes a length, or reads one that is not beyond what is left.
func (c *codec) length(n int) int {
	if !c.reading {
		c.bytes = binary.AppendUvarint(c.bytes, uint64(n))
		return n
	}
	long, size := binary.Uvarint(c.bytes[c.at:])
	if c.at += max(size, 0); size <= 0 || long > uint64(len(c.bytes)-c.at) {
		c.fail()
		return 0
	}
	return int(long)
}

func codeText[T ~string](c *codec, text *T) {
	n := c.length(len(*text))
	if !c.reading {
		c.bytes = append(c.bytes, *text...)
		return
	}
	*text = T(c.text[c.at : c.at+n])
	c.at += n
}

func codeNumber[T ~int | ~int64](c *codec, n *T) {
	if !c.reading {
		c.bytes = binary.AppendVarint(c.bytes, int64(*n))
		return
	}
	long, size := binary.Varint(c.bytes[c.at:])
	if size <= 0 || int64(T(long)) != long {
		c.fail()
		return
	}
	*n = T(long)
	c.at += size
}

// codeOne codes one of some values, which are numbered from zero to the last.
func codeOne[T ~uint8](c *codec, one *T, last T) {
	if !c.reading {
		c.bytes = append(c.bytes, byte(*one))
		return
	}
	if c.at >= len(c.bytes) || T(c.bytes[c.at]) > last {
		c.fail()
		return
	}
	*one = T(c.bytes[c.at])
	c.at++
}

func codeVerdict(c *codec, v *verdict.Verdict) { codeOne(c, v, verdict.Reject) }

// codeFlags codes as many as a byte has bits.
func codeFlags(c *codec, flags ...*bool) {
	var set uint8
	for i, flag := range flags {
		if *flag {
			set |= 1 << i
		}
	}
	codeOne(c, &set, 1<<len(flags)-1)
	for i, flag := range flags {
		if c.reading {
			*flag = set>>i&1 != 0
		}
	}
}

func codeList[T any](c *codec, list *[]T, each func(*codec, *T)) {
	if !c.reading {
		*list = (*list)[:min(len(*list), mostListed)]
	}
	n := c.length(len(*list))
	if c.reading {
		if n > mostListed {
			c.fail()
		}
		if n == 0 || c.err != nil {
			return
		}
		*list = make([]T, n)
	}
	for i := range *list {
		each(c, &(*list)[i])
	}
}

func codeTime(c *codec, at *time.Time) {
	micros := at.UnixMicro()
	if codeNumber(c, &micros); c.reading {
		*at = time.UnixMicro(micros)
	}
}

func codeAddress(c *codec, a *netip.Addr) {
	if !c.reading {
		var room [64]byte
		b, _ := a.AppendBinary(room[:0]) // which cannot fail
		c.bytes = append(binary.AppendUvarint(c.bytes, uint64(len(b))), b...)
		return
	}
	var text string
	if codeText(c, &text); a.UnmarshalBinary([]byte(text)) != nil {
		c.fail()
	}
}

func codeReply(c *codec, r *verdict.Reply) {
	if codeNumber(c, &r.Code); r.Code != 0 {
		codeText(c, &r.Enhanced)
		codeText(c, &r.Text)
	}
}

func codeReasons(c *codec, r *verdict.Reasons) {
	list := r.List()
	if codeList(c, &list, codeReason); c.reading {
		*r = verdict.Because(list...)
	}
}

func codeReason(c *codec, r *verdict.Reason) {
	codeText(c, &r.Code)
	codeAddress(c, &r.Client)
	for i := range r.Args {
		codeText(c, &r.Args[i])
	}
}

func codeFinding(c *codec, f *verdict.Finding) {
	codeText(c, &f.Check)
	codeOne(c, &f.State, verdict.Hit)
	codeText(c, &f.Name)
	codeReasons(c, &f.Reasons)
	hasScore := f.Score != 0
	if codeFlags(c, &f.Down, &f.Scored, &hasScore); hasScore {
		codeScore(c, &f.Score)
	}
	codeVerdict(c, &f.Proposed)
	codeText(c, &f.Detail)
	codeNumber(c, &f.Took)
}

// codeScore codes a number whose last bits are zero as a rule.
func codeScore(c *codec, score *float64) {
	n := int64(bits.ReverseBytes64(math.Float64bits(*score)))
	if codeNumber(c, &n); c.reading {
		*score = math.Float64frombits(bits.ReverseBytes64(uint64(n)))
	}
}

// codeHead codes what a search looks at first.
func codeHead(c *codec, m *Message) {
	codeTime(c, &m.Time)
	codeText(c, &m.QueueID)
	codeText(c, &m.MTA)
}

// codeRest codes all that is not in the head.
func codeRest(c *codec, m *Message) {
	codeAddress(c, &m.Client)
	codeText(c, &m.Login)
	codeText(c, &m.Sender)
	codeText(c, &m.SenderOwner)
	codeText(c, &m.MessageID)
	codeText(c, &m.Subject)
	codeNumber(c, &m.Size)
	codeOne(c, &m.Point, verdict.S4)
	codeText(c, &m.Platform)
	codeVerdict(c, &m.Verdict)
	codeText(c, &m.Check)
	codeReply(c, &m.Reply)
	codeReasons(c, &m.Reasons)
	codeReasons(c, &m.Proof)
	codeOutcome(c, &m.Observed)
	codeList(c, &m.Findings, codeFinding)
	codeList(c, &m.Passed, codeText)
	codeText(c, &m.Archived)
	codeList(c, &m.Recipients, codeRecipient)
	codeNumber(c, &m.Count)
	codeText(c, &m.Hello)
	codeText(c, &m.Answer)
}

// codeOutcome codes what would have been done; as a rule there is nothing.
func codeOutcome(c *codec, o *policy.Outcome) {
	if codeVerdict(c, &o.Verdict); o.Verdict != verdict.None {
		codeText(c, &o.Check)
		codeReply(c, &o.Reply)
		codeReasons(c, &o.Reasons)
	}
}

func codeRecipient(c *codec, r *Recipient) {
	codeText(c, &r.Address)
	codeText(c, &r.Owner)
	codeText(c, &r.Residence)
	codeText(c, &r.Flow)
	codeText(c, &r.Side)
	codeText(c, &r.Rewritten)
	codeVerdict(c, &r.Verdict)
	codeReply(c, &r.Reply)
	codeReasons(c, &r.Reasons)
	codeText(c, &r.Check)
	codeList(c, &r.HeldBy, codeText)
	codeText(c, &r.Held)
	codeFlags(c, &r.Refused, &r.Observed)
}

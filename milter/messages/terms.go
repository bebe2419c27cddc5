package messages

import (
	"encoding/binary"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"coexistd/milter/ownmail"
	"coexistd/policy/mail"
	"coexistd/policy/verdict"
)

// term is a text by which a message is found: a letter that says what it is of, and the text
// itself in the form in which it is compared. A message is what a query asks for when it has
// all terms of that: of an index, which has only a few bits of each, that is a first guess.
type term struct {
	of   byte
	text string
}

// What a term is of.
const (
	ofID        = 'i' // Message-Id without angle brackets, queue id
	ofSender    = 'f' // an address, "@" with its domain, its local part
	ofRecipient = 't' // the same of each, as written and as rewritten
	ofSubject   = 's' // a word of it
	ofClient    = 'c'
	ofLogin     = 'l'
	ofVerdict   = 'v' // of the message, or of a recipient
	ofPoint     = 'p'
	ofCheck     = 'k' // one that decided, holds, or has a hit
	ofMTA       = 'm' // Message.MTA
	ofObserved  = 'o' // see eachObserved
)

// mostWords bounds the words of a subject that can be found, and longestWord each of them, in
// letters.
const (
	mostWords   = 32
	longestWord = 40
)

// longestPlain is the length, in bytes, of a subject of which ownmail.Readable leaves out
// nothing.
const longestPlain = 200

// eachTerm gives the terms of a message to take. Some may come twice.
func (m *Message) eachTerm(take func(term)) {
	add := func(of byte, text string) {
		if text != "" {
			take(term{of, text})
		}
	}
	add(ofID, bare(m.MessageID))
	add(ofID, m.QueueID)
	eachOfAddress(ofSender, m.Sender, add)
	eachOfAddress(ofSender, m.SenderOwner, add)
	for i := range m.Recipients {
		r := &m.Recipients[i]
		eachOfAddress(ofRecipient, r.Address, add)
		eachOfAddress(ofRecipient, r.Owner, add)
		if r.Observed {
			continue
		}
		eachOfAddress(ofRecipient, r.Rewritten, add)
		add(ofVerdict, r.Verdict.String())
		add(ofCheck, r.Check)
		for _, check := range r.HeldBy {
			add(ofCheck, check)
		}
	}
	eachWord(m.Subject, func(word string) { add(ofSubject, word) })
	if m.Client.IsValid() {
		add(ofClient, m.Client.String())
	}
	add(ofLogin, mail.Fold(m.Login))
	add(ofVerdict, m.Verdict.String())
	add(ofPoint, m.Point.String())
	add(ofCheck, m.Check)
	for i := range m.Findings {
		if m.Findings[i].State == verdict.Hit {
			add(ofCheck, m.Findings[i].Check)
		}
	}
	add(ofMTA, m.MTA)
	m.eachObserved(func(text string) { add(ofObserved, text) })
}

// The texts of the terms of what would have been done: that something would have, and before a
// verdict and a check.
const (
	wouldDo      = "would"
	wouldVerdict = "verdict "
	wouldCheck   = "check "
)

// eachObserved gives the texts of those terms to take.
func (m *Message) eachObserved(take func(text string)) {
	add := func(v verdict.Verdict, checks ...string) {
		take(wouldDo)
		take(wouldVerdict + v.String())
		for _, check := range checks {
			if check != "" {
				take(wouldCheck + check)
			}
		}
	}
	if m.Observed.Verdict > verdict.Accept {
		add(m.Observed.Verdict, m.Observed.Check)
	}
	for i := range m.Recipients {
		if r := &m.Recipients[i]; r.WouldDo() {
			add(r.Verdict, append([]string{r.Check}, r.HeldBy...)...)
		}
	}
}

// bare returns a Message-Id without its angle brackets.
func bare(id string) string {
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(id), "<"), ">")
}

// eachOfAddress gives the terms of an address to add.
func eachOfAddress(of byte, address string, add func(of byte, text string)) {
	if address == "" {
		return
	}
	address = key(address)
	add(of, address)
	if at := strings.LastIndexByte(address, '@'); at > 0 {
		add(of, address[at:])
		add(of, address[:at])
	}
}

// key is the form in which addresses are compared: that of directories where there is one. Of
// most it is told without taking them apart.
func key(address string) string {
	if mail.IsASCII(address) && !strings.Contains(address, `"`) {
		return strings.TrimSuffix(strings.ToLower(address), ".")
	}
	if a, err := mail.ParseAddress(address, ""); err == nil && a.Domain != "" {
		return a.Key
	}
	return mail.Fold(address)
}

// eachWord gives the words of a subject to take, as they are compared.
func eachWord(subject string, take func(word string)) {
	text := mail.Fold(readable(subject))
	for range mostWords {
		text = strings.TrimLeftFunc(text, isGap)
		if text == "" {
			return
		}
		end := strings.IndexFunc(text, isGap)
		if end < 0 {
			end = len(text)
		}
		take(cut(text[:end]))
		text = text[end:]
	}
}

// isGap reports what stands between words.
func isGap(c rune) bool {
	if c < utf8.RuneSelf {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && (c < 'A' || c > 'Z')
	}
	return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !unicode.IsMark(c)
}

// cut returns the beginning of a word.
func cut(word string) string {
	letters := 0
	for i := range word {
		if letters++; letters > longestWord {
			return word[:i]
		}
	}
	return word
}

// readable is ownmail.Readable, as far as words go. Of most subjects it is told without taking
// them apart.
func readable(subject string) string {
	plain := len(subject) <= longestPlain && !strings.Contains(subject, "=?")
	for i := 0; plain && i < len(subject); i++ {
		plain = subject[i] >= ' ' && subject[i] <= '~'
	}
	if plain {
		return subject
	}
	return ownmail.Readable(subject)
}

const (
	// spanSize is how many messages are indexed together, and spanBytes how many bytes of
	// entries they have: who has more than is usual is the last one.
	spanSize  = 1 << placeBits
	spanBytes = 1 << 20
	// blocksOfTexts is how many blocks a span has for terms of which there are many, and
	// blocksOfWords for the others: what is rare among these is not read with what is not.
	blocksOfTexts = 256
	blocksOfWords = 768
	spanBlocks    = blocksOfTexts + blocksOfWords
	// entrySize is the size of an entry in a block, in bytes: the first bits of the term's
	// hash, and the place of the message in its span, from zero, which has placeBits.
	entrySize = 4
	placeBits = 12
)

// mark is where a term stands in the index: the number of the block, and what its entries have
// without a place.
type mark struct {
	block int
	bits  uint32
}

func markOf(t term) mark {
	const golden = 0x9e3779b97f4a7c15 // it spreads what is counted from zero over all bits
	hash := xxhash.Sum64String(t.text) ^ uint64(t.of)*golden
	m := mark{int(hash % blocksOfTexts), uint32(hash>>32) &^ (spanSize - 1)}
	switch t.of {
	case ofVerdict, ofPoint, ofCheck, ofMTA, ofObserved:
		m.block = blocksOfTexts + int(hash%blocksOfWords)
	}
	return m
}

// appendTo appends the entry of a message to the block, unless it is there: the messages come
// in their order.
func (m mark) appendTo(block []byte, place uint32) []byte {
	for i := len(block) - entrySize; i >= 0; i -= entrySize {
		there := binary.BigEndian.Uint32(block[i:])
		if there&(spanSize-1) != place {
			break
		}
		if there == m.bits|place {
			return block
		}
	}
	return binary.BigEndian.AppendUint32(block, m.bits|place)
}

// placesIn appends the places of those messages, in order, that may have the term, by its
// block.
func (m mark) placesIn(block []byte, places []int) []int {
	for ; len(block) >= entrySize; block = block[entrySize:] {
		if entry := binary.BigEndian.Uint32(block); entry&^(spanSize-1) == m.bits {
			places = append(places, int(entry&(spanSize-1)))
		}
	}
	return places
}

// blockID is the key of a block of the span that begins with a message: the blocks of a span lie
// together.
func blockID(block int, first ID) int64 { return int64(first)*spanBlocks + int64(block) }

package messages

import (
	"encoding/binary"
	"slices"
	"sort"
	"strings"
	"unicode"

	"coexistd/milter/ownmail"
	"coexistd/policy/mail"
	"coexistd/policy/verdict"
)

// A term is a text by which a message is found: a letter that says what it is of, and the text
// itself in the form in which it is compared. A message is what a query asks for when it has
// all terms of that: of an index, which has only a few bits of each, that is a first guess.
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
)

// mostWords bounds the words of a subject that can be found, and longestWord each of them, in
// letters.
const (
	mostWords   = 32
	longestWord = 40
)

// terms returns the terms of a message. Some may stand there twice.
func (m *Message) terms() []string {
	terms := make([]string, 0, 32)
	add := func(of byte, text string) {
		if text != "" {
			terms = append(terms, string(of)+text)
		}
	}
	add(ofID, bare(m.MessageID))
	add(ofID, m.QueueID)
	for _, address := range []string{m.Sender, m.SenderOwner} {
		terms = appendAddress(terms, ofSender, address)
	}
	for i := range m.Recipients {
		r := &m.Recipients[i]
		for _, address := range []string{r.Address, r.Owner, r.Rewritten} {
			terms = appendAddress(terms, ofRecipient, address)
		}
		add(ofVerdict, r.Verdict.String())
		add(ofCheck, r.Check)
		for _, check := range r.HeldBy {
			add(ofCheck, check)
		}
	}
	for _, word := range words(ownmail.Readable(m.Subject)) {
		add(ofSubject, word)
	}
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
	return terms
}

// bare returns a Message-Id without its angle brackets.
func bare(id string) string {
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(id), "<"), ">")
}

// appendAddress appends the terms of an address.
func appendAddress(terms []string, of byte, address string) []string {
	if address == "" {
		return terms
	}
	address = key(address)
	terms = append(terms, string(of)+address)
	if at := strings.LastIndexByte(address, '@'); at > 0 {
		terms = append(terms, string(of)+address[at:], string(of)+address[:at])
	}
	return terms
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

// words cuts a text into its words, as they are compared.
func words(text string) []string {
	all := strings.FieldsFunc(mail.Fold(text), func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !unicode.IsMark(c) })
	all = all[:min(len(all), mostWords)]
	for i, word := range all {
		if letters := []rune(word); len(letters) > longestWord {
			all[i] = string(letters[:longestWord])
		}
	}
	return all
}

const (
	// spanSize is how many messages are indexed together. The place of one in its span has
	// spanBits bits.
	spanBits = 10
	spanSize = 1 << spanBits
	// blocksOfTexts is how many blocks a span has for terms of which there are many. The
	// others, whose entries are as many as the messages, have one for each kind.
	blocksOfTexts = 128
	spanBlocks    = blocksOfTexts + 3
	// entrySize is the size of an entry in a block, in bytes: three of the term's hash, and
	// two with the place.
	entrySize = 5
)

// entry is a term of a message: the number of the block, 24 bits of the term's hash, and the
// place of the message in its span.
type entry uint64

const (
	hashBits  = 24
	placeBits = 16
)

// entryOf makes the entry of a term.
func entryOf(term string, place int) entry {
	const offset, prime = 14695981039346656037, 1099511628211 // of FNV-1a
	hash := uint64(offset)
	for i := range len(term) {
		hash = (hash ^ uint64(term[i])) * prime
	}
	hash ^= hash >> 32
	block := hash % blocksOfTexts
	if few := strings.IndexByte(string([]byte{ofVerdict, ofPoint, ofCheck}), term[0]); few >= 0 {
		block = blocksOfTexts + uint64(few)
	}
	return entry(block<<(hashBits+placeBits) | hash>>8&(1<<hashBits-1)<<placeBits | uint64(place))
}

func (e entry) block() int   { return int(e >> (hashBits + placeBits)) }
func (e entry) hash() uint32 { return uint32(e>>placeBits) & (1<<hashBits - 1) }

// blocksOf sorts the entries of a span into its blocks.
func blocksOf(entries []entry) [spanBlocks][]byte {
	slices.Sort(entries)
	var blocks [spanBlocks][]byte
	for _, e := range slices.Compact(entries) {
		hash := e.hash()
		b := append(blocks[e.block()], byte(hash>>16), byte(hash>>8), byte(hash))
		blocks[e.block()] = binary.BigEndian.AppendUint16(b, uint16(e))
	}
	return blocks
}

// placesIn returns the places of those messages, in order, that may have a term, by its block.
func placesIn(block []byte, term entry) (places []int) {
	hashAt := func(i int) uint32 {
		b := block[i*entrySize:]
		return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
	}
	count, want := len(block)/entrySize, term.hash()
	for i := sort.Search(count, func(i int) bool { return hashAt(i) >= want }); i < count && hashAt(i) == want; i++ {
		places = append(places, int(binary.BigEndian.Uint16(block[i*entrySize+3:])))
	}
	return places
}

// blockID is the key of a span's block: a block's rows lie together.
func blockID(block int, span int64) int64 { return int64(block)<<40 | span }

package attachments_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"unicode/utf16"
)

// pe is how a Windows program begins.
var pe = append([]byte("MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00"), make([]byte, 200)...)

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// mixed makes a message of a text and these further parts.
func mixed(parts ...string) string {
	m := "From: a@example.net\nTo: b@acmecorp.com\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b0\"\n\n" +
		"preamble\n--b0\nContent-Type: text/plain\n\nhello\n"
	for _, part := range parts {
		m += "--b0\n" + part + "\n"
	}
	return crlf(m + "--b0--\n")
}

// encodedPart makes a part with these fields and that content in base64.
func encodedPart(fields string, content []byte) string {
	return fields + "\nContent-Transfer-Encoding: base64\n\n" + wrapped(content)
}

func wrapped(content []byte) string {
	text := base64.StdEncoding.EncodeToString(content)
	var b strings.Builder
	for len(text) > 76 {
		b.WriteString(text[:76] + "\n")
		text = text[76:]
	}
	return b.String() + text
}

// file is an attachment that is nothing but data.
func file(name string, content []byte) string {
	return encodedPart("Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=\""+name+"\"", content)
}

// disposition makes a message whose attachment has that disposition.
func disposition(value string) string {
	return mixed(encodedPart("Content-Type: application/octet-stream\nContent-Disposition: attachment; "+value, []byte("data")))
}

type member struct {
	name    string
	content []byte
}

func zipped(members ...member) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range members {
		f, err := w.Create(m.name)
		if err == nil {
			_, err = f.Write(m.content)
		}
		if err != nil {
			panic(err)
		}
	}
	w.Close()
	return b.Bytes()
}

// recounted changes how many files a zip archive without a comment says that it has.
func recounted(archive []byte, count uint16) []byte {
	end := archive[len(archive)-22:]
	binary.LittleEndian.PutUint16(end[8:], count)
	binary.LittleEndian.PutUint16(end[10:], count)
	return archive
}

// displaced says of a zip archive that its directory stands behind its end.
func displaced(archive []byte) []byte {
	binary.LittleEndian.PutUint32(archive[len(archive)-6:], 1<<20)
	return archive
}

// withoutLength takes the marks of the headers before files out of a zip archive, and says
// that its directory is empty. Programs that go by the directory's place find it all the same.
func withoutLength(archive []byte) []byte {
	archive = bytes.ReplaceAll(recounted(archive, 0), []byte("PK\x03\x04"), []byte("PK\x03\x00"))
	binary.LittleEndian.PutUint32(archive[len(archive)-10:], 0)
	return archive
}

func gzipped(name string, content []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Name = name
	w.Write(content)
	w.Close()
	return b.Bytes()
}

// brokenGzip packs content with nonsense behind it.
func brokenGzip(content []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(content)
	w.Flush()
	return append(b.Bytes(), 0xff, 0xff, 0xff, 0xff)
}

func tarred(members ...member) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		if err := w.WriteHeader(&tar.Header{Name: m.name, Mode: 0o600, Size: int64(len(m.content)), Format: tar.FormatUSTAR}); err != nil {
			panic(err)
		}
		w.Write(m.content)
	}
	w.Close()
	return b.Bytes()
}

// ole makes a compound file that holds directory entries of these names.
func ole(class string, names ...string) []byte {
	b := make([]byte, 1024)
	copy(b, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	for i, name := range append([]string{"Root Entry"}, names...) {
		entry := make([]byte, 128)
		for j, c := range utf16.Encode([]rune(name)) {
			binary.LittleEndian.PutUint16(entry[2*j:], c)
		}
		entry[64] = byte(2*len(name) + 2)
		entry[66] = 1
		if i == 0 {
			entry[66] = 5
			copy(entry[80:], class)
		}
		b = append(b, entry...)
	}
	return append(b, make([]byte, 4096)...)
}

func rar4(flags uint16, name string) []byte {
	b := []byte("Rar!\x1a\x07\x00")
	b = append(b, 0, 0, 0x73, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0)
	head := make([]byte, 32, 32+len(name))
	head[2] = 0x74
	binary.LittleEndian.PutUint16(head[3:], flags|0x8000)
	binary.LittleEndian.PutUint16(head[5:], uint16(32+len(name)))
	head[7] = 4 // the packed size
	binary.LittleEndian.PutUint16(head[26:], uint16(len(name)))
	b = append(append(b, head...), name+"data"...)
	return append(b, 0, 0, 0x7b, 0, 0x40, 7, 0)
}

func rar5(name, extra string) []byte {
	block := func(body string) string { return "\x00\x00\x00\x00" + string(rune(len(body))) + body }
	file := "\x02\x03" + string(rune(len(extra))) + "\x04" + "\x00\x04\x00\x00\x00" + string(rune(len(name))) + name + extra
	return []byte("Rar!\x1a\x07\x01\x00" + block("\x01\x00\x00") + block(file) + "data" + block("\x05\x00\x00"))
}

func tnef(name string, content []byte) []byte {
	b := []byte("\x78\x9f\x3e\x22\x00\x00")
	for _, a := range []struct {
		id    uint32
		value []byte
	}{{0x00018010, []byte(name + "\x00")}, {0x0006800f, content}} {
		b = binary.LittleEndian.AppendUint32(append(b, 2), a.id)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(a.value)))
		b = append(append(b, a.value...), 0, 0)
	}
	return b
}

// node is a file of a compound file, or a folder of others.
type node struct {
	name    string
	content string // of a file
	nodes   []node // of a folder
}

// compound makes a compound file with a directory and a table of sectors that can be read.
func compound(nodes ...node) []byte {
	const sector, end, none = 512, 0xfffffffe, 0xffffffff
	var entries [][]byte
	var streams [][]byte
	var add func(nodes []node) uint32
	add = func(nodes []node) uint32 {
		first := uint32(none)
		for i := len(nodes) - 1; i >= 0; i-- {
			n := nodes[i]
			entry := make([]byte, 128)
			for j, c := range utf16.Encode([]rune(n.name)) {
				binary.LittleEndian.PutUint16(entry[2*j:], c)
			}
			entry[64], entry[66] = byte(2*len(n.name)+2), 2
			id := uint32(len(entries))
			entries = append(entries, entry)
			child := uint32(none)
			if n.content == "" {
				entry[66] = 1
				child = add(n.nodes)
			} else {
				binary.LittleEndian.PutUint32(entry[116:], uint32(len(streams))) // its number until the sectors are known
				streams = append(streams, append([]byte(n.content), make([]byte, sector-len(n.content)%sector)...))
				binary.LittleEndian.PutUint32(entry[120:], uint32(len(n.content)))
			}
			binary.LittleEndian.PutUint32(entry[68:], none)
			binary.LittleEndian.PutUint32(entry[72:], first)
			binary.LittleEndian.PutUint32(entry[76:], child)
			first = id
		}
		return first
	}
	root := add([]node{{name: "Root Entry", nodes: nodes}})
	entries[root][66] = 5
	for len(entries)%4 != 0 {
		entries = append(entries, make([]byte, 128))
	}
	table := []uint32{0xfffffffd}
	for i := range len(entries) / 4 {
		table = append(table, uint32(i+2))
	}
	table[len(table)-1] = end
	places := make([]uint32, len(streams))
	for i, stream := range streams {
		places[i] = uint32(len(table))
		for range len(stream) / sector {
			table = append(table, uint32(len(table)+1))
		}
		table[len(table)-1] = end
	}
	head := make([]byte, sector)
	copy(head, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	binary.LittleEndian.PutUint16(head[26:], 3)
	binary.LittleEndian.PutUint16(head[28:], 0xfffe)
	binary.LittleEndian.PutUint16(head[30:], 9)
	binary.LittleEndian.PutUint16(head[32:], 6)
	binary.LittleEndian.PutUint32(head[44:], 1)
	binary.LittleEndian.PutUint32(head[48:], 1)
	for at := 76; at < sector; at += 4 {
		binary.LittleEndian.PutUint32(head[at:], none)
	}
	binary.LittleEndian.PutUint32(head[76:], 0)
	b := head
	for i := range sector / 4 {
		next := uint32(none)
		if i < len(table) {
			next = table[i]
		}
		b = binary.LittleEndian.AppendUint32(b, next)
	}
	for _, entry := range entries {
		if entry[66] == 2 {
			binary.LittleEndian.PutUint32(entry[116:], places[binary.LittleEndian.Uint32(entry[116:])])
		}
		b = append(b, entry...)
	}
	return append(b, bytes.Join(streams, nil)...)
}

// tnefLong makes a winmail.dat whose attachment has these properties besides a short name.
func tnefLong(short string, content []byte, properties ...[]byte) []byte {
	list := binary.LittleEndian.AppendUint32(nil, uint32(len(properties)))
	list = append(list, bytes.Join(properties, nil)...)
	b := tnef(short, content)
	b = binary.LittleEndian.AppendUint32(append(b, 2), 0x00069005)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(list)))
	return append(append(b, list...), 0, 0)
}

// property is one property of an attachment whose value has no size of its own.
func property(id, kind uint16, value []byte) []byte {
	b := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, kind), id)
	b = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, 1), uint32(len(value)))
	return append(append(b, value...), make([]byte, -len(value)&3)...)
}

func wide(text string) []byte {
	var b []byte
	for _, c := range utf16.Encode([]rune(text)) {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	return b
}

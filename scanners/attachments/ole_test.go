package attachments_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

func TestAPlaceForMacrosIsEmptyOnlyWhereTheDirectoryShowsIt(t *testing.T) {
	publisher := func(nodes ...node) []byte {
		return compound(node{name: "Contents", content: "x"}, node{name: "VBA", nodes: nodes})
	}
	changed := func(content []byte, change func([]byte)) []byte {
		content = bytes.Clone(content)
		change(content)
		return content
	}
	described := []node{{name: "dir", content: "x"}, {name: "_VBA_PROJECT", content: "x"}, {name: "__SRP_1", content: "x"}}
	const source = "\x01\x19\xb0\x00Attribut\x00e VB_Nam"
	renamed := func(before int) []byte {
		return publisher(append(described, node{name: "__SRP_2", content: strings.Repeat("x", before) + source})...)
	}
	joint := 2*(16<<10) - 6 - bytes.Index(renamed(8000), []byte(source)) // of two pieces that are read
	vba := func(b []byte) int { return bytes.Index(b, wide("VBA")) }
	check(t, defaults(), []expect{
		{"nothing in it", mixed(file("a.pub", publisher())), "clean"},
		{"what describes the project", mixed(file("a.pub", publisher(described...))), "clean"},
		{"a module", mixed(file("a.pub", publisher(append(described, node{name: "ThisDocument", content: "x"})...))), "macro a.pub"},
		{"a module that is called otherwise", mixed(file("a.pub", renamed(8000))), "macro a.pub"},
		{"a module that is called otherwise, at the joint", mixed(file("a.pub", renamed(8000+joint))), "macro a.pub"},
		{"a form", mixed(file("a.pub", publisher(append(described, node{name: "UserForm1", nodes: described})...))), "macro a.pub"},
		{"a module two folders down", mixed(file("a.pub", publisher(node{name: "VBA", nodes: []node{{name: "Module1", content: "x"}}}))), "macro a.pub"},
		{"a name that is not ASCII", mixed(file("a.pub", publisher(node{name: "Модуль", content: "x"}))), "macro a.pub"},
		{"a header that cannot be read", mixed(file("a.pub", changed(publisher(), func(b []byte) { b[30] = 7 }))), "macro a.pub"},
		{"a directory in a circle", mixed(file("a.pub", changed(publisher(), func(b []byte) { binary.LittleEndian.PutUint32(b[512+4:], 1) }))), "macro a.pub"},
		{"a directory that ends outside", mixed(file("a.pub", changed(publisher(), func(b []byte) { binary.LittleEndian.PutUint32(b[512+4:], 5000) }))), "macro a.pub"},
		{"a table outside of the file", mixed(file("a.pub", changed(publisher(), func(b []byte) { binary.LittleEndian.PutUint32(b[76:], 100_000) }))), "macro a.pub"},
		{"a child that is not there", mixed(file("a.pub", changed(publisher(), func(b []byte) { binary.LittleEndian.PutUint32(b[vba(b)+76:], 77) }))), "macro a.pub"},
		{"a child that is its own folder", mixed(file("a.pub", changed(publisher(described...), func(b []byte) {
			binary.LittleEndian.PutUint32(b[vba(b)+76:], 0)
		}))), "macro a.pub"},
		{"an entry outside of the directory", mixed(file("a.pub", append(publisher(), compound(node{name: "VBA"})[1024:]...))), "macro a.pub"},
	})
}

func TestMacrosAreFoundBehindAnyNumberOfEntries(t *testing.T) {
	many := make([]string, 5000)
	for i := range many {
		many[i] = "x"
	}
	check(t, defaults(), []expect{
		{"none", mixed(file("a.doc", ole("", many...))), "clean"},
		{"one", mixed(file("a.doc", ole("", append(many, "Macros")...))), "macro a.doc"},
	})
}

func TestThePropertiesOfAnAttachmentInATNEFFileAreReadWhateverStandsBeforeThem(t *testing.T) {
	long := property(0x3707, 0x1f, wide("invoice.exe\x00"))
	named := append([]byte{0x1f, 0, 1, 0x80}, make([]byte, 16)...)
	named = binary.LittleEndian.AppendUint32(named, 1)
	named = binary.LittleEndian.AppendUint32(named, 6)
	named = append(append(named, wide("abc")...), 0, 0)
	named = binary.LittleEndian.AppendUint32(named, 1)
	named = binary.LittleEndian.AppendUint32(named, 4)
	named = append(named, wide("xy")...)
	times := append([]byte{0x40, 0, 7, 0x30}, make([]byte, 8)...)
	several := append(append([]byte{3, 0x10, 1, 0x37, 2, 0, 0, 0}, make([]byte, 8)...), long...)
	check(t, defaults(), []expect{
		{"one that has a name", mixed(file("winmail.dat", tnefLong("A.TXT", nil, named, long))), "extension invoice.exe"},
		{"a time", mixed(file("winmail.dat", tnefLong("A.TXT", nil, times, long))), "extension invoice.exe"},
		{"several values", mixed(file("winmail.dat", tnefLong("A.TXT", nil, several[:16], several[16:]))), "extension invoice.exe"},
		{"a list that is cut off", mixed(file("winmail.dat", tnefLong("A.TXT", nil, named[:9], nil))), "unknown: TNEF file is broken"},
		{"a program within", mixed(file("winmail.dat", tnefLong("A.TXT", nil, property(0x3701, 0x102, pe)))), "mismatch A.TXT"},
		{"another property", mixed(file("winmail.dat", tnefLong("A.TXT", nil, property(0x3702, 0x102, []byte("abc"))))), "clean"},
	})
}

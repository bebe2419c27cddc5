package policy

import (
	"strings"
	"testing"
)

func TestChangesThatNoMTACanTakeChangeNothing(t *testing.T) {
	remove := func(path string) Edit { return Edit{Kind: DeleteRecipient, Address: path} }
	add := func(address, notify, orcpt string) Edit {
		return Edit{Kind: AddRecipient, Address: address, Notify: notify, ORcpt: orcpt}
	}
	trace := func(value string) Edit { return Edit{Kind: ChangeField, Name: "X-Trace", Index: 1, Value: value} }
	for about, e := range map[string]Edit{
		"a recipient removed":         remove("x@c.example"),
		"the longest path":            remove(strings.Repeat("a", maxArgument)),
		"a recipient added":           add("a@b.example", "", "rfc822;a@c.example"),
		"a recipient with NOTIFY":     add("a@b.example", "SUCCESS,FAILURE", "rfc822;a@c.example"),
		"a folded value":              trace("v=1;\n\tx"),
		"the longest value":           trace(strings.Repeat("a", maxFieldValue)),
		"a field removed":             {Kind: DeleteField, Name: "X-Trace", Index: 3},
		"a field inserted":            {Kind: InsertField, Name: "X-Tag", Value: "jörg"},
		"a quoted local part":         add(`"a b"@c.example`, "", "rfc822;x"),
		"quoted brackets and quotes":  add(`"a>\"<b"@c.example`, "", "rfc822;x"),
		"an address in UTF-8":         add(`jörg@c.example`, "", "utf-8;x"),
		"an address with a literal":   add(`a@[192.0.2.1]`, "", "rfc822;x"),
		"a path that is no address":   remove("no address <at all>"),
		"a field of the longest name": {Kind: InsertField, Name: strings.Repeat("a", 255), Value: "x"},
	} {
		if problem := e.unfit(); problem != "" {
			t.Errorf("%s is unfit: %s", about, problem)
		}
	}
	for about, e := range map[string]Edit{
		"empty path":             remove(""),
		"NUL in path":            remove("a\x00b"),
		"newline in path":        remove("a\nb"),
		"long path":              remove(strings.Repeat("a", 5000)),
		"empty address":          add("", "", "rfc822;x"),
		"second address":         add("a@b> <c@d", "", "rfc822;x"),
		"open quote":             add("\"a@b", "", "rfc822;x"),
		"newline in address":     add("a\r\n@b", "", "rfc822;x"),
		"second argument":        add("a@b", "", "rfc822;x NOTIFY=NEVER"),
		"no ORCPT":               add("a@b", "", ""),
		"NUL in NOTIFY":          add("a@b", "NEVER\x00", "rfc822;x"),
		"a space in NOTIFY":      add("a@b", "NEVER X", "rfc822;x"),
		"newline in trace":       trace("v=1\nBcc: x@y"),
		"carriage return":        trace("v=1\r\n\tx"),
		"NUL in trace":           trace("v=1\x00"),
		"blank line in trace":    trace("v=1\n\t \n\tx"),
		"an empty trace":         trace(""),
		"trace of a large frame": trace(strings.Repeat("a", maxFieldValue+1)),
		"newline in a tag":       {Kind: InsertField, Name: "X-Tag", Value: "a\r\nBcc: x@y"},
		"a bad header name":      {Kind: InsertField, Name: "X Bad", Value: "x"},
		"a bad name removed":     {Kind: DeleteField, Name: "X:Bad", Index: 1},
		"no header name":         {Kind: InsertField, Value: "x"},
		"a long header name":     {Kind: InsertField, Name: strings.Repeat("a", 256), Value: "x"},
	} {
		if e.unfit() == "" {
			t.Errorf("%s is fit", about)
		}
	}
}

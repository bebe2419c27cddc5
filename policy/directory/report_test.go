package directory

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestARowSaysWhoIsToldOfWhatIsHeldForItsAddress(t *testing.T) {
	s := usual
	s.Lean = true
	list, err := build(s, "address,residence,Kind,Report_To\n"+
		"alice@acmecorp.com,here,,\n"+
		"bob@acmecorp.com,here,user,-\n"+
		"carol@acmecorp.com,here,user, dora@bücher.example ;x+y@far.example;\n"+
		"sales@acmecorp.com,here,Group,\n"+
		"team@acmecorp.com,here,group,alice@acmecorp.com;bob@acmecorp.com\n"+
		"info@acmecorp.com,here,shared,\n"+
		"room@acmecorp.com,here,room,\n")
	if err != nil {
		t.Fatal(err)
	}
	set := NewSet(map[string][]*Snapshot{acme.Name: {list}}, nil)
	for address, want := range map[string]string{
		"alice+x@acmecorp.com": "[] true", "nobody@acmecorp.com": "[] true", "bob@acmecorp.com": "[] false", "carol@acmecorp.com": "[dora@bücher.example x+y@far.example] false",
		"sales@acmecorp.com": "[] false", "team@acmecorp.com": "[alice@acmecorp.com bob@acmecorp.com] false", "info@acmecorp.com": "[] false", "room@acmecorp.com": "[] false",
	} {
		to, owner := set.Row(parse(t, address)).Told()
		if got := fmt.Sprint(to, owner); got != want {
			t.Errorf("of what is held for %s is told %s, right is %s", address, got, want)
		}
	}
}

func TestRefusesToTellWhatIsNoAddress(t *testing.T) {
	_, err := build(usual, "address,residence,report_to\n"+
		"a@acmecorp.com,here,alice\n"+
		"b@acmecorp.com,here,alice@acmecorp.com:bob@acmecorp.com\n"+
		"c@acmecorp.com,here,- alice@acmecorp.com\n"+
		"d@acmecorp.com,here,"+strings.Repeat("a@acmecorp.com ", 21)+"\n"+
		"e@acmecorp.com,here,Alice\u200b@acmecorp.com\n")
	bad, ok := errors.AsType[*Errors](err)
	if !ok || len(bad.Rows) != 5 {
		t.Fatalf("the error is %T: %v", err, err)
	}
	const right = "; it would be an address, or several with blanks or ; between them, or - for nobody"
	for i, want := range []string{
		`:2: the column "report_to": the address "alice" has no domain` + right,
		`:3: the column "report_to": "alice@acmecorp.com:bob@acmecorp.com"`,
		`:4: the column "report_to": the address "-" has no domain` + right,
		`:5: the column "report_to" names 21 addresses; at most 20 are told`,
		`:6: the column "report_to": `,
	} {
		if got := strings.TrimPrefix(bad.Rows[i].Error(), usual.Path); !strings.HasPrefix(got, want) {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
}

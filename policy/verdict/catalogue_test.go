package verdict

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// made returns the codes that catalogue.go makes, in order.
func made(t *testing.T) []Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "catalogue.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []Code
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if by, ok := call.Fun.(*ast.Ident); !ok || by.Name != "says" && by.Name != "answers" {
			return true
		}
		text, err := strconv.Unquote(call.Args[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		codes = append(codes, Code(text))
		return true
	})
	return codes
}

func TestEveryCodeStandsInTheCatalogueOnce(t *testing.T) {
	seen := map[Code]bool{}
	for _, code := range made(t) {
		if seen[code] {
			t.Errorf("there are two reasons with the code %s", code)
		}
		seen[code] = true
		if row, ok := catalogue[code]; !ok || row.why == "" && row.reply.IsZero() {
			t.Errorf("%s has neither a reply nor a text: %+v", code, row)
		}
	}
	for code := range catalogue {
		if !seen[code] {
			t.Errorf("no reason is made with the code %s", code)
		}
	}
	if len(seen) < 100 {
		t.Errorf("only %d codes were found", len(seen))
	}
}

// RFC 3463 section 2 has the classes: that of the enhanced code is that of the reply.
func TestEveryReplyIsWhole(t *testing.T) {
	enhanced := regexp.MustCompile(`^[45]\.\d{1,3}\.\d{1,3}$`)
	source := regexp.MustCompile(`^RFC \d+ (section|appendix) [0-9A-Z.]+(, RFC \d+ (section|appendix) [0-9A-Z.]+)*$`)
	for code, row := range catalogue {
		if row.reply.IsZero() {
			if row.reply.Text+row.rfc+row.when != "" {
				t.Errorf("%s has no reply, and yet: %+v", code, row)
			}
			continue
		}
		switch {
		case row.reply.Code < 400 || row.reply.Code > 599:
			t.Errorf("%s: the code is %d", code, row.reply.Code)
		case !enhanced.MatchString(row.reply.Enhanced) || row.reply.Enhanced[:1] != strconv.Itoa(row.reply.Code/100):
			t.Errorf("%s: the enhanced code of %d is %q", code, row.reply.Code, row.reply.Enhanced)
		case !source.MatchString(row.rfc):
			t.Errorf("%s: its source is %q", code, row.rfc)
		case row.reply.Text == "" || strings.ContainsFunc(row.reply.Text, func(c rune) bool { return c < ' ' || c > '~' }):
			t.Errorf("%s: the text is %q", code, row.reply.Text)
		case row.when == "" || strings.ContainsAny(row.when, "|;\n") || strings.HasSuffix(row.when, "."):
			t.Errorf("%s: when it is given is %q", code, row.when)
		}
	}
}

// An argument that a text asks for and that no Reason can hold would be a panic on the way
// of a message.
func TestEveryTextCanBeFilledIn(t *testing.T) {
	left := regexp.MustCompile(`[{}]`)
	for _, code := range made(t) {
		r := Why(code, "a", "b", "c", "d", "e")
		if text := r.String(); text == "" || left.MatchString(text) {
			t.Errorf("%s: the text is %q", code, text)
		}
		reply := r.Reply()
		if left.MatchString(reply.Text) {
			t.Errorf("%s: the reply is %q", code, reply)
		}
		if bare := Why(code); bare.Reply().Code != reply.Code || bare.String() == "" && catalogue[code].why != "{=0}" {
			t.Errorf("%s: without arguments, it says %q and %q", code, bare, bare.Reply())
		}
	}
}

func TestAReplyIsOneLineOfPrintableASCIIWhateverItsArgumentsAre(t *testing.T) {
	hostile := "a\r\n250 ok\x00\u202eü" + strings.Repeat("x", 5000)
	for _, code := range Replies() {
		if code == LoopListed || code == LoopOwnAddress || code == LoopSentBack || code == LoopPasses {
			continue // their text is the reason's, whose arguments are addresses and numbers
		}
		// The second, third and last arguments of limits are of our own making.
		args := []string{hostile, hostile, "x", "messages", "1 hour"}
		reply := Why(code, args...).Reply().String()
		if len(reply) > 512 || strings.ContainsFunc(reply, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Errorf("%s: %q", code, reply)
		}
	}
}

func TestWhatNobodyHasDecidedSaysNothing(t *testing.T) {
	if r := (Reason{}); r.String() != "" || !r.Reply().IsZero() {
		t.Errorf("the zero reason says %q", r)
	}
	if r := (Reasons{}); r.String() != "" || !r.Reply().IsZero() || r.HasCode("") {
		t.Errorf("zero reasons say %q", r)
	}
	if v := (Reply{}).Verdict(); v != None {
		t.Errorf("the zero reply stands for %v", v)
	}
	if f := (Finding{}); f.State != Unknown || f.Proposed != None {
		t.Errorf("the zero finding is %+v", f)
	}
}

func TestReasonsMakeOneSentence(t *testing.T) {
	for want, r := range map[string]Reasons{
		"the recipient's domain is not ours":                                                  Because(Why(NotOurs)),
		"the directory says that a@b lives at office365, but office365 sent the message here": Because(Why(Listed, "a@b", "office365"), Why(LoopSentBack, "office365")),
		"the message lacks X-A; the message lacks X-B: the message counts as S0":              Because(Why(ProofLacks, "X-A"), Why(ProofLacks, "X-B"), Why(CountsAsInternet)),
		"spoof: the header has no From field; the From field names nobody":                    Because(Why(ByCheck, "spoof")).AndAll(Because(Why(FromLacks), Why(FromNamesNobody))),
		"the header has no From field":                                                        Reasons{}.And(Why(FromLacks)),
	} {
		if got := r.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	first := Because(Why(FromLacks)).And(Why(NotOurs))
	one, two := first.And(Why(CheckNotMade)), first.And(Why(LeftToMTA))
	if !one.HasCode(CheckNotMade) || !two.HasCode(LeftToMTA) || one.HasCode(LeftToMTA) || !one.Has(Why(NotOurs)) || one.Has(Why(Listed, "x")) {
		t.Errorf("what is added to reasons changes others: %q, %q", one, two)
	}
}

// A spam filter's name for a message is not for its sender, and a virus's is.
func TestAFindingWithoutAReplyOfItsOwnHasThatOfItsKind(t *testing.T) {
	for _, c := range []struct {
		f    Finding
		v    Verdict
		want string
	}{
		{Finding{Check: CheckSpam, State: Hit, Name: "GTUBE"}, Reject, "550 5.7.1 The message is refused as spam"},
		{Finding{Check: CheckVirus, State: Hit, Name: "Eicar"}, Reject, "554 5.7.1 Virus found: Eicar"},
		{Finding{Check: CheckMalware, State: Hit, Name: "a.exe"}, Reject, "554 5.7.1 Attachment refused: a.exe"},
		{Finding{Check: CheckSpam, State: Hit}, Tempfail, "451 4.7.1 The message is not taken at the moment, try again later"},
		{Finding{Check: CheckSpam}, Tempfail, "451 4.3.0 The message cannot be checked at the moment, try again later"},
		{Finding{Check: CheckSpam}, Reject, "554 5.3.0 The message cannot be checked"},
		{Finding{Check: CheckSpam}, Quarantine, ""},
		{Finding{Check: CheckSpoof, State: Hit, Reasons: Because(Why(SPFFails, "a.example"))}, Reject, "550 5.7.23 SPF validation failed for a.example"},
		{Finding{Check: CheckSpoof, State: Hit, Reasons: Because(Why(SPFFails, "a.example"))}, Tempfail, "451 4.7.1 The message is not taken at the moment, try again later"},
	} {
		if got := c.f.Reply(c.v).String(); got != c.want {
			t.Errorf("%v, %v: got %q, want %q", c.f, c.v, got, c.want)
		}
	}
}

// The documentation's table of replies is that of the catalogue. To write it anew, run the
// test with WRITE_REPLIES=1.
func TestTheDocumentationHasEveryReply(t *testing.T) {
	const file, begin, end = "../../contrib/docs/behaviour.md", "<!-- replies: begin -->\n", "<!-- replies: end -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	table, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s lacks the lines %q and %q", file, begin, end)
	}
	want := repliesTable()
	if os.Getenv("WRITE_REPLIES") != "" {
		if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != want {
		t.Errorf("%s says\n%s\nand the catalogue\n%s", file, table, want)
	}
}

// repliesTable returns the documentation's table of all replies, in Markdown: for each
// when it is given, and what asks for its codes. What a text is filled in with is "…".
func repliesTable() string {
	var b strings.Builder
	b.WriteString("| reply | text | when | by |\n|---|---|---|---|\n")
	codes := Replies()
	for len(codes) > 0 {
		first := catalogue[codes[0]]
		var when, rfc []string
		for len(codes) > 0 {
			row := catalogue[codes[0]]
			if row.reply != first.reply {
				break
			}
			when = append(when, row.when)
			rfc = append(rfc, strings.Split(row.rfc, ", ")...)
			codes = codes[1:]
		}
		fmt.Fprintf(&b, "| %d %s | %s | %s | %s |\n", first.reply.Code, first.reply.Enhanced,
			elided(first.reply.Text), joined(when, "; "), joined(rfc, ", "))
	}
	return b.String()
}

// elided puts "…" in the place of each argument.
func elided(text string) string {
	before, after, found := strings.Cut(text, "{")
	if !found {
		return text
	}
	_, after, _ = strings.Cut(after, "}")
	return before + "…" + elided(after)
}

// joined joins the different ones of a list, sorted.
func joined(list []string, by string) string {
	slices.Sort(list)
	return strings.Join(slices.Compact(list), by)
}

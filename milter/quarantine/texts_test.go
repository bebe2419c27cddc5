package quarantine

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"coexistd/contrib/lab"
)

// textFiles writes templates, by their path below the folder, and returns it with their list.
func textFiles(t *testing.T, contents map[string]string) (dir string, list []Template) {
	t.Helper()
	dir = t.TempDir()
	for name, content := range contents {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		list = append(list, Template{strings.Trim(filepath.Dir(name), "."), path})
	}
	return dir, list
}

// withTexts returns a reporter with texts of its own, which must be right, and what it tells
// of those that fail.
func withTexts(t *testing.T, contents map[string]string) (r *Reporter, told *[]string) {
	t.Helper()
	_, list := textFiles(t, contents)
	own, err := ReadTexts(list)
	if err != nil {
		t.Fatal(err)
	}
	r, told = reporter(t), new([]string)
	r.Texts, r.TextFailed = own, func(err error) { *told = append(*told, err.Error()) }
	return r, told
}

// forms returns a mail's subject and both of its forms.
func forms(t *testing.T, mail Mail) (subject, text, html string) {
	t.Helper()
	text, err := mail.Text()
	if err != nil {
		t.Fatal(err)
	}
	if html, err = mail.HTML(); err != nil {
		t.Fatal(err)
	}
	return mail.Subject, text, html
}

// documented are the examples of the documentation.
func documented(t *testing.T) map[string]string {
	t.Helper()
	content, err := os.ReadFile("../../contrib/docs/report-texts.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)\n`(report\\.[a-z]+)`[^\n]*:\n\n```\n(.*?\n)```\n").FindAllStringSubmatch(string(content), -1)
	if len(blocks) != 2 {
		t.Fatalf("the documentation has %d examples, not 2", len(blocks))
	}
	return map[string]string{blocks[0][1]: blocks[0][2], blocks[1][1]: blocks[1][2]}
}

func TestTheExampleOfTheDocumentationMakesAReport(t *testing.T) {
	t.Parallel()
	r, told := withTexts(t, documented(t))
	subject, text, html := forms(t, reportOf(r, append(ordinary(), hostile()...)))
	golden(t, "testdata/example.txt", subject+"\n\n"+text)
	golden(t, "testdata/example.html", html)
	if len(*told) > 0 {
		t.Errorf("it fails: %q", *told)
	}
}

func TestTheDocumentationHasEveryField(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../../contrib/docs/report-texts.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []any{page{}, line{}, summaryPage{}, newest{}, count{}} {
		for field := range reflect.TypeOf(shown).Fields() {
			if !strings.Contains(string(content), "`."+field.Name+"`") {
				t.Errorf("%T has the field %s, which is not documented", shown, field.Name)
			}
		}
	}
}

func TestAnOwnTextGoesByDomainThenForAllThenComesTheBuiltInOne(t *testing.T) {
	t.Parallel()
	r, _ := withTexts(t, map[string]string{
		"report.txt":                `{{define "subject"}}all{{end}}all: {{.Count}}`,
		"report.html":               `<p>all: {{.Count}}</p>`,
		"globex.example/report.txt": `{{define "subject"}}globex{{end}}globex: {{.Count}}`,
	})
	for owner, want := range map[string]string{"hugo@globex.example": "globex", "alice@acmecorp.com": "all", "root@": "all"} {
		n := notice{owner: owner, to: "bob@acmecorp.com"}
		n.add(ordinary()[0])
		subject, text, html := forms(t, r.compose(&n))
		if subject != want || text != want+": 1" || html != "<p>all: 1</p>" {
			t.Errorf("for %s there is %q, %q, %q", owner, subject, text, html)
		}
	}
	if subject, text, _ := forms(t, summaryOf(r, ordinary())); subject != "Quarantine of mail.acmecorp.com: 4 held, 4 new" || !strings.HasPrefix(text, "Quarantine of mail.acmecorp.com\n") {
		t.Errorf("the summary is %q\n%s", subject, text)
	}
}

// Each of these fails for alice alone, of whom no example tells.
func TestATextThatFailsOrGrowsWithoutEndIsReplacedByTheBuiltInOneAndToldOnce(t *testing.T) {
	t.Parallel()
	builtIn, builtInText, builtInHTML := forms(t, reportOf(reporter(t), ordinary()))
	for about, failing := range map[string]string{
		"it fails":             `{{index .Viruses 7}}`,
		"it grows past 2 MiB":  `{{range .Viruses}}{{range 1000000}}0123456789{{end}}{{end}}`,
		"a function panics":    `{{slice .Owner 5000}}`,
		"a field is not there": `{{(index .Entries 0).Nothing}}`,
	} {
		onlyAlice := `{{if eq .Owner "alice@acmecorp.com"}}` + failing + `{{end}}`
		r, told := withTexts(t, map[string]string{"report.txt": "own\n" + onlyAlice, "report.html": "<p>own</p>\n" + onlyAlice})
		mail := reportOf(r, ordinary())
		for range 2 {
			if subject, text, html := forms(t, mail); subject != builtIn || text != builtInText || html != builtInHTML {
				t.Errorf("%s: the report is %q\n%s\n%s", about, subject, text, html)
			}
		}
		if len(*told) != 2 || !strings.Contains((*told)[0], "report.txt") || !strings.Contains((*told)[1], "report.html") {
			t.Errorf("%s: it tells %q", about, *told)
		}
	}
}

func TestASubjectThatFailsOrIsEmptyIsReplacedByTheBuiltInOne(t *testing.T) {
	t.Parallel()
	for _, failing := range []string{`{{index .Viruses 7}}`, "", " \n", "\u202e"} {
		r, told := withTexts(t, map[string]string{"report.txt": `{{define "subject"}}{{if eq .Owner "alice@acmecorp.com"}}` + failing + `{{else}}own{{end}}{{end}}own`})
		subject, text, _ := forms(t, reportOf(r, ordinary()))
		if subject != "Quarantine: 4 messages held for you" || text != "own" || len(*told) != 1 {
			t.Errorf("%q: the report is %q, %q, and it tells %q", failing, subject, text, *told)
		}
	}
}

func TestWhatStrangersWriteStaysHarmlessInOwnTexts(t *testing.T) {
	t.Parallel()
	all := `{{range .Entries}}{{.About}} {{.From}} {{.Sender}} {{.Why}} {{end}}{{range .Viruses}}{{.About}} {{.From}}{{end}}`
	r, told := withTexts(t, map[string]string{
		"report.txt":  `{{define "subject"}}a` + "\r\nBcc: x@evil.example\r\n\r\n" + all + `{{end}}` + all,
		"report.html": `<a title="{{range .Entries}}{{.About}}{{end}}" href="{{.Link}}">x</a><p>` + all + `</p>`,
	})
	report := reportOf(r, hostile())
	p := parse(t, written(t, r, &report))
	subject, err := p.header.Subject()
	if err != nil || p.header.Has("Bcc") || !strings.HasPrefix(subject, "a Bcc: x@evil.example hello Bcc: victim[@]evil") || len([]rune(subject)) > 201 {
		t.Errorf("the subject is %q (%v), the header has Bcc: %v", subject, err, p.header.Has("Bcc"))
	}
	if strings.Count(p.html, "<") != 4 || strings.Contains(p.html, "https://") || strings.Contains(p.text, "https://") || len(*told) > 0 {
		t.Errorf("in HTML and as text it is\n%s\n%s\n%q", p.html, p.text, *told)
	}
}

func TestMistakesInTextsAreToldWithTheirLine(t *testing.T) {
	t.Parallel()
	const see = "; see report-texts.md in the documentation for what a text may show\n"
	for _, c := range []struct{ name, content, want string }{
		{"report.txt", "a\n{{.Entrys}}", "report.txt:2: executing \"report.txt\" at <.Entrys>: can't evaluate field Entrys in type quarantine.page" + see},
		{"report.txt", "a\n\n{{if .Count}}", "report.txt:3: unexpected EOF" + see},
		{"report.html", "a\n{{shout .Owner}}", "report.html:2: function \"shout\" not defined" + see},
		{"report.html", "<p>\n<script>\nlet x = {{end}}", "report.html:3: unexpected {{end}}" + see},
		{"report.html", "<p>\n<a title={{.Owner}}\"x>", "report.html: \"\\\"\" in unquoted attr: \"\\\"x\"" + see},
		{"report.txt", "{{(index .Entries 0).About}}", "report.txt:1: executing \"report.txt\" at <index .Entries 0>: error calling index: reflect: slice index out of range" + see},
		{"report.txt", "{{define \"subject\"}} {{end}}a", "report.txt: the template \"subject\" makes an empty subject" + see},
		{"summary.txt", "{{.Owner}}", "summary.txt:1: executing \"summary.txt\" at <.Owner>: can't evaluate field Owner in type quarantine.summaryPage" + see},
		{"summary.html", "{{range 3000000}}x{{end}}", "summary.html: the text grows past 2 MiB" + see},
		{"report.txt", strings.Repeat("x", maxTemplate+1), "report.txt: it is larger than 1 MiB\n"},
	} {
		dir, list := textFiles(t, map[string]string{c.name: c.content})
		_, err := ReadTexts(append(list, list...))
		if err == nil || strings.ReplaceAll(err.Error(), dir+"/", "")+"\n" != strings.Repeat(c.want, 2) {
			t.Errorf("%s %.60q:\n%v\nright is\n%s", c.name, c.content, err, c.want)
		}
	}
}

func TestAReportInOwnWordsReachesTheMTA(t *testing.T) {
	t.Parallel()
	r, sink := stocked(t, lab.SinkConfig{}, spamFor("alice@acmecorp.com", "alice@acmecorp.com", true))
	own, _ := withTexts(t, documented(t))
	r.Texts = own.Texts
	if err := r.Run(t.Context(), reportTime.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	p := parse(t, sink.All()[0].Data)
	if subject, err := p.header.Subject(); err != nil || subject != "Eine Nachricht wird zurückgehalten" || !strings.Contains(p.text, "Grund    sieht aus wie Werbung\n") {
		t.Errorf("alice is told %q (%v):\n%s", subject, err, p.text)
	}
}

package quarantine

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	texttemplate "text/template"

	"coexistd/milter/ownmail"
	"coexistd/policy/config/files"
)

const (
	// maxTemplate bounds the file of a text, in bytes.
	maxTemplate = files.MiB
	// maxRendered bounds what is made of one, in bytes: two of these, encoded, are less than what
	// MTAs usually take.
	maxRendered = 2 * files.MiB
	// subjectName is the template in a plain text that makes the mail's subject.
	subjectName = "subject"
)

//go:embed templates
var templateFiles embed.FS

// executor is a set of templates: of plain text, or of HTML.
type executor interface {
	ExecuteTemplate(w io.Writer, name string, data any) error
}

// The built-in texts. No set that was executed can be cloned, so what an organisation's own
// texts are added to is read anew.
var (
	texts = texttemplate.Must(newTexts())
	pages = template.Must(newPages())
)

func newTexts() (*texttemplate.Template, error) {
	return texttemplate.New("").Funcs(texttemplate.FuncMap{"wrap": ownmail.Wrap}).ParseFS(templateFiles, "templates/*.txt")
}

func newPages() (*template.Template, error) {
	return template.ParseFS(templateFiles, "templates/*.html")
}

// Template is a file with a text of the organisation's own.
type Template struct {
	// Domain is that of the recipients of whose held messages it tells, in normal form. Empty:
	// all for whom there is no other.
	Domain string
	// Path ends with the name of a built-in text: report.txt, report.html, summary.txt or
	// summary.html.
	Path string
}

// Texts are an organisation's own texts for reports and summaries. Nil: there are none. Any
// number of goroutines may use them.
type Texts struct{ own map[textKey]*text }

type textKey struct{ domain, name string }

// text is one of these.
type text struct {
	path string
	set  executor
	// hasSubject is set when it makes the mail's subject, too.
	hasSubject bool
}

// ReadTexts reads the files. The error tells everything that is wrong with them, a line for
// each, with the file and its line: no text is taken that fails on examples of what it shows.
func ReadTexts(list []Template) (*Texts, error) {
	read := &Texts{own: make(map[textKey]*text)}
	var errs []error
	for _, one := range list {
		t, err := readText(one.Path)
		if err == nil {
			err = t.try()
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		read.own[textKey{one.Domain, t.name()}] = t
	}
	return read, errors.Join(errs...)
}

func readText(path string) (*text, error) {
	content, _, err := files.Read(path, maxTemplate)
	if err != nil {
		return nil, fmt.Errorf("%s: it %w", path, err)
	}
	t := &text{path: path}
	if filepath.Ext(path) == ".html" {
		set, err := newPages()
		if err != nil {
			return nil, err
		}
		t.set = set
		_, err = set.New(t.name()).Parse(content)
		return t, t.wrong(err)
	}
	set, err := newTexts()
	if err != nil {
		return nil, err
	}
	t.set = set
	_, err = set.New(t.name()).Parse(content)
	t.hasSubject = set.Lookup(subjectName) != nil
	return t, t.wrong(err)
}

func (t *text) name() string { return filepath.Base(t.path) }

// try makes the text of examples.
func (t *text) try() error {
	kind, _, _ := strings.Cut(t.name(), ".")
	for _, page := range examplesOf(kind) {
		_, err := render(t.set, t.name(), page)
		if err == nil && t.hasSubject {
			_, err = t.subject(page)
		}
		if err != nil {
			return t.wrong(err)
		}
	}
	return nil
}

// subject makes a mail's subject of what the mail shows: one line that can be seen.
func (t *text) subject(page any) (string, error) {
	made, err := render(t.set, subjectName, page)
	if err != nil {
		return "", err
	}
	if made = ownmail.OneLine(made); made == "" {
		return "", errors.New(`the template "subject" makes an empty subject`)
	}
	return made, nil
}

// whereWrong is how the errors of templates begin, before they say what is wrong.
var whereWrong = regexp.MustCompile(`^(?:html/)?template: ?([^:]+):(?:(\d+):)?(?:\d+:)? `)

// wrong says of an error, or nil, in which file it is, and in which line if that can be told.
func (t *text) wrong(err error) error {
	if err == nil {
		return nil
	}
	said, where := strings.ReplaceAll(err.Error(), "\n", " "), t.path
	if found := whereWrong.FindStringSubmatch(said); found != nil && found[1] == t.name() {
		said = said[len(found[0]):]
		if found[2] != "" {
			where += ":" + found[2]
		}
	}
	return fmt.Errorf("%s: %s; see report-texts.md in the documentation for what a text may show", where, said)
}

// find returns the text for what concerns a domain, or nil.
func (t *Texts) find(domain, name string) *text {
	if t == nil {
		return nil
	}
	if own := t.own[textKey{domain, name}]; own != nil {
		return own
	}
	return t.own[textKey{"", name}]
}

// errTooLong is the error of a text without an end, or of one that nobody would read.
var errTooLong = errors.New("the text grows past " + strconv.Itoa(maxRendered/files.MiB) + " MiB")

// render makes a text.
func render(set executor, name string, page any) (string, error) {
	var b bounded
	err := set.ExecuteTemplate(&b, name, page)
	return b.String(), err
}

// bounded takes so much as a text can have.
type bounded struct{ strings.Builder }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxRendered {
		return 0, errTooLong
	}
	return b.Builder.Write(p)
}

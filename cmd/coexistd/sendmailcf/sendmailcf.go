// Package sendmailcf reads what Sendmail is configured as: sendmail.cf, as m4 made it, with the files
// of its classes and the texts of its tables.
package sendmailcf

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"coexistd/policy/config/files"
)

// UsualPath is where Sendmail's configuration is, unless it was built otherwise.
const UsualPath = "/etc/mail/sendmail.cf"

const (
	maxSendmailCF = 4 * files.MiB
	// MaxTables bounds a table that sendmail.cf names, and the files of all classes together,
	// in bytes.
	MaxTables = 32 * files.MiB
)

// versionLine is in each configuration that m4 has made to its end; a sendmail.mc has VERSIONID.
var versionLine = regexp.MustCompile(`(?m)^V[0-9]`)

var (
	// ErrNone says that there is no such file.
	ErrNone = errors.New("no Sendmail was found")
	// ErrNoConfiguration says that the file is not what m4 has made to its end.
	ErrNoConfiguration = errors.New("is no configuration of Sendmail's daemon")
)

// Settings is what Sendmail's own configuration says.
type Settings struct {
	// Path is that of sendmail.cf, and Changed when that was made.
	Path    string
	Changed time.Time
	// Options are by name in lower case, Macros and Maps by their names, Mailers by name in lower case,
	// and Rules by the name of their ruleset.
	Options map[string]string
	Macros  map[string]string
	Maps    map[string]Map
	Mailers map[string]Mailer
	Rules   map[string][]string
	// Filters and Daemons are in the order of their lines.
	Filters []Filter
	Daemons []Daemon
	// Files are those that the daemon reads at its start, beside sendmail.cf.
	Files []string

	classes map[string]*Class
	budget  int64 // of the bytes that may yet be read from files of classes
}

// Class is a class of words.
type Class struct {
	// Unread is what else it is made of, and why that was not read.
	Unread []string

	words map[string]bool // in lower case
}

// Has reports a word, which is in lower case.
func (c *Class) Has(word string) bool { return c.words[word] }

// Words are the words, sorted and in lower case.
func (c *Class) Words() []string { return slices.Sorted(maps.Keys(c.words)) }

// Map is a K line.
type Map struct {
	// Class is its kind, in lower case; Flags are without their dashes; Address, or a file, is
	// what follows them.
	Class   string
	Flags   map[byte]string
	Address string
}

// Filter is an X line: a milter.
type Filter struct {
	// Name, Address and Flags are as they stand there.
	Name, Address, Flags string
	// Timeouts are by their letters.
	Timeouts map[byte]time.Duration
}

// Mailer is an M line.
type Mailer struct {
	// Flags and Program are as they stand there. Program is a path, or what stands for one inside
	// Sendmail, such as [IPC]. Port is the one that it calls by TCP, or "".
	Flags, Program, Port string
}

// Read reads sendmail.cf, or submit.cf, and the files that classes are made of. What it cannot
// make sense of, it leaves out, as no message depends on that. With an error, nothing is known
// but the path.
func Read(path string) (*Settings, error) {
	s := &Settings{Path: path}
	text, state, err := files.Read(path, maxSendmailCF)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, fmt.Errorf("%w at %s", ErrNone, path)
	case err != nil:
		return s, fmt.Errorf("%s %w", path, err)
	}
	// A line that begins with a blank goes on with the one before.
	text = strings.NewReplacer("\n ", " ", "\n\t", " \t").Replace(text)
	if !versionLine.MatchString(text) {
		return s, fmt.Errorf("%s %w: it has no line V, as where m4 has failed, and in a sendmail.mc", path, ErrNoConfiguration)
	}
	s.Changed = state.ModTime()
	s.read(text)
	return s, nil
}

// read takes the lines of a sendmail.cf.
func (s *Settings) read(text string) {
	s.budget, s.Options, s.Macros = MaxTables, make(map[string]string), make(map[string]string)
	s.classes, s.Maps, s.Rules, s.Mailers = make(map[string]*Class), make(map[string]Map), make(map[string][]string), make(map[string]Mailer)
	ruleset := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if len(line) < 2 {
			continue
		}
		switch rest := line[1:]; line[0] {
		case 'S':
			ruleset, _, _ = strings.Cut(strings.TrimSpace(rest), "=")
		case 'R':
			s.Rules[ruleset] = append(s.Rules[ruleset], rest)
		default:
			s.addLine(line[0], rest)
		}
	}
	if host, err := os.Hostname(); err == nil {
		s.made("w").add(host) // which Sendmail knows by itself
	}
	s.made("w").add(s.Macros["j"])
}

// addLine reads a line of that kind.
func (s *Settings) addLine(kind byte, rest string) {
	name, value := macroName(rest)
	switch kind {
	case 'O':
		option, value, _ := strings.Cut(rest, "=")
		s.addOption(strings.ToLower(strings.TrimSpace(option)), strings.TrimSpace(value))
	case 'D':
		s.Macros[name] = value
	case 'C':
		s.addWords(name, value)
	case 'F':
		s.addClassFile(name, value)
	case 'K':
		s.addMap(rest)
	case 'X':
		s.addFilter(rest)
	case 'M':
		s.addMailer(rest)
	}
}

func (s *Settings) addMailer(text string) {
	name, rest, _ := strings.Cut(text, ",")
	var m Mailer
	for _, one := range strings.Split(rest, ",") {
		switch key, value := setting(one); key {
		case "F":
			m.Flags = value
		case "P":
			m.Program = value
		case "A":
			if args := strings.Fields(value); len(args) > 1 && args[0] == "TCP" {
				m.Port = append(args, "smtp")[2]
			}
		}
	}
	s.Mailers[strings.ToLower(strings.TrimSpace(name))] = m
}

// macroName cuts the name of a macro or class off: one character, or more between braces.
func macroName(text string) (name, rest string) {
	if inner, braced := strings.CutPrefix(text, "{"); braced {
		name, rest, _ = strings.Cut(inner, "}")
		return name, rest
	}
	return text[:1], text[1:]
}

func (s *Settings) addOption(name, value string) {
	if name != "daemonportoptions" {
		s.Options[name] = value
		return
	}
	d := Daemon{Name: fmt.Sprintf("Daemon%d", len(s.Daemons)), Port: "smtp"}
	for _, one := range strings.Split(value, ",") {
		key, value := setting(one)
		switch strings.ToLower(key + " ")[0] {
		case 'n':
			d.Name = value
		case 'a':
			d.Host = value
		case 'p':
			d.Port = value
		case 'f':
			d.IsIPv6 = strings.EqualFold(value, "inet6")
		case 'm':
			d.Modifiers = value
		case 'i':
			d.Own, d.Filters = true, filterNames(value)
		}
	}
	s.Daemons = append(s.Daemons, d)
}

// filterNames reads a list of filters.
func filterNames(text string) []string {
	return strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune(";, \t", c) })
}

// Class is the class of that name, which is empty where there is none.
func (s *Settings) Class(name string) *Class {
	if c := s.classes[name]; c != nil {
		return c
	}
	return new(Class)
}

// made is the class of that name, to which more is to be added.
func (s *Settings) made(name string) *Class {
	if s.classes[name] == nil {
		s.classes[name] = &Class{words: make(map[string]bool)}
	}
	return s.classes[name]
}

func (c *Class) add(words ...string) {
	for _, word := range words {
		if word != "" {
			c.words[strings.ToLower(word)] = true
		}
	}
}

// mostWords is how many characters of a C line's words Sendmail takes, MAXLINE of its conf.h without
// the NUL. It says nothing of what follows, and cuts a word in two.
const mostWords = 2047

// addWords reads the words of a C line; "$={NAME}" stands for those of another class.
func (s *Settings) addWords(name, text string) {
	c := s.made(name)
	text = text[:min(len(text), mostWords)]
	for word := range strings.FieldsSeq(text) {
		other, is := strings.CutPrefix(word, "$=")
		if !is || other == "" {
			c.add(word)
			continue
		}
		from, _ := macroName(other)
		c.add(s.Class(from).Words()...)
		c.Unread = append(c.Unread, s.Class(from).Unread...)
	}
}

// addClassFile reads the file of an F line. What a program, a map or a directory server has is
// not asked for.
func (s *Settings) addClassFile(name, text string) {
	text = strings.TrimSpace(text)
	optional := strings.HasPrefix(text, "-o")
	if optional {
		_, text, _ = strings.Cut(text, " ")
		text = strings.TrimSpace(text)
	}
	path, format, _ := strings.Cut(text, " ")
	path = strings.Trim(path, `"`)
	c := s.made(name)
	if !filepath.IsAbs(path) {
		c.Unread = append(c.Unread, path+" is no file")
		return
	}
	s.Files = append(s.Files, path)
	content, _, err := files.Read(path, s.budget)
	s.budget -= int64(len(content))
	switch {
	case errors.Is(err, fs.ErrNotExist) && optional:
	case err != nil:
		c.Unread = append(c.Unread, fmt.Sprintf("%s %v", path, err))
	}
	for line := range strings.Lines(content) {
		if strings.Contains(format, "#") { // %[^\#]: up to a comment
			line, _, _ = strings.Cut(line, "#")
			c.add(strings.Fields(line)...)
		} else if words := strings.Fields(line); len(words) > 0 {
			c.add(words[0])
		}
	}
}

func (s *Settings) addMap(text string) {
	fields := strings.Fields(text)
	if len(fields) < 2 {
		return
	}
	m := Map{Class: strings.ToLower(fields[1]), Flags: make(map[byte]string)}
	rest := fields[2:]
	for len(rest) > 0 && len(rest[0]) > 1 && rest[0][0] == '-' {
		m.Flags[rest[0][1]] = rest[0][2:]
		rest = rest[1:]
	}
	m.Address = strings.Join(rest, " ")
	s.Maps[fields[0]] = m
}

func (s *Settings) addFilter(text string) {
	name, rest, _ := strings.Cut(text, ",")
	f := Filter{
		Name: strings.TrimSpace(name),
		// conf.c and milter.c of Sendmail
		Timeouts: map[byte]time.Duration{'C': 5 * time.Minute, 'S': 10 * time.Second, 'R': 10 * time.Second, 'E': 5 * time.Minute},
	}
	for _, one := range strings.Split(rest, ",") {
		key, value := setting(one)
		switch key {
		case "S":
			f.Address = value
		case "F":
			f.Flags = value
		case "T":
			for _, one := range strings.Split(value, ";") {
				code, text, _ := strings.Cut(strings.TrimSpace(one), ":")
				if d, ok := Time(text); ok && len(code) > 0 {
					f.Timeouts[code[0]] = d
				}
			}
		}
	}
	s.Filters = append(s.Filters, f)
}

// Time reads a time such as 1h30m; a number alone is one of seconds.
func Time(text string) (total time.Duration, ok bool) {
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	const most = 1 << 20 // of a unit: nobody waits for longer
	number, digits := 0, 0
	for _, c := range []byte(strings.ToLower(strings.TrimSpace(text)) + "s") {
		if c >= '0' && c <= '9' {
			number, digits = min(number*10+int(c-'0'), most), digits+1
			continue
		}
		unit, known := units[c]
		if !known {
			return 0, false
		}
		total, ok = total+time.Duration(number)*unit, ok || digits > 0
		number, digits = 0, 0
	}
	return total, ok
}

// Option is the value of an option, or what Sendmail takes where sendmail.cf does not say.
func (s *Settings) Option(name, usual string) string {
	if value, is := s.Options[strings.ToLower(name)]; is {
		return value
	}
	return usual
}

// Path is where a map's text is.
func (m Map) Path() string { return m.Address[strings.LastIndexByte(m.Address, ' ')+1:] }

// Table reads the text that makemap has made a map's database of, or that the map itself reads.
// It is nil when there is no such map.
func (s *Settings) Table(name string) (rows map[string]string, err error) {
	m, is := s.Maps[name]
	if !is {
		return nil, nil
	}
	path := m.Path()
	content, _, err := files.Read(path, MaxTables)
	if err != nil {
		return nil, fmt.Errorf("%s %w", path, err)
	}
	return Rows(content), nil
}

// Rows reads a table's text. Its keys are in lower case.
func Rows(text string) map[string]string {
	rows := make(map[string]string)
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 1 && words[0][0] != '#' {
			rows[strings.ToLower(words[0])] = strings.Join(words[1:], " ")
		}
	}
	return rows
}

// setting reads NAME=VALUE.
func setting(text string) (name, value string) {
	name, value, _ = strings.Cut(text, "=")
	return strings.TrimSpace(name), strings.TrimSpace(value)
}

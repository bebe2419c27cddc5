package doctor

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

// usualSendmailCF is where Sendmail's configuration is, unless it was built otherwise.
const usualSendmailCF = "/etc/mail/sendmail.cf"

const (
	maxSendmailCF = 4 * files.MiB
	// maxTables bounds a table that sendmail.cf names, and the files of all classes together,
	// in bytes.
	maxTables = 32 * files.MiB
)

// versionLine is in each configuration that m4 has made to its end; a sendmail.mc has VERSIONID.
var versionLine = regexp.MustCompile(`(?m)^V[0-9]`)

var (
	errNoSendmail      = errors.New("no Sendmail was found")
	errNoConfiguration = errors.New("is no configuration of Sendmail's daemon")
)

// sendmail is what Sendmail's own configuration says.
type sendmail struct {
	err     error // why nothing is known; errNoSendmail when there is none
	path    string
	changed time.Time
	options map[string]string // by name in lower case
	macros  map[string]string
	classes map[string]*wordClass
	maps    map[string]sendmailMap
	filters []sendmailFilter
	daemons []sendmailDaemon
	mailers map[string]sendmailMailer // by name in lower case
	rules   map[string][]string       // by the name of their ruleset
	files   []string                  // which the daemon reads at its start
	budget  int64                     // of the bytes that may yet be read from files of classes
}

// wordClass is a class of words, in lower case.
type wordClass struct {
	words  map[string]bool
	unread []string // what else it is made of, and why that was not read
}

// sendmailMap is a K line.
type sendmailMap struct {
	class   string
	flags   map[byte]string // without their dashes
	address string          // or file: what follows the flags
}

// sendmailFilter is an X line: a milter.
type sendmailFilter struct {
	name, address, flags string
	timeouts             map[byte]time.Duration
}

// sendmailMailer is an M line.
type sendmailMailer struct {
	flags string
	port  string // which it calls by TCP, or ""
}

// sendmailDaemon is a listener of Sendmail's.
type sendmailDaemon struct {
	name, host, port string
	isIPv6           bool
	modifiers        string   // M=
	own              bool     // it has a list of filters of its own,
	filters          []string // which is this
}

// readSendmail reads sendmail.cf, or submit.cf, and the files that classes are made of. What it
// cannot make sense of, it leaves out, as no message depends on the doctor.
func readSendmail(path string) *sendmail {
	text, state, err := files.Read(path, maxSendmailCF)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &sendmail{err: fmt.Errorf("%w at %s", errNoSendmail, path), path: path}
	case err != nil:
		return &sendmail{err: fmt.Errorf("%s %w", path, err), path: path}
	}
	s := &sendmail{
		path: path, changed: state.ModTime(), budget: maxTables, options: make(map[string]string), macros: make(map[string]string),
		classes: make(map[string]*wordClass), maps: make(map[string]sendmailMap), rules: make(map[string][]string), mailers: make(map[string]sendmailMailer),
	}
	// A line that begins with a blank goes on with the one before.
	text = strings.NewReplacer("\n ", " ", "\n\t", " \t").Replace(text)
	if !versionLine.MatchString(text) {
		s.err = fmt.Errorf("%s %w: it has no line V, as where m4 has failed, and in a sendmail.mc", path, errNoConfiguration)
		return s
	}
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
			s.rules[ruleset] = append(s.rules[ruleset], rest)
		default:
			s.addLine(line[0], rest)
		}
	}
	if host, err := os.Hostname(); err == nil {
		s.made("w").add(host) // which Sendmail knows by itself
	}
	s.made("w").add(s.macros["j"])
	return s
}

// addLine reads a line of that kind.
func (s *sendmail) addLine(kind byte, rest string) {
	name, value := macroName(rest)
	switch kind {
	case 'O':
		option, value, _ := strings.Cut(rest, "=")
		s.addOption(strings.ToLower(strings.TrimSpace(option)), strings.TrimSpace(value))
	case 'D':
		s.macros[name] = value
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

func (s *sendmail) addMailer(text string) {
	name, rest, _ := strings.Cut(text, ",")
	var m sendmailMailer
	for _, one := range strings.Split(rest, ",") {
		switch key, value := setting(one); key {
		case "F":
			m.flags = value
		case "A":
			if args := strings.Fields(value); len(args) > 1 && args[0] == "TCP" {
				m.port = append(args, "smtp")[2]
			}
		}
	}
	s.mailers[strings.ToLower(strings.TrimSpace(name))] = m
}

// macroName cuts the name of a macro or class off: one character, or more between braces.
func macroName(text string) (name, rest string) {
	if inner, braced := strings.CutPrefix(text, "{"); braced {
		name, rest, _ = strings.Cut(inner, "}")
		return name, rest
	}
	return text[:1], text[1:]
}

func (s *sendmail) addOption(name, value string) {
	if name != "daemonportoptions" {
		s.options[name] = value
		return
	}
	d := sendmailDaemon{name: fmt.Sprintf("Daemon%d", len(s.daemons)), port: "smtp"}
	for _, one := range strings.Split(value, ",") {
		key, value := setting(one)
		switch strings.ToLower(key + " ")[0] {
		case 'n':
			d.name = value
		case 'a':
			d.host = value
		case 'p':
			d.port = value
		case 'f':
			d.isIPv6 = strings.EqualFold(value, "inet6")
		case 'm':
			d.modifiers = value
		case 'i':
			d.own, d.filters = true, filterNames(value)
		}
	}
	s.daemons = append(s.daemons, d)
}

// filterNames reads a list of filters.
func filterNames(text string) []string {
	return strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune(";, \t", c) })
}

// class is the class of that name, which is empty where there is none.
func (s *sendmail) class(name string) *wordClass {
	if c := s.classes[name]; c != nil {
		return c
	}
	return new(wordClass)
}

// made is the class of that name, to which more is to be added.
func (s *sendmail) made(name string) *wordClass {
	if s.classes[name] == nil {
		s.classes[name] = &wordClass{words: make(map[string]bool)}
	}
	return s.classes[name]
}

func (c *wordClass) add(words ...string) {
	for _, word := range words {
		if word != "" {
			c.words[strings.ToLower(word)] = true
		}
	}
}

// addWords reads the words of a C line; "$={NAME}" stands for those of another class.
func (s *sendmail) addWords(name, text string) {
	c := s.made(name)
	for word := range strings.FieldsSeq(text) {
		other, is := strings.CutPrefix(word, "$=")
		if !is || other == "" {
			c.add(word)
			continue
		}
		from, _ := macroName(other)
		c.add(slices.Collect(maps.Keys(s.class(from).words))...)
		c.unread = append(c.unread, s.class(from).unread...)
	}
}

// addClassFile reads the file of an F line. What a program, a map or a directory server has is
// not asked for.
func (s *sendmail) addClassFile(name, text string) {
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
		c.unread = append(c.unread, path+" is no file")
		return
	}
	s.files = append(s.files, path)
	content, _, err := files.Read(path, s.budget)
	s.budget -= int64(len(content))
	switch {
	case errors.Is(err, fs.ErrNotExist) && optional:
	case err != nil:
		c.unread = append(c.unread, fmt.Sprintf("%s %v", path, err))
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

func (s *sendmail) addMap(text string) {
	fields := strings.Fields(text)
	if len(fields) < 2 {
		return
	}
	m := sendmailMap{class: strings.ToLower(fields[1]), flags: make(map[byte]string)}
	rest := fields[2:]
	for len(rest) > 0 && len(rest[0]) > 1 && rest[0][0] == '-' {
		m.flags[rest[0][1]] = rest[0][2:]
		rest = rest[1:]
	}
	m.address = strings.Join(rest, " ")
	s.maps[fields[0]] = m
}

func (s *sendmail) addFilter(text string) {
	name, rest, _ := strings.Cut(text, ",")
	f := sendmailFilter{
		name: strings.TrimSpace(name),
		// conf.c and milter.c of Sendmail
		timeouts: map[byte]time.Duration{'C': 5 * time.Minute, 'S': 10 * time.Second, 'R': 10 * time.Second, 'E': 5 * time.Minute},
	}
	for _, one := range strings.Split(rest, ",") {
		key, value := setting(one)
		switch key {
		case "S":
			f.address = value
		case "F":
			f.flags = value
		case "T":
			for _, one := range strings.Split(value, ";") {
				code, text, _ := strings.Cut(strings.TrimSpace(one), ":")
				if d, ok := sendmailTime(text); ok && len(code) > 0 {
					f.timeouts[code[0]] = d
				}
			}
		}
	}
	s.filters = append(s.filters, f)
}

// sendmailTime reads a time such as 1h30m; a number alone is one of seconds.
func sendmailTime(text string) (total time.Duration, ok bool) {
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

// option is the value of an option, or what Sendmail takes where sendmail.cf does not say.
func (s *sendmail) option(name, usual string) string {
	if value, is := s.options[strings.ToLower(name)]; is {
		return value
	}
	return usual
}

// path is where a map's text is.
func (m sendmailMap) path() string { return m.address[strings.LastIndexByte(m.address, ' ')+1:] }

// table reads the text that makemap has made a map's database of, or that the map itself reads.
// It is nil when there is no such map.
func (s *sendmail) table(name string) (rows map[string]string, err error) {
	m, is := s.maps[name]
	if !is {
		return nil, nil
	}
	path := m.path()
	content, _, err := files.Read(path, maxTables)
	if err != nil {
		return nil, fmt.Errorf("%s %w", path, err)
	}
	rows = make(map[string]string)
	for line := range strings.Lines(content) {
		if words := strings.Fields(line); len(words) > 1 && words[0][0] != '#' {
			rows[strings.ToLower(words[0])] = strings.Join(words[1:], " ")
		}
	}
	return rows, nil
}

package mtalog

import (
	"strings"
	"time"
)

// Line is a line of a log, without what syslog puts before it.
type Line struct {
	Time time.Time
	// Program is who wrote it, such as "postfix/smtp" or "sendmail".
	Program string
	Text    string
}

// ParseLine reads a line as syslog daemons write them: with the time of RFC 3339, or with that
// of RFC 3164 section 4.1.2, which has neither year nor zone. It is taken to be in now's zone,
// and the last such time that is not more than a day after now. What is no such line is
// reported false.
func ParseLine(line string, now time.Time) (l Line, ok bool) {
	line = withoutPriority(line)
	rest := ""
	if l.Time, rest, ok = parseTime(line, now); !ok {
		return l, false
	}
	// What a socket of syslog is given names no host.
	word, text, ok := strings.Cut(rest, " ")
	if ok && !strings.HasSuffix(word, ":") {
		word, text, ok = strings.Cut(text, " ")
	}
	program, pid, named := strings.Cut(word, "[")
	if !ok || !named || !strings.HasSuffix(pid, "]:") || program == "" {
		return l, false
	}
	l.Program, l.Text = program, text
	return l, true
}

// Event tells what the line says of a message. Its Kind is None where it says nothing that
// counts.
func (l Line) Event() Event {
	var e Event
	switch {
	case strings.Contains(l.Program, "/"):
		e = postfixEvent(l.Program[strings.LastIndexByte(l.Program, '/')+1:], l.Text)
	case isSendmail(l.Program):
		e = sendmailEvent(l.Text)
	}
	e.Time = l.Time
	return e
}

// withoutPriority cuts off "<22>", which a daemon may be told to keep.
func withoutPriority(line string) string {
	if strings.HasPrefix(line, "<") {
		if end := strings.IndexByte(line[:min(len(line), 5)], '>'); end > 0 {
			return line[end+1:]
		}
	}
	return line
}

const months = "JanFebMarAprMayJunJulAugSepOctNovDec"

func parseTime(line string, now time.Time) (at time.Time, rest string, ok bool) {
	if len(line) < len("Jan  2 15:04:05 ") {
		return at, "", false
	}
	if line[0] >= '0' && line[0] <= '9' {
		stamp, rest, _ := strings.Cut(line, " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		return at, rest, err == nil
	}
	month := strings.Index(months, line[:3])
	day, hour, minute, second := number(line[4:6]), number(line[7:9]), number(line[10:12]), number(line[13:15])
	if month < 0 || month%3 != 0 || line[3] != ' ' || line[6] != ' ' || line[9] != ':' || line[12] != ':' || line[15] != ' ' ||
		day < 1 || day > 31 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60 {
		return at, "", false
	}
	for year := now.AddDate(0, 0, 1).Year(); year > now.Year()-5; year-- { // 29 February is in one of them
		at = time.Date(year, time.Month(month/3+1), day, hour, minute, second, 0, now.Location())
		if at.Day() == day && at.Before(now.AddDate(0, 0, 1)) {
			return at, line[16:], true
		}
	}
	return at, "", false
}

// number reads two digits, the first of which may be a space; -1: they are none.
func number(text string) int {
	tens, ones := text[0], text[1]
	if tens == ' ' {
		tens = '0'
	}
	if tens < '0' || tens > '9' || ones < '0' || ones > '9' {
		return -1
	}
	return int(tens-'0')*10 + int(ones-'0')
}

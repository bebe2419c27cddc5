package mtalog

import (
	"net/netip"
	"strings"
)

// The lines are read from the left, where the MTA's own words stand, up to the first text of a
// stranger's that nothing ends: what is in that is never looked at again.

// shortestID and longestID bound a name of the queue.
const (
	shortestID = 5
	longestID  = 32
)

// cutQueueID cuts what a program says into the queue id that it begins with and the rest. The
// id is empty where the MTA had given none.
func cutQueueID(text string) (id, rest string, ok bool) {
	id, rest, ok = strings.Cut(text, ": ")
	if id == "NOQUEUE" {
		return "", rest, ok
	}
	return id, rest, ok && isQueueID(id)
}

// isQueueID reports that a text can be the name of a message in a queue.
func isQueueID(text string) bool {
	if len(text) < shortestID || len(text) > longestID {
		return false
	}
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// leadingID is the name that a text begins with; empty: it does not.
func leadingID(text string) string {
	end := 0
	for end < len(text) && end <= longestID && (text[end] >= '0' && text[end] <= '9' || text[end] >= 'A' && text[end] <= 'Z' || text[end] >= 'a' && text[end] <= 'z') {
		end++
	}
	if !isQueueID(text[:end]) {
		return ""
	}
	return text[:end]
}

// bracketed reads an address in angle brackets. Those in a quoted string (RFC 5321 section
// 4.1.2) do not count.
func bracketed(text string) (address, rest string, ok bool) {
	if !strings.HasPrefix(text, "<") {
		return "", text, false
	}
	end := unquotedIndex(text, '>')
	if end < 0 {
		return "", text, false
	}
	return cut(text[1:end], longestAddress), text[end+1:], true
}

// unquotedIndex is the place of the first such character outside quoted strings; -1: none. A
// string that does not end is none.
func unquotedIndex(text string, c byte) int {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quoted:
			i++
		case text[i] == '"':
			quoted = !quoted
		case text[i] == c && !quoted:
			return i
		}
	}
	return -1
}

// clientIn is the address in the last square brackets of a text, such as "name[192.0.2.1]".
func clientIn(text string) netip.Addr {
	open, end := strings.LastIndexByte(text, '['), strings.LastIndexByte(text, ']')
	if open < 0 || end < open {
		return netip.Addr{}
	}
	ip, _ := netip.ParseAddr(strings.TrimPrefix(text[open+1:end], "IPv6:"))
	return ip.Unmap().WithZone("")
}

// codes reads the enhanced status code of a reply, such as "5.1.1" of "550 5.1.1 No".
func codes(reply string) string {
	for range 2 {
		word, rest, _ := strings.Cut(reply, " ")
		if isDSN(word) {
			return word
		}
		reply = rest
	}
	return ""
}

// isDSN reports an enhanced status code (RFC 3463 section 2).
func isDSN(text string) bool {
	dots := 0
	for i := range len(text) {
		switch c := text[i]; {
		case c == '.' && i > 0 && text[i-1] != '.':
			dots++
		case c < '0' || c > '9':
			return false
		}
	}
	return dots == 2 && len(text) <= len("5.999.999") && text[1] == '.' && text[len(text)-1] != '.' && (text[0] == '2' || text[0] == '4' || text[0] == '5')
}

// lastName is the name of a queue behind the last such words of an answer; empty: there is none.
func lastName(answer, words string) string {
	at := strings.LastIndex(answer, words)
	if at < 0 {
		return ""
	}
	return leadingID(answer[at+len(words):])
}

// Package rspamd has rspamd judge messages.
package rspamd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"coexistd/policy/mail"
	"coexistd/policy/verdict"
	"coexistd/scanners"
)

const (
	maxReply      = 1 << 20  // bytes of JSON
	maxHeader     = 64 << 10 // bytes of the reply's header
	maxRecipients = 100      // told to rspamd
	maxValue      = 512      // bytes of what is told of the envelope, each

	maxSymbols       = 20  // in a finding's detail
	maxSymbolsLength = 400 // bytes
)

// Options say how rspamd is asked.
type Options struct {
	// Address is the URL of a normal or proxy worker: "http://127.0.0.1:11333".
	Address string
	// MaxSize is the size in bytes of the largest message that is sent there. It
	// should not be more than rspamd's own max_message.
	MaxSize int64
	// Timeout bounds one scan.
	Timeout time.Duration
	// Hostname is what this MTA calls itself.
	Hostname string
}

// Scanner has rspamd judge messages, over HTTP. It is the scanners.Scanner of
// verdict.CheckSpam.
type Scanner struct{ client }

// New returns a Scanner that asks the rspamd at options.Address.
func New(options Options) *Scanner { return &Scanner{newClient(options)} }

// Check is verdict.CheckSpam.
func (s *Scanner) Check() string { return verdict.CheckSpam }

// Scan sends the message and its envelope to rspamd. A message that rspamd
// would mark or put off is a hit that proposes this; one that it would take, or
// greylist, is clean. Greylisting proper comes as a soft reject: what the
// action "greylist" asks for is the work of rspamd's own module.
func (s *Scanner) Scan(ctx context.Context, m *scanners.Message) verdict.Finding {
	if m.Size > s.options.MaxSize {
		return scanners.Unknown(verdict.CheckSpam, fmt.Sprintf("the message has %d bytes, more than rspamd is asked about (%d)", m.Size, s.options.MaxSize))
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	content := &requestBody{from: m.Reader(), left: m.Size}
	defer content.Close()

	request, err := s.request(ctx, "/checkv2", m, content)
	if err != nil {
		return scanners.Unknown(verdict.CheckSpam, "rspamd cannot be asked: "+err.Error())
	}
	response, reply, err := s.do(request, maxReply+1)
	content.Close() // nothing changes in it any more
	switch {
	case content.err != nil:
		return scanners.Unknown(verdict.CheckSpam, "the message could not be read: "+content.err.Error())
	case err != nil:
		return s.unanswered(ctx, err)
	case len(reply) > maxReply:
		return scanners.Unknown(verdict.CheckSpam, fmt.Sprintf("rspamd's answer is longer than %d bytes", maxReply))
	case response.StatusCode != http.StatusOK:
		return scanners.Unknown(verdict.CheckSpam, fmt.Sprintf("rspamd answers with status %d: %s", response.StatusCode, mail.Excerpt(string(reply), 200)))
	case content.left > 0:
		return scanners.Unknown(verdict.CheckSpam, fmt.Sprintf("rspamd answered before it had the last %d bytes of the message", content.left))
	}
	return judge(reply)
}

// unanswered is the finding of a message that rspamd has given no answer about.
//
// A message that is larger than rspamd's max_message, or one that makes a
// process of it crash, looks like a server that is down: the connection ends.
// So that a stranger cannot have rspamd taken for down by such messages, it is
// asked whether it is there.
func (s *Scanner) unanswered(ctx context.Context, err error) verdict.Finding {
	if errors.Is(ctx.Err(), context.Canceled) {
		return scanners.Unknown(verdict.CheckSpam, "the scan was broken off: "+err.Error())
	}
	if ctx.Err() == nil {
		if _, pingError := s.Ping(ctx); pingError == nil {
			return scanners.Unknown(verdict.CheckSpam, "rspamd is there, but closed the connection on this message (is it larger than its max_message?): "+err.Error())
		}
	}
	return scanners.Down(verdict.CheckSpam, "rspamd does not answer: "+err.Error())
}

// Ping asks whether rspamd is there. It returns the version that rspamd tells,
// "rspamd/3.4", or nothing where it keeps that to itself.
func (s *Scanner) Ping(ctx context.Context) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.options.Address+"/ping", nil)
	if err != nil {
		return "", fmt.Errorf("rspamd: %w", err)
	}
	response, answer, err := s.do(request, 100)
	if err != nil {
		return "", fmt.Errorf("rspamd does not answer: %w", err)
	}
	if response.StatusCode != http.StatusOK || strings.TrimSpace(string(answer)) != "pong" {
		return "", fmt.Errorf("what answers at %s is no rspamd: it says %d %q to a ping", request.URL.Redacted(), response.StatusCode, mail.Excerpt(string(answer), 100))
	}
	if version, found := strings.CutPrefix(response.Header.Get("Server"), "rspamd/"); found {
		return "rspamd/" + mail.Excerpt(version, 50), nil
	}
	return "", nil
}

// judgement is what counts in the reply to /checkv2.
type judgement struct {
	Action   string            `json:"action"`
	Score    *float64          `json:"score"`
	Required *float64          `json:"required_score"`
	Skipped  bool              `json:"is_skipped"`
	Error    string            `json:"error"`
	Symbols  map[string]symbol `json:"symbols"`
}

type symbol struct {
	Score float64 `json:"score"`
}

// judge turns rspamd's reply into a finding.
func judge(text []byte) verdict.Finding {
	var reply judgement
	if err := json.Unmarshal(text, &reply); err != nil {
		return scanners.Unknown(verdict.CheckSpam, fmt.Sprintf("rspamd's answer cannot be read: %s: %s", mail.Excerpt(err.Error(), 200), mail.Excerpt(string(text), 100)))
	}
	switch {
	case reply.Error != "":
		return scanners.Unknown(verdict.CheckSpam, "rspamd reports an error: "+mail.Excerpt(reply.Error, 200))
	case reply.Score == nil:
		return scanners.Unknown(verdict.CheckSpam, "rspamd's answer has no score")
	}
	scores := fmt.Sprintf("rspamd scores it %.2f", *reply.Score)
	if reply.Required != nil {
		scores += fmt.Sprintf(" of %.2f", *reply.Required)
	}
	finding := scanners.Hit(verdict.CheckSpam, "spam", scores+": "+reply.Action)
	switch reply.Action {
	case "no action", "greylist":
		// What it knows at first sight, such as GTUBE, is skipped and a hit.
		if reply.Skipped {
			return scanners.Unknown(verdict.CheckSpam, "rspamd has not looked at the message: its settings let it pass")
		}
		finding = verdict.Passed(verdict.CheckSpam)
	case "add header", "rewrite subject":
		finding.Proposed = verdict.Tag
	case "soft reject":
		finding.Proposed = verdict.Tempfail
	case "reject", "quarantine", "discard":
	default:
		return scanners.Unknown(verdict.CheckSpam, fmt.Sprintf("rspamd answers with an action that is not known here: %q", mail.Excerpt(reply.Action, 50)))
	}
	if _, test := reply.Symbols["GTUBE"]; test && finding.State == verdict.Hit {
		finding.Name = "GTUBE"
	}
	finding.Score, finding.Scored = *reply.Score, true
	finding.Detail = describe(reply.Symbols)
	return finding
}

// describe lists symbols with their scores, those that weigh most first.
func describe(symbols map[string]symbol) string {
	names := slices.SortedFunc(maps.Keys(symbols), func(a, b string) int {
		return cmp.Or(-cmp.Compare(math.Abs(symbols[a].Score), math.Abs(symbols[b].Score)), cmp.Compare(a, b))
	})
	var b strings.Builder
	for i, name := range names {
		part := mail.Excerpt(name, 60) + "=" + strconv.FormatFloat(symbols[name].Score, 'f', 2, 64)
		if i == maxSymbols || b.Len()+len(part) > maxSymbolsLength {
			fmt.Fprintf(&b, " and %d more", len(names)-i)
			break
		}
		if i > 0 {
			b.WriteString(" ")
		}
		b.WriteString(part)
	}
	return b.String()
}

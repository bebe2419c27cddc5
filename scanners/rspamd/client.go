package rspamd

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"

	"coexistd/scanners"
)

// client speaks to one worker of rspamd.
type client struct {
	options Options
	http    *http.Client
}

func newClient(options Options) client {
	options.Address = strings.TrimRight(options.Address, "/")
	return client{options, &http.Client{
		// The zero Transport takes no proxy from the environment.
		Transport: &http.Transport{
			// rspamd closes a connection behind its reply whatever is asked of it.
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeader,
		},
		// Where a redirect leads to, mail is not sent.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// request makes the request that gives a worker a message, as rspamd's protocol
// describes it.
func (c *client) request(ctx context.Context, path string, m *scanners.Message, content *requestBody) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.options.Address+path, content)
	if err != nil {
		return nil, err
	}
	request.ContentLength = m.Size
	if m.Size == 0 {
		// A length of 0 stands for one that is not known, save for this body.
		request.Body = http.NoBody
	}
	header := request.Header
	add := func(name, value string) {
		if value != "" && sendable(value) {
			header.Add(name, value)
		}
	}
	add("From", "<"+m.Sender+">")
	for _, recipient := range m.Recipients[:min(len(m.Recipients), maxRecipients)] {
		// A comma divides recipients, in brackets too. What follows one could pass
		// for a recipient that rspamd's settings spare.
		if !strings.Contains(recipient, ",") {
			add("Rcpt", "<"+recipient+">")
		}
	}
	if m.Client.IsValid() {
		add("IP", m.Client.Unmap().WithZone("").String())
	}
	add("Helo", m.Helo)
	// An MTA that found no name may give the address in brackets instead. Without
	// a name, rspamd says "unknown" by itself.
	if !strings.HasPrefix(m.ClientName, "[") {
		add("Hostname", m.ClientName)
	}
	add("User", m.Login)
	add("Queue-Id", m.QueueID)
	add("MTA-Name", c.options.Hostname)
	header.Set("User-Agent", "coexistd")
	return request, nil
}

// sendable tells whether a value that a stranger chose may stand in a request.
// One that may not is left out, since a part of it would be another value. Text
// that is not ASCII passes as it is, as from rspamd's own milter.
func sendable(value string) bool {
	return len(value) <= maxValue &&
		!strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// do returns the response and its body, of at most so many bytes.
func (c *client) do(request *http.Request, most int64) (response *http.Response, body []byte, err error) {
	if response, err = c.http.Do(request); err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, most))
	return response, body, err
}

// requestBody is a message on its way to rspamd. An http.Transport may read and
// close a request's body after it has returned the response or an error: once
// Close has returned, the message is not touched any more.
type requestBody struct {
	mu   sync.Mutex
	from io.Reader
	left int64 // bytes that have not been read
	err  error // of the message's own reader
	shut bool
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shut {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.from.Read(p)
	b.left -= int64(n)
	if err == io.EOF && b.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// Close ends the use of the message. It never fails.
func (b *requestBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = true
	return nil
}

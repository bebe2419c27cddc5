package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"
)

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 64 << 20

// Client asks a daemon. Its errors say what to do.
type Client struct {
	// For is the user for whom this one asks; empty: nobody but themselves.
	For string

	path string
	http http.Client
}

// NewClient returns the client of the daemon whose socket is at this path.
func NewClient(path string) *Client {
	return &Client{path: path, http: http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}}
}

// Status asks what the daemon has and does.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.ask(ctx, http.MethodGet, PathStatus, nil, &s)
}

// Reload has the daemon take its files as they are now, and waits for what comes of it.
func (c *Client) Reload(ctx context.Context) (r Reloaded, err error) {
	return r, c.ask(ctx, http.MethodPost, PathReload, struct{}{}, &r)
}

// Limits asks for the fullest buckets.
func (c *Client) Limits(ctx context.Context) (l Limits, err error) {
	return l, c.ask(ctx, http.MethodGet, PathLimits, nil, &l)
}

// Reset empties buckets.
func (c *Client) Reset(ctx context.Context, what Reset) (found bool, err error) {
	var done Done
	err = c.ask(ctx, http.MethodPost, PathReset, what, &done)
	return done.Found, err
}

// Clients asks who is turned away.
func (c *Client) Clients(ctx context.Context) (l Clients, err error) {
	return l, c.ask(ctx, http.MethodGet, PathClients, nil, &l)
}

// Unblock lets a client in again.
func (c *Client) Unblock(ctx context.Context, what Unblock) (found bool, err error) {
	var done Done
	err = c.ask(ctx, http.MethodPost, PathUnblock, what, &done)
	return done.Found, err
}

// Accept has the list of a source taken that waits. It reports false where none does.
func (c *Client) Accept(ctx context.Context, what Accept) (found bool, err error) {
	var done Done
	err = c.ask(ctx, http.MethodPost, PathAccept, what, &done)
	return done.Found, err
}

// Find asks what the daemon has of an address.
func (c *Client) Find(ctx context.Context, what Find) (found Found, err error) {
	return found, c.ask(ctx, http.MethodPost, PathFind, what, &found)
}

// Probe asks what the daemon has seen of a probe.
func (c *Client) Probe(ctx context.Context, what ProbeQuestion) (p Probe, err error) {
	return p, c.ask(ctx, http.MethodPost, PathProbe, what, &p)
}

// Settled has the daemon write into its log what a command has done.
func (c *Client) Settled(ctx context.Context, what Settled) error {
	return c.ask(ctx, http.MethodPost, PathSettled, what, &Done{})
}

func (c *Client) ask(ctx context.Context, method, path string, question, answer any) error {
	var body io.Reader
	if question != nil {
		text, err := json.Marshal(question)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://coexistd"+path, body)
	if err != nil {
		return err
	}
	if c.For != "" {
		request.Header.Set(For, c.For)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return c.explain(err)
	}
	defer response.Body.Close()
	in := json.NewDecoder(io.LimitReader(response.Body, maxAnswer))
	if response.StatusCode != http.StatusOK {
		var failure Failure
		if err := in.Decode(&failure); err != nil || failure.Error == "" {
			failure.Error = "it answers " + response.Status
		}
		return &refused{response.StatusCode, fmt.Sprintf("the daemon at unix:%s refuses: %s", c.path, failure.Error)}
	}
	if err := in.Decode(answer); err != nil {
		return fmt.Errorf("what the daemon at unix:%s answers cannot be read: %w; it must be of the version of this command", c.path, err)
	}
	return nil
}

// refused is an answer that is none.
type refused struct {
	status int
	text   string
}

func (r *refused) Error() string { return r.text }

// Is reports that a user may not ask, as errors.Is does of one whom the socket's mode keeps
// from it.
func (r *refused) Is(err error) bool {
	return err == fs.ErrPermission && r.status == http.StatusForbidden
}

// explain says what a question that found no daemon means.
func (c *Client) explain(err error) error {
	if failed, is := errors.AsType[*net.OpError](err); is {
		err = failed.Err
	}
	remedy := ""
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no daemon runs with this configuration: nothing answers at unix:%s; start it: systemctl start coexistd", c.path)
	case errors.Is(err, fs.ErrPermission):
		remedy = "; only root and the daemon's user may ask it"
	case errors.Is(err, context.DeadlineExceeded):
		remedy = "; it hangs: see its log"
	}
	return fmt.Errorf("the daemon at unix:%s cannot be asked: %w%s", c.path, err, remedy)
}

package rspamd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"coexistd/policy/mail"
	"coexistd/scanners"
)

// Class is what rspamd's classifier takes a message for.
type Class string

// The classes.
const (
	Ham  Class = "ham" // no spam
	Spam Class = "spam"
)

// maxAnswer bounds what a controller answers, in bytes.
const maxAnswer = 16 << 10

// ErrAway is the error of a controller that does not answer: the next message would fare no
// better.
var ErrAway = errors.New("rspamd's controller does not answer")

// Trainer has rspamd learn what messages are, over HTTP.
type Trainer struct {
	client
	password string
}

// NewTrainer returns a Trainer that speaks to the controller at options.Address, which asks for
// a password unless it is empty.
func NewTrainer(options Options, password string) *Trainer {
	return &Trainer{newClient(options), password}
}

// Learn has rspamd learn that a message is of a class. The message's Content is not used: the
// content is read. One that rspamd has learned before is no error. The error says why it has
// not learned it.
func (t *Trainer) Learn(ctx context.Context, class Class, m *scanners.Message, content io.Reader) error {
	if m.Size > t.options.MaxSize {
		return fmt.Errorf("the message has %d bytes, more than rspamd is given (%d)", m.Size, t.options.MaxSize)
	}
	status, said, err := t.ask(ctx, class, m, content)
	switch {
	case err != nil:
		return err
	case status == http.StatusOK || status == http.StatusAlreadyReported:
		return nil
	case status == http.StatusNoContent:
		return fmt.Errorf("rspamd has no use for it: %s", said)
	}
	return refused(status, said)
}

// Ready asks whether the controller is there and would learn. It has it learn nothing: the
// message is empty, which is told to those alone who may have it learn.
func (t *Trainer) Ready(ctx context.Context) error {
	status, said, err := t.ask(ctx, Ham, &scanners.Message{}, bytes.NewReader(nil))
	if err != nil || status == http.StatusBadRequest {
		return err
	}
	return refused(status, said)
}

func (t *Trainer) ask(ctx context.Context, class Class, m *scanners.Message, content io.Reader) (status int, said string, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.options.Timeout)
	defer cancel()
	body := &requestBody{from: content, left: m.Size}
	defer body.Close()
	request, err := t.request(ctx, "/learn"+string(class), m, body)
	if err != nil {
		return 0, "", err
	}
	if t.password != "" {
		request.Header.Set("Password", t.password)
	}
	response, answer, err := t.do(request, maxAnswer)
	body.Close() // nothing changes in it any more
	switch {
	case body.err != nil:
		return 0, "", fmt.Errorf("the message could not be read: %w", body.err)
	case err != nil:
		return 0, "", fmt.Errorf("%w: %w", ErrAway, err)
	}
	return response.StatusCode, reason(response, answer), nil
}

// reason is what an answer says: in JSON or, where it has no content, in its status line.
func reason(response *http.Response, answer []byte) string {
	var reply struct {
		Error string `json:"error"`
	}
	said := response.Status
	if json.Unmarshal(answer, &reply) == nil && reply.Error != "" {
		said = reply.Error
	}
	return mail.Excerpt(said, 200)
}

func refused(status int, said string) error {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("rspamd's controller does not let us have it learn: %s", said)
	case http.StatusNotFound:
		return fmt.Errorf("what answers is no controller of rspamd: %s", said)
	}
	return fmt.Errorf("rspamd's controller answers with status %d: %s", status, said)
}

package main

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"coexistd/cmd/coexistd/daemon"
	"coexistd/milter/quarantine"
	"coexistd/policy/config"
	"coexistd/policy/verdict"
	"coexistd/scanners"
	"coexistd/scanners/rspamd"
)

// lesson is what rspamd was told of a message. The zero lesson is none.
type lesson struct {
	// Learned is what it has learned that the message is: ham or spam.
	Learned rspamd.Class `json:"learned,omitempty"`
	// NotLearned is why it has learned nothing.
	NotLearned string `json:"not_learned,omitempty"`
}

func (l lesson) String() string {
	switch {
	case l.NotLearned != "":
		return "rspamd has not learned of it: " + l.NotLearned
	case l.Learned == rspamd.Ham:
		return "rspamd has learned that it is no spam"
	case l.Learned == rspamd.Spam:
		return "rspamd has learned that it is spam"
	}
	return ""
}

// teacher has rspamd learn what people say of held messages. Nil teaches nothing: [quarantine]
// learn is not true. Whatever comes of it holds up nothing else.
type teacher struct {
	store  *quarantine.Store
	rspamd *rspamd.Trainer
	away   error // why it is asked no more
}

func newTeacher(conf *config.Config, store *quarantine.Store) *teacher {
	if !conf.Quarantine.Learn {
		return nil
	}
	return &teacher{store: store, rspamd: daemon.NewTrainer(conf)}
}

// ham teaches that a message is no spam which is about to be released. What the check spam
// does not hold says nothing of rspamd, and what may have a virus is nothing to go by.
func (t *teacher) ham(ctx context.Context, e *quarantine.Entry) lesson {
	if e.State != quarantine.Held || e.IsVirus() || !slices.Contains(e.Checks, verdict.CheckSpam) {
		return lesson{}
	}
	return t.teach(ctx, rspamd.Ham, e)
}

// spam teaches that a message is spam, whose sender its recipient blocks: the check spam may
// have missed it. What is no longer held cannot be read, and what may have a virus is nothing
// to go by.
func (t *teacher) spam(ctx context.Context, e *quarantine.Entry) lesson {
	if e.State != quarantine.Held || e.IsVirus() {
		return lesson{}
	}
	return t.teach(ctx, rspamd.Spam, e)
}

// teach has rspamd learn that the message of an entry is of a class.
func (t *teacher) teach(ctx context.Context, class rspamd.Class, e *quarantine.Entry) lesson {
	if t == nil {
		return lesson{}
	}
	err := t.away
	if err == nil {
		err = t.learn(ctx, class, e)
	}
	if errors.Is(err, rspamd.ErrAway) {
		t.away = err
	}
	if err != nil {
		return lesson{NotLearned: err.Error()}
	}
	return lesson{Learned: class}
}

func (t *teacher) learn(ctx context.Context, class rspamd.Class, e *quarantine.Entry) error {
	content, err := t.store.Content(e.ID)
	if err != nil {
		return err
	}
	defer content.Close()
	client, _ := netip.ParseAddr(e.Client) // without one, rspamd knows none
	return t.rspamd.Learn(ctx, class, &scanners.Message{
		Size: e.Size, Sender: e.Sender, Recipients: []string{e.Address}, Client: client, Login: e.Login, QueueID: e.QueueID,
	}, content)
}

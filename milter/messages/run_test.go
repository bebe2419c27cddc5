package messages

import (
	"bytes"
	"context"
	"database/sql"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"coexistd/policy"
	"coexistd/policy/verdict"
)

// sample is a message with something in each field.
func sample() *Message {
	reply := verdict.Reply{Code: 550, Enhanced: "5.7.1", Text: "No"}
	why := verdict.Because(verdict.Why(verdict.VirusFound, "Eicar").Of(netip.MustParseAddr("2001:db8::1")))
	return &Message{
		Time: time.UnixMicro(1_700_000_000_000_001), QueueID: "4Q1", Client: netip.MustParseAddr("192.0.2.1"), Login: "bob", Sender: "a@b.example", SenderOwner: "c@b.example",
		MessageID: "<1@b.example>", Subject: "Hé", Size: 4711, Point: verdict.S1, Platform: "office365", Verdict: verdict.Reject, Check: "virus", Reply: reply, Reasons: why, Proof: why,
		Findings: []verdict.Finding{{Check: "spam", State: verdict.Hit, Name: "X", Reasons: why, Down: true, Score: 1.25, Scored: true, Proposed: verdict.Tag, Detail: "Y", Took: 5_000_000}},
		Passed:   []string{"rate"}, Archived: "q@a.example", Count: 2, MTA: "rejected", Hello: "h", Answer: "later",
		Observed: policy.Outcome{Verdict: verdict.Tempfail, Check: "rate", Reply: reply, Reasons: why},
		Recipients: []Recipient{{
			Address: "d+x@b.example", Owner: "d@b.example", Residence: "here", Flow: "S1=>LD", Side: "O", Rewritten: "d@c.example", Verdict: verdict.Tempfail,
			Reply: reply, Reasons: why, Check: "spoof", HeldBy: []string{"spam"}, Held: "vb3", Refused: true, Observed: true,
		}},
	}
}

// written is a run of messages, the first of which has an ID.
func written(first ID, list ...*Message) *run {
	var d draft
	for i, m := range list {
		m.ID = first + ID(i)
		d.add(m)
	}
	return d.run()
}

// What is on disk is read by the next version, too.
func TestTheFormOfARunStaysAsItIs(t *testing.T) {
	t.Parallel()
	const want = "\x03\x00\x00\x01\xc1\x82\x80\U000810c9\x85\x06\x034Q1\brejected\x04\xc0\x00\x02\x01\x03bob\va@b.example\vc@b.example\r<1@b.example>\x03Hé\xceI\x02\toffice365\x06\x05virus\xcc\b\x055.7.1\x02No\x01\vvirus-found\x10 \x01\r\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x05Eicar\x00\x00\x00\x00\x01\vvirus-found\x10 \x01\r\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x05Eicar\x00\x00\x00\x00\x05\x04rate\xcc\b\x055.7.1\x02No\x01\vvirus-found\x10 \x01\r\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x05Eicar\x00\x00\x00\x00\x01\x04spam\x02\x01X\x01\vvirus-found\x10 \x01\r\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x05Eicar\x00\x00\x00\x00\a\xfe\xd0\a\x02\x01Y\x80\xad\xe2\x04\x01\x04rate\vq@a.example\x01\rd+x@b.example\vd@b.example\x04here\x06S1=>LD\x01O\vd@c.example\x05\xcc\b\x055.7.1\x02No\x01\vvirus-found\x10 \x01\r\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x05Eicar\x00\x00\x00\x00\x05spoof\x01\x04spam\x03vb3\x03\x04\x01h\x05later"
	if got := written(64, sample()).messages; string(got) != want {
		t.Errorf("a run is\n%q\nand was\n%q\nraise runVersion", got, want)
	}
}

// isFilled sees to it that nothing in a value is zero, so that what is added to a type is added to
// the sample, and to the codec.
func isFilled(t *testing.T, name string, v reflect.Value) {
	t.Helper()
	if v.IsZero() {
		t.Errorf("%s is empty in the sample", name)
	}
	if reasons, is := v.Interface().(verdict.Reasons); is {
		v = reflect.ValueOf(reasons.List())
	}
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			isFilled(t, name, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() {
				isFilled(t, name+"."+field.Name, v.Field(i))
			}
		}
	}
}

func TestARunHasItsMessages(t *testing.T) {
	t.Parallel()
	whole := sample()
	whole.ID = 1
	isFilled(t, "Message", reflect.ValueOf(*whole))
	var list []*Message
	for n := range runSize {
		list = append(list, sample())
		list[n].Count, list[n].QueueID = n, strings.Repeat("x", n)
	}
	list[5] = &Message{Time: time.UnixMicro(1)}
	r := written(7, list...)
	if r.last != r.first+runSize-1 || r.times != (period{1, 1_700_000_000_000_001}) {
		t.Errorf("the run has %d to %d, %+v", r.first, r.last, r.times)
	}
	for i, m := range list {
		if got, err := r.read(m.ID); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("message %d is %+v, %v", i, got, err)
		}
	}
	for _, id := range []ID{r.first - 1, r.last + 1} {
		if _, err := r.read(id); err == nil {
			t.Errorf("there is a message %d", id)
		}
	}
}

func TestOfMoreThanIsReadTheFirstAreWritten(t *testing.T) {
	t.Parallel()
	m := sample()
	var many []verdict.Reason
	for range mostListed + 1 {
		many = append(many, m.Reasons.List()...)
	}
	m.Reasons = verdict.Because(many...)
	r := written(7, m)
	if got, err := r.read(7); err != nil || len(got.Reasons.List()) != mostListed {
		t.Errorf("it has %d reasons, %v", len(got.Reasons.List()), err)
	}
}

func FuzzWhateverIsInARunIsReadOrRefused(f *testing.F) {
	whole := written(64, sample(), &Message{}, sample()).messages
	f.Add(whole, uint8(2))
	f.Add(whole, uint8(63))
	f.Add(whole[:len(whole)/2], uint8(2))
	f.Add([]byte{}, uint8(0))
	f.Fuzz(func(t *testing.T, messages []byte, more uint8) {
		r := &run{first: 64, last: 64 + ID(more), messages: messages}
		for id := r.first; id <= r.last; id++ {
			m, err := r.read(id)
			if err != nil {
				continue
			}
			m.eachTerm(func(term) {})
			once := written(id, m)
			again, err := once.read(id)
			if err != nil || !bytes.Equal(written(id, again).messages, once.messages) {
				t.Errorf("%+v is read again as %+v, %v", m, again, err)
			}
		}
	})
}

// change has SQL of a test's own done to the file.
func change(t *testing.T, o Options, text string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+o.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(text); err != nil {
		t.Fatal(err)
	}
}

// SQLite itself does not see what is wrong in a row.
func TestARunThatCannotBeReadIsToldOfOrBegunAnew(t *testing.T) {
	t.Parallel()
	x, o, log := begin(t)
	for n := range 2*runSize + 1 {
		x.Record(numbered(n))
	}
	x.Stop()
	change(t, o, `UPDATE runs SET messages = x'0100' WHERE id = (SELECT id FROM runs ORDER BY id DESC LIMIT 1 OFFSET 1)`)
	found := 0
	var told error
	r := Open(o)
	defer r.Close()
	for _, err := range r.All(context.Background(), Query{}) {
		if told = err; err == nil {
			found++
		}
	}
	if told == nil || !strings.Contains(told.Error(), "cannot be read") || found > 1 {
		t.Errorf("%d are found, and it says %v", found, told)
	}
	x = New(o)
	x.Record(numbered(1000))
	x.Stop()
	if list := all(t, o, Query{}); len(list) != 1 || list[0].QueueID != "4Q1000" || !strings.Contains(log.String(), "all records of messages") {
		t.Errorf("there are %d records, and the log says %s", len(list), log)
	}
	if aside, _ := filepath.Glob(o.Path + ".bad-*"); len(aside) == 0 {
		t.Error("nothing is set aside")
	}
}

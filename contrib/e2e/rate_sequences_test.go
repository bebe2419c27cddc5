package e2e

import (
	"strings"

	"coexistd/contrib/lab"
)

// rated is one message of a sequence.
type rated struct {
	by   string // a login, or the address of a client without one
	from string // empty: the login's own address; "<>": the null sender
	to   string // what stands before the domain, several with spaces between; empty: hugo
	size int    // of the message in octets; 0: as it comes
	want string // what its end is answered; empty: it is taken
	tag  string // the value of its tag header
}

const (
	in5Hours, in8Hours, in12Hours, in1Day = "try again in 5 hours", "try again in 8 hours", "try again in 12 hours", "try again in 1 day"

	tooMany      = "450 4.7.1 Too many messages were sent, "
	tooManyRcpts = "450 4.7.1 Too many recipients were sent, "
	tooManyBytes = "450 4.7.1 Too many bytes were sent, "
)

// waiting is a reply in which a wait that has been going on for a moment is told as
// it is at its start: after a second, 1 day is 24 hours.
func waiting(reply string) string {
	return strings.NewReplacer("in 24 hours", "in 1 day", "in 120 minutes", "in 2 hours").Replace(reply)
}

// ratedSequences are rules, and messages that come one after another with what each
// is answered. The times are long: what comes back meanwhile is less than anything
// asks for.
var ratedSequences = []struct {
	about, rules string
	sequence     []rated
}{
	{"by user", `
[[rate]]
name = "by user"
by = "user"
limit = 2
per = "1d"`, []rated{
		{by: "bob"},
		{by: "BOB", from: "bob@acmecorp.com"},
		{by: "bob", want: tooMany + in12Hours},
		{by: "carol"},
		{by: "carol"},
		{by: "carol", want: tooMany + in12Hours},
		// Who has no login is no user.
		{by: lab.FromUser, from: "bob@acmecorp.com"},
		{by: lab.FromInternet, from: "eve@example.net"},
	}},
	{"by client", `
[[rate]]
name = "by client"
checkpoints = ["S0"]
by = "client"
limit = 2
per = "1d"`, []rated{
		{by: lab.FromInternet, from: "eve@example.net"},
		{by: lab.FromInternet, from: "mallory@example.org"},
		{by: lab.FromInternet, from: "eve@example.net", want: tooMany + in12Hours},
		{by: lab.FromInternet, from: "<>", want: tooMany + in12Hours},
		{by: "127.0.3.2", from: "eve@example.net"},
		// The rule does not count at S2.
		{by: lab.FromUser, from: "bob@acmecorp.com"},
		{by: lab.FromUser, from: "bob@acmecorp.com"},
		{by: lab.FromUser, from: "bob@acmecorp.com"},
	}},
	{"by sender", `
[[rate]]
name = "by sender"
by = "sender"
limit = 2
per = "1d"`, []rated{
		{by: lab.FromInternet, from: "eve@example.net"},
		{by: "127.0.3.2", from: "Eve+news@EXAMPLE.net"},
		{by: "127.0.3.3", from: "eve@example.net", want: tooMany + in12Hours},
		{by: lab.FromInternet, from: "mallory@example.net"},
		{by: "bob"},
		{by: "bob", from: "bob+x@acmecorp.com"},
		{by: "bob", want: tooMany + in12Hours},
		// The null sender is nobody.
		{by: lab.FromInternet, from: "<>"},
		{by: lab.FromInternet, from: "<>"},
		{by: lab.FromInternet, from: "<>"},
	}},
	{"by sender's domain", `
[[rate]]
name = "by sender's domain"
by = "sender_domain"
limit = 2
per = "1d"`, []rated{
		{by: lab.FromInternet, from: "eve@example.net"},
		{by: "127.0.3.2", from: "mallory@Example.NET"},
		{by: "127.0.3.3", from: "trent@example.net", want: tooMany + in12Hours},
		{by: lab.FromInternet, from: "eve@sub.example.net"},
		{by: lab.FromInternet, from: "<>"},
		{by: lab.FromInternet, from: "<>"},
		{by: lab.FromInternet, from: "<>"},
	}},
	{"by recipient", `
[[rate]]
name = "by recipient"
by = "recipient"
limit = 2
per = "1d"`, []rated{
		{by: lab.FromInternet, from: "eve@example.net", to: "bob dave"},
		{by: "erin", to: "bob"},
		{by: "127.0.3.2", from: "mallory@example.org", to: "bob", want: tooMany + in12Hours},
		// It is counted for nobody when one of them has had his.
		{by: lab.FromInternet, from: "eve@example.net", to: "bob dave", want: tooMany + in12Hours},
		{by: lab.FromInternet, from: "eve@example.net", to: "dave"},
		{by: lab.FromInternet, from: "<>", to: "dave", want: tooMany + in12Hours},
	}},
	{"recipients", `
[[rate]]
name = "recipients"
by = "user"
count = "recipients"
limit = 5
per = "1d"`, []rated{
		{by: "bob", to: "bob dave hugo"},
		{by: "bob", to: "bob dave hugo", want: tooManyRcpts + in5Hours},
		{by: "bob", to: "bob dave"},
		{by: "bob", to: "bob", want: tooManyRcpts + in5Hours},
		{by: "carol", to: "bob dave hugo carol erin hugo+2", want: "550 5.7.1 The message has more recipients than are taken at once: 5"},
		{by: "carol", to: "bob dave hugo carol erin"},
	}},
	{"bytes", `
[[rate]]
name = "bytes"
checkpoints = ["S0"]
by = "client"
count = "bytes"
limit = 10000
per = "1d"`, []rated{
		{by: lab.FromInternet, from: "eve@example.net", size: 6000},
		{by: lab.FromInternet, from: "eve@example.net", size: 6000, want: tooManyBytes + in5Hours},
		{by: lab.FromInternet, from: "eve@example.net", size: 4000},
		{by: lab.FromInternet, from: "eve@example.net", size: 5000, want: tooManyBytes + in12Hours},
		{by: "127.0.3.2", from: "eve@example.net", size: 10001, want: "550 5.7.1 The message has more bytes than are taken at once: 10000"},
		{by: "127.0.3.2", from: "eve@example.net", size: 10000},
	}},
	{"burst", `
[[rate]]
name = "burst"
by = "user"
limit = 12
per = "1d"
burst = 2`, []rated{
		{by: "bob"},
		{by: "bob"},
		{by: "bob", want: tooMany + "try again in 2 hours"},
	}},
	{"reject", `
[[rate]]
name = "reject"
checkpoints = ["S0"]
by = "client"
limit = 1
per = "12h"
on_limit = "reject"
[[rate]]
name = "reject bytes"
checkpoints = ["S0"]
by = "client"
count = "bytes"
limit = "20K"
per = "1d"
on_limit = "reject"
overrides = { "127.0.3.9" = 2000 }`, []rated{
		{by: lab.FromInternet, from: "eve@example.net"},
		{by: lab.FromInternet, from: "eve@example.net", want: "550 5.7.1 Too many messages were sent"},
		// A bounce would be lost.
		{by: lab.FromInternet, from: "<>", want: tooMany + in12Hours},
		{by: "127.0.3.9", from: "eve@example.net", size: 2001, want: "550 5.7.1 The message has more bytes than are taken at once: 2000"},
		{by: "127.0.3.9", from: "<>", size: 2001, want: "450 4.7.1 The message has more bytes than are taken at once: 2000"},
	}},
	{"tag", `
[[rate]]
name = "tag"
by = "user"
limit = 1
per = "1d"
on_limit = "tag"
[[rate]]
name = "tag or not"
by = "user"
limit = 3
per = "1d"
on_limit = "tempfail"`, []rated{
		{by: "bob"},
		{by: "bob", tag: "rate; tag"},
		{by: "bob", tag: "rate; tag"},
		// What was tagged went on, and counts for the other rule.
		{by: "bob", want: tooMany + in8Hours},
		{by: "carol"},
	}},
	{"several", `
[[rate]]
name = "several, sender"
by = "user"
limit = 2
per = "1d"
[[rate]]
name = "several, recipient"
by = "recipient"
limit = 1
per = "1d"
on_limit = "reject"`, []rated{
		{by: "bob", to: "hugo"},
		{by: "bob", to: "hugo", want: "550 5.7.1 Too many messages were sent"},
		{by: "bob", to: "hugo", want: "550 5.7.1 Too many messages were sent"},
		// bob was not charged for what hugo's limit refused,
		{by: "bob", to: "dave"},
		{by: "bob", to: "erin", want: tooMany + in12Hours},
		// and erin not for what bob's refused. Of the two the stricter one answers.
		{by: "bob", to: "hugo", want: "550 5.7.1 Too many messages were sent"},
		{by: "carol", to: "erin"},
	}},
	{"overrides", `
[[rate]]
name = "overrides"
by = "user"
limit = 2
burst = 1
per = "1d"
overrides = { Bob = 4, erin = "unlimited", "127.0.3.0/24" = "unlimited", "127.0.3.128/25" = 8 }`, []rated{
		// The burst grows with the limit.
		{by: "bob"},
		{by: "bob"},
		{by: "bob", want: tooMany + "try again in 6 hours"},
		{by: "erin"}, {by: "erin"}, {by: "erin"},
		// The account goes before the network, and the smallest network before a larger one.
		{by: "carol 127.0.3.1"}, {by: "carol 127.0.3.1"}, {by: "carol 127.0.3.1"},
		{by: "bob 127.0.3.1", want: tooMany + "try again in 6 hours"},
		{by: "dave 127.0.3.200"}, {by: "dave 127.0.3.200"}, {by: "dave 127.0.3.200"}, {by: "dave 127.0.3.200"},
		{by: "dave 127.0.3.200", want: tooMany + "try again in 3 hours"},
		{by: "hugo 127.0.5.1", from: "hugo@globex.example"},
		{by: "hugo 127.0.5.1", from: "hugo@globex.example", want: tooMany + in12Hours},
	}},
	{"column", `
[[rate]]
name = "column"
by = "user"
limit = 2
per = "1d"
column = "daily"
overrides = { erin = 1, "127.0.3.200" = 4 }`, []rated{
		{by: "bob"}, {by: "bob"},
		{by: "bob", want: tooMany + in12Hours},
		{by: "carol"},
		{by: "carol", want: tooMany + in1Day},
		// A login's limit is its own, whatever it sends as.
		{by: "carol", from: "news@acmecorp.com", want: tooMany + in1Day},
		{by: "dave"}, {by: "dave"}, {by: "dave", from: "news@acmecorp.com"},
		// overrides for the account go before the column,
		{by: "erin"},
		{by: "erin", want: tooMany + in1Day},
		// which goes before those for the network.
		{by: "carol 127.0.3.200", want: tooMany + in1Day},
		{by: "hugo 127.0.3.200", from: "hugo@globex.example"},
		{by: "hugo 127.0.3.200", from: "hugo@globex.example"},
		{by: "hugo 127.0.3.200", from: "hugo@globex.example"},
	}},
	{"column by recipient", `
[[rate]]
name = "column by recipient"
by = "recipient"
limit = 2
per = "1d"
column = "daily"`, []rated{
		{by: lab.FromInternet, from: "eve@example.net", to: "carol"},
		{by: lab.FromInternet, from: "eve@example.net", to: "carol", want: tooMany + in1Day},
		{by: lab.FromInternet, from: "eve@example.net", to: "dave"},
		{by: lab.FromInternet, from: "eve@example.net", to: "dave"},
		{by: lab.FromInternet, from: "eve@example.net", to: "dave"},
		{by: lab.FromInternet, from: "eve@example.net", to: "bob"},
		{by: lab.FromInternet, from: "eve@example.net", to: "bob"},
		{by: lab.FromInternet, from: "eve@example.net", to: "bob", want: tooMany + in12Hours},
	}},
}

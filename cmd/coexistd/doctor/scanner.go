package doctor

import (
	"bytes"
	"fmt"
	"time"

	"coexistd/cmd/coexistd/human"
	"coexistd/scanners"
)

// noScanner is the finding where a scanner is not configured.
func noScanner(x *examination, scanner, like string) Finding {
	for _, note := range x.conf.Notes {
		if note.Lacking == scanner {
			return warning("%s", note.Text).do("add to %s: [scanner.%s] with address = %q; or leave it so where a milter of the MTA's own asks that scanner", x.conf.Path, scanner, like)
		}
	}
	return fine("no contact point needs it")
}

// sizeLimit is the setting of the MTA that bounds the size of messages.
type sizeLimit struct {
	mta, setting string
	bytes        int64  // 0: it takes any
	remedy       string // sets it, once it is told to what
}

// sizeLimit finds it, if an MTA's settings are known.
func (x *examination) sizeLimit() (limit sizeLimit, known bool) {
	if x.sendmail.err == nil {
		return sizeLimit{"Sendmail", "MaxMessageSize", x.sendmail.number("MaxMessageSize", 0), "put into sendmail.mc: define(`confMAX_MESSAGE_SIZE', `%d')dnl" + remade}, true
	}
	bytes, known := x.mta.MessageSizeLimit()
	return sizeLimit{"Postfix", "message_size_limit", bytes, "set message_size_limit = %d in main.cf"}, known
}

// compareSizes looks for messages that the MTA takes and a scanner does not.
func compareSizes(x *examination, scanner string, size int64, setting string) []Finding {
	limit, is := x.sizeLimit()
	if !is || limit.bytes > 0 && limit.bytes <= size {
		return nil
	}
	taken := human.Size(limit.bytes)
	if limit.bytes == 0 {
		taken = "any size"
	}
	return []Finding{warning("%s takes messages of %s (%s), %s is asked about %s at most (scanner.%s.max_size): what is larger is dealt with by on_error", limit.mta, taken, limit.setting, scanner, human.Size(size), scanner).
		do("raise scanner.%s.max_size in %s and %s, or "+limit.remedy, scanner, x.conf.Path, setting, size)}
}

// testMessage makes a message for scanners only, which goes to nobody.
func testMessage(x *examination, fields, body string) *scanners.Message {
	from := x.conf.Quarantine.Report.From
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: <%s>\r\nTo: <%s>\r\nDate: %s\r\nMessage-Id: <doctor.%d@%s>\r\nSubject: coexistd doctor\r\nMIME-Version: 1.0\r\n%s\r\n%s\r\n",
		from, from, x.now.Format(time.RFC1123Z), x.now.UnixNano(), x.conf.Rules.Hostname, fields, body)
	return &scanners.Message{
		Content: bytes.NewReader(b.Bytes()), Size: int64(b.Len()),
		Sender: from, Recipients: []string{from},
	}
}

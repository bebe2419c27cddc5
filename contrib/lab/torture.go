package lab

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
)

// TortureMessage is a message that takes a reader of MIME to its limits. Most
// are no mail that anyone would send; all have CRLF line ends unless the lack of
// them is the point.
type TortureMessage struct {
	Name string
	Data func() []byte
}

// Torture returns the collection: over 200 messages, made anew at each call of
// Data. The largest have some 3 MB.
func Torture() []TortureMessage {
	var all []TortureMessage
	for _, chapter := range []func(add func(name, data string, args ...any), from func(name string, data func() []byte)){
		tortureHeaders, tortureBoundaries, tortureSizes, tortureNames, tortureEncodings, tortureArchives, tortureDocuments, tortureCuts,
	} {
		chapter(func(name, data string, args ...any) {
			all = append(all, TortureMessage{name, func() []byte { return tortureText(fmt.Sprintf(data, args...)) }})
		}, func(name string, data func() []byte) {
			all = append(all, TortureMessage{name, data})
		})
	}
	return all
}

// tortureText gives every line a CRLF; a written \r stays alone.
func tortureText(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

const (
	tortureTop   = "From: a@example.net\nTo: b@acmecorp.com\nMIME-Version: 1.0\n"
	tortureMixed = tortureTop + "Content-Type: multipart/mixed; boundary=b\n\n"
)

// tortureFile makes a message with one attachment.
func tortureFile(name string, content []byte) []byte {
	var b bytes.Buffer
	b.Write(tortureText(tortureMixed + "--b\nContent-Type: application/octet-stream\nContent-Disposition: attachment; filename=\"" + name +
		"\"\nContent-Transfer-Encoding: base64\n\n"))
	text := base64.StdEncoding.EncodeToString(content)
	for len(text) > 0 {
		n := min(len(text), 76)
		b.WriteString(text[:n] + "\r\n")
		text = text[n:]
	}
	b.WriteString("--b--\r\n")
	return b.Bytes()
}

func tortureHeaders(add func(name, data string, args ...any), from func(name string, data func() []byte)) {
	add("nothing", "")
	add("one line end", "\n")
	add("one letter", "x")
	add("a header without a body", "From: a@example.net\n")
	add("a header without a line end", "From: a@example.net")
	add("a body without a header", "\nhello\n")
	add("a header that begins with a continuation", " folded\nFrom: a@example.net\n\nx\n")
	add("a header of colons", ":::::\n:\n: :\n\nx\n")
	add("a header of spaces", " \n \n \n\nx\n")
	add("a field without a name", ": value\n\nx\n")
	add("a field with a space in its name", "Content Type: text/plain\n\nx\n")
	add("a field with a tab before the colon", "Content-Type\t: text/plain\n\nx\n")
	add("a line without a colon", tortureTop+"nothing at all\nContent-Type: text/html\n\nx\n")
	add("a mailbox mark", "From a@example.net Mon Jan  1\nSubject: x\n\nx\n")
	add("a mailbox mark in the middle", "Subject: x\nFrom a@example.net Mon\nContent-Type: text/plain\n\nx\n")
	add("NUL in a name", "Con\x00tent-Type: text/plain\n\nx\n")
	add("NUL in a value", "Content-Type: text/\x00plain\n\nx\n")
	add("NUL instead of the header's end", "Content-Type: text/plain\n\x00\nx\n")
	add("bare CR instead of a line end", "Subject: x\rContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n")
	add("bare CRs as the header's end", "Subject: x\r\rhello\n\nx\n")
	add("CR CR LF", "Subject: x\r\n\r\nx\n")
	from("LF only", func() []byte { return []byte(tortureMixed + "--b\n\nx\n--b--\n") })
	from("CR only", func() []byte { return []byte(strings.ReplaceAll(tortureMixed+"--b\n\nx\n--b--\n", "\n", "\r")) })
	from("LF CR", func() []byte { return []byte(strings.ReplaceAll(tortureMixed+"--b\n\nx\n--b--\n", "\n", "\n\r")) })
	from("line ends of all kinds", func() []byte { return []byte("A: b\nC: d\r\nContent-Type: text/plain\r\n\nx\rx\nx") })
	add("no type's value", "Content-Type:\n\nx\n")
	add("a type of semicolons", "Content-Type: ;;;;;;;\n\nx\n")
	add("a type of equals signs", "Content-Type: ====;=;==\n\nx\n")
	add("a type of quotes", "Content-Type: \"\"\"\"\"; \"=\"\"\n\nx\n")
	add("a type of backslashes", "Content-Type: text/plain; name=\"\\\\\\\\\\\"\n\nx\n")
	add("a type of parentheses", "Content-Type: ((((((((()))\n\nx\n")
	add("a type of slashes", "Content-Type: /////\n\nx\n")
	add("two types", tortureTop+"Content-Type: text/plain\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n")
	add("two equal types", tortureTop+"Content-Type: multipart/mixed; boundary=b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n")
	add("1,000 types", strings.Repeat("Content-Type: text/plain\n", 1000)+"\nx\n")
	add("two encodings", tortureTop+"Content-Transfer-Encoding: base64\nContent-Transfer-Encoding: 8bit\n\neA==\n")
	add("8-bit field", "Subject: \xff\xfe\xfd\nContent-Type: text/plain; name=\"\xe4\xf6\xfc.txt\"\n\nx\n")
	add("a UTF-8 mark before the header", "\xef\xbb\xbfContent-Type: text/plain\n\nx\n")
	add("UTF-16", "\xff\xfeC\x00o\x00n\x00t\x00e\x00n\x00t\x00\n\x00\n\x00")
	for _, size := range []int{4095, 4096, 4097, 65534, 65535, 65536, 65537} {
		add(fmt.Sprintf("a header line of %d bytes", size), "X-A: %s\n\nx\n", strings.Repeat("a", size-7))
		add(fmt.Sprintf("a type of %d bytes", size), "Content-Type: text/plain; a=%s\n\nx\n", strings.Repeat("a", size-30))
	}
}

func tortureBoundaries(add func(name, data string, args ...any), from func(name string, data func() []byte)) {
	part := "--b\n\nx\n--b--\n"
	for _, value := range []string{
		"", "\"\"", "\" \"", "\"b", "b\"", "'b'", "b;", "b b", "\"b \"", "\" b\"", "b(c)", "(c)b", "\"b\\\"c\"", "\"\\b\"", "=?utf-8?Q?b?=",
		"b; boundary=c", "\"b\"; boundary=\"b\"", "b; BOUNDARY=c", "b;boundary*=utf-8''c", "b, c", "=b", "-", "--", "b--", "\xff", "\"b\x01\"", ".*", "[b]",
	} {
		add("boundary="+value, tortureTop+"Content-Type: multipart/mixed; boundary=%s\n\n"+part, value)
	}
	add("boundary in 2231", tortureTop+"Content-Type: multipart/mixed; boundary*0=b; boundary*1=c\n\n--bc\n\nx\n--bc--\n")
	add("boundary in encoded 2231", tortureTop+"Content-Type: multipart/mixed; boundary*=us-ascii''%%62\n\n"+part)
	add("no boundary", tortureTop+"Content-Type: multipart/mixed\n\n"+part)
	add("a boundary of 70 bytes", tortureTop+"Content-Type: multipart/mixed; boundary=%[1]s\n\n--%[1]s\n\nx\n--%[1]s--\n", strings.Repeat("b", 70))
	add("a boundary of 10 KB", tortureTop+"Content-Type: multipart/mixed; boundary=%[1]s\n\n--%[1]s\n\nx\n--%[1]s--\n", strings.Repeat("b", 10<<10))
	add("a boundary of 70 KB", tortureTop+"Content-Type: multipart/mixed; boundary=%[1]s\n\n--%[1]s\n\nx\n--%[1]s--\n", strings.Repeat("b", 70<<10))
	add("a boundary that another begins with", tortureTop+"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=bb\n\n--bb\n\nx\n--bb--\n--b--\n")
	add("a boundary that begins another", tortureTop+"Content-Type: multipart/mixed; boundary=bb\n\n--bb\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n--bb--\n")
	add("a boundary that closes another", tortureTop+"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b--\n\n--b--\n\nx\n--b----\n--b--\n")
	add("the same boundary within", tortureMixed+"--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n--b--\n")
	add("no last boundary", tortureMixed+"--b\n\nx\n")
	add("half a boundary at the end", tortureTop+"Content-Type: multipart/mixed; boundary=boundary\n\n--boundary\n\nx\n--boun")
	add("a boundary at the end without a line end", tortureMixed+"--b\n\nx\n--b")
	add("a last boundary at the end without a line end", tortureMixed+"--b\n\nx\n--b--")
	add("a last boundary with one dash", tortureMixed+"--b\n\nx\n--b-\n")
	add("a last boundary with text", tortureMixed+"--b\n\nx\n--b--and so on\n")
	add("a last boundary only", tortureMixed+"--b--\n")
	add("the last boundary first", tortureMixed+"--b--\n--b\n\nx\n--b--\n")
	add("the last boundary twice", tortureMixed+part+"--b--\n")
	add("parts behind the last boundary", tortureMixed+part+part+part)
	add("boundaries and nothing else", tortureMixed+strings.Repeat("--b\n", 5000))
	add("last boundaries and nothing else", tortureMixed+strings.Repeat("--b--\n", 5000))
	add("a boundary in a header", tortureMixed+"--b\nContent-Type: text/plain\n--b\n\nx\n--b--\n")
	add("a boundary with spaces behind it", tortureMixed+"--b \t \n\nx\n--b-- \t\n")
	add("a boundary with a space before it", tortureMixed+" --b\n\nx\n --b--\n")
	add("a boundary behind a bare CR", tortureMixed+"x\r--b\n\nx\r--b--\n")
	add("a boundary before a bare CR", tortureMixed+"--b\r--b\n\nx\n")
	add("a boundary of the outer within the inner", tortureMixed+"--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\nx\n--b\n\ny\n--c--\n--b--\n")
	add("crossed boundaries", tortureMixed+"--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\nx\n--b--\n--c--\n")
	add("a boundary that nobody declared", tortureMixed+"--c\nContent-Type: text/plain; name=a.exe\n\nx\n--c--\n")
	add("parts in the preamble of a single part", tortureTop+"Content-Type: text/plain; boundary=b\n\n"+part)
	add("a multipart without a subtype", tortureTop+"Content-Type: multipart; boundary=b\n\n"+part)
	add("a multipart in quotes", tortureTop+"Content-Type: \"multipart/mixed\"; boundary=b\n\n"+part)
	add("a multipart with a space in it", tortureTop+"Content-Type: multipart /mixed; boundary=b\n\n"+part)
	add("an encoded multipart", tortureTop+"Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64\n\n%s\n", base64.StdEncoding.EncodeToString(tortureText(part)))
	add("message/partial", tortureTop+"Content-Type: message/partial; number=1; total=2; id=x\n\nContent-Type: text/plain\n\nx\n")
	add("message/external-body", tortureTop+"Content-Type: message/external-body; access-type=local-file; name=/etc/passwd\n\nContent-Type: text/plain\n\n")
	add("a digest", tortureTop+"Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\nx\n--b--\n")
	add("an empty digest", tortureTop+"Content-Type: multipart/digest; boundary=b\n\n--b\n--b--\n")
}

func tortureSizes(add func(name, data string, args ...any), from func(name string, data func() []byte)) {
	add("100,000 header fields", strings.Repeat("X-A: b\n", 100_000)+"\nx\n")
	add("10,000 fields of the content", strings.Repeat("Content-X: b\n", 10_000)+"\nx\n")
	add("a header of 2 MB", "X-A: %s\n\nx\n", strings.Repeat("a ", 1<<20))
	add("a folded header of 2 MB", "X-A:%s\n\nx\n", strings.Repeat(" a\n", 700_000))
	add("a type of 2 MB", "Content-Type: text/plain; a=\"%s\"\n\nx\n", strings.Repeat("a", 2<<20))
	add("a folded type of 2 MB", "Content-Type: text/plain;%s\n\nx\n", strings.Repeat(" a=b;\n", 350_000))
	add("a header that never ends", strings.Repeat("X-A: b\n", 200_000))
	add("a body of one line of 2 MB", tortureTop+"\n%s", strings.Repeat("x", 2<<20))
	add("lines of 1 MB in parts", tortureMixed+"--b\n\n%[1]s\n--b\n\n%[1]s\n--b--\n", strings.Repeat("x", 1<<20))
	add("a preamble of 1.5 MB", tortureMixed+strings.Repeat("preamble\n", 150_000)+"--b\n\nx\n--b--\n")
	add("a preamble of one line of 2 MB", tortureMixed+"%s\n--b\n\nx\n--b--\n", strings.Repeat("x", 2<<20))
	add("an endless preamble", tortureMixed+strings.Repeat("--\n--c\n--b \x01\n", 100_000))
	add("an epilogue of 1.5 MB", tortureMixed+"--b\n\nx\n--b--\n"+strings.Repeat("epilogue\n", 150_000))
	add("10,000 parts", tortureMixed+strings.Repeat("--b\n\nx\n", 10_000)+"--b--\n")
	add("10,000 parts with names", tortureMixed+strings.Repeat("--b\nContent-Type: image/png; name=\"a.png\"\n\nx\n", 10_000)+"--b--\n")
	add("10,000 parts in base64", tortureMixed+strings.Repeat("--b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\niVBORw0K\n", 9_000)+"--b--\n")
	add("1,000,000 empty lines", tortureTop+strings.Repeat("\n", 1_000_000))
	add("500,000 lines of dashes", tortureMixed+strings.Repeat("--\n", 500_000))
	add("bare CRs for 2 MB", tortureMixed+strings.Repeat("\r", 2<<20))
	add("bare CRs before boundaries", tortureMixed+strings.Repeat("\r--b", 500_000))
	for _, depth := range []int{50, 99, 100, 101, 500, 5000} {
		from(fmt.Sprintf("%d multiparts within each other", depth), func() []byte { return tortureNest(depth, "multipart/mixed") })
		from(fmt.Sprintf("%d messages within each other", depth), func() []byte {
			return tortureText(strings.Repeat("Content-Type: message/rfc822\n\n", depth) + "Subject: x\n\nx\n")
		})
	}
	from("500 digests within each other", func() []byte { return tortureNest(500, "multipart/digest") })
	from("100 multiparts within each other and lines of dashes", func() []byte {
		return append(tortureNest(99, "multipart/mixed")[:99*60], tortureText(strings.Repeat("--x\n", 100_000))...)
	})
	for _, depth := range []int{1, 5, 6, 12} {
		from(fmt.Sprintf("%d messages in base64 within each other", depth), func() []byte {
			m := []byte("Subject: x\r\n\r\nx\r\n")
			for range depth {
				m = append([]byte("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"), base64.StdEncoding.EncodeToString(m)...)
			}
			return m
		})
	}
}

// tortureNest makes multiparts within each other, all of them closed.
func tortureNest(depth int, media string) []byte {
	var b, end strings.Builder
	for i := range depth {
		fmt.Fprintf(&b, "Content-Type: %s; boundary=\"level-%d-\"\n\n--level-%d-\n", media, i, i)
	}
	b.WriteString("\nx\n")
	for i := depth - 1; i >= 0; i-- {
		fmt.Fprintf(&end, "--level-%d---\n", i)
	}
	return tortureText(b.String() + end.String())
}

func tortureNames(add func(name, data string, args ...any), from func(name string, data func() []byte)) {
	for _, value := range []string{
		"filename", "filename=", "filename==", "filename=;", "=a.txt", "filename=\"\"", "filename=\"", "filename=\"\\", "filename=\"\\\"", "filename=\"a\\", "filename=.",
		"filename=..", "filename=/", "filename=\\", "filename=\"a\nb\"", "filename=\"a\n b\"", "filename=\" \"", "filename=\"\x01\x02\"", "filename=\"\xff\xfe.txt\"", "filename=\"\xed\xa0\x80.txt\"",
		"filename=\"\u202e\u202d\u2066.txt\"", "filename=\"a.{}\"", "filename=\"" + strings.Repeat("\u0301", 20_000) + "\"", "filename=\"" + strings.Repeat("\ufdfa", 15_000) + "\"", "filename=\"" + strings.Repeat("a:", 30_000) + "\"",
		"filename=\"" + strings.Repeat(".", 60_000) + "\"", "filename=\"" + strings.Repeat("/", 60_000) + "\"", "filename=\"" + strings.Repeat("\\", 60_000) + "\"", "filename=" + strings.Repeat("\"", 60_000), "filename=" + strings.Repeat("(", 60_000),
		"filename*=", "filename*='", "filename*=''", "filename*=''%", "filename*=''%%", "filename*=utf-8''%zz", "filename**=a", "filename*0=a", "filename*0*=a", "filename*x=a", "filename*-1=a", "filename*99999999999999999999=a",
		"filename*1=b", "filename*65535=b", "filename*0=a; filename*2=c", "filename*0=a; filename*00=b", "filename*0=a; filename*0=b", "filename*=''a; filename*0=b; filename=c",
		"filename*0*=utf-8''a; filename*1=%41; filename*2*=%42", "filename*0*=unknown''a", strings.Repeat("filename*=''a; ", 4000),
		"filename==?utf-8?B?", "filename==?utf-8?B??=", "filename==?utf-8?B?!?=", "filename==?utf-8?X?a?=", "filename==???=", "filename==?????=", "filename==?utf-8?Q?=?=", "filename==?utf-8?Q?=4?=", "filename==?utf-7?Q?+AC4-?=",
		"filename=\"" + strings.Repeat("=?", 30_000) + "\"", "filename=\"" + strings.Repeat("=?a?q?b?=", 6_000) + "\"", "filename=\"" + strings.Repeat("=?a?b?", 8_000) + "\"", "filename=\"" + strings.Repeat("%", 60_000) + "\"",
	} {
		name := value
		if len(name) > 60 {
			name = fmt.Sprintf("%s... of %d bytes", name[:12], len(name))
		}
		from("Content-Disposition: "+name, func() []byte {
			return tortureText(tortureMixed + "--b\nContent-Type: image/png\nContent-Disposition: attachment; " + value + "\n\nx\n--b--\n")
		})
	}
	var bomb strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&bomb, "; filename*%d*=%%41", 5000-i)
	}
	from("a name in 5,000 pieces, backwards", func() []byte {
		return tortureText(tortureMixed + "--b\nContent-Disposition: attachment" + bomb.String() + "\n\nx\n--b--\n")
	})
}

func tortureEncodings(add func(name, data string, args ...any), from func(name string, data func() []byte)) {
	encodings := []string{"base64", "quoted-printable", "BASE64", "base64;", "\"base64\"", "(c)base64", "x-uuencode", "8-bit", "binary", "base64, base64", "base-64", strings.Repeat("x", 5000)}
	for _, encoding := range encodings {
		add("encoding "+encoding[:min(len(encoding), 20)], tortureMixed+"--b\nContent-Type: image/png\nContent-Transfer-Encoding: %s\n\niVBORw0KGgo=\n--b--\n", encoding)
	}
	for _, pair := range [][2]string{
		{"of padding", strings.Repeat("=", 5000)},
		{"of nothing", ""},
		{"of one character", "A"},
		{"of spaces", strings.Repeat(" ", 5000)},
		{"of other characters", strings.Repeat("!?*", 50_000)},
		{"with padding within", strings.Repeat("AA==", 50_000)},
		{"with one character a line", strings.Repeat("A\n", 300_000)},
		{"on one line of 3 MB", strings.Repeat("iVBO", 750_000)},
		{"of the URL's kind", strings.Repeat("-_", 5000)},
		{"with NULs", strings.Repeat("AA\x00A", 5000)},
		{"of 8-bit characters", strings.Repeat("\xff", 50_000)},
		{"with a junk character every four", strings.Repeat("iVBO!", 500_000)},
	} {
		name, body := pair[0], pair[1]
		add("base64 "+name, tortureMixed+"--b\nContent-Type: application/zip; name=a.zip\nContent-Transfer-Encoding: base64\n\n%s\n--b--\n", body)
	}
	for _, pair := range [][2]string{
		{"of equals signs", strings.Repeat("=", 100_000)},
		{"of soft breaks", strings.Repeat("=\n", 300_000)},
		{"of broken escapes", strings.Repeat("=G", 100_000)},
		{"cut in an escape", "a=4"},
		{"cut behind an equals sign", "a="},
		{"of zeros", strings.Repeat("=00", 300_000)},
		{"in small letters", "=4d=5a=ff"},
		{"with spaces at the ends", strings.Repeat("a   \t \n", 50_000)},
		{"with controls", "\x01\x02\x03\x7f"},
		{"with an escape over a piece's end", strings.Repeat("a", 65_500) + strings.Repeat("=41", 100)},
	} {
		name, body := pair[0], pair[1]
		add("quoted-printable "+name, tortureMixed+"--b\nContent-Type: image/png\nContent-Transfer-Encoding: quoted-printable\n\n%s\n--b--\n", body)
	}
	for _, charset := range []string{"", "utf-7", "utf-16", "utf-32", "x-unknown", "ebcdic", "\"", "=?utf-8?Q?utf-8?=", strings.Repeat("x", 1000), "iso-2022-jp", "none"} {
		add("charset "+charset[:min(len(charset), 20)], tortureTop+"Content-Type: text/plain; charset=%s\n\n\xff\xfe+AC4-\x1b$B$\"\n", charset)
	}
	for _, pair := range [][2]string{
		{"uuencode without an end", "begin 644 a.txt\nM" + strings.Repeat("!", 60) + "\n"},
		{"uuencode without a name", "begin 644 \n"},
		{"uuencode with odd lengths", "begin 644 a\n~\n`\n \nM\n"},
		{"20,000 uuencoded files", strings.Repeat("begin 644 a.txt\n#0V%T\nend\n", 20_000)},
		{"a long line in uuencode", "begin 644 a\nM" + strings.Repeat("x", 1<<20) + "\n"},
		{"yEnc of escapes", "=ybegin name=a\n" + strings.Repeat("=", 100_000) + "\n"},
		{"yEnc without a name", "=ybegin line=128\nx\n"},
		{"base64 of uuencode's kind, broken", "begin-base64 644 a\n!!!\n====\n"},
	} {
		name, text := pair[0], pair[1]
		add(name, tortureTop+"\n%s", text)
	}
}

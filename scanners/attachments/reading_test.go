package attachments_test

import (
	"slices"
	"strings"
	"testing"
)

func TestOrdinaryMailIsClean(t *testing.T) {
	check(t, defaults(), []expect{
		{"no MIME", crlf("From: a@example.net\nSubject: hi\n\nhello\n"), "clean"},
		{"no body", crlf("From: a@example.net\n\n"), "clean"},
		{"no end of the header", crlf("From: a@example.net\n"), "clean"},
		{"nothing", "", "clean"},
		{"8-bit text", crlf("Subject: x\n\ngr\xfc\xdfe\n"), "clean"},
		{"odd charset", crlf("Content-Type: text/plain; charset=x-klingon\n\nhello\n"), "clean"},
		{"a type that is none", crlf("Content-Type: text\n\nhello\n"), "clean"},
		{"an encoding that is none", crlf("Content-Type: text/plain\nContent-Transfer-Encoding: utf-8\n\nhello\n"), "clean"},
		{"text in broken base64", crlf("Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n_______\nlist footer!\n"), "clean"},
		{"text in broken quoted-printable", crlf("Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<a href=x>=ZZ\n"), "clean"},
		{"a comment in the encoding", mixed("Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64 (of course)\n\n" + wrapped([]byte("%PDF-1.4"))), "clean"},
		{"quoted-printable multipart", strings.Replace(mixed(), "MIME-Version", "Content-Transfer-Encoding: quoted-printable\r\nMIME-Version", 1), "clean"},
		{"the same type twice", crlf("Content-Type: text/plain\nContent-Type: text/plain\n\nhello\n"), "clean"},
		{"last boundary missing", strings.TrimSuffix(mixed(file("a.pdf", []byte("%PDF"))), "--b0--\r\n"), "clean"},
		{"last boundary of an inner multipart missing", mixed("Content-Type: multipart/alternative; boundary=b1\n\n--b1\n\nhello\n--b1\nContent-Type: text/html\n\n<p>hello"), "clean"},
		{"text behind the last boundary", mixed() + "\r\n_____\r\nlist footer\r\n", "clean"},
		{"inner boundary that begins like the outer", crlf("Content-Type: multipart/mixed; boundary=part\n\n--part\nContent-Type: multipart/alternative; boundary=part2\n\n--part2\n\nhello\n--part2--\n--part--\n"), "clean"},
		{"signed", crlf("Content-Type: multipart/signed; boundary=b; protocol=\"application/pgp-signature\"\n\n--b\n\nhello\n--b\nContent-Type: application/pgp-signature; name=signature.asc\n\n-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n--b--\n"), "clean"},
		{"forwarded", mixed("Content-Type: message/rfc822\n\nFrom: x@example.net\nSubject: y\n\nhello"), "clean"},
		{"forwarded, with a mailbox's mark", mixed("Content-Type: message/rfc822\n\n>From x@example.net Mon\nSubject: y\n\nhello"), "clean"},
		{"bounce of a multipart's header", mixed("Content-Type: message/rfc822\n\nSubject: y\nContent-Type: multipart/mixed; boundary=x\n\n"), "clean"},
		{"report", crlf("Content-Type: multipart/report; boundary=b; report-type=delivery-status\n\n--b\n\nhello\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n--b\nContent-Type: text/rfc822-headers\n\nSubject: x\nContent-Type: multipart/mixed; boundary=q\n--b--\n"), "clean"},
		{"calendar", mixed("Content-Type: text/calendar; method=REQUEST; name=\"meeting.ics\"\nContent-Transfer-Encoding: base64\n\n" + wrapped([]byte("BEGIN:VCALENDAR\r\n"))), "clean"},
		{"missing padding", mixed("Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n\nJVBERi0xLjQ"), "clean"},
		{"indented base64", mixed("Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n JVBE\n\tRi0x \n\nLjQ="), "clean"},
		{"LF only", strings.ReplaceAll(mixed(file("a.pdf", []byte("%PDF"))), "\r\n", "\n"), "clean"},
		{"the word begin", crlf("Subject: x\n\nbegin 2 day tour\nbegin with it\nbegin 100%\n"), "clean"},
		{"S/MIME", crlf("Content-Type: application/pkcs7-mime; name=smime.p7m\nContent-Transfer-Encoding: base64\n\n" + wrapped([]byte("\x30\x80\x06"))), "clean"},
		{"two dispositions", mixed("Content-Type: image/png\nContent-Disposition: inline\nContent-Disposition: attachment\n\nx"), "clean"},
		{"two types of texts", mixed("Content-Type: text/html; charset=utf-8; name=a.html\nContent-Type: text/html\n\nx"), "clean"},
		{"three encodings of which one encodes", mixed("Content-Type: application/pkcs7-mime; name=smime.p7m\nContent-Transfer-Encoding: raw\nContent-Transfer-Encoding: raw\nContent-Transfer-Encoding: base64\n\n" + wrapped([]byte("\x30\x80\x06"))), "clean"},
		{"quoted-printable that is none", mixed("Content-Type: text/html; name=a.html\nContent-Transfer-Encoding: quoted-printable\n\n<a href=\"x\">"), "clean"},
		{"a list's footer behind a base64 attachment", mixed(file("a.pdf", []byte("%PDF-1.4 a document of one line or two")) + "\n_______________________________________________\nlist mailing list\nlist@lists.example.net"), "clean"},
		{"a list's footer behind a gzip file in base64", mixed(file("a.txt.gz", gzipped("a.txt", []byte("a text of some words"))) + "\n_______________________________________________\nlist mailing list\nlist@lists.example.net"), "clean"},
		{"a footer behind base64 that needs no padding", mixed(file("a.pdf", []byte("%PDF-1.4 a document of one line or two!")) + "\n-- \nsent from my scanner"), "clean"},
		{"an encoding with a semicolon", mixed("Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64;\n\n" + wrapped([]byte("%PDF-1.4"))), "clean"},
		{"an encoding in quotes", mixed("Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: \"8-bit\"\n\n%PDF-1.4"), "clean"},
		{"a charset for an encoding", mixed("Content-Type: text/csv; name=a.csv\nContent-Transfer-Encoding: utf-8\n\na;b"), "clean"},
		{"signature separator", mixed("Content-Type: text/plain\n\nhello\n-- \nme\n--\nyou"), "clean"},
	})
}

func TestWhatMayBeReadInSeveralWaysIsUnknown(t *testing.T) {
	// In some reading there is an attachment, perhaps.
	rows := waysToRead()
	for i := range rows {
		rows[i].message += crlf("\nContent-Type: image/png\n")
	}
	check(t, defaults(), rows)
}

func TestWhatIsNothingButTextHoweverItIsReadIsClean(t *testing.T) {
	var rows []expect
	for _, row := range waysToRead() {
		if !slices.Contains([]string{"encoded multipart", "a header of 80 KB about the content"}, row.about) && !strings.Contains(strings.ToLower(row.message), "image/png") && !strings.Contains(row.message, "/partial") && !strings.Contains(row.message, "filename=") {
			rows = append(rows, expect{row.about, row.message, "clean"})
		}
	}
	check(t, defaults(), rows)
	if len(rows) < 15 {
		t.Errorf("these are %d", len(rows))
	}
	encoded := crlf("Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64\n\n" + wrapped([]byte("--b\nContent-Type: image/png; name=a.exe\n\nx\n--b--\n")))
	check(t, defaults(), []expect{
		{"a multipart that is encoded", encoded, "unknown: is encoded"},
		{"an attachment behind an empty line too many", crlf("Content-Type: text/plain\nnonsense\n\nContent-Disposition: attachment; filename=a.pdf\n\nx"), "unknown: no field"},
		{"a header that begins with a blank", mixed("Content-Type: text/plain\n\n--b0x\n Content-Type: image/png; name=a.exe\n\nx"), "unknown: begins like a boundary"},
		{"messages of a digest, encoded", crlf("Content-Type: multipart/mixed; boundary=a; boundary=b\n\n--b\nContent-Type: multipart/digest; boundary=c\n\n--c\nContent-Transfer-Encoding: base64\n\n" + wrapped([]byte("Content-Type: image/png; name=a.exe\n\nx")) + "\n--c--\n--b--\n"), "unknown: several ways"},
		{"messages of a digest", crlf("Content-Type: multipart/mixed; boundary=a; boundary=b\n\n--b\nContent-Type: multipart/digest; boundary=c\n\n--c\n\nSubject: x\n\nx\n--c--\n--b--\n"), "clean"},
		{"a quoted message in a text", crlf("Content-Type: text/plain\nnonsense\n\n  Subject: x\n  Content-Type: text/plain\n"), "clean"},
		{"a file within a text", crlf("Content-Type: text/plain\nnonsense\n\nbegin 644 a.txt\nend\n"), "unknown: no field"},
		{"a type that a bare CR cuts", crlf("Content-Type: text/plain\rx\nnonsense\n\nx"), "unknown: no field"},
		{"a type that two bare CRs cut", crlf("Content-Type: text/plain\r\rx\nnonsense\n\nx"), "unknown: bare CR"},
		{"a type behind a form feed", crlf("Content-Type:\ftext/plain\nnonsense\n\nx"), "unknown: no field"},
		{"an indented field that begins a header", crlf("  Content-Type: image/gif\nnonsense\n\nx"), "unknown: no field"},
		{"a name with a comment within", crlf("Content-Type: text/plain; na(x)me=a.pdf\nnonsense\n\nx"), "unknown: no field"},
		{"a name behind an empty line", crlf("Content-Type: text/plain;\n\nname=a.pdf\nnonsense\n\nx"), "unknown: behind an empty line"},
		{"a NUL in a type", crlf("Content-Type: text/pl\x00ain\n\nx"), "unknown: NUL"},
		{"a NUL in a field's name", crlf("Con\x00tent-Type: image/gif\n\nx"), "unknown: NUL"},
		{"a NUL before a folded name", crlf("Content-Type: text/plain\n\x00 ; name=a.pdf\n\nx"), "unknown: NUL"},
		{"a NUL in the line before a file", crlf("Subject: \x00\n\nbe\x00gin 644 a.pdf\n#0V%T\nend\n"), "unknown: NUL"},
		{"a folded name", crlf("Content-Type: text/plain;\n\tname=a.pdf\nnonsense\n\nx"), "unknown: no field"},
	})
}

// A copy that a report returns may be cut off anywhere, but that puts nothing odd into it.
func TestWhatNoCuttingOffDoesToAMessageIsADoubtInAReport(t *testing.T) {
	report := func(returned string) string {
		return crlf("Content-Type: multipart/report; boundary=r; report-type=delivery-status\n\n--r\n\nhello\n--r\nContent-Type: message/rfc822\n\n" + returned + "\n--r--\n")
	}
	check(t, defaults(), []expect{
		{"bare CRs", report("Subject: x\rContent-Type: image/png; name=a.exe\r\rx"), "unknown: bare CR"},
		{"a NUL", report("Subject: x\nContent-Type: image/png; name=a.p\x00ng"), "unknown: NUL"},
		{"a header cut off", report("Subject: x\nContent-Type: image/png; na"), "clean"},
	})
}

func TestAPageThatNotEveryProgramDecodesIsADoubt(t *testing.T) {
	const page = "QUJDREVGR0hJSktMTU5PUA==\n<html><script>a.href = URL.createObjectURL(new Blob([x])); a.click()</script></html>\n"
	named := func(encodings string) string { return "Content-Type: text/html; name=a.html\n" + encodings + "\n\n" }
	check(t, defaults(), []expect{
		{"two encodings", mixed(named("Content-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: base64") + page), "unknown: other characters"},
		{"an odd name of the encoding", mixed(named("Content-Transfer-Encoding: base-64") + page), "unknown: other characters"},
		{"uuencode", mixed(named("Content-Transfer-Encoding: x-uuencode") + "begin 644 a.txt\n`\nend\n" + page), "unknown: uuencoded"},
		{"two encodings of what is base64", mixed(named("Content-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: base64") + wrapped([]byte("<html></html>"))), "clean"},
	})
}

func TestFilesOfOldMacsAreADoubt(t *testing.T) {
	const binhex = "(This file must be converted with BinHex 4.0)\n:#hGPBR9dD@acAh\"X!$mr2cmr2cmr!!!!!!!8!!!!!-ka5%p-38K26%&)6da:\n"
	check(t, defaults(), []expect{
		{"BinHex as an encoding", mixed("Content-Type: application/octet-stream\nContent-Transfer-Encoding: mac-binhex40\n\n" + binhex), "unknown: BinHex"},
		{"BinHex as the encoding of a text", mixed("Content-Type: text/plain\nContent-Transfer-Encoding: mac-binhex40\n\n" + binhex), "unknown: BinHex"},
		{"BinHex as a type", mixed("Content-Type: application/mac-binhex40; name=a.hqx\n\n" + binhex), "unknown: BinHex"},
		{"AppleSingle", mixed(encodedPart("Content-Type: application/applefile; name=a", []byte("\x00\x05\x16\x00\x00\x02\x00\x00"))), "unknown: AppleSingle"},
		{"AppleDouble", mixed(encodedPart("Content-Type: application/applefile; name=a", []byte("\x00\x05\x16\x07\x00\x02\x00\x00"))), "clean"},
	})
}

func TestWhatIsNoQuotedPrintableIsADoubtInWhatIsNoText(t *testing.T) {
	quoted := func(name, text string) string {
		return mixed("Content-Type: application/octet-stream; name=" + name + "\nContent-Transfer-Encoding: quoted-printable\n\n" + text)
	}
	check(t, defaults(), []expect{
		{"a document, perhaps", quoted("a.doc", "{=ZZ\\rtf1\\objdata 00}"), "unknown: quoted-printable"},
		{"a CR for a line end", quoted("a.doc", "{=\r\\rtf1\\objdata 00}"), "object a.doc"},
		{"a page", quoted("a.html", "<a href=\"x\">"), "clean"},
		{"a text", quoted("a.txt", "a=b"), "clean"},
		{"data", quoted("a.xml", "<a b=\"x\"/>"), "clean"},
	})
}

// waysToRead are messages that mail programs may read in several ways.
func waysToRead() []expect {
	head := "From: a@example.net\n"
	return []expect{
		{"two types", crlf(head + "Content-Type: text/plain\nContent-Type: multipart/mixed; boundary=b\n\nx\n"), "unknown: several fields Content-Type"},
		{"two encodings", mixed("Content-Type: image/png\nContent-Transfer-Encoding: base64\nContent-Transfer-Encoding: quoted-printable\n\nx"), "unknown: several fields Content-Transfer-Encoding"},
		{"two boundaries", crlf(head + "Content-Type: multipart/mixed; boundary=a; boundary=b\n\n--a\n\nx\n--a--\n"), "unknown: several ways"},
		{"boundary with a comment", crlf(head + "Content-Type: multipart/mixed; boundary=a(b)\n\n--a\n\nx\n--a--\n"), "unknown: several ways"},
		{"boundary in two encodings", crlf(head + "Content-Type: multipart/mixed; boundary=a; boundary*=utf-8''b\n\n--a\n\nx\n--a--\n"), "unknown: several ways"},
		{"boundary of which a piece is missing", crlf(head + "Content-Type: multipart/mixed; boundary*0=a; boundary*2=b\n\n--a\n\nx\n--ab\n\nx\n--ab--\n"), "unknown: several ways"},
		{"boundary of which a piece stands twice", crlf(head + "Content-Type: multipart/mixed; boundary*0=a; boundary*0=b\n\n--a\n\nx\n--ab\n\nx\n--ab--\n"), "unknown: several ways"},
		{"no boundary", crlf(head + "Content-Type: multipart/mixed\n\n--a\n\nx\n--a--\n"), "unknown: no boundary"},
		{"empty boundary", crlf(head + "Content-Type: multipart/mixed; boundary=\"\"\n\n--\n\nx\n----\n"), "unknown: no boundary"},
		{"boundary that is not there", crlf(head + "Content-Type: multipart/mixed; boundary=b\n\n--a\n\nx\n--a--\n"), "unknown: does not contain its boundary"},
		{"boundary of 2 KB", crlf(head + "Content-Type: multipart/mixed; boundary=" + strings.Repeat("b", 2000) + "\n\n"), "unknown: longer than 1000"},
		{"broken type with a boundary", crlf(head + "Content-Type: multipart; boundary=b\n\n--b\n\nx\n--b--\n"), "unknown: type that cannot be read"},
		{"line that goes on like a boundary", mixed("Content-Type: text/plain\n\n--b0x\n"), "unknown: begins like a boundary"},
		{"the same boundary within", mixed("Content-Type: multipart/mixed; boundary=b0\n\n--b0\n\nx"), "unknown: share a boundary"},
		{"parts behind the last boundary", mixed() + crlf("--b0\n\nx\n--b0--\n"), "unknown: behind its last boundary"},
		{"a program behind the last boundary", mixed() + crlf("--b0\nContent-Type: image/png; name=a.exe\n\nx\n--b0--\n"), "extension a.exe"},
		{"boundary behind a bare CR", mixed("Content-Type: text/plain\n\nx\r--b0\ry"), "unknown: bare CR"},
		{"field behind a bare CR", crlf(head+"X-A: b") + "\rContent-Type: multipart/mixed; boundary=b\r\n\r\nx", "unknown: bare CR"},
		{"header's end in bare CRs", crlf(head+"X-A: b") + "\r\r\n\r\nx", "unknown: bare CR"},
		{"NUL in the header", crlf(head + "Subject: a\x00b\n\nx"), "unknown: NUL"},
		{"a line that is no field", mixed("Content-Type: image/png\nnothing\n\nx"), "unknown: no field"},
		{"a broken name of a field", mixed("Content-Type: image/png\nContent-Ty pe: image/png\n\nx"), "unknown: broken name"},
		{"unknown encoding", mixed("Content-Type: image/png\nContent-Transfer-Encoding: x-own\n\n" + wrapped(pe)), "unknown: unknown encoding x-own"},
		{"encoded multipart", crlf(head + "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64\n\n" + wrapped([]byte(strings.Repeat("text ", 20))) + "\n--b\n\nx\n--b--\n"), "unknown: is encoded"},
		{"junk in base64", mixed("Content-Type: image/png\nContent-Transfer-Encoding: base64\n\niVBO!!!!Rw0K"), "unknown: other characters"},
		{"base64 that goes on behind its padding in further lines", mixed(file("a.png", []byte("\x89PNG and some more of that")) + "\n" + wrapped([]byte("some more that is an image, too"))), "unknown: behind its padding"},
		{"a footer between two pieces of base64", mixed(file("a.png", []byte("\x89PNG and some more of that.")) + "\n___\n" + wrapped([]byte("some more that is an image, too"))), "unknown: other characters"},
		{"a program behind the padding", mixed("Content-Type: image/png\nContent-Transfer-Encoding: base64\n\nTVo=\nkAADAAAABAAAAP//AAC4AAAAAAAAAEAAAAAA"), "mismatch without a name"},
		{"a program in base64 with junk", mixed("Content-Type: image/png\nContent-Transfer-Encoding: base64\n\nTV!qQ-A-A--MAAAAE"), "mismatch without a name"},
		{"text behind the padding", mixed("Content-Type: image/png\nContent-Transfer-Encoding: base64\n\niVBORw==\niVBORw=="), "unknown: behind its padding"},
		{"base64 that ends within a byte", mixed("Content-Type: image/png\nContent-Transfer-Encoding: base64\n\niVBOR"), "unknown: within a byte"},
		{"broken quoted-printable", mixed("Content-Type: image/png\nContent-Transfer-Encoding: quoted-printable\n\n{\\rtf1 =ZZ=QQ}"), "unknown: quoted-printable"},
		{"a piece of a message", crlf(head + "Content-Type: message/partial; id=x; number=1\n\nx"), "unknown: message/partial"},
		{"a header of 80 KB about the content", crlf(head + "Content-Type: text/plain; x=" + strings.Repeat("y", 80<<10) + "\n\nx"), "unknown: more than 65536 bytes"},
		{"2,000 parameters", crlf(head + "Content-Type: text/plain" + strings.Repeat("; a=b", 2000) + "\n\nx"), "unknown: 1000 parameters"},
	}
}

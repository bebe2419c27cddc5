package attachments_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"coexistd/policy/verdict"
	"coexistd/scanners"
	"coexistd/scanners/attachments"
)

func scanText(t testing.TB, a *attachments.Scanner, text string) verdict.Finding {
	t.Helper()
	return a.Scan(t.Context(), &scanners.Message{Content: strings.NewReader(text), Size: int64(len(text))})
}

// expect is a table's row: a message, and the hit's name; "unknown: reason" or
// "clean" for the other states.
type expect struct {
	about, message, want string
}

func check(t *testing.T, a *attachments.Scanner, rows []expect) {
	for _, row := range rows {
		t.Run(row.about, func(t *testing.T) {
			f := scanText(t, a, row.message)
			if f.Check != verdict.CheckMalware {
				t.Errorf("the check is %q", f.Check)
			}
			switch reason, unknown := strings.CutPrefix(row.want, "unknown: "); {
			case unknown:
				if f.State != verdict.Unknown || !strings.Contains(f.Reasons.String(), reason) || f.Name != "" {
					t.Errorf("got %v (%s), want unknown, %q", f, f.Reasons.String(), reason)
				}
			case row.want == "clean":
				if f.State != verdict.Clean {
					t.Errorf("got %v (%s), want clean", f, f.Reasons.String())
				}
			default:
				if f.State != verdict.Hit || f.Name != row.want || f.Reasons.String() == "" {
					t.Errorf("got %v (%s), want the hit %q", f, f.Reasons.String(), row.want)
				}
			}
		})
	}
}

func defaults() *attachments.Scanner {
	return attachments.New(attachments.DefaultRules())
}

func TestAttachmentNamesAreSeenThroughTheirDisguise(t *testing.T) {
	check(t, defaults(), []expect{
		{"plain", disposition(`filename="a.exe"`), "extension a.exe"},
		{"upper case", disposition(`filename="A.EXE"`), "extension A.EXE"},
		{"harmless", disposition(`filename="report.pdf"`), "clean"},
		{"no name", disposition(``), "clean"},
		{"a domain in the name of a document", disposition(`filename="acmecorp.com.pdf"`), "clean"},
		{"an earlier extension", disposition(`filename="setup.exe.pdf"`), "clean"},
		{"in Content-Type", mixed(encodedPart(`Content-Type: application/octet-stream; name="a.exe"`, []byte("x"))), "extension a.exe"},
		{"two names, the type's is bad", mixed(encodedPart("Content-Type: application/pdf; name=\"a.exe\"\nContent-Disposition: attachment; filename=\"a.pdf\"", []byte("x"))), "extension a.exe"},
		{"two names, the disposition's is bad", mixed(encodedPart("Content-Type: application/pdf; name=\"a.pdf\"\nContent-Disposition: attachment; filename=\"a.exe\"", []byte("x"))), "extension a.exe"},
		{"two filename parameters", disposition(`filename="a.pdf"; filename="a.exe"`), "extension a.exe"},
		{"name in the disposition", disposition(`name="a.exe"`), "extension a.exe"},
		{"in the type of the message itself", crlf("Content-Type: application/octet-stream; name=a.exe\n\nx"), "extension a.exe"},
		{"on a multipart", crlf("Content-Type: multipart/mixed; boundary=b; name=a.exe\n\n--b\n\nx\n--b--\n"), "extension a.exe"},

		{"double extension", disposition(`filename="invoice.pdf.exe"`), "extension invoice.pdf.exe"},
		{"spaces before the extension", disposition(`filename="invoice.pdf                    .exe"`), "extension invoice.pdf .exe"},
		{"trailing dots", disposition(`filename="a.exe..."`), "extension a.exe..."},
		{"trailing spaces", disposition(`filename="a.exe   "`), "extension a.exe"},
		{"space within", disposition(`filename="a.e xe"`), "extension a.e xe"},
		{"semicolon", disposition(`filename="a.exe;.pdf"`), "extension a.exe;.pdf"},
		{"semicolon without quotes", disposition(`filename=a.exe;.pdf`), "extension a.exe"},
		{"semicolon without quotes before the extension", disposition(`filename=a.pdf;b.exe`), "extension a.pdf;b.exe"},
		{"several semicolons without quotes", disposition(`filename=a.pdf;b.exe;c;d`), "extension a.pdf;b.exe;c;d"},
		{"stream", disposition(`filename="a.exe::$DATA"`), "extension a.exe::$DATA"},
		{"stream with a name", disposition(`filename="a.txt:b.exe"`), "extension a.txt:b.exe"},
		{"path", disposition(`filename="C:\\temp\\a.exe"`), `extension C:\temp\a.exe`},
		{"path with single backslashes", disposition(`filename="C:\temp\a.exe"`), `extension C:tempa.exe`},
		{"slash at the end", disposition(`filename="a.exe/"`), "extension a.exe/"},
		{"folder with an extension", disposition(`filename="www.acmecorp.com/index.pdf"`), "clean"},
		{"NUL in the name", disposition("filename*=utf-8''a.exe%00.pdf"), "extension a.exe?.pdf"},
		{"NUL within the extension", disposition("filename*=utf-8''a.e%00xe"), "extension a.e?xe"},
		{"control characters", disposition("filename*=utf-8''a.e%01x%1fe"), "extension a.e?x?e"},
		{"class identifier", disposition(`filename="a.{3050F4D8-98B5-11CF-BB82-00AA00BDCE0B}"`), "extension a.{3050F4D8-98B5-11CF-BB82-00AA00BDCE0B}"},
		{"right-to-left mark", disposition("filename=\"invoice\u202efdp.exe\""), "extension invoice?fdp.exe"},
		{"zero-width marks", disposition("filename=\"a.e\u200bx\u200de\""), "extension a.e?x?e"},
		{"soft hyphen", disposition("filename=\"a.ex\u00ade\""), "extension a.ex?e"},
		{"full-width letters", disposition("filename=\"a\uff0eｅｘｅ\""), "extension a?"},
		{"ideographic full stop", disposition("filename=\"a。exe\""), "extension a?exe"},
		{"long name", disposition(`filename="` + strings.Repeat("long", 50) + `.exe"`), "extension ..." + strings.Repeat("long", 20)[7:] + ".exe"},

		{"no quotes", disposition(`filename=a.exe`), "extension a.exe"},
		{"no quotes and spaces", disposition(`filename=my invoice.exe`), "extension my invoice.exe"},
		{"no semicolon behind quotes", disposition(`x="y" filename=a.exe`), "extension a.exe"},
		{"no semicolon and no blank behind quotes", disposition(`x="y"filename="a.exe"`), "extension a.exe"},
		{"no semicolon behind a value", disposition(`size=10 filename="a.exe"`), "extension a.exe"},
		{"words before a key", disposition(`x y filename=a.exe`), "extension a.exe"},
		{"no semicolon, harmless", disposition(`filename="a.pdf" x-mac-type="50444620"`), "clean"},
		{"quote not closed", disposition(`filename="a.exe`), "extension a.exe"},
		{"quote not closed, with more", disposition(`filename="a.exe; x=y`), "extension a.exe; x=y"},
		{"text behind the quotes", disposition(`filename="a."exe`), `extension a.exe`},
		{"escaped quote", disposition(`filename="a.exe\"`), `extension a.exe"`},
		{"single quotes", disposition(`filename='a.exe'`), `extension 'a.exe'`},
		{"comment", disposition(`filename=a.exe(harmless)`), `extension a.exe(harmless)`},
		{"spaces around the equals sign", disposition(`filename = "a.exe"`), "extension a.exe"},
		{"space before the colon", mixed(encodedPart("Content-Type: application/octet-stream\nContent-Disposition : attachment; filename=a.exe", []byte("x"))), "extension a.exe"},
		{"folded", disposition("\n\tfilename=\"a.e\n xe\""), "extension a.e xe"},
		{"empty", disposition(`filename=""; name=a.exe`), "extension a.exe"},

		{"2231", disposition("filename*=utf-8''a%2eexe"), "extension a.exe"},
		{"2231, pieces", disposition(`filename*0="a."; filename*1="exe"`), "extension a.exe"},
		{"2231, pieces out of order", disposition(`filename*1="xe"; filename*0="a.e"`), "extension a.exe"},
		{"2231, encoded pieces", disposition("filename*0*=utf-8'en'a%2E; filename*1*=e%78e"), "extension a.exe"},
		{"2231, more than ten pieces", disposition(`filename*10=e; filename*0=a; filename*1=b; filename*2=c; filename*3=d; filename*4=e; filename*5=f; filename*6=g; filename*7="."; filename*8=e; filename*9=x`), "extension abcdefg.exe"},
		{"2231 beside a harmless name", disposition("filename=a.pdf; filename*=utf-8''a.exe"), "extension a.exe"},
		{"2231, unknown charset, judged raw", disposition("filename*=x-klingon''a.exe"), "extension a.exe"},
		{"2231, unknown charset", disposition("filename*=x-klingon''a"), "unknown: unknown charset"},
		{"2231, unknown charset, the same ending", disposition("filename*=x-klingon''a.pdf"), "clean"},
		{"2231, broken percent", disposition("filename*=utf-8''a.%zz"), "unknown: percent encoding is broken"},
		{"2231, broken percent, the same ending", disposition("filename*=utf-8''100%.pdf"), "clean"},
		{"2231, no charset", disposition("filename*=a.exe"), "extension a.exe"},
		{"2231, a piece twice", disposition(`filename*0="a."; filename*1=pdf; filename*1=png`), "unknown: stands twice"},
		{"2231, a piece twice, the same ending", disposition(`filename*0=a; filename*0=b; filename*1=".pdf"`), "clean"},
		{"2231, a piece twice, the first is bad", disposition(`filename*0="a.js"; filename*0=".pdf"`), "extension a.js"},
		{"2231, a piece twice, the last is bad", disposition(`filename*0="a.pdf"; filename*0="b.js"; filename*2=".pdf"`), "extension b.js"},
		{"2231, a piece behind the whole", disposition("filename*=utf-8''a.js; filename*1=.pdf"), "extension a.js"},
		{"2231, a piece behind one that is missing", disposition(`filename*0="a.js"; filename*2=".pdf"`), "extension a.js"},
		{"2231, a piece is missing, harmless", disposition(`filename*0="a"; filename*2=".pdf"`), "clean"},
		{"2231, UTF-16", disposition("filename*=utf-16le''a%00.%00e%00x%00e%00"), "extension a?.?e?x?e?"},
		{"percent without 2231", disposition(`filename="a%2Eexe"`), "extension a.exe"},
		{"a percent sign", disposition(`filename="100% sure.pdf"`), "clean"},

		{"2047", disposition(`filename="=?utf-8?B?YS5leGU=?="`), "extension a.exe"},
		{"2047 without quotes", disposition(`filename==?utf-8?Q?a=2Eexe?=`), "extension a.exe"},
		{"2047 without padding", disposition(`filename="=?utf-8?B?YS5leGU?="`), "extension a.exe"},
		{"2047, two words", disposition(`filename="=?utf-8?Q?a.e?= =?utf-8?Q?xe?="`), "extension a.exe"},
		{"2047, word and text", disposition(`filename="=?utf-8?Q?invoice?=.exe"`), "extension invoice.exe"},
		{"2047, a language", disposition(`filename="=?utf-8*en?Q?a.exe?="`), "extension a.exe"},
		{"2047 in 2231", disposition(`filename*0="=?utf-8?Q?a.e"; filename*1="xe?="`), "extension a.exe"},
		{"2047, harmless", disposition(`filename="=?iso-8859-1?Q?pr=FCfung.pdf?="`), "clean"},
		{"2047, unknown charset", disposition(`filename="=?x-klingon?Q?a.pdf?="`), "unknown: unknown charset x-klingon"},
		{"2047, unknown charset, judged raw", disposition(`filename="=?x-klingon?Q?a.exe?="`), "extension a.exe"},
		{"2047, UTF-7", disposition(`filename="=?utf-7?Q?a+AC4-exe?="`), "extension a.exe"},
		{"2047, UTF-7, harmless", disposition(`filename="=?utf-7?Q?pr+APw-fung.pdf?="`), "clean"},
		{"2047, letters of two bytes that read as an extension", disposition(`filename="=?shift_jis?Q?=82=81=81D=82=85=82=98=82=85?="`), "extension ?"},
		{"2047, broken", disposition(`filename="=?utf-8?B?!!!?="`), "unknown: encoded word"},
		{"2047, broken, the same ending", disposition(`filename="=?utf-8?B?!!!?=.pdf"`), "clean"},
		{"a quoted key", disposition(`"filename"="a.exe"`), "extension a.exe"},
		{"a comma", mixed(encodedPart("Content-Type: application/octet-stream\nContent-Disposition: attachment, filename=a.exe", []byte("x"))), "extension a.exe"},
		{"a header that begins with a blank", mixed(encodedPart(" Content-Disposition: attachment; filename=a.exe", []byte("x"))), "extension a.exe"},
		{"a parameter behind an empty line", mixed("Content-Type: application/octet-stream; x-unix-mode=0600;\n\nname=\"a.exe\"\nContent-Transfer-Encoding: base64\n\neA==\n"), "extension a.exe"},
		{"a folded parameter behind an empty line", mixed("Content-Type: application/octet-stream; x-unix-mode=0600;\n\nname=\"a.pdf\";\n\tfilename=\"b.exe\"\n\nx"), "extension b.exe"},
		{"an empty line behind a semicolon", mixed("Content-Type: text/plain; charset=utf-8;\n\nhello = you"), "clean"},
		{"a host as a name", mixed(file("www.example.com", []byte("a page of ours\r\n"))), "clean"},
		{"a program called like a host", mixed(file("www.example.com", pe)), "extension www.example.com"},
		{"a program of letters called like a host", mixed(file("www.example.com", []byte("X5O!P%@AP[4\\PZX54(P^)7CC)7}$-NO-TEST-FILE!$H+H*\r\n"))), "extension www.example.com"},
		{"a host within a zip", mixed(file("logs.zip", zipped(member{"mail.example.com", []byte("a line\n")}))), "clean"},
		{"in Content-Description", mixed(encodedPart("Content-Type: application/octet-stream\nContent-Description: a.js", []byte("x"))), "extension a.js"},
		{"in Content-Description, encoded", mixed(encodedPart("Content-Type: application/octet-stream\nContent-Description: =?utf-8?Q?a=2Ejs?=", []byte("x"))), "extension a.js"},
		{"a description beside a name", mixed(encodedPart("Content-Type: application/octet-stream; name=a.pdf\nContent-Description: made by a.js", []byte("x"))), "clean"},
		{"a description with a host's name", mixed(encodedPart("Content-Type: image/png\nContent-Description: the logo of www.example.pl", []byte("x"))), "clean"},
		{"the description of a text", mixed("Content-Type: text/plain\nContent-Description: Notification.\n\nx"), "clean"},
		{"in Content-Name", mixed(encodedPart("Content-Type: application/octet-stream\nContent-Name: \"a.js\"", []byte("x"))), "extension a.js"},
		{"in Content-Name, encoded", mixed(encodedPart("Content-Type: application/octet-stream\nContent-Name: =?utf-8?B?YS5leGU=?=", []byte("x"))), "extension a.exe"},
		{"a harmless Content-Name", mixed(encodedPart("Content-Type: application/octet-stream\nContent-Name: a.pdf", []byte("x"))), "clean"},
		{"the type of a program for a name without an extension", mixed(encodedPart("Content-Type: application/hta; name=invoice", []byte("x"))), "extension invoice"},
		{"the type of a script without a name", mixed(encodedPart("Content-Type: application/javascript", []byte("x"))), "extension without a name"},
		{"two types, the second is that of a program", mixed(encodedPart("Content-Type: application/octet-stream\nContent-Type: application/hta", []byte("x"))), "extension without a name"},
		{"two types, the second is that of a page", mixed("Content-Type: text/plain\nContent-Type: text/html\nContent-Disposition: attachment\nContent-Disposition: inline\n\n<script>eval(atob(x))</script>"), "smuggling without a name"},
		{"two types, harmless", mixed("Content-Type: application/octet-stream\nContent-Type: application/pdf\nContent-Disposition: attachment\n\n%PDF-1.4"), "clean"},
		{"2047, not ended", disposition(`filename="=?utf-8?B?YS5leGU"`), "unknown: encoded word"},
		{"2047, Japanese", disposition(`filename="=?iso-2022-jp?B?GyRCJSIbKEIuZXhl?="`), "extension ?$B%\"?(B.exe"},
	})
}

func TestAttachmentsAreWhatTheirBytesSay(t *testing.T) {
	hidden := func(fields string, content []byte) string { return mixed(encodedPart(fields, content)) }
	iso := append(make([]byte, 0x8001), "CD001\x01"...)
	boot := append([]byte("\xeb\x3c\x90MSDOS5.0"), make([]byte, 600)...)
	copy(boot[54:], "FAT16")
	copy(boot[510:], "\x55\xaa")
	check(t, defaults(), []expect{
		{"a program", mixed(file("data.bin", pe)), "executable data.bin"},
		{"a program without a name", hidden("Content-Type: application/octet-stream", pe), "executable without a name"},
		{"a program as PNG", hidden("Content-Type: image/png", pe), "mismatch without a name"},
		{"a program as PDF by name", mixed(file("invoice.pdf", pe)), "mismatch invoice.pdf"},
		{"a program as text", hidden("Content-Type: text/plain; name=readme.txt", pe), "mismatch readme.txt"},
		{"a program as the text", crlf("Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n" + wrapped(pe)), "executable without a name"},
		{"a program as it is", crlf("Content-Type: text/plain\n\n") + string(pe), "executable without a name"},
		{"ELF", mixed(file("data", []byte("\x7fELF\x02\x01\x01"))), "executable data"},
		{"Mach-O", mixed(file("data", []byte("\xcf\xfa\xed\xfe\x07\x00"))), "executable data"},
		{"Java", mixed(file("data", []byte("\xca\xfe\xba\xbe\x00\x00"))), "executable data"},
		{"Android", mixed(file("data", []byte("dex\n035\x00"))), "executable data"},
		{"a script", mixed(file("data", []byte("#!/bin/sh\nrm -rf /\n"))), "script data"},
		{"a script with a mark", mixed(file("data", []byte("\xef\xbb\xbf#! /usr/bin/perl\n"))), "script data"},
		{"a script as image", hidden("Content-Type: image/gif; name=a.gif", []byte("#!/bin/sh\n")), "mismatch a.gif"},
		{"a script as the text", crlf("Content-Type: text/plain\n\n#!/bin/sh\necho hello\n"), "clean"},
		{"a shortcut", mixed(file("data", []byte("\x4c\x00\x00\x00\x01\x14\x02\x00\x00"))), "shortcut data"},
		{"HTML application", mixed(file("data", []byte("<html><head><HTA:Application id=x></head>"))), "script data"},
		{"help file", mixed(file("data", []byte("ITSF\x03\x00"))), "executable data"},
		{"ISO image", mixed(file("data", iso)), "image data"},
		{"disk image", mixed(file("data", boot)), "image data"},
		{"VHD", mixed(file("data", []byte("conectix\x00\x00"))), "image data"},
		{"disk image of Windows", mixed(file("data", []byte("MSWIM\x00\x00\x00\xd0"))), "image data"},
		{"disk image of VMware", mixed(file("data", []byte("KDMV\x01\x00"))), "image data"},
		{"database of Access", mixed(file("data", []byte("\x00\x01\x00\x00Standard Jet DB\x00"))), "archive data"},
		{"notebook of OneNote", mixed(file("data", []byte("\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3"))), "archive data"},
		{"package of macOS", mixed(file("data", []byte("xar!\x00\x1c"))), "archive data"},
		{"cabinet", mixed(file("data", []byte("MSCF\x00\x00\x00\x00"))), "archive data"},
		{"MSI", mixed(file("data", ole("\x84\x10\x0c\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46"))), "installer data"},
		{"quoted-printable program", mixed("Content-Type: image/png\nContent-Transfer-Encoding: quoted-printable\n\nMZ=90=00=03=00=00=00"), "mismatch without a name"},

		{"JPEG called PNG", hidden("Content-Type: image/png; name=a.png", []byte("\xff\xd8\xff\xe0\x00\x10JFIF")), "clean"},
		{"PDF called octet-stream", mixed(file("a.pdf", []byte("%PDF-1.7\n"))), "clean"},
		{"text that begins with MZ", crlf("Content-Type: text/plain\n\nMZ 4711 is the order's number, as agreed upon last week. Thank you very much.\n"), "clean"},
		{"empty", mixed(file("a.pdf", nil)), "clean"},
		{"7z that is not listed", mixed(file("a.7z", append([]byte("7z\xbc\xaf\x27\x1c\x00\x04"), make([]byte, 24)...))), "clean"},
	})
}

func TestDocumentsWithMacrosAreHits(t *testing.T) {
	check(t, defaults(), []expect{
		{"by extension", mixed(file("a.docm", []byte("x"))), "macro a.docm"},
		{"docm as docx", mixed(file("a.docx", zipped(member{"word/document.xml", nil}, member{"word/vbaProject.bin", nil}))), "macro word/vbaProject.bin"},
		{"VBA by another name", mixed(file("a.docx", zipped(member{"word/other.bin", ole("", "VBA", "_VBA_PROJECT")}))), "macro word/other.bin"},
		{"Excel 4 sheet", mixed(file("a.xlsx", zipped(member{"xl/macrosheets/sheet1.xml", nil}))), "macro xl/macrosheets/sheet1.xml"},
		{"OpenDocument", mixed(file("a.odt", zipped(member{"Basic/Standard/script-lb.xml", nil}))), "macro Basic/Standard/script-lb.xml"},
		{"docx", mixed(file("a.docx", zipped(member{"word/document.xml", []byte("<xml>")}, member{"word/media/image1.png", []byte("\x89PNG")}))), "clean"},
		{"doc", mixed(file("a.doc", ole("", "WordDocument", "1Table"))), "clean"},
		{"doc with macros", mixed(file("a.doc", ole("", "WordDocument", "Macros", "VBA"))), "macro a.doc"},
		{"xls with macros", mixed(file("a.xls", ole("", "Workbook", "_VBA_PROJECT_CUR"))), "macro a.xls"},
		{"ActiveMime", mixed(file("a.mso", []byte("ActiveMime\x00\x00"))), "macro a.mso"},
		{"embedded package", mixed(file("a.doc", ole("", "WordDocument", "\x01Ole10Native"))), "object a.doc"},
		{"embedded package in docx", mixed(file("a.docx", zipped(member{"word/embeddings/oleObject1.bin", ole("", "\x01Ole10Native")}))), "object word/embeddings/oleObject1.bin"},
		{"encrypted document", mixed(file("a.docx", ole("", "EncryptionInfo", "EncryptedPackage"))), "encrypted a.docx"},
		{"RTF", mixed(file("a.rtf", []byte(`{\rtf1\ansi hello}`))), "clean"},
		{"RTF with an object", mixed(file("a.doc", []byte(`{\rtf1\ansi{\object\objemb{\*\objdata 0105}}}`))), "object a.doc"},
		{"RTF with an object behind a line end", mixed(file("a.doc", []byte("\r\n{\\rtf1{\\*\\objdata 0105}}"))), "object a.doc"},
		{"RTF with an object far behind", mixed(file("a.rtf", []byte(`{\rt`+strings.Repeat("text ", 20000)+`{\*\objdata 0105}}`))), "object a.rtf"},
	})
}

func TestArchivesAreLookedInto(t *testing.T) {
	nested := member{"a.txt", []byte("text")}
	for range 6 {
		nested = member{"a.zip", zipped(nested)}
	}
	deep := member{"a.exe", []byte("x")}
	for range 4 {
		deep = member{"a.zip", zipped(deep)}
	}
	check(t, defaults(), []expect{
		{"harmless", mixed(file("a.zip", zipped(member{"a.txt", []byte("text")}, member{"www.acmecorp.com/", nil}))), "clean"},
		{"empty", mixed(file("a.zip", zipped())), "clean"},
		{"a program by name", mixed(file("a.zip", zipped(member{"dir/setup.exe", []byte("x")}))), "extension dir/setup.exe"},
		{"a program by content", mixed(file("a.zip", zipped(member{"data", pe}))), "executable data"},
		{"a program passed off", mixed(file("a.zip", zipped(member{"scan.pdf", pe}))), "mismatch scan.pdf"},
		{"by content only", mixed(encodedPart("Content-Type: image/png", zipped(member{"a.exe", nil}))), "extension a.exe"},
		{"with something in front", mixed(file("a.zip", append([]byte("GIF89a and so on"), zipped(member{"a.exe", nil})...))), "extension a.exe"},
		{"with something behind", mixed(file("a.zip", append(zipped(member{"a.exe", nil}), "and so on"...))), "extension a.exe"},
		{"nested", mixed(file("a.zip", zipped(member{"b.zip", zipped(member{"c.exe", nil})}))), "extension c.exe"},
		{"as deep as is looked", mixed(file("a.zip", zipped(deep))), "extension a.exe"},
		{"too deep", mixed(file("a.zip", zipped(nested))), "unknown: nested deeper than 5"},
		{"truncated", mixed(file("a.zip", zipped(member{"a.txt", []byte("text")})[:30])), "unknown: no directory"},
		{"truncated, a program", mixed(file("a.zip", zipped(member{"a.exe", []byte("text")})[:40])), "extension a.exe"},
		{"no zip at all", mixed(file("a.zip", []byte("nothing of that kind"))), "unknown: no directory"},
		{"two archives", mixed(file("a.zip", append(zipped(member{"b.txt", []byte("x")}), zipped(member{"a.txt", nil})...))), "unknown: does not list"},
		{"two archives, a program in the first", mixed(file("a.zip", append(zipped(member{"b.exe", []byte("x")}), zipped(member{"a.txt", nil})...))), "extension b.exe"},
		{"a directory that lists fewer files than it says", mixed(file("a.zip", recounted(zipped(member{"a.txt", []byte("x")}), 2))), "unknown: directory is broken"},
		{"an archive whose directory lies outside, behind an empty one", mixed(file("a.zip", append(zipped(), displaced(zipped(member{"a.txt", nil}))...))), "unknown: lies outside"},
		{"an archive behind the end of one, a program", mixed(file("a.zip", append(zipped(), displaced(zipped(member{"a.exe", nil}))...))), "extension a.exe"},
		{"an archive without an end behind one", mixed(file("a.zip", append(zipped(), zipped(member{"a.txt", nil})[:60]...))), "unknown: does not list"},
		{"a directory of no length", mixed(file("a.zip", withoutLength(zipped(member{"a.txt", nil})))), "unknown: two directories"},
		{"two names for an entry", mixed(file("a.zip", bytes.Replace(zipped(member{"a.txt", []byte("x")}), []byte("a.txt"), []byte("a.doc"), 1))), "unknown: two names"},
		{"two names for an entry, a program", mixed(file("a.zip", bytes.Replace(zipped(member{"a.txt", []byte("x")}), []byte("a.txt"), []byte("a.exe"), 1))), "extension a.exe"},
		{"encrypted", mixed(file("a.zip", bytes.ReplaceAll(zipped(member{"a.txt", []byte("x")}), []byte("\x14\x00\x08\x00"), []byte("\x14\x00\x09\x00")))), "encrypted a.txt"},
		{"unknown compression", mixed(file("a.zip", bytes.ReplaceAll(zipped(member{"a.txt", []byte("x")}), []byte("\x08\x00\x08\x00"), []byte("\x08\x00\x63\x00")))), "unknown: not known"},
		{"names with tricks", mixed(file("a.zip", zipped(member{"invoice\u202efdp.exe", nil}))), "extension invoice?fdp.exe"},
		{"larger than memory", mixed(file("a.zip", append(bytes.Repeat([]byte("PK\x00\x00"), 600<<10), zipped(member{"a.exe", nil})...))), "extension a.exe"},

		{"gzip by its name within", mixed(file("a.gz", gzipped("a.exe", []byte("x")))), "extension a.exe"},
		{"gzip by its own name", mixed(file("a.exe.gz", gzipped("", []byte("x")))), "extension a.exe"},
		{"gzip by content", mixed(file("a.gz", gzipped("a", pe))), "executable a"},
		{"gzip, harmless", mixed(file("a.txt.gz", gzipped("a.txt", []byte("text")))), "clean"},
		{"gzip, broken", mixed(file("a.gz", []byte("\x1f\x8b\x08"))), "unknown: gzip header"},
		{"tar", mixed(file("a.tar", tarred(member{"a.txt", []byte("x")}, member{"b/a.exe", []byte("x")}))), "extension b/a.exe"},
		{"tar, harmless", mixed(file("a.tar", tarred(member{"a.txt", []byte("x")}))), "clean"},
		{"tar in gzip", mixed(file("a.tgz", gzipped("", tarred(member{"a.bin", pe})))), "executable a.bin"},
		{"zips in tar in gzip in zip", mixed(file("a.zip", zipped(member{"a.tgz", gzipped("", tarred(member{"1.zip", zipped(member{"1.txt", []byte("text")})}, member{"2.zip", zipped(member{"2", pe})}))}))), "executable 2"},
		{"TNEF by name", mixed(encodedPart("Content-Type: application/ms-tnef; name=winmail.dat", tnef("A.EXE", []byte("x")))), "extension A.EXE"},
		{"TNEF by content", mixed(encodedPart("Content-Type: application/ms-tnef; name=winmail.dat", tnef("A.DAT", pe))), "executable A.DAT"},
		{"TNEF, harmless", mixed(encodedPart("Content-Type: application/ms-tnef; name=winmail.dat", tnef("A.TXT", []byte("x")))), "clean"},
		{"TNEF, truncated", mixed(encodedPart("Content-Type: application/ms-tnef; name=winmail.dat", tnef("A.TXT", []byte("x"))[:20])), "unknown: TNEF file is broken"},
		{"TNEF, cut off in its head", mixed(encodedPart("Content-Type: application/ms-tnef; name=winmail.dat", tnef("A.TXT", nil)[:4])), "unknown: TNEF file is broken"},
		{"TNEF, unreadable within a name", mixed(file("winmail.dat.gz", brokenGzip(append(tnef("A.TXT", make([]byte, 48<<10)), "\x01\x10\x80\x01\x00\x08\x00\x00\x00A.E"...)))), "unknown: TNEF file is broken"},
		{"RAR", mixed(file("a.rar", rar4(0, "a.txt"))), "clean"},
		{"RAR with a program", mixed(file("a.rar", rar4(0, "a.exe"))), "extension a.exe"},
		{"RAR, encrypted", mixed(file("a.rar", rar4(4, "a.txt"))), "encrypted a.txt"},
		{"RAR 5", mixed(file("a.rar", rar5("a.txt", ""))), "clean"},
		{"RAR 5 with a program", mixed(file("a.rar", rar5("a.exe", ""))), "extension a.exe"},
		{"RAR 5, encrypted", mixed(file("a.rar", rar5("a.txt", "\x03\x01\x00\x00"))), "encrypted a.txt"},
		{"RAR 5, encrypted names", mixed(file("a.rar", []byte("Rar!\x1a\x07\x01\x00\x00\x00\x00\x00\x03\x04\x00\x00garbage"))), "encrypted a.rar"},
		{"RAR with a name in Unicode", mixed(file("a.rar", rar4(0x200, "a.txt\x00\x00\x00b.tx\x00t"))), "clean"},
		{"RAR with a program by the name in Unicode", mixed(file("a.rar", rar4(0x200, "a.txt\x00\x00\xc0\x00exe"))), "extension a.exe"},
		{"RAR with a program by the other name", mixed(file("a.rar", rar4(0x200, "a.exe\x00\x00\xc0\x00txt"))), "extension a.exe"},
		{"RAR with a program by what the name in Unicode corrects", mixed(file("a.rar", rar4(0x200, "`-dwd\x00\x00\xc0\x83\x01"))), "extension a.exe"},
		{"RAR with a program by a name in UTF-8", mixed(file("a.rar", rar4(0x200, "\u00fc.exe"))), "extension ?.exe"},
		{"RAR with something in front", mixed(file("a.rar", append(make([]byte, 100<<10), rar5("a.exe", "")...))), "extension a.exe"},
		{"RAR with something in front, by its name only", mixed(file("a.rar", append([]byte("GIF89a and so on"), rar4(0, "a.exe")...))), "extension a.exe"},
		{"no RAR at all", mixed(file("a.rar", []byte("nothing of that kind"))), "unknown: RAR archive is broken"},
		{"RAR, truncated", mixed(file("a.rar", rar4(0, "a.txt")[:30])), "unknown: RAR archive is broken"},
		{"7z, encrypted", mixed(file("a.7z", append(append([]byte("7z\xbc\xaf\x27\x1c\x00\x04\x00\x00\x00\x00"), "\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"...), "\x17\x06\x06\xf1\x07\x01"...))), "encrypted a.7z"},
	})
}

func TestMessagesWithinMessagesAreLookedInto(t *testing.T) {
	inner := mixed(file("a.exe", []byte("x")))
	check(t, defaults(), []expect{
		{"as it is", mixed("Content-Type: message/rfc822\n\n" + strings.ReplaceAll(inner, "b0", "b1")), "extension a.exe"},
		{"encoded", mixed(encodedPart("Content-Type: message/rfc822", []byte(inner))), "extension a.exe"},
		{"by its name", mixed(file("a.eml", []byte(inner))), "extension a.exe"},
		{"in a digest", crlf("Content-Type: multipart/digest; boundary=b\n\n--b\n\nContent-Type: image/png; name=a.exe\n\nx\n--b--\n"), "extension a.exe"},
		{"global", mixed(encodedPart("Content-Type: message/global", []byte(inner))), "extension a.exe"},
	})
}

func TestFilesWithinTextsAreLookedAt(t *testing.T) {
	uu := "begin 644 %s\n#0V%T\n`\nend\n"
	check(t, defaults(), []expect{
		{"uuencode", crlf("Subject: x\n\nhello\n" + strings.Replace(uu, "%s", "a.exe", 1)), "extension a.exe"},
		{"uuencode, harmless", crlf("Subject: x\n\nhello\n" + strings.Replace(uu, "%s", "a.txt", 1)), "clean"},
		{"uuencode of a program", crlf("Subject: x\n\nbegin 644 a.bin\n.35J0  ,    $    __\\   \n`\nend\n"), "executable a.bin"},
		{"uuencode with base64", crlf("Subject: x\n\nbegin-base64 644 a.bin\n" + wrapped(pe) + "\n====\n"), "executable a.bin"},
		{"uuencode of a zip archive", crlf("Subject: x\n\nbegin-base64 644 a.bin\n" + wrapped(zipped()) + "\n====\n"), "clean"},
		{"uuencode of a zip archive with a program", crlf("Subject: x\n\nbegin-base64 644 a.bin\n" + wrapped(zipped(member{"b.exe", nil})) + "\n====\n"), "extension b.exe"},
		{"uuencode in quoted-printable", crlf("Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nbeg=\nin 644 a=2Eexe\n"), "extension a.exe"},
		{"uuencode in a preamble", strings.Replace(mixed(), "preamble", "begin 755 a.exe", 1), "extension a.exe"},
		{"yEnc", crlf("Subject: x\n\n=ybegin line=128 size=3 name=a.exe\nabc\n=yend size=3\n"), "extension a.exe"},
		{"yEnc of a program", crlf("Subject: x\n\n=ybegin line=128 size=3 name=a.bin\nw\x84\xba*-***.***)))**\n=yend size=3\n"), "executable a.bin"},
	})
}

func TestTheRulesAreTheAdministrators(t *testing.T) {
	only := func(change func(*attachments.Rules)) *attachments.Scanner {
		rules := attachments.DefaultRules()
		change(&rules)
		return attachments.New(rules)
	}
	encrypted := bytes.ReplaceAll(zipped(member{"a.txt", []byte("x")}), []byte("\x14\x00\x08\x00"), []byte("\x14\x00\x09\x00"))
	for _, c := range []struct {
		rules *attachments.Scanner
		row   expect
	}{
		{only(func(r *attachments.Rules) { r.Extensions = nil }), expect{"no extensions", mixed(file("a.exe", pe)), "clean"}},
		{only(func(r *attachments.Rules) { r.Extensions = nil }), expect{"mismatch without extensions", mixed(file("a.pdf", pe)), "mismatch a.pdf"}},
		{only(func(r *attachments.Rules) { r.Extensions = []string{"7z"} }), expect{"7z listed", mixed(file("a", []byte("7z\xbc\xaf\x27\x1c\x00\x04"))), "archive a"}},
		{only(func(r *attachments.Rules) { r.Extensions, r.Mismatch = nil, false }), expect{"no mismatch", mixed(file("a.pdf", pe)), "clean"}},
		{only(func(r *attachments.Rules) { r.Mismatch = false }), expect{"programs without mismatch", mixed(file("a.pdf", pe)), "executable a.pdf"}},
		{only(func(r *attachments.Rules) { r.Macros = false }), expect{"no macros", mixed(file("a.docm", zipped(member{"word/vbaProject.bin", ole("", "VBA")}))), "clean"}},
		{only(func(r *attachments.Rules) { r.Macros = false }), expect{"no RTF objects", mixed(file("a.rtf", []byte(`{\rtf1\objdata}`))), "clean"}},
		{only(func(r *attachments.Rules) { r.Encrypted = false }), expect{"encrypted", mixed(file("a.zip", encrypted)), "clean"}},
		{only(func(r *attachments.Rules) { r.Depth = 0 }), expect{"no depth", mixed(file("a.zip", zipped())), "unknown: deeper than 0"}},
		{only(func(r *attachments.Rules) { r.Depth = -1 }), expect{"less than none", mixed(file("a.pdf", []byte("%PDF"))), "clean"}},
	} {
		check(t, c.rules, []expect{c.row})
	}
}

func TestAReasonSaysWhereTheAttachmentWas(t *testing.T) {
	f := scanText(t, defaults(), mixed(file("outer.zip", zipped(member{"inner.zip", zipped(member{"x.exe", nil})}))))
	if want := "the attachment x.exe inside inner.zip inside outer.zip has the extension exe, which is not accepted"; f.Reasons.String() != want {
		t.Errorf("got  %s\nwant %s", f.Reasons.String(), want)
	}
}

func TestAttachmentsAreReadUntilTheContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	text := mixed(file("a.exe", pe))
	f := defaults().Scan(ctx, &scanners.Message{Content: strings.NewReader(text), Size: int64(len(text))})
	if f.State != verdict.Unknown || !strings.Contains(f.Reasons.String(), "context canceled") {
		t.Errorf("got %v", f)
	}
	// It ends in the middle of an archive too.
	members := make([]member, 300)
	for i := range members {
		members[i] = member{"a.txt", []byte("text")}
	}
	text = mixed(file("a.zip", zipped(members...)))
	ctx, cancel = context.WithCancel(t.Context())
	content := &cancelling{ReaderAt: strings.NewReader(text), at: int64(len(text)) - 100, cancel: cancel}
	f = defaults().Scan(ctx, &scanners.Message{Content: content, Size: int64(len(text))})
	if f.State != verdict.Unknown || !strings.Contains(f.Reasons.String(), "context canceled") {
		t.Errorf("got %v (%s)", f, f.Reasons.String())
	}
}

// cancelling ends a context when it is read at some place.
type cancelling struct {
	io.ReaderAt
	at     int64
	cancel func()
}

func (c *cancelling) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) >= c.at {
		c.cancel()
	}
	return c.ReaderAt.ReadAt(p, off)
}

type brokenDisk struct{}

func (brokenDisk) ReadAt([]byte, int64) (int, error) { return 0, errors.New("the disk is gone") }

func TestAttachmentsThatCannotBeReadAreUnknown(t *testing.T) {
	f := defaults().Scan(t.Context(), &scanners.Message{Content: brokenDisk{}, Size: 1000})
	if f.State != verdict.Unknown || !strings.Contains(f.Reasons.String(), "the disk is gone") {
		t.Errorf("got %v", f)
	}
}

// brokenLater cannot be read a second time.
type brokenLater struct {
	io.ReaderAt
	begun int
}

func (b *brokenLater) ReadAt(p []byte, off int64) (int, error) {
	if off == 0 {
		b.begun++
	}
	if b.begun > 1 {
		return 0, errors.New("the disk is gone")
	}
	return b.ReaderAt.ReadAt(p, off)
}

func TestAMessageThatCannotBeReadAgainIsUnknown(t *testing.T) {
	text := crlf("Content-Type: text/plain\nnonsense\n\nContent-Disposition: attachment; filename=a.pdf\n\nx")
	f := defaults().Scan(t.Context(), &scanners.Message{Content: &brokenLater{ReaderAt: strings.NewReader(text)}, Size: int64(len(text))})
	if f.State != verdict.Unknown || !strings.Contains(f.Reasons.String(), "the disk is gone") {
		t.Errorf("got %v (%s)", f, f.Reasons.String())
	}
}

func TestALargeAttachmentLeavesNoFile(t *testing.T) {
	rules := attachments.DefaultRules()
	rules.TempDir = t.TempDir()
	a := attachments.New(rules)
	big := append(bytes.Repeat([]byte("PK\x00\x00"), 600<<10), zipped(member{"a.txt", nil})...)
	if f := scanText(t, a, mixed(file("a.zip", big))); f.State != verdict.Clean {
		t.Errorf("got %v", f)
	}
	if left, err := os.ReadDir(rules.TempDir); err != nil || len(left) > 0 {
		t.Errorf("there are %v (%v)", left, err)
	}
	// Without a place to keep it, it cannot be told what it is.
	rules.TempDir += "/missing"
	if f := scanText(t, attachments.New(rules), mixed(file("a.zip", big))); f.State != verdict.Unknown {
		t.Errorf("got %v", f)
	}
}

func TestManyMessagesAreScannedAtOnce(t *testing.T) {
	a := defaults()
	done := make(chan string)
	for i := range 16 {
		go func() {
			text, want := mixed(file("a.zip", zipped(member{"x.txt", []byte("x")}))), verdict.Clean
			if i%2 == 0 {
				text, want = mixed(file("a.zip", zipped(member{"x.exe", []byte("x")}))), verdict.Hit
			}
			for range 20 {
				f := a.Scan(context.Background(), &scanners.Message{Content: strings.NewReader(text), Size: int64(len(text))})
				if f.State != want {
					done <- f.String()
					return
				}
			}
			done <- ""
		}()
	}
	for range 16 {
		if wrong := <-done; wrong != "" {
			t.Error(wrong)
		}
	}
}

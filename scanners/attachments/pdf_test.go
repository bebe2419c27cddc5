package attachments_test

import (
	"strings"
	"testing"
)

// Two dictionaries of encryption: one that the empty password opens, and one that it does not.
const (
	pdfOpens  = "<< /Filter /Standard /Length 128 /O <566fa873ee33c797cd3b904fdadf814afa34df9a38f6ed41b984e2c6da2aa6f5> /P -4 /R 3 /U <ffa6c11dce1a874d57831990a07bc60f0122456a91bae5134273a6db134c87c4> /V 2 >>"
	pdfSealed = "<< /Filter /Standard /Length 128 /O <0db5855fc5326569e765906caf64e4429a4c20d6e996fdef963e9b5080f9e083> /P -4 /R 3 /U <b1d147381c1a525e7b1681199714ea630122456a91bae5134273a6db134c87c4> /V 2 >>"
)

// pdfWith makes a PDF document that has these dictionaries, and one more that it names.
func pdfWith(encrypt string, dictionaries ...string) string {
	text := "%PDF-1.4\n"
	for _, dictionary := range dictionaries {
		text += "3 0 obj\n" + dictionary + "\nendobj\n"
	}
	return mixed(file("a.pdf", []byte(text+"trailer << /Root 1 0 R /ID [<6124d5610b3f79fab571eb5190655a38><00>] "+encrypt+" >>\n%%EOF\n")))
}

func TestAPDFDocumentThatOnlyAPasswordOpensIsFoundHoweverItSaysSo(t *testing.T) {
	const encrypt = "/Encrypt 3 0 R"
	changed := func(old, new string) string { return strings.Replace(pdfSealed, old, new, 1) }
	font := "<< /Type /Font /Encoding /StandardEncoding >>"
	fonts := make([]string, 200)
	for i := range fonts {
		fonts[i] = font
	}
	tenOpen := strings.Split(strings.Repeat(pdfOpens+"|", 10), "|")
	check(t, defaults(), []expect{
		{"sealed", pdfWith(encrypt, pdfSealed), "encrypted a.pdf"},
		{"open", pdfWith(encrypt, pdfOpens), "clean"},
		{"open, with fonts", pdfWith(encrypt, append(fonts, pdfOpens)...), "clean"},
		{"open, with a style", pdfWith(encrypt, pdfOpens, "<< /RoleMap << /Standard /P >> >>"), "clean"},
		{"an open one beside one with a comment", pdfWith(encrypt, pdfOpens, changed("/Filter ", "/Filter % x\n")), "encrypted a.pdf"},
		{"not encrypted", pdfWith("", pdfSealed), "clean"},
		{"its encryption is described only", pdfWith("/EncryptMetadata true", pdfSealed), "clean"},
		{"a comment behind the name", pdfWith("/Encrypt%\n3 0 R", pdfSealed), "encrypted a.pdf"},
		{"a NUL behind the name", pdfWith("/Encrypt\x003 0 R", pdfSealed), "encrypted a.pdf"},
		{"a name in hexadecimal", pdfWith("/Encr#79pt 3 0 R", pdfSealed), "encrypted a.pdf"},
		{"ten that are open before it", pdfWith(encrypt, append(tenOpen, pdfSealed)...), "encrypted a.pdf"},
		{"an open one beside a name in hexadecimal", pdfWith(encrypt, pdfOpens, changed("/Standard", "/St#61ndard")), "encrypted a.pdf"},
		{"an open one beside one that is far from its beginning", pdfWith(encrypt, pdfOpens, "<< "+strings.Repeat(" ", 5000)+pdfSealed[3:]), "encrypted a.pdf"},
		{"two verifiers, the first is that of another", pdfWith(encrypt, strings.Replace(pdfOpens, " /V 2", " /U <b1d147381c1a525e7b1681199714ea630122456a91bae5134273a6db134c87c4> /V 2", 1)), "encrypted a.pdf"},
		{"something before it", mixed(file("a.pdf", []byte("\n\xef\xbb\xbfnothing\n%PDF-1.4\ntrailer << /Encrypt 3 0 R >>"))), "encrypted a.pdf"},
		{"odd names", pdfWith("", strings.Repeat("/#45 ", 1000)), "clean"},
		{"more odd names than can be looked at", pdfWith("", strings.Repeat("/#45 ", 200_000)), "encrypted a.pdf"},
		{"a color in hexadecimal", pdfWith("/Color#20Name 1", pdfOpens), "clean"},
	})
}

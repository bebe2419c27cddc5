package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
)

// The organisation that the benchmark's mail is for.
const (
	domain    = "acmecorp.com"
	platform  = "office365"
	alternate = "acmecorp-com.onmicrosoft.com"
	users     = 100_000 // every second one lives at the platform
)

// writeDirectory writes the directory's file.
func writeDirectory(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	fmt.Fprintln(w, "address,residence,login")
	for i := range users {
		if i%2 == 0 {
			fmt.Fprintf(w, "%s@%s,%s,\n", localPart(i), domain, platform)
		} else {
			fmt.Fprintf(w, "%s@%s,here,user%d\n", localPart(i), domain, i)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

func localPart(i int) string { return fmt.Sprintf("firstname.lastname%05d", i) }

// cloudUser picks a user whose mailbox lives at the platform.
func cloudUser(random *rand.Rand) string { return localPart(2 * random.IntN(users/2)) }

// The header of an ordinary message, as the MTA passes it on: without the
// Received field that it adds itself.
var fields = [...][2]string{
	{"Received", "from app7.example.net (app7.example.net [198.51.100.7])\n\tby mail.example.net (Postfix) with ESMTPS id 4BkQ2M5wXzz9sT\n\tfor <news@example.net>; Mon, 12 Jan 2026 09:13:44 +0000 (UTC)"},
	{"DKIM-Signature", "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=s2026;\n\tt=1768209224; h=from:to:subject:date:message-id:mime-version:content-type;\n\tbh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\n\tb=VQm5wqZ6m5x0pO8oYq2rK8Jc1h0e5sJmC0b9T7mW4q1nF2dY3xL6vA8sB7uR9kE2\n\t XgH4tC5jN6yP1zD3fM0aQ8iS7oU2wV9lK4bJ5hG6rT1eY3cX0nZ8mP7qL2sD4fA9=="},
	{"Date", "Mon, 12 Jan 2026 09:13:43 +0000"},
	{"From", "Example News <news@example.net>"},
	{"To", "Alice Example <alice@acmecorp.com>"},
	{"Message-ID", "<20260112091343.6b1f9c2e8a74@app7.example.net>"},
	{"In-Reply-To", "<CAF3xk7b2Qd0=8rY1mZ@mail.acmecorp.com>"},
	{"References", "<CAF3xk7b2Qd0=8rY1mZ@mail.acmecorp.com>\n <20260111170102.11aa22bb33cc@app7.example.net>"},
	{"Subject", "Re: minutes of the meeting and the plan for next week"},
	{"MIME-Version", "1.0"},
	{"Content-Type", "text/plain; charset=utf-8"},
	{"Content-Transfer-Encoding", "8bit"},
}

// newMessage makes a message of size bytes, header included: text, or a text with
// a file attached that has the greater part of it.
func newMessage(size int, attachment bool) *message {
	m := &message{}
	for _, f := range fields {
		if attachment && f[0] == "Content-Type" {
			f[1] = `multipart/mixed; boundary="` + boundary + `"`
		}
		m.headers = append(m.headers, header{[]byte(f[0] + "\x00"), []byte(" " + f[1] + "\x00")})
		size -= len(f[0]) + len(": ") + len(f[1]) + len("\r\n")
	}
	text := func(n int) []byte {
		line := []byte("The quick brown fox jumps over the lazy dog, and nobody in the office minds.\r\n")
		return bytes.Repeat(line, n/len(line)+1)[:n]
	}
	if !attachment {
		m.body = text(size)
		return m
	}
	const textPart = "--" + boundary + "\r\nContent-Type: text/plain\r\n\r\n"
	const filePart = "\r\n--" + boundary + "\r\nContent-Type: application/pdf; name=\"plan.pdf\"\r\n" +
		"Content-Disposition: attachment; filename=\"plan.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
	const end = "\r\n--" + boundary + "--\r\n"
	m.body = append([]byte(textPart), text(400)...)
	m.body = append(m.body, filePart...)
	m.body = append(m.body, encoded(size-len(m.body)-len(end))...)
	m.body = append(m.body, end...)
	return m
}

const boundary = "=_b1_2f7c9e41d08a"

// encoded is a file of random bytes in base64, in lines of 76 characters, n bytes
// in all.
func encoded(n int) []byte {
	file := make([]byte, n)
	random := rand.New(rand.NewPCG(2, 3))
	for i := range file {
		file[i] = byte(random.Uint32())
	}
	copy(file, "%PDF-1.7\n")
	letters := base64.StdEncoding.EncodeToString(file)
	var b []byte
	for ; len(b) < n; letters = letters[76:] {
		b = append(append(b, letters[:76]...), "\r\n"...)
	}
	// Whole lines with a whole quantum at the end; spaces fill the rest.
	for i := n - n%78; i < n; i++ {
		b[i] = ' '
	}
	return b[:n]
}

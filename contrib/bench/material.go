package main

import (
	"bufio"
	"bytes"
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

// newMessage makes a message of size bytes, header included.
func newMessage(size int) *message {
	m := &message{}
	for _, f := range fields {
		m.headers = append(m.headers, header{[]byte(f[0] + "\x00"), []byte(" " + f[1] + "\x00")})
		size -= len(f[0]) + len(": ") + len(f[1]) + len("\r\n")
	}
	line := []byte("The quick brown fox jumps over the lazy dog, and nobody in the office minds.\r\n")
	m.body = bytes.Repeat(line, size/len(line)+1)[:size]
	return m
}

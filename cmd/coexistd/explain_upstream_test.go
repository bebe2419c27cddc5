package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

func TestExplainReadsTheFieldsOfAnUpstream(t *testing.T) {
	t.Parallel()
	toml := strings.Replace(assumedTOML, "[domain.\"acmecorp.com\"]", "[upstream.filter]\nnetworks = [\"192.0.2.0/28\"]\n\n[domain.\"acmecorp.com\"]\npast_mx = \"reject\"", 1)
	config := configuration(t, toml, lab.SiteDirectory)
	var checked, complaint bytes.Buffer
	if run([]string{"check", "-c", config}, &checked, &complaint); !strings.Contains(checked.String(), "\nupstreams  filter\n") {
		t.Errorf("check says %s%s", checked.String(), complaint.String())
	}
	const field = "Received: from mail.example.net (mail.example.net [203.0.113.9]) by gw.example (Postfix) with ESMTP id 1; Mon, 1 Jun 2020 10:00:00 +0000\n"
	for _, c := range []struct {
		about, client, header, verdict, says string
	}{
		{"through it", "192.0.2.7", field, "accept", "the message enters at S0: it came through filter (192.0.2.7); filter has it from 203.0.113.9"},
		{"as it lies in a mailbox", "192.0.2.7", "Received: from gw.example (gw.example [192.0.2.7]) by mail.acmecorp.com (Postfix) with ESMTP id 2; x\n" + field, "accept", "filter has it from 203.0.113.9"},
		{"without a field", "192.0.2.7", "", "accept", "whom filter has it from is not known: 0 Received fields were read"},
		{"past it", "203.0.113.9", field, "reject", "the MX of acmecorp.com is at an upstream, and past_mx refuses what comes past it"},
	} {
		_, out, complaint := explainTo(config, "--from", "eve@example.net", "--client", c.client, writeTo(t, c.header+"From: eve@example.net\n\nx\n"))
		if !strings.Contains(out, "\nverdict    "+c.verdict+"\n") || !strings.Contains(out, c.says) || complaint != "" {
			t.Errorf("%s: explain says:\n%s%s", c.about, out, complaint)
		}
	}
	_, out, _ := explainTo(config, "--from", "eve@example.net", "--client", "192.0.2.7", "--over", "per client", writeTo(t, field+"From: eve@example.net\n\nx\n"))
	if !strings.Contains(out, `"per client" of 203.0.113.9 has no room`) {
		t.Errorf("of a limit by the client it says:\n%s", out)
	}
}

// writeTo writes a message into a file of its own.
func writeTo(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "message.eml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

package tenant

import (
	"slices"
	"strings"

	"coexistd/policy/mail"
)

// spamVerdicts are those of X-Forefront-Antispam-Report that call a message spam: by the
// filter, by a rule before it, by a list of blocked senders (Microsoft's reference of
// anti-spam message headers).
var spamVerdicts = []string{"SFV:SPM", "SFV:SKS", "SFV:SKB"}

// Spam returns by what a platform says in a message's header that it holds it for spam or
// phishing, a short name; empty: it does not say so. Office 365 writes
// X-Forefront-Antispam-Report and a spam confidence level, of which 5 to 9 are spam; Gmail
// writes X-Gm-Spam and X-Gm-Phishy, when its default routing is told to. It counts for
// nothing unless the platform is proven.
func Spam(h *mail.Header) string {
	for _, value := range h.Values("X-Forefront-Antispam-Report") {
		for part := range strings.SplitSeq(value, ";") {
			part = strings.ToUpper(strings.TrimSpace(part))
			if i := slices.Index(spamVerdicts, part); i >= 0 {
				return spamVerdicts[i]
			}
		}
	}
	for _, value := range h.Values("X-MS-Exchange-Organization-SCL") {
		if level := strings.TrimSpace(value); len(level) == 1 && level[0] >= '5' && level[0] <= '9' {
			return "SCL:" + level
		}
	}
	for _, name := range []string{"X-Gm-Spam", "X-Gm-Phishy"} {
		for _, value := range h.Values(name) {
			if strings.TrimSpace(value) == "1" {
				return name
			}
		}
	}
	return ""
}

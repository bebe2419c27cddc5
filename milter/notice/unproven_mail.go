package notice

import (
	_ "embed"
	"fmt"
	"strings"
	"time"

	"coexistd/milter/ownmail"
)

//go:embed templates/unproven.txt
var unprovenText string

// unprovenLines are what the mail about mail without proof shows of one platform.
type unprovenLines struct{ Name, Count, Time, Client, Sender string }

// letter writes the mail to one administrator, with the counts as they are then.
func (u *Unproven) letter(s *Settings, to string, now time.Time) (*ownmail.Letter, error) {
	u.mu.Lock()
	list := u.kept.putOff(now)
	u.mu.Unlock()
	var names []string
	var all []unprovenLines
	for _, one := range list {
		names = append(names, one.Platform)
		all = append(all, unprovenLines{
			Name: one.Platform, Count: fmt.Sprintf("%d in the last 24 hours, %d in the last seven days", one.Day, one.Week),
			Time: s.clock(one.Last.Time), Client: one.Last.Client.String(), Sender: sender(one.Last.Sender),
		})
	}
	text, err := filled(unprovenText, page{"Hostname": s.Post.Hostname, "Platforms": all})
	return &ownmail.Letter{
		Kind: "proof", Name: "Mail without proof", From: s.From, To: to,
		Subject: "Put off: mail in our own name without proof, from " + ownmail.OneLine(strings.Join(names, ", ")),
		Date:    now.In(s.Zone), Text: text,
	}, err
}

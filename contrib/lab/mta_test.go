package lab

import (
	"strings"
	"testing"
)

func TestASiteWithAnMTAThatTheLabLacksIsNotStarted(t *testing.T) {
	t.Parallel()
	_, err := (&Programs{}).StartSite(t.Context(), SiteConfig{MTA: "qmail"})
	if err == nil || !strings.Contains(err.Error(), `no MTA "qmail" for a site; it has ["postfix" "sendmail"]`) {
		t.Errorf("the error is %v", err)
	}
}

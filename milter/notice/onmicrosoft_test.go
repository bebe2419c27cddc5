package notice

import (
	"net/netip"
	"testing"
	"time"

	"coexistd/milter/record"
	"coexistd/policy/tenant"
)

func TestMailOfUsersWithAnOnmicrosoftAddressIsCountedByPlatform(t *testing.T) {
	t.Parallel()
	u, log := newUnproven(t, settings(""))
	for _, r := range []struct {
		sender, platform string
		after            time.Duration
	}{
		{"alice@acmecorp.onmicrosoft.com", "office365", 0}, {"Alice@AcmeCorp.OnMicrosoft.com", "office365", time.Hour}, {"gail@globex.onmicrosoft.com", "other", 3 * aDay},
		// Those of others, and what no person sends.
		{"eve@evil.onmicrosoft.com", "", 0}, {"alice@acmecorp.com", "office365", 0}, {"", "office365", 0}, {"eve@onmicrosoft.com.example", "office365", 0},
		{"MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@acmecorp.onmicrosoft.com", "office365", 0},
		{"O365ConnectorValidation@acmecorp.onmicrosoft.com", "office365", 0}, {"bounces+SRS=44ldt=IX@acmecorp.onmicrosoft.com", "office365", 0},
	} {
		u.Record(&record.Record{Time: noon.Add(r.after), Client: netip.MustParseAddr("192.0.2.7"), Sender: r.sender, Proof: tenant.Proof{Platform: r.platform}})
	}
	u.save()
	for after, want := range map[time.Duration]string{time.Hour: "office365 2 2, other 1 1", 3 * aDay: "office365 0 2, other 1 1", 8 * aDay: "other 0 1"} {
		list, err := ReadOnmicrosoft(u.path, noon.Add(after))
		if err != nil {
			t.Fatal(err)
		}
		mustCount(t, after.String(), list, want)
	}
	if list, err := ReadPutOff(u.path, noon); err != nil || len(list) > 0 {
		t.Errorf("of mail that was put off it says %v: %v", list, err)
	}
	again, _ := newUnproven(t, settings(""))
	again.Configure(u.path)
	u.Configure(u.path)
	if text := log.String(); text != "" {
		t.Errorf("the log says %s", text)
	}
}

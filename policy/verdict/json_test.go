package verdict

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
)

// What is kept as JSON says the same when it is read again, whatever the reason.
func TestReasonsAndFindingsComeBackFromJSON(t *testing.T) {
	for code := range catalogue {
		reasons := Because(Why(code, "a", "<b>", "", "d").Of(netip.MustParseAddr("192.0.2.1")), Why(code, "", "", "", "", "e"), Why(code))
		f := Finding{Check: CheckSpam, State: Hit, Name: "x", Reasons: reasons, Down: true, Score: 1.5, Scored: true, Proposed: Tempfail, Detail: "y", Took: 7}
		text, err := json.Marshal([]Finding{f, {}})
		if err != nil {
			t.Fatal(err)
		}
		var back []Finding
		if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back[0], f) || back[0].Reasons.String() != reasons.String() {
			t.Errorf("%s comes back as %+v, %v", text, back, err)
		}
	}
}

func TestACodeThatIsNotKnownIsItsOwnText(t *testing.T) {
	var r Reasons
	if err := json.Unmarshal([]byte(`[{"code":"of-another-version","args":["1","2","3","4","5","6"]}]`), &r); err != nil || r.String() != "of-another-version" || !r.Reply().IsZero() {
		t.Errorf("it reads %q, %v", r, err)
	}
}

func TestNamesThatAreNoneAreRefused(t *testing.T) {
	for _, text := range []string{`{"state":"hot"}`, `{"proposed":"maybe"}`, `{"reasons":{}}`} {
		var f Finding
		if err := json.Unmarshal([]byte(text), &f); err == nil {
			t.Errorf("%s is read as %+v", text, f)
		}
	}
}

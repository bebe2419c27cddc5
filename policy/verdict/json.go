package verdict

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
)

// Reasons and findings are kept as JSON: codes with what fills them in, so that their texts
// are made by who reads them.

// MarshalText writes the verdict's name.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads a verdict's name. The error says that there is no such verdict.
func (v *Verdict) UnmarshalText(text []byte) error {
	i := slices.Index(verdictNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("%.20q is not a verdict", text)
	}
	*v = Verdict(i)
	return nil
}

// MarshalText writes the state's name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a state's name. The error says that there is no such state.
func (s *State) UnmarshalText(text []byte) error {
	i := slices.Index(stateNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("%.20q is not what a check finds", text)
	}
	*s = State(i)
	return nil
}

// keptReason is a Reason as JSON has it.
type keptReason struct {
	Code   Code       `json:"code"`
	Client netip.Addr `json:"client,omitzero"`
	Args   []string   `json:"args,omitempty"` // without the empty ones at the end
}

// MarshalJSON writes an array of objects with a code and its arguments.
func (r Reasons) MarshalJSON() ([]byte, error) {
	list := make([]keptReason, len(r.list))
	for i := range r.list {
		one := &r.list[i]
		n := len(one.Args)
		for n > 0 && one.Args[n-1] == "" {
			n--
		}
		list[i] = keptReason{one.Code, one.Client, one.Args[:n]}
	}
	return json.Marshal(list)
}

// UnmarshalJSON reads what MarshalJSON has written. A code that the catalogue does not have,
// which is another version's, stays and is its own text.
func (r *Reasons) UnmarshalJSON(text []byte) error {
	var list []keptReason
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	*r = Reasons{}
	for _, one := range list {
		reason := Reason{Code: one.Code, Client: one.Client}
		copy(reason.Args[:], one.Args)
		*r = r.And(reason)
	}
	return nil
}

// IsZero reports that there are no reasons.
func (r Reasons) IsZero() bool { return len(r.list) == 0 }

// Bounded returns the reasons with each argument cut by a function.
func (r Reasons) Bounded(cut func(string) string) Reasons {
	r.list = slices.Clone(r.list)
	for i := range r.list {
		args := &r.list[i].Args
		for j := range args {
			if args[j] != "" {
				args[j] = cut(args[j])
			}
		}
	}
	return r
}

package route

import (
	"slices"
	"testing"
)

func TestACircleOfAlternateDomainsIsFound(t *testing.T) {
	t.Parallel()
	rules := &Rules{Domains: map[string]*Domain{
		"a.example": {Alternates: map[string]string{"x": "b.example", "y": "y.example"}},
		"b.example": {Alternates: map[string]string{"x": "c.example"}},
		"c.example": {Alternates: map[string]string{"x": "a.example"}},
		"d.example": {Alternates: map[string]string{"x": "a.example"}},
	}}
	for _, c := range []struct {
		domain, alternate string
		want              []string
	}{
		{"a.example", "b.example", []string{"b.example", "c.example", "a.example"}},
		{"a.example", "y.example", nil},
		{"d.example", "a.example", nil},
	} {
		if got := rules.Circle(c.domain, c.alternate); !slices.Equal(got, c.want) {
			t.Errorf("from %s over %s: %v, not %v", c.domain, c.alternate, got, c.want)
		}
	}
}

package seal

import "slices"

// List returns the marks, best first.
func (m Marks) List() []string {
	all := slices.Collect(m.all)
	return all[:len(all)-1]
}

package doctor

import (
	"errors"
	"io/fs"
	"path/filepath"

	"coexistd/policy/config/files"
)

// lookAtTables looks for databases that were not made of their texts, or not since those changed.
func lookAtTables(s *sendmail) (findings []Finding) {
	for _, name := range [...]string{"access", "mailertable", "virtuser"} {
		m := s.maps[name]
		suffix := map[string]string{"hash": ".db", "btree": ".db", "cdb": ".cdb"}[m.class]
		if suffix == "" || !filepath.IsAbs(m.path()) {
			continue
		}
		text, textErr := files.Look(m.path())
		made, err := files.Look(m.path() + suffix)
		_, optional := m.flags['o']
		switch {
		case errors.Is(err, fs.ErrNotExist) && !(optional && textErr != nil):
			findings = append(findings, failure("%s, of which Sendmail reads its map %s, is not there: mail is put off, or waits in the queue", m.path()+suffix, name).
				do("run: make -C %s (or makemap %s %s < %s)", filepath.Dir(m.path()), m.class, m.path(), m.path()))
		case err == nil && textErr == nil && text.ModTime().After(made.ModTime()):
			findings = append(findings, warning("%s was changed after %s was made of it: what it says is not in force", m.path(), m.path()+suffix).
				do("run: make -C %s (or makemap %s %s < %s)", filepath.Dir(m.path()), m.class, m.path(), m.path()))
		}
	}
	return findings
}

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
		m := s.Maps[name]
		suffix := map[string]string{"hash": ".db", "btree": ".db", "cdb": ".cdb"}[m.Class]
		if suffix == "" || !filepath.IsAbs(m.Path()) {
			continue
		}
		text, textErr := files.Look(m.Path())
		made, err := files.Look(m.Path() + suffix)
		_, optional := m.Flags['o']
		switch {
		case errors.Is(err, fs.ErrNotExist) && !(optional && textErr != nil):
			findings = append(findings, failure("%s, of which Sendmail reads its map %s, is not there: mail is put off, or waits in the queue", m.Path()+suffix, name).
				do("run: make -C %s (or makemap %s %s < %s)", filepath.Dir(m.Path()), m.Class, m.Path(), m.Path()))
		case err == nil && textErr == nil && text.ModTime().After(made.ModTime()):
			findings = append(findings, warning("%s was changed after %s was made of it: what it says is not in force", m.Path(), m.Path()+suffix).
				do("run: make -C %s (or makemap %s %s < %s)", filepath.Dir(m.Path()), m.Class, m.Path(), m.Path()))
		}
	}
	return findings
}

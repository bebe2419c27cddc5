package sources_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"coexistd/milter/sources"
	"coexistd/milter/sources/exports"
)

// export is a list that Exchange Online's tools write. It has nobody but those who live there,
// and nothing of logins and limits.
func export(t *testing.T) *place {
	dir := t.TempDir()
	path, kept := filepath.Join(dir, "there.csv"), ""
	options := exports.Options{Residence: "office365", Keep: keeps, Target: reaches, Settle: time.Millisecond}
	listed := make(map[string]person)
	p := &place{
		open: func(asking) (sources.Reader, error) { return exports.New(path, options), nil },
		says: func(r sources.Row) sources.Row {
			r.Residence, r.Login, r.Further = "office365", "", nil
			return r
		},
		change: func(gone []string, come []person) error {
			for _, name := range gone {
				delete(listed, name)
			}
			for _, one := range come {
				listed[one.name] = one
			}
			return replace(path, exported(listed))
		},
		timeless: true, longest: 1 << 20,
	}
	p.backup = func() error {
		all, err := os.ReadFile(path)
		kept = string(all)
		return err
	}
	p.restore = func() error {
		listed = maps.Clone(p.kept)
		return replace(path, kept)
	}
	p.part = func(share float64) (sources.Reader, error) {
		part, err := partOf(t, path, share)
		return exports.New(part, options), err
	}
	do(t, replace(path, exported(nil)))
	return p
}

// replace writes a file as those do who know that somebody reads it.
func replace(path, text string) error {
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// exported is as PowerShell writes it: all fields are in quotes.
func exported(list map[string]person) string {
	var text strings.Builder
	details := map[string]string{"user": "UserMailbox", "group": "GroupMailbox", "room": "RoomMailbox", "shared": "SharedMailbox"}
	write := func(fields ...string) {
		for i, field := range fields {
			fields[i] = `"` + strings.ReplaceAll(field, `"`, `""`) + `"`
		}
		text.WriteString(strings.Join(fields, ",") + "\r\n")
	}
	write("PrimarySmtpAddress", "EmailAddresses", "RecipientTypeDetails", "DisplayName")
	for _, name := range slices.Sorted(maps.Keys(list)) {
		one, primary, all := list[name], "", []string{}
		for i, address := range one.addresses {
			word := "smtp:"
			if i == 0 {
				primary, word = address, "SMTP:"
			}
			all = append(all, word+address)
		}
		if one.target != "" {
			all = append(all, "smtp:"+one.target)
		}
		write(primary, strings.Join(all, ";"), details[one.kind], one.hourly)
	}
	return text.String()
}

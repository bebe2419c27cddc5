package networks

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"coexistd/policy/config/files"
	"coexistd/policy/networks"
)

// saved is the file in which a list outlives the daemon.
type saved struct {
	Source   string         `json:"source"` // as Source.String writes it
	Fetched  time.Time      `json:"fetched"`
	Networks []netip.Prefix `json:"networks"`
}

// maxSaved bounds such a file in bytes. Each of 10,000 networks takes less than
// 64.
const maxSaved = 64 * networks.Max

// savedPath names the file of a source. A domain can be as long as a file's name
// may be, so a hash stands for it.
func savedPath(dir string, s Source) string {
	return filepath.Join(dir, fmt.Sprintf("%.16x.json", sha256.Sum256([]byte(s.String()))))
}

// parseSaved reads a file that save wrote for the source. It takes only what the
// source could have given.
func parseSaved(text []byte, source Source) (saved, error) {
	var s saved
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return saved{}, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return saved{}, errors.New("it goes on behind its end")
	}
	if s.Source != source.String() {
		return saved{}, fmt.Errorf("it is the list of %.300q", s.Source)
	}
	if s.Fetched.IsZero() {
		return saved{}, errors.New("it does not say when it was fetched")
	}
	for _, prefix := range s.Networks {
		if !prefix.IsValid() || prefix.Addr().Is4In6() {
			return saved{}, fmt.Errorf("%s is no network", prefix)
		}
	}
	s.Networks = networks.Normal(s.Networks)
	return s, networks.Bounded(s.Networks)
}

// load reads the list that was saved for a source. Without one, the error is
// fs.ErrNotExist.
func load(dir string, source Source) (saved, error) {
	path := savedPath(dir, source)
	text, _, err := files.Read(path, maxSaved)
	if err != nil {
		return saved{}, fmt.Errorf("%s %w", path, err)
	}
	s, err := parseSaved([]byte(text), source)
	if err != nil {
		return saved{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// save puts the list in the place of the one that was saved before: all of it,
// or nothing. One call at a time may save a source's list.
func save(dir string, source Source, fetched time.Time, list []netip.Prefix) error {
	text, err := json.Marshal(saved{source.String(), fetched.UTC().Round(0), list})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := savedPath(dir, source)
	// What an earlier process left behind here is written over.
	file, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(text, '\n'))
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(path+".new"))
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"coexistd/policy/config/files"
	"coexistd/policy/config/wording"
)

// minSecret is the least length of the secret that hosts share, in bytes: that of
// a SHA-256 key that cannot be guessed. A text has less in a byte.
const minSecret = 32

// maxText bounds a text, a secret or not, in bytes.
const maxText = 512

// secretFile looks at the file with the secret that hosts share; it does not read
// it.
func secretFile(r *reader, name string) (string, error) {
	path := r.path(name)
	const right = "make one with: openssl rand -out FILE 32; chgrp coexistd FILE; chmod 0640 FILE"
	info, err := files.Look(path)
	switch {
	case err != nil:
		return "", fmt.Errorf("%s %w; %s", wording.Quote(path), err, right)
	case info.Size() < minSecret:
		return "", fmt.Errorf("%s has %d bytes; a secret needs at least %d; %s", wording.Quote(path), info.Size(), minSecret, right)
	}
	return path, refuseOpen(path, info)
}

// refuseOpen refuses a file with a secret that everybody can get at.
func refuseOpen(path string, info fs.FileInfo) error {
	if info.Mode()&0o007 == 0 {
		return nil
	}
	return fmt.Errorf("%s can be read, written or run by everybody (mode %04o); run: chmod 0640 %s", wording.Quote(path), info.Mode().Perm(), path)
}

// secretText reads a file of one line of printable ASCII with at least so many bytes.
// White space at its end does not count. Nothing of it stands in an error.
func (r *reader) secretText(name string, least int, right string) (string, error) {
	path := r.path(name)
	text, info, err := files.Read(path, maxFile)
	if err == nil {
		if err := refuseOpen(path, info); err != nil {
			return "", err
		}
		text = strings.TrimRight(text, " \t\r\n")
		err = checkSecret(text, least)
	}
	if err != nil {
		return "", fmt.Errorf("%s %w; %s", wording.Quote(path), err, right)
	}
	return text, nil
}

// checkSecret continues a sentence that begins with the file's name.
func checkSecret(text string, least int) error {
	if len(text) < least || len(text) > maxText {
		return fmt.Errorf("has %d bytes without the white space at its end; it would be from %d to %d", len(text), least, maxText)
	}
	if i := strings.IndexFunc(text, func(c rune) bool { return c < ' ' || c > '~' }); i >= 0 {
		return fmt.Errorf("holds more than one line, or a character that is not printable ASCII, at byte %d", i+1)
	}
	if text[0] == ' ' {
		return errors.New("begins with white space, which mail systems drop")
	}
	return nil
}

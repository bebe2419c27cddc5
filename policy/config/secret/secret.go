// Package secret looks at the files with secrets that the configuration names. Nothing of
// a secret stands in an error.
package secret

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"coexistd/policy/config/files"
	"coexistd/policy/config/wording"
)

// Most is how long a secret that is a text can be, in bytes.
const Most = 512

// least is the least length of the secret that hosts share, in bytes: that of
// a SHA-256 key that cannot be guessed. A text has less in a byte.
const least = 32

// maxFile bounds the file of a secret that is a text, in bytes.
const maxFile = 4 * files.MiB

// Look looks at the file with the secret that hosts share; it does not read it.
func Look(path string) error {
	const right = "make one with: openssl rand -out FILE 32; chgrp coexistd FILE; chmod 0640 FILE"
	info, err := files.Look(path)
	switch {
	case err != nil:
		return fmt.Errorf("%s %w; %s", wording.Quote(path), err, right)
	case info.Size() < least:
		return fmt.Errorf("%s has %d bytes; a secret needs at least %d; %s", wording.Quote(path), info.Size(), least, right)
	}
	return refuseOpen(path, info)
}

// Read reads a file of one line of printable ASCII with at least so many bytes.
// White space at its end does not count. Right says in an error what would be right.
func Read(path string, least int, right string) (string, error) {
	text, info, err := files.Read(path, maxFile)
	if err == nil {
		if err := refuseOpen(path, info); err != nil {
			return "", err
		}
		text = strings.TrimRight(text, " \t\r\n")
		err = checkText(text, least)
	}
	if err != nil {
		return "", fmt.Errorf("%s %w; %s", wording.Quote(path), err, right)
	}
	return text, nil
}

// refuseOpen refuses a file with a secret that everybody can get at.
func refuseOpen(path string, info fs.FileInfo) error {
	if info.Mode()&0o007 == 0 {
		return nil
	}
	return fmt.Errorf("%s can be read, written or run by everybody (mode %04o); run: chmod 0640 %s", wording.Quote(path), info.Mode().Perm(), path)
}

// checkText continues a sentence that begins with the file's name.
func checkText(text string, least int) error {
	if len(text) < least || len(text) > Most {
		return fmt.Errorf("has %d bytes without the white space at its end; it would be from %d to %d", len(text), least, Most)
	}
	if i := strings.IndexFunc(text, func(c rune) bool { return c < ' ' || c > '~' }); i >= 0 {
		return fmt.Errorf("holds more than one line, or a character that is not printable ASCII, at byte %d", i+1)
	}
	if text[0] == ' ' {
		return errors.New("begins with white space, which mail systems drop")
	}
	return nil
}

package daemon

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"coexistd/policy/config"
	"coexistd/policy/config/files"
	"coexistd/policy/seal"
)

// KeyBytes is the length of a key that coexistd makes: that of the HMAC's hash. No key may
// be shorter.
const KeyBytes = 32

// KeyPath names the file with the key that signs trace headers.
func KeyPath(conf *config.Config) string {
	if conf.SecretFile != "" {
		return conf.SecretFile
	}
	return filepath.Join(conf.StateDir, "secret.key")
}

// readKey returns the content of a file with a key.
func readKey(path string) ([]byte, error) {
	key, _, err := files.Read(path, files.MiB)
	if err != nil {
		return nil, fmt.Errorf("the key that signs trace headers, %s, %w", path, err)
	}
	return []byte(key), nil
}

// MakeKeys returns the keys, which it makes in state_dir when the configuration names no
// secret_file and no earlier start has made any.
func MakeKeys(conf *config.Config) (seal.Keys, error) {
	path := KeyPath(conf)
	key, err := readKey(path)
	switch {
	case err == nil && len(key) < KeyBytes:
		return seal.Keys{}, fmt.Errorf("the key in %s has %d bytes; it must have %d at least. Remove the file to have a new one made", path, len(key), KeyBytes)
	case err == nil:
		return seal.NewKeys(key), nil
	case !errors.Is(err, fs.ErrNotExist) || conf.SecretFile != "":
		return seal.Keys{}, err
	}
	if err := os.MkdirAll(conf.StateDir, 0o700); err != nil {
		return seal.Keys{}, fmt.Errorf("state_dir cannot be made: %w", err)
	}
	key = make([]byte, KeyBytes)
	rand.Read(key)
	if err := writeKey(path, key); errors.Is(err, fs.ErrExist) {
		key, err = readKey(path) // another process has made it meanwhile
		return seal.NewKeys(key), err
	} else if err != nil {
		return seal.Keys{}, fmt.Errorf("the key that signs trace headers cannot be made: %w; state_dir must be a folder that coexistd may write to, or secret_file must name a key", err)
	}
	return seal.NewKeys(key), nil
}

// writeKey puts the whole key at path, or nothing.
func writeKey(path string, key []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".secret-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(key)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Link(file.Name(), path)
}

// ReadKeys returns the keys for a command that only looks. Without a key, because the
// daemon was never started, no trace is genuine.
func ReadKeys(conf *config.Config) (seal.Keys, error) {
	key, err := readKey(KeyPath(conf))
	if errors.Is(err, fs.ErrNotExist) {
		return seal.Keys{}, nil
	}
	if err != nil {
		return seal.Keys{}, err
	}
	return seal.NewKeys(key), nil
}

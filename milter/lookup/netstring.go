package lookup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// maxRequest is the longest request, in bytes. An address has 1,024 at most.
const maxRequest = 10_000

var errNetstring = errors.New("the request is not a netstring, LENGTH:DATA, with a length of at most 10000")

// readNetstring reads a netstring: the length in decimal without leading zeros,
// a colon, the data, a comma.
func readNetstring(r *bufio.Reader) (string, error) {
	length, err := readLength(r)
	if err != nil {
		return "", err
	}
	data := make([]byte, length+1)
	if _, err := io.ReadFull(r, data); err != nil {
		return "", unexpected(err)
	}
	if data[length] != ',' {
		return "", errNetstring
	}
	return string(data[:length]), nil
}

func readLength(r *bufio.Reader) (int, error) {
	length := 0
	for i := 0; ; i++ {
		c, err := r.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		switch {
		case c == ':' && i > 0:
			return length, nil
		case c < '0' || c > '9' || i == 1 && length == 0:
			return 0, errNetstring
		}
		length = 10*length + int(c-'0')
		if length > maxRequest {
			return 0, errNetstring
		}
	}
}

func unexpected(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("the request broke off: %w", err)
}

func writeNetstring(w *bufio.Writer, s string) {
	fmt.Fprintf(w, "%d:%s,", len(s), s)
}

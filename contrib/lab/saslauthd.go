package lab

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
)

// startSaslauthd starts a server that speaks saslauthd's protocol (Cyrus SASL,
// saslauthd/ipc_unix.c): login, password, service and realm, each with its length in 16
// bits, are answered with "OK" or "NO" in the same form. Cyrus SASL cuts a login at its
// "@" into login and realm. Logins have no case, as Dovecot's.
func startSaslauthd(path string, users map[string]string) (*server, error) {
	l, err := listenForAll(path)
	if err != nil {
		return nil, err
	}
	return serveEach(l, func(conn net.Conn) {
		var asked [4]string
		for i := range asked {
			var size uint16
			if binary.Read(conn, binary.BigEndian, &size) != nil {
				return
			}
			text := make([]byte, size)
			if _, err := io.ReadFull(conn, text); err != nil {
				return
			}
			asked[i] = string(text)
		}
		answer, login := "NO", strings.ToLower(asked[0])
		if realm := asked[3]; realm != "" {
			login += "@" + strings.ToLower(realm)
		}
		if password, ok := users[login]; ok && password == asked[1] {
			answer = "OK"
		}
		conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	}), nil
}

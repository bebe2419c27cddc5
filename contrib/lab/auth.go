package lab

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
)

// authSocket is where smtpd asks whether a password is right, below the queue
// directory.
const authSocket = "private/auth"

// authServer speaks as much of Dovecot's authentication protocol (1.1) as
// Postfix needs for the mechanism PLAIN (RFC 4616).
type authServer struct {
	*server
	users map[string]string
}

func startAuthServer(path string, users map[string]string) (*authServer, error) {
	l, err := listenForAll(path)
	if err != nil {
		return nil, err
	}
	s := &authServer{users: users}
	s.server = serveEach(l, s.serve)
	return s, nil
}

func (s *authServer) serve(conn net.Conn) {
	fmt.Fprintf(conn, "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t%032x\nDONE\n", 1)
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		fields := strings.Split(lines.Text(), "\t")
		if len(fields) < 3 {
			continue
		}
		id := fields[1]
		switch fields[0] {
		case "AUTH":
			last := fields[len(fields)-1]
			if response, ok := strings.CutPrefix(last, "resp="); ok {
				s.answer(conn, id, response)
			} else {
				fmt.Fprintf(conn, "CONT\t%s\t\n", id)
			}
		case "CONT":
			s.answer(conn, id, fields[2])
		}
	}
}

func (s *authServer) answer(conn net.Conn, id, response string) {
	plain, _ := base64.StdEncoding.DecodeString(response)
	parts := strings.Split(string(plain), "\x00")
	if len(parts) == 3 {
		if password, ok := s.users[parts[1]]; ok && password == parts[2] {
			fmt.Fprintf(conn, "OK\t%s\tuser=%s\n", id, parts[1])
			return
		}
	}
	fmt.Fprintf(conn, "FAIL\t%s\n", id)
}

package config

import (
	"fmt"

	"coexistd/policy/config/document"
	"coexistd/policy/config/secret"
	"coexistd/policy/config/sockets"
	"coexistd/policy/config/wording"
)

// Redis is [redis]: where several hosts count together.
type Redis struct {
	// Addresses are "HOST:PORT": of a server; of several nodes of a cluster; or,
	// when Master is not empty, of Sentinels that know the server of that name.
	Addresses []string
	Master    string
	// Username and Password are what it is told; both may be empty. The password
	// must stand in no log.
	Username, Password string
	TLS                bool
}

func (r *reader) redis(t *table) {
	one := t.section("redis")
	if one == nil {
		return
	}
	one.readSection()
	r.config.Redis = &Redis{
		Addresses: value[[]string](one, "addresses"),
		Master:    value[string](one, "master"),
		Username:  value[string](one, "username"),
		Password:  value[string](one, "password_file"),
		TLS:       value[bool](one, "tls"),
	}
	if one.has("username") && !one.has("password_file") {
		one.fail("username", "has no password; add password_file, or leave username out")
	}
	if !t.has("rate") {
		r.note("[redis] is never asked: there is no [[rate]]")
	}
}

const likeRedis = `write it like ["127.0.0.1:6379"]`

func redisAddress(r *reader, text string) (string, error) {
	addr, err := sockets.HostPort(text, "127.0.0.1:6379")
	if err != nil {
		return "", err
	}
	return addr, r.refuseOwn("tcp", addr)
}

func redisPassword(r *reader, file string) (string, error) {
	return secret.Read(r.path(file), 1, "write the path of a file that holds the password and nothing else")
}

// line is a short text without control characters. What says what it is.
func line(what string) kind {
	return text(what+", in quotes", alone(func(text string) (string, error) {
		if text == "" || len(text) > secret.Most || document.Printable(text) != text {
			return "", fmt.Errorf("%s is not %s; it would be one line of 1 to %d bytes", wording.Quote(text), what, secret.Most)
		}
		return text, nil
	}))
}

package config

import (
	"fmt"

	"coexistd/policy/config/document"
	"coexistd/policy/config/schema"
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

func (r *reader) redisKeys() schema.Section {
	return schema.Section{Path: "redis", Header: "[redis]", About: "where several hosts count together", Keys: []schema.Key{
		{Name: "addresses", Kind: schema.List(r.redisAddress, schema.Rules{Empty: "names no server; " + likeRedis, Most: maxAddresses, What: "addresses", Twice: schema.Refused}),
			Missing: likeRedis, Example: `["127.0.0.1:6379"]`,
			Meaning: "a list of `\"HOST:PORT\"`: one is a server, several are nodes of a cluster"},
		{Name: "master", Kind: line("the name that the Sentinels have for the server"), Example: `"mymaster"`,
			Meaning: "the name that Sentinels have for the server; `addresses` are then those of the Sentinels"},
		{Name: "username", Kind: line("a user of Redis"), Example: `"coexistd"`, Meaning: "needs `password_file`"},
		{Name: "password_file", Kind: schema.Text("a path in quotes", r.redisPassword), Example: `"redis.password"`, Meaning: "a file with the password as its only line, not readable by others"},
		{Name: "tls", Kind: schema.Boolean(), Usual: false, Meaning: "connect by TLS"},
	}}
}

func (r *reader) redis(t *schema.Table) {
	one := t.Section("redis")
	if one == nil {
		return
	}
	one.ReadSection()
	r.config.Redis = &Redis{
		Addresses: schema.Value[[]string](one, "addresses"),
		Master:    schema.Value[string](one, "master"),
		Username:  schema.Value[string](one, "username"),
		Password:  schema.Value[string](one, "password_file"),
		TLS:       schema.Value[bool](one, "tls"),
	}
	if one.Has("username") && !one.Has("password_file") {
		one.Fail("username", "has no password; add password_file, or leave username out")
	}
	if !t.Has("rate") {
		r.note("[redis] is never asked: there is no [[rate]]")
	}
}

const likeRedis = `write it like ["127.0.0.1:6379"]`

func (r *reader) redisAddress(text string) (string, error) {
	addr, err := sockets.HostPort(text, "127.0.0.1:6379")
	if err != nil {
		return "", err
	}
	return addr, r.refuseOwn("tcp", addr)
}

func (r *reader) redisPassword(file string) (string, error) {
	r.names("redis.password_file", r.path(file), true)
	return secret.Read(r.path(file), 1, "write the path of a file that holds the password and nothing else")
}

// line is a short text without control characters. What says what it is.
func line(what string) schema.Kind {
	return schema.Text(what+", in quotes", func(text string) (string, error) {
		if text == "" || len(text) > secret.Most || document.Printable(text) != text {
			return "", fmt.Errorf("%s is not %s; it would be one line of 1 to %d bytes", wording.Quote(text), what, secret.Most)
		}
		return text, nil
	})
}

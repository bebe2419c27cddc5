package doctor

import (
	"cmp"
	"context"
	"strings"

	"coexistd/cmd/coexistd/daemon"
)

// lookAtRedis asks the Redis that counts for several hosts.
func lookAtRedis(ctx context.Context, x *examination) []Finding {
	c := x.conf.Redis
	switch {
	case c == nil && len(x.conf.Rules.Rates) == 0:
		return []Finding{fine("no [[rate]] needs it")}
	case c == nil:
		return []Finding{fine("there is no [redis]: this host counts alone, in the daemon's memory")}
	}
	ctx, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	redis, at := daemon.NewRedis(x.conf), strings.Join(c.Addresses, ", ")
	defer redis.Close()
	version, err := redis.Ping(ctx)
	if err != nil {
		return []Finding{failure("Redis at %s cannot count: %v", at, err).
			do("see that it runs, and that addresses, master, username, password_file and tls of [redis] in %s are right; until then, each [[rate]] does as its on_error says", x.conf.Path)}
	}
	return []Finding{fine("Redis at %s counts, version %s", at, cmp.Or(version, "untold"))}
}

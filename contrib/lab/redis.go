package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RedisConfig says how a Redis differs from the lab's plain one. The plain one
// listens at a port of 127.0.0.1, lets everybody in, and keeps its data in
// memory alone.
type RedisConfig struct {
	// AppendOnly has each change on disk before the client is answered, so
	// that the data are there again after Kill and Start. Stop removes them.
	AppendOnly bool
	// Password is what clients must authenticate with (AUTH); empty: nothing.
	Password string
	// Master has it be a replica of that one.
	Master *Redis
}

// Redis is a running redis-server.
type Redis struct {
	*filter
	Addr string // HOST:PORT

	password string
}

// StartRedis starts a Redis and returns when it answers and has read its data,
// or its master's. ctx bounds the start only; Stop ends it.
func (f *Filters) StartRedis(ctx context.Context, c RedisConfig) (*Redis, error) {
	r := redisStart{password: c.Password, settings: []string{"appendonly no"}}
	if c.AppendOnly {
		r.settings = []string{"appendonly yes", "appendfsync always"}
	}
	if c.Password != "" {
		r.settings = append(r.settings, "requirepass "+strconv.Quote(c.Password))
	}
	if c.Master != nil {
		host, port, err := net.SplitHostPort(c.Master.Addr)
		if err != nil {
			return nil, fmt.Errorf("lab: the master's address: %w", err)
		}
		r.settings = append(r.settings, "replicaof "+host+" "+port)
		if c.Master.password != "" {
			r.settings = append(r.settings, "masterauth "+strconv.Quote(c.Master.password))
		}
		r.ready = isReplica
	}
	return f.startRedis(ctx, r)
}

// redisStart says what to start.
type redisStart struct {
	password string
	settings []string // lines of redis.conf beside the lab's own
	args     []string
	// ready is asked once it answers. Nil: that is enough.
	ready func(context.Context, *Redis) error
}

func (f *Filters) startRedis(ctx context.Context, c redisStart) (*Redis, error) {
	host, port, err := freeAddress()
	if err != nil {
		return nil, err
	}
	dir, err := TempDir()
	if err != nil {
		return nil, err
	}
	// A master would wait five seconds for further replicas before it gives
	// the first its data.
	settings := append([]string{
		"bind " + host, "port " + port, "dir " + dir, "daemonize no", "protected-mode no", `save ""`, "repl-diskless-sync-delay 0",
	}, c.settings...)
	r := &Redis{Addr: net.JoinHostPort(host, port), password: c.password}
	r.filter = &filter{
		name: "redis-server", program: f.redis,
		args: append([]string{filepath.Join(dir, "redis.conf")}, c.args...), dir: dir,
		files: map[string]string{"redis.conf": strings.Join(settings, "\n") + "\n"},
		log:   newLogbook(),
		ready: func(ctx context.Context) error {
			// One that is still reading its data answers with the error LOADING.
			if _, err := r.Do(ctx, "PING"); err != nil || c.ready == nil {
				return err
			}
			return c.ready(ctx, r)
		},
	}
	if err := r.Start(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// isReplica says whether a replica has all of its master's data.
func isReplica(ctx context.Context, r *Redis) error {
	info, err := r.Do(ctx, "INFO", "replication")
	if err == nil && !strings.Contains(info, "master_link_status:up") {
		err = fmt.Errorf("it is no replica yet:\n%s", info)
	}
	return err
}

// Do has the Redis do one command, over a connection of its own. The answer is
// a string or a number as it came; of an array it is the elements, a line
// each, and of nil it is empty. An answer that is an error is the error.
func (r *Redis) Do(ctx context.Context, command ...string) (string, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.Addr)
	if err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	answers := bufio.NewReader(conn)
	if r.password != "" {
		_, err = exchange(conn, answers, "AUTH", r.password)
	}
	var answer string
	if err == nil {
		answer, err = exchange(conn, answers, command...)
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return "", fmt.Errorf("lab: Redis at %s, %s: %w", r.Addr, command[0], err)
	}
	return answer, nil
}

// exchange speaks RESP, version 2: https://redis.io/docs/reference/protocol-spec/
func exchange(w io.Writer, answers *bufio.Reader, command ...string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(command))
	for _, word := range command {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return "", err
	}
	return readAnswer(answers)
}

func readAnswer(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return "", errors.New("an empty line instead of an answer")
	}
	kind, rest := line[0], line[1:]
	if kind == '+' || kind == ':' {
		return rest, nil
	}
	if kind == '-' {
		return "", errors.New(rest)
	}
	n, err := strconv.Atoi(rest)
	if err != nil || kind != '$' && kind != '*' {
		return "", fmt.Errorf("the answer begins with %q", line)
	}
	if kind == '*' {
		elements := make([]string, max(n, 0))
		for i := range elements {
			if elements[i], err = readAnswer(r); err != nil {
				return "", err
			}
		}
		return strings.Join(elements, "\n"), nil
	}
	if n < 0 {
		return "", nil
	}
	content := make([]byte, n+len("\r\n"))
	_, err = io.ReadFull(r, content)
	return string(content[:n]), err
}

// redisSlots is the number of slots that a cluster's masters share.
const redisSlots = 16384

// RedisCluster is a running Redis Cluster of three masters without replicas.
type RedisCluster struct {
	Nodes []*Redis
}

// StartRedisCluster starts a cluster and returns when each of its nodes takes
// commands, which is two seconds later: that long a master waits first, and
// does so again when it is started after a Kill. ctx bounds the start only;
// Close ends the cluster.
func (f *Filters) StartRedisCluster(ctx context.Context) (_ *RedisCluster, err error) {
	c := &RedisCluster{}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	const masters = 3
	var buses []string
	for range masters {
		_, bus, err := freeAddress()
		if err != nil {
			return nil, err
		}
		node, err := f.startRedis(ctx, redisStart{settings: []string{
			"cluster-enabled yes", "cluster-config-file nodes.conf", "cluster-node-timeout 2000", "cluster-port " + bus,
		}})
		if err != nil {
			return nil, err
		}
		c.Nodes, buses = append(c.Nodes, node), append(buses, bus)
	}
	if err := c.join(ctx, buses); err != nil {
		return nil, err
	}
	if err := c.awaitWhole(ctx); err != nil {
		return nil, err
	}
	// From now on, a node that is slow on a busy machine is not taken for dead.
	for _, node := range c.Nodes {
		if _, err := node.Do(ctx, "CONFIG", "SET", "cluster-node-timeout", "60000"); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// join gives each node its part of the slots, and has the first one meet the
// others at the ports where they speak to each other.
func (c *RedisCluster) join(ctx context.Context, buses []string) error {
	for i, node := range c.Nodes {
		first, last := i*redisSlots/len(c.Nodes), (i+1)*redisSlots/len(c.Nodes)-1
		host, port, err := net.SplitHostPort(node.Addr)
		if err != nil {
			return fmt.Errorf("lab: %w", err)
		}
		commands := [][]string{
			// Without an epoch of its own each has 0, and they spend time on
			// sorting that out.
			{"CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i + 1)},
			{"CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(last)},
		}
		for _, command := range commands {
			if _, err := node.Do(ctx, command...); err != nil {
				return err
			}
		}
		if i > 0 {
			if _, err := c.Nodes[0].Do(ctx, "CLUSTER", "MEET", host, port, buses[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *RedisCluster) awaitWhole(ctx context.Context) error {
	want := []string{"cluster_state:ok", "cluster_slots_ok:" + strconv.Itoa(redisSlots), "cluster_size:" + strconv.Itoa(len(c.Nodes))}
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for _, node := range c.Nodes {
		for {
			info, err := node.Do(ctx, "CLUSTER", "INFO")
			if err != nil {
				return err
			}
			lines := strings.Fields(info)
			if !slices.ContainsFunc(want, func(line string) bool { return !slices.Contains(lines, line) }) {
				break
			}
			select {
			case <-again.C:
			case <-ctx.Done():
				return fmt.Errorf("lab: the Redis cluster did not come together: %w; %s said:\n%s", ctx.Err(), node.Addr, info)
			}
		}
	}
	return nil
}

// Addrs are the addresses of the nodes, HOST:PORT.
func (c *RedisCluster) Addrs() []string {
	var addrs []string
	for _, node := range c.Nodes {
		addrs = append(addrs, node.Addr)
	}
	return addrs
}

// Close ends all nodes and removes their folders.
func (c *RedisCluster) Close() error {
	var errs []error
	for _, node := range c.Nodes {
		errs = append(errs, node.Stop())
	}
	return errors.Join(errs...)
}

// StartSentinel starts a Sentinel that watches the master under that name, and
// returns when it knows the master and its replicas. It decides alone: a
// master that does not answer for a minute is down, and one of the replicas takes
// its place. Lose has it decide so sooner. ctx bounds the start only; Stop ends it.
// Started again, it has forgotten all that, and needs the first master to be there.
func (f *Filters) StartSentinel(ctx context.Context, master *Redis, name string) (*Redis, error) {
	host, port, err := net.SplitHostPort(master.Addr)
	if err != nil {
		return nil, fmt.Errorf("lab: the master's address: %w", err)
	}
	settings := []string{
		"sentinel monitor " + name + " " + host + " " + port + " 1",
		"sentinel down-after-milliseconds " + name + " 60000",
		"sentinel failover-timeout " + name + " 3000",
	}
	if master.password != "" {
		settings = append(settings, "sentinel auth-pass "+name+" "+strconv.Quote(master.password))
	}
	watches := func(ctx context.Context, sentinel *Redis) error { return sentinel.watches(ctx, master, name) }
	return f.startRedis(ctx, redisStart{settings: settings, args: []string{"--sentinel"}, ready: watches})
}

// Lose has a Sentinel that watches a master which has been killed find that out in
// half a second. Before, a master that is slow on a busy machine would be down.
func (r *Redis) Lose(ctx context.Context, name string) error {
	_, err := r.Do(ctx, "SENTINEL", "SET", name, "down-after-milliseconds", "500")
	return err
}

var connectedReplicas = regexp.MustCompile(`connected_slaves:(\d+)`)

// watches says whether a Sentinel has heard from each replica that the master
// has: it would choose no other.
func (r *Redis) watches(ctx context.Context, master *Redis, name string) error {
	info, err := master.Do(ctx, "INFO", "replication")
	if err != nil {
		return err
	}
	count := connectedReplicas.FindStringSubmatch(info)
	if count == nil {
		return fmt.Errorf("lab: the master at %s does not say how many replicas it has:\n%s", master.Addr, info)
	}
	known, err := r.Do(ctx, "SENTINEL", "REPLICAS", name)
	if err != nil {
		return err
	}
	if got := strings.Count(known, "master-link-status\nok"); strconv.Itoa(got) != count[1] {
		return fmt.Errorf("lab: it has heard from %d replicas of %s", got, count[1])
	}
	return nil
}

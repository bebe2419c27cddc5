package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
)

// GTUBE is the line that every spam scanner refuses, by agreement. It is
// written so that none finds it here.
const GTUBE = `XJS*C4JDBQADN1.NSBN3*2IDNEN*` + `GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X`

// What a Rspamd finds in a message, its header or its body.
const (
	SpamWord       = "lab-spam-7"      // the symbol LAB_TAG, with the score 7: "add header"
	SoftRejectWord = "lab-soft-reject" // "soft reject", with the message "lab says later"
)

// RspamdConfig says how an rspamd differs from the lab's plain one. The plain
// one has one process that scans, none of the usual modules and rules but
// GTUBE and what the words above are for, asks no DNS, and has the actions
// "reject" from 15 on, "add header" from 6 and "greylist" from 4.
type RspamdConfig struct {
	// Settings is further configuration, in rspamd's language; it is merged
	// into the lab's own and wins over it.
	Settings string
	// Learn gives it a controller with the password LearnPassword, by which it learns what mail
	// is into that Redis: after one message of a class, it knows more such (BAYES_HAM,
	// BAYES_SPAM). Nil: it has none.
	Learn *Redis
	// Milter has it be a milter as well, by a process that scans the mail itself.
	Milter bool
}

// LearnPassword is what the controller of a Rspamd wants to be told.
const LearnPassword = "lab sesame"

// Rspamd is a running rspamd.
type Rspamd struct {
	*filter
	address    string
	controller string // empty: there is none
	MilterAddr string // HOST:PORT of 127.0.0.1; empty: it is no milter
}

// {dir} stands for the instance's folder, {host} and {port} for its address.
// The public suffixes are a handful: compiling the thousands of rspamd's own
// file takes 18 s of the processor.
const rspamdConf = `options {
  filters = "";
  gtube_patterns = "all";
  tempdir = "{dir}";
  hs_cache_dir = "{dir}";
  url_tld = "{dir}/suffixes";
  local_addrs = [];
  dns { nameserver = ["127.0.0.1"]; timeout = 100ms; retransmits = 1; }
}
lang_detection { languages = "{dir}"; }
logging { type = "console"; level = "info"; color = false; }
actions { reject = 15; add_header = 6; greylist = 4; }
worker "normal" { bind_socket = "{host}:{port}"; count = 1; mime = true; }
lua = "{dir}/lab.lua";
.include(priority=1,duplicate=merge) "{dir}/settings.conf"
`

// {host} and {port} are the controller's here.
const rspamdLearning = `
worker "controller" { bind_socket = "{host}:{port}"; count = 1; password = "` + LearnPassword + `"; secure_ip = []; }
classifier "bayes" {
  tokenizer { name = "osb"; }
  backend = "redis";
  servers = "{redis}";
  new_schema = true;
  min_tokens = 11;
  min_learns = 1;
  statfile { symbol = "BAYES_HAM"; spam = false; }
  statfile { symbol = "BAYES_SPAM"; spam = true; }
  learn_condition = 'return require("lua_bayes_learn").can_learn';
}
`

// {milter} is HOST:PORT.
const rspamdMilter = `
worker "rspamd_proxy" {
  bind_socket = "{milter}"; count = 1; milter = true; mime = true;
  upstream "local" { default = true; self_scan = true; }
}
`

const rspamdLua = `local function has(task, word) return task:get_content():find(word, 1, true) ~= nil end
rspamd_config:register_symbol {
  name = 'LAB_TAG', type = 'normal', score = 7.0, group = 'lab',
  callback = function(task) return has(task, '` + SpamWord + `') end,
}
rspamd_config:register_symbol {
  name = 'LAB_SOFT', type = 'prefilter',
  callback = function(task)
    if has(task, '` + SoftRejectWord + `') then task:set_pre_result('soft reject', 'lab says later', 'lab') end
  end,
}
`

// StartRspamd starts an rspamd and returns when it answers. ctx bounds the
// start only; Stop ends rspamd.
func (f *Filters) StartRspamd(ctx context.Context, c RspamdConfig) (*Rspamd, error) {
	host, port, err := freeAddress()
	if err != nil {
		return nil, err
	}
	dir, err := TempDir()
	if err != nil {
		return nil, err
	}
	fill := strings.NewReplacer("{dir}", dir, "{host}", host, "{port}", port).Replace
	r, conf := &Rspamd{address: net.JoinHostPort(host, port)}, fill(rspamdConf)
	if c.Learn != nil {
		host, port, err := freeAddress()
		if err != nil {
			return nil, err
		}
		r.controller = net.JoinHostPort(host, port)
		conf += strings.NewReplacer("{host}", host, "{port}", port, "{redis}", c.Learn.Addr).Replace(rspamdLearning)
	}
	if c.Milter {
		host, port, err := freeAddress()
		if err != nil {
			return nil, err
		}
		r.MilterAddr = net.JoinHostPort(host, port)
		conf += strings.ReplaceAll(rspamdMilter, "{milter}", r.MilterAddr)
	}
	r.filter = &filter{
		name: "rspamd", program: f.rspamd, args: f.rspamdArgs(dir), dir: dir,
		files: map[string]string{
			"rspamd.conf":   conf,
			"settings.conf": c.Settings,
			"lab.lua":       rspamdLua,
			"suffixes":      "com\nexample\nnet\norg\ntest\n",
		},
		log:   newLogbook(),
		ready: r.isReady,
	}
	if err := r.Start(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// rspamdArgs has rspamd stay in the foreground, as root, and keep what it
// writes in dir. An unpacked one looks for its files in its tree.
func (f *Filters) rspamdArgs(dir string) []string {
	args := []string{"--no-fork", "--insecure", "--config=" + filepath.Join(dir, "rspamd.conf")}
	for _, name := range []string{"CONFDIR", "LOCAL_CONFDIR", "DBDIR", "RUNDIR", "LOGDIR"} {
		args = append(args, "--var="+name+"="+dir)
	}
	if f.rspamd.tree == "" {
		return args
	}
	share := filepath.Join(f.rspamd.tree, "usr/share/rspamd")
	return append(args, "--var=SHAREDIR="+share, "--var=LUALIBDIR="+filepath.Join(share, "lualib"),
		"--var=PLUGINSDIR="+filepath.Join(share, "plugins"), "--var=RULESDIR="+filepath.Join(share, "rules"))
}

// URL is where rspamd listens: http://HOST:PORT.
func (r *Rspamd) URL() string { return "http://" + r.address }

// ControllerURL is where its controller listens: http://HOST:PORT.
func (r *Rspamd) ControllerURL() string { return "http://" + r.controller }

// Learned is how many messages its controller has learned since it began.
func (r *Rspamd) Learned(ctx context.Context) (count int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.ControllerURL()+"/stat", nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Password", LearnPassword)
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var told struct {
		Learned *int `json:"learned"`
	}
	if err := json.NewDecoder(response.Body).Decode(&told); err != nil || told.Learned == nil {
		return 0, fmt.Errorf("lab: what rspamd has learned cannot be read (%s): %w", response.Status, err)
	}
	return *told.Learned, nil
}

// isReady returns an error until it answers.
func (r *Rspamd) isReady(ctx context.Context) error {
	if err := pingRspamd(ctx, r.URL()); err != nil || r.MilterAddr == "" {
		return err
	}
	return isListening(ctx, r.MilterAddr)
}

func pingRspamd(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/ping", nil)
	if err != nil {
		return err
	}
	// A connection that was kept would be one that Kill has ended.
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 100))
	if err == nil && strings.TrimSpace(string(answer)) != "pong" {
		err = fmt.Errorf("it answered /ping with %q, not pong", answer)
	}
	return err
}

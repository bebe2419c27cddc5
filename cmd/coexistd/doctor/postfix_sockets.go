package doctor

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/postconf"
)

// hearing says whether somebody listens at a socket.
type hearing int

const (
	unseen hearing = iota // it cannot be told, such as when a folder on the way is closed to us
	deaf
	hears
)

// knock tries a socket.
func knock(ctx context.Context, network, address string) hearing {
	conn, err := dial(ctx, network, address)
	switch {
	case err == nil:
		conn.Close()
		return hears
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return deaf
	}
	return unseen
}

// listens tries a Unix socket. Postfix's folder private is closed to all but Postfix; the kernel's
// list of sockets is not, but has only those that were named by the same path.
func listens(ctx context.Context, path string) hearing {
	if heard := knock(ctx, "unix", path); heard != unseen {
		return heard
	}
	list, err := os.Open("/proc/net/unix")
	if err != nil {
		return unseen
	}
	defer list.Close()
	if isListening(list, path) {
		return hears
	}
	return unseen
}

// isListening looks into a list of sockets as proc(5) has it for one with that path that listens.
func isListening(list io.Reader, path string) bool {
	const most = 8 << 20 // bytes; each program of this host adds to it as it likes
	lines := bufio.NewScanner(io.LimitReader(list, most))
	for lines.Scan() {
		// Num RefCount Protocol Flags Type St Inode Path; the flag is __SO_ACCEPTCON.
		fields := strings.SplitN(lines.Text(), " ", 8)
		if len(fields) == 8 && fields[3] == "00010000" && strings.TrimLeft(fields[7], "0123456789 ") == path {
			return true
		}
	}
	return false
}

// socket is where a service finds the Unix socket that a setting names: from the queue
// directory, which in a chroot is all that there is.
func (p *postfix) socket(s *postconf.Service, path string) string {
	if filepath.IsAbs(path) && !s.Chroot {
		return filepath.Clean(path)
	}
	return filepath.Join(p.Main["queue_directory"], path)
}

// judgeSocket says whether a server of mailboxes listens where lmtp(8) brings mail.
func (x *examination) judgeSocket(ctx context.Context, domains string, s *postconf.Service, w way) []Finding {
	path, is := strings.CutPrefix(w.nexthop, "unix:")
	if !is {
		return nil
	}
	path = x.mta.socket(s, path)
	switch listens(ctx, path) {
	case deaf:
		return []Finding{failure("mail for the mailboxes of %s here goes to %s (%s), where nobody listens: all of it is put off", domains, path, w.setting).
			do("start the server of the mailboxes, such as by systemctl restart dovecot, and have it listen there, as contrib/postfix describes")}
	case unseen:
		return []Finding{warning("mail for the mailboxes of %s here goes to %s (%s); %s may not see whether somebody listens there", domains, path, w.setting, account.OwnName()).
			do("see as root that somebody does: ss -xl | grep %s", path)}
	}
	return nil
}

// lookAtLogins sees whether smtpd, where it lets clients log in, finds who checks their passwords.
// Otherwise it ends at each connection, whether the client wants to log in or not.
func lookAtLogins(ctx context.Context, x *examination) []Finding {
	return together("smtpd", x.mta.Running("smtpd"), serviceName, func(s *postconf.Service) (f Finding, wrong bool) {
		if !strings.EqualFold(x.mta.Value(s, "smtpd_sasl_auth_enable"), "yes") {
			return f, false
		}
		return x.mta.judgeLogin(ctx, s)
	})
}

// judgeLogin says what is wrong with the logins of one service. It reads on from the service's
// name.
func (p *postfix) judgeLogin(ctx context.Context, s *postconf.Service) (finding Finding, wrong bool) {
	kind, path := cmp.Or(p.Value(s, "smtpd_sasl_type"), "cyrus"), p.Value(s, "smtpd_sasl_path")
	if len(p.Logins) > 0 && !slices.Contains(p.Logins, kind) {
		return failure("lets clients log in by %s (smtpd_sasl_type), which this Postfix has not: it ends at each connection, and takes no mail", kind).
			do("set smtpd_sasl_type to one of those that postconf -a lists: %s; then run: postfix reload", strings.Join(p.Logins, ", ")), true
	}
	if kind != "dovecot" || strings.HasPrefix(path, "inet:") {
		return Finding{}, false
	}
	path = p.socket(s, strings.TrimPrefix(path, "unix:"))
	switch listens(ctx, path) {
	case deaf:
		return failure("lets clients log in by %s (smtpd_sasl_path), where nobody listens: it ends at each connection, and takes no mail", path).
			do("start Dovecot (systemctl restart dovecot), and have it listen there, as contrib/postfix describes; or set smtpd_sasl_auth_enable = no for that service"), true
	case unseen:
		return warning("lets clients log in by %s (smtpd_sasl_path); %s may not see whether somebody listens there", path, account.OwnName()).
			do("see as root that somebody does: ss -xl | grep %s", path), true
	}
	return Finding{}, false
}

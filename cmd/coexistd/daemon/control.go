package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/control"
	"coexistd/milter/audit"
	"coexistd/milter/listen"
)

const (
	// maxQuestion bounds a request to the control socket, in bytes.
	maxQuestion = 64 << 10
	// questionTime bounds its reading.
	questionTime = 10 * time.Second
)

// refusal is an answer that says no.
type refusal struct {
	status int
	text   string
}

func (r refusal) Error() string { return r.text }

// newControl makes the server of the control socket.
func (d *Daemon) newControl() *http.Server {
	mux := http.NewServeMux()
	answer(mux, "GET "+control.PathStatus, func(context.Context, struct{}) (control.Status, error) { return d.Status(), nil })
	answer(mux, "POST "+control.PathReload, d.reloaded)
	answer(mux, "GET "+control.PathLimits, d.limitsNow)
	answer(mux, "POST "+control.PathReset, d.resetLimit)
	answer(mux, "GET "+control.PathClients, d.clientsNow)
	answer(mux, "POST "+control.PathUnblock, d.unblock)
	answer(mux, "POST "+control.PathSettled, d.noteSettled)
	answer(mux, "POST "+control.PathAccept, d.accept)
	answer(mux, "POST "+control.PathFind, d.find)
	answer(mux, "POST "+control.PathProbe, d.probe)
	return &http.Server{
		Handler: onlyForUs(mux), ConnContext: withPeer,
		ReadHeaderTimeout: questionTime, IdleTimeout: questionTime, MaxHeaderBytes: maxQuestion,
		ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelWarn),
	}
}

// answer has do answer the requests of a pattern: JSON comes in where there is a body, and
// goes out.
func answer[Q, A any](mux *http.ServeMux, pattern string, do func(context.Context, Q) (A, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		var question Q
		if err := read(w, r, &question); err != nil {
			write(w, http.StatusBadRequest, control.Failure{Error: "the question cannot be read: " + err.Error()})
			return
		}
		a, err := do(r.Context(), question)
		if no, is := errors.AsType[refusal](err); is {
			write(w, no.status, control.Failure{Error: no.text})
			return
		}
		if err != nil {
			write(w, http.StatusServiceUnavailable, control.Failure{Error: err.Error()})
			return
		}
		write(w, http.StatusOK, a)
	})
}

// read reads a question, in questionTime. A deadline of the server for all that is read would
// end the answer, too, which may take longer.
func read(w http.ResponseWriter, r *http.Request, question any) error {
	if r.Method != http.MethodPost {
		return nil
	}
	limit := http.NewResponseController(w)
	in := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxQuestion))
	in.DisallowUnknownFields()
	return errors.Join(limit.SetReadDeadline(time.Now().Add(questionTime)), in.Decode(question), limit.SetReadDeadline(time.Time{}))
}

func write(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // whoever has left needs no answer
}

// The keys of what a context has: of a connection, the user at its other end, by their number;
// of a question, its Asker.
type (
	peer  struct{}
	asker struct{}
)

// withPeer notes whose process asks.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	credentials, err := listen.Peer(c)
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, peer{}, credentials.Uid)
}

// onlyForUs lets root and the daemon's own user ask. Either is believed for whom they do it.
func onlyForUs(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uid, known := r.Context().Value(peer{}).(uint32)
		if !known || (uid != 0 && uid != uint32(os.Geteuid())) {
			write(w, http.StatusForbidden, control.Failure{Error: "only root and the daemon's user may ask it"})
			return
		}
		by := Asker{Who: cmp.Or(r.Header.Get(control.For), account.Name(uid)), Way: audit.Control}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), asker{}, by)))
	})
}

// reloaded reloads, and tells what came of it.
func (d *Daemon) reloaded(ctx context.Context, _ struct{}) (control.Reloaded, error) {
	applied, err := d.Reload(askerOf(ctx))
	return control.Reloaded{Applied: applied, Refused: linesOf(err)}, nil
}

// noteSettled writes into the log what a command has made of an entry of the quarantine.
func (d *Daemon) noteSettled(_ context.Context, what control.Settled) (control.Done, error) {
	attrs := []any{"id", what.ID, "result", what.Result, "by", what.By}
	if what.Learned != "" {
		attrs = append(attrs, "learned", what.Learned)
	}
	d.log.Info("an entry of the quarantine was settled by a command", attrs...)
	return control.Done{Found: true}, nil
}

// linesOf takes a joined error apart, one line each.
func linesOf(err error) []string {
	if err == nil {
		return []string{}
	}
	return strings.Split(err.Error(), "\n")
}

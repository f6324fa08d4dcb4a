package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// converse has the one conversation of a connection: what do you want, here it is. From the request to the end of the answer
// it has one of the slots, so that those who say nothing are in nobody's way.
func (s *Server) converse(ctx context.Context, conn net.Conn, p peer, h Handler, requests slots) {
	r, err := s.listen(ctx, conn, p)
	if err != nil {
		s.answer(ctx, conn, nil, err)
		return
	}
	free, err := requests.take(p)
	if err != nil {
		s.answer(ctx, conn, nil, err)
		return
	}
	defer free()
	data, err := s.serve(ctx, r, p, h)
	s.answer(ctx, conn, data, err)
}

// listen reads the request of a peer that may ask.
func (s *Server) listen(ctx context.Context, conn net.Conn, p peer) (*request, error) {
	if err := s.who.mayRead(p); err != nil {
		s.log.Debug("control socket: a connection is refused", "peer", p, "error", err)
		return nil, err
	}
	return s.receive(ctx, conn)
}

// serve carries out a request if the peer may ask for that.
func (s *Server) serve(ctx context.Context, r *request, p peer, h Handler) (any, error) {
	data, err := any(nil), mayDo(p, r.Op)
	if err == nil {
		data, err = s.handle(ctx, r, h)
	}
	if changes(r.Op) {
		s.audit(p, r, err)
	}
	return data, err
}

// receive reads one request. The end of ctx cuts it short, because then nobody waits for an answer yet.
func (s *Server) receive(ctx context.Context, conn net.Conn) (*request, error) {
	_ = conn.SetReadDeadline(time.Now().Add(s.limits.request))
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })
	defer stop()

	line, err := bufio.NewReader(io.LimitReader(conn, maxRequest)).ReadBytes('\n')
	switch {
	case err == nil:
		return decodeRequest(line)
	case len(line) == maxRequest:
		return nil, Errorf(CodeUsage, "the request has more than %d bytes", maxRequest)
	case errors.Is(err, io.EOF):
		return nil, Errorf(CodeUsage, "the request has no newline at its end")
	case ctx.Err() != nil:
		return nil, Errorf(CodeFailed, "natd is stopping")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, Errorf(CodeFailed, "no request came within %s", s.limits.request)
	}
	return nil, Errorf(CodeFailed, "read the request: %w", err)
}

// handle calls the handler for as long as the operation may take.
func (s *Server) handle(ctx context.Context, r *request, h Handler) (any, error) {
	limit := s.limits.handling(r.Op)
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()

	data, err := dispatch(limited, r, h)
	switch {
	case err == nil:
		return data, nil
	case ctx.Err() != nil:
		return nil, Errorf(CodeFailed, "natd is stopping: %w", err)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, Errorf(CodeFailed, "%s took longer than %s: %w", r.Op, limit, err)
	}
	return nil, err
}

func dispatch(ctx context.Context, r *request, h Handler) (any, error) {
	switch r.Op {
	case OpConnections:
		var args ConnectionsArgs
		if err := r.decodeArgs(&args); err != nil {
			return nil, err
		}
		which, err := args.Filter()
		if err != nil {
			return nil, err
		}
		return h.Connections(ctx, which)
	case OpStatus:
		return dispatchStatus(ctx, r, h)
	case OpDrain, OpEnable:
		return dispatchBackend(ctx, r, h)
	}
	if err := r.decodeArgs(&struct{}{}); err != nil {
		return nil, err
	}
	switch r.Op {
	case OpKnown:
		return h.Known(ctx)
	case OpPlan:
		return h.Plan(ctx)
	case OpReload:
		return h.Reload(ctx)
	default: // decodeRequest lets nothing else through
		return h.Flush(ctx)
	}
}

func dispatchStatus(ctx context.Context, r *request, h Handler) (any, error) {
	var args StatusArgs
	if err := r.decodeArgs(&args); err != nil {
		return nil, err
	}
	if err := args.Check(); err != nil {
		return nil, err
	}
	return h.Status(ctx, &args)
}

func dispatchBackend(ctx context.Context, r *request, h Handler) (any, error) {
	var args BackendArgs
	if err := r.decodeArgs(&args); err != nil {
		return nil, err
	}
	if args.Relay == "" {
		return nil, Errorf(CodeUsage, "%s needs the name of a relay", r.Op)
	}
	if r.Op == OpDrain {
		return h.Drain(ctx, args.Relay, args.Backend)
	}
	return h.Enable(ctx, args.Relay, args.Backend)
}

// audit logs a change that was asked for, so that it can be told later who did it.
func (s *Server) audit(p peer, r *request, err error) {
	log := s.log.With("op", r.Op)
	if len(r.Args) > 0 {
		log = log.With("args", fmt.Sprintf("%.200s", r.Args)) // of whoever may read: not a line of 64 KiB
	}
	if err != nil {
		log.Warn("control socket: change refused or failed", "peer", p, "error", err)
		return
	}
	log.Info("control socket: change made", "peer", p)
}

// answer writes the answer to a client that may be slow or gone. Neither is natd's concern.
func (s *Server) answer(ctx context.Context, conn net.Conn, data any, err error) {
	a := answer{Version: ProtocolVersion, OK: err == nil, Data: data}
	if err != nil {
		a.Data, a.Error = nil, AsError(err)
	}
	latest := time.Now().Add(pieces * s.limits.write)
	if err := a.write(writerFunc(func(p []byte) (int, error) { return s.write(ctx, conn, p, latest) })); err != nil {
		s.log.Debug("control socket: an answer was not taken", "error", err)
	}
}

// write writes the answer: a status piece by piece, everything else in one.
func (a *answer) write(w io.Writer) error {
	if status, ok := a.Data.(*Status); ok && status != nil {
		if _, err := fmt.Fprintf(w, `{"version":%d,"ok":%t,"data":`, a.Version, a.OK); err != nil {
			return err
		}
		if err := status.WriteJSON(w, ""); err != nil {
			return err
		}
		_, err := io.WriteString(w, "}\n")
		return err
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(a)
}

// pieces is how many times as long a client may take for all pieces of an answer as for one of them.
const pieces = 6

// write gives the client its time from now on: a long answer takes a while to encode, which is not the client's fault.
func (s *Server) write(ctx context.Context, conn net.Conn, p []byte, latest time.Time) (int, error) {
	deadline := time.Now().Add(s.limits.write)
	if latest.Before(deadline) {
		deadline = latest
	}
	_ = conn.SetWriteDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Now().Add(s.limits.stopping)) })
	defer stop()
	return conn.Write(p)
}

// writerFunc makes a writer of a function.
type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

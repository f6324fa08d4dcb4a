package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Handler answers the operations. An [Error] that it returns keeps its code; any other error gets [CodeFailed].
// The context ends with the server, or when the operation has taken too long.
type Handler interface {
	Status(ctx context.Context, which *StatusArgs) (*Status, error)
	Connections(ctx context.Context, which *ConnectionFilter) (*ConnectionList, error)
	Known(ctx context.Context) (*Known, error)
	Plan(ctx context.Context) (*Outcome, error)
	Reload(ctx context.Context) (*Outcome, error)
	Flush(ctx context.Context) (*Outcome, error)
	Drain(ctx context.Context, relay, backend string) (*Outcome, error) // backend "" = every one of the relay
	Enable(ctx context.Context, relay, backend string) (*Outcome, error)
}

// limits keep one client from using up what others need.
type limits struct {
	open             int                           // connections at once; waiting for a request costs little
	shared, reserved int                           // requests at once: for everybody; for root when those are used
	request          time.Duration                 // to send the request
	write            time.Duration                 // to take the answer
	stopping         time.Duration                 // to take the answer once the server stops
	handling         func(op string) time.Duration // for the handler
}

func defaultLimits() limits {
	return limits{
		open: 512, shared: 28, reserved: 4,
		request: 5 * time.Second, write: 10 * time.Second, stopping: time.Second,
		handling: handlingTime,
	}
}

// Server listens on the socket.
type Server struct {
	socket *socket
	close  func() error // of the socket, once
	who    access
	log    *slog.Logger
	limits limits
}

// Listen makes the socket at path, and its directory, so that root and the members of the group can connect. An empty
// group, or one that does not exist, leaves root. It fails when another natd answers there, or when something that
// is no socket has the path. Clients that connect wait until [Server.Serve].
func Listen(path, group string, log *slog.Logger) (*Server, error) {
	who := lookUp(group, log)
	s, err := openSocket(path, who)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return &Server{socket: s, close: sync.OnceValue(s.Close), who: who, log: log, limits: defaultLimits()}, nil
}

// Close stops listening and removes the socket. The end of the context of [Server.Serve] does that as well.
func (s *Server) Close() error { return s.close() }

// Serve answers until ctx ends. It then removes the socket, closes the connections that have asked nothing yet,
// lets the handlers know through their context, and returns nil when they have answered.
func (s *Server) Serve(ctx context.Context, h Handler) error {
	var open sync.WaitGroup
	defer open.Wait()

	stop := context.AfterFunc(ctx, func() { _ = s.close() })
	defer stop()

	connections := newSlots(s.limits.open, s.limits.reserved)
	requests := newSlots(s.limits.shared, s.limits.reserved)
	for {
		conn, err := s.accept(ctx)
		if err != nil {
			return s.close()
		}
		p, free, err := place(conn, connections)
		open.Go(func() {
			defer conn.Close()
			if err != nil {
				s.log.Debug("control socket: a connection is refused", "peer", p, "error", err)
				s.answer(ctx, conn, nil, err)
				return
			}
			defer free()
			s.converse(ctx, conn, p, h, requests)
		})
	}
}

// place finds out who connected, and takes a slot for him: here and now, so that the first to come is the first served.
func place(conn *net.UnixConn, connections slots) (p peer, free func(), err error) {
	if p, err = peerOf(conn); err != nil {
		return p, nil, err
	}
	free, err = connections.take(p)
	return p, free, err
}

// accept waits for a client. It goes on after every failure except that the socket was closed: at EMFILE, the likely
// one, the only cure is to wait until another connection has gone.
func (s *Server) accept(ctx context.Context) (*net.UnixConn, error) {
	const first, longest = 5 * time.Millisecond, time.Second
	for pause := first; ; pause = min(2*pause, longest) {
		conn, err := s.socket.AcceptUnix()
		if err == nil || errors.Is(err, net.ErrClosed) {
			return conn, err
		}
		s.log.Warn("control socket: cannot accept a connection, trying again", "in", pause, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// slots are the connections, or the requests, that there may be at once.
type slots struct {
	shared, reserved chan struct{}
}

func newSlots(shared, reserved int) slots {
	return slots{shared: make(chan struct{}, shared), reserved: make(chan struct{}, reserved)}
}

// take gives a function that frees the slot again. It fails when there is none left for this peer.
func (s slots) take(p peer) (free func(), err error) {
	select {
	case s.shared <- struct{}{}:
		return func() { <-s.shared }, nil
	default:
	}
	if p.root() {
		select {
		case s.reserved <- struct{}{}:
			return func() { <-s.reserved }, nil
		default:
		}
	}
	return nil, Errorf(CodeFailed, "natd is busy with too many connections to its socket; try again in a few seconds")
}

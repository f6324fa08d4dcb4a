package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// patience is how much longer than the daemon may work on an operation the client waits for its answer.
const patience = 10 * time.Second

// Call asks the natd that listens at path, and decodes its answer into out. Errors are of type [*Error]: those
// of the daemon, or [CodeUnreachable] and [CodeNotPermitted] with words on what to do.
func Call(ctx context.Context, path, op string, args, out any) error {
	line, err := encodeRequest(op, args)
	if err != nil {
		return err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return dialError(path, err)
	}
	defer conn.Close()

	limited, cancel := context.WithTimeout(ctx, handlingTime(op)+patience)
	defer cancel()
	stop := context.AfterFunc(limited, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()

	// A daemon that refuses the peer answers and hangs up before it reads: the answer matters then, not
	// the broken pipe.
	if _, err := conn.Write(line); err != nil && !errors.Is(err, syscall.EPIPE) {
		return lostError(ctx, path, err)
	}
	return receiveAnswer(ctx, path, &io.LimitedReader{R: conn, N: maxAnswer}, out)
}

// NotRunning tells whether a [Call] failed because no natd listens at the path: not one that hangs, or that the
// user may not ask.
func NotRunning(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

func encodeRequest(op string, args any) ([]byte, error) {
	r := request{Version: ProtocolVersion, Op: op}
	if args != nil {
		data, err := json.Marshal(args)
		if err != nil {
			return nil, Errorf(CodeFailed, "encode the arguments of %s: %w", op, err)
		}
		r.Args = data
	}
	line, err := json.Marshal(r)
	if err != nil {
		return nil, Errorf(CodeFailed, "encode the request %s: %w", op, err)
	}
	return append(line, '\n'), nil
}

func receiveAnswer(ctx context.Context, path string, limited *io.LimitedReader, out any) error {
	a := answer{Data: out} // decoded into what out points to
	switch err := json.NewDecoder(limited).Decode(&a); {
	case err != nil && limited.N == 0:
		return Errorf(CodeFailed, "the answer of natd has more than %d MiB", maxAnswer>>20)
	case err != nil:
		return lostError(ctx, path, err)
	case a.Version != ProtocolVersion && a.Error == nil:
		return Errorf(CodeFailed, "natd speaks protocol version %d, natctl version %d: install both of the same release", a.Version, ProtocolVersion)
	case a.OK:
		return nil
	case a.Error == nil || a.Error.Code == CodeOK:
		return Errorf(CodeFailed, "natd failed without saying why")
	}
	return a.Error
}

func dialError(path string, err error) *Error {
	switch {
	case errors.Is(err, context.Canceled):
		return because(err, CodeFailed, "interrupted")
	case errors.Is(err, fs.ErrPermission):
		return because(err, CodeNotPermitted, "not permitted to ask natd on %s: you need to be root or in group natd", path)
	case NotRunning(err):
		return because(err, CodeUnreachable, "natd does not answer on %s: is it running? systemctl status natd (%s)", path, absence(err))
	}
	return Errorf(CodeUnreachable, "natd does not answer on %s: %w", path, err)
}

// absence says how it shows that nobody listens.
func absence(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "there is no such socket; with --socket, name the one natd was started with"
	}
	return "the socket is there, but nobody listens: natd was killed, or something else left it"
}

// lostError is for a connection that broke, or brought no answer.
func lostError(ctx context.Context, path string, err error) *Error {
	var wrong *json.SyntaxError
	var other *json.UnmarshalTypeError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return because(err, CodeFailed, "interrupted")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return because(err, CodeUnreachable, "natd took the connection on %s but does not answer: does it hang? systemctl status natd", path)
	case errors.As(err, &wrong), errors.As(err, &other):
		return Errorf(CodeFailed, "what answers on %s is not natd, or of another release: %w", path, err)
	}
	return Errorf(CodeFailed, "natd hung up on %s before its answer was complete; was it stopped? systemctl status natd: %w", path, err)
}

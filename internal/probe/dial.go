package probe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Connect asks a target once whether it takes connections, as a health check does: by a TCP handshake that it gives up, of which the
// target's program never hears. With UDP it sends an empty datagram, whose silence proves nothing.
//
// The packets are this host's own: they pass its output chains, not the forward chains of a relay. A handshake is one to three SYNs.
func Connect(ctx context.Context, o Dial) Outcome {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	began := time.Now()
	out := o.connect(ctx, began)
	switch {
	case out.ICMP.IsValid():
		out.RTT = time.Since(began)
		out.ICMP.Sender = sender(out.ICMP.From, o.To.Addr())
		out.judgeICMP(o)
	case out.Kind == Answered || out.Kind == Refused:
		out.RTT = time.Since(began)
	case out.Kind == NoReply:
		out.judgeSilence(o)
	}
	return out
}

func (o Dial) connect(ctx context.Context, began time.Time) Outcome {
	kind, set := unix.SOCK_STREAM, func(s *socket) error { return quiet(s.fd) }
	if o.UDP {
		kind, set = unix.SOCK_DGRAM, func(*socket) error { return nil }
	}
	s, err := openSocket(kind, 0, o.To.Addr(), o.From, o.Device, set)
	if err != nil {
		return Outcome{Kind: LocalError, Err: fmt.Errorf("probing %v: %w", o.To, err)}
	}
	defer s.close()
	if o.UDP {
		return o.datagram(ctx, s, began.Add(o.Timeout))
	}
	return o.handshake(ctx, s, began.Add(o.Timeout))
}

// handshake begins a TCP connection and waits for what comes of it.
func (o Dial) handshake(ctx context.Context, s *socket, deadline time.Time) Outcome {
	if err := unix.Connect(s.fd, sockaddr(o.To)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return Outcome{Kind: atOnce(err), Err: fmt.Errorf("connecting to %v: %w", o.To, err)}
	}
	if err := s.watch(); err != nil {
		return Outcome{Kind: LocalError, Err: err}
	}
	out := Outcome{Kind: NoReply}
	unsent := false
	err := s.writable(ctx, deadline, func(fd int) bool { return out.connecting(fd) })
	if err != nil {
		_ = s.raw.Control(func(fd uintptr) { unsent = withheld(int(fd)) })
	}
	switch {
	case ctx.Err() != nil:
		out = Outcome{Kind: LocalError, Err: ctx.Err()}
	case unsent && !silentHop(o.From, o.To.Addr(), o.Device).IsValid(): // which is what packets wait for within this host, too
		out.Kind, out.Err = LocalError, fmt.Errorf("connecting to %v: this host itself drops what it sends there: %w", o.To, unix.EPERM)
	case err != nil:
		out.Err = fmt.Errorf("connecting to %v: no answer within %v", o.To, o.Timeout)
	case out.Err != nil:
		out.Err = fmt.Errorf("connecting to %v: %w", o.To, out.Err)
	}
	return out
}

// connecting looks at a socket that connects, and tells whether it has come to an end.
func (out *Outcome) connecting(fd int) bool {
	if t, ok := readTrouble(fd); ok {
		out.ICMP, out.Err = t.icmp, t.errno
		return true
	}
	number, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch errno := syscall.Errno(number); {
	case err != nil:
		out.Kind, out.Err = LocalError, os.NewSyscallError("getsockopt", err)
		return true
	case errno == unix.ECONNREFUSED || errno == unix.ECONNRESET:
		out.Kind, out.Err = Refused, errno
		return true
	case errno == unix.ETIMEDOUT:
		out.Err = errno
		return true
	case number != 0:
		out.Kind, out.Err = Unreachable, errno
		return true
	}
	if _, err := unix.Getpeername(fd); err != nil {
		return false
	}
	out.Kind = Answered
	if info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO); err == nil {
		out.MSS = int(info.Snd_mss)
	}
	return true
}

// withheld tells whether the SYNs of a socket have not left this host, for which TCP has no error: it has sent one again, and none of them
// is on its way (tcp_retransmit_skb in net/ipv4/tcp_output.c counts only what was sent).
func withheld(fd int) bool {
	info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO)
	return err == nil && info.Retransmits > 0 && info.Retrans == 0
}

// datagram sends an empty datagram, a second one after half of the time, and waits for what comes of them.
func (o Dial) datagram(ctx context.Context, s *socket, deadline time.Time) Outcome {
	if err := unix.Connect(s.fd, sockaddr(o.To)); err != nil {
		return Outcome{Kind: atOnce(err), Err: fmt.Errorf("sending to %v: %w", o.To, err)}
	}
	if err := s.watch(); err != nil {
		return Outcome{Kind: LocalError, Err: err}
	}
	for _, until := range []time.Time{deadline.Add(-o.Timeout / 2), deadline} {
		out := Outcome{Kind: NoReply}
		err := s.readable(ctx, until, once(out.send, out.received))
		switch {
		case ctx.Err() != nil:
			return Outcome{Kind: LocalError, Err: ctx.Err()}
		case err == nil && out.Err != nil:
			out.Err = fmt.Errorf("sending to %v: %w", o.To, out.Err)
			return out
		case err == nil:
			return out
		}
	}
	return Outcome{Kind: NoReply, Err: fmt.Errorf("sending to %v: no answer within %v, which UDP services need not give", o.To, o.Timeout)}
}

// once is a function that looks, and does something before the first look. When that ends the matter it does not look.
func once(do, look func(fd int) bool) func(fd int) bool {
	done := false
	return func(fd int) bool {
		if !done {
			done = true
			if do(fd) {
				return true
			}
		}
		return look(fd)
	}
}

// send sends an empty datagram and tells whether it failed.
func (out *Outcome) send(fd int) bool {
	_, err := unix.SendmsgN(fd, nil, nil, nil, 0)
	if err == nil || errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EHOSTUNREACH) { // what became of the one before
		return false
	}
	out.Kind, out.Err = LocalError, err
	return true
}

// received looks for what came of a datagram.
func (out *Outcome) received(fd int) bool {
	if t, ok := readTrouble(fd); ok {
		out.ICMP, out.Err = t.icmp, t.errno
		return true
	}
	if _, _, err := unix.Recvfrom(fd, nil, 0); err == nil {
		out.Kind = Answered
		return true
	}
	return false
}

// atOnce is what it means that the kernel refuses to send at all: by the route that it found, or for want of one (fib_props in
// net/ipv4/fib_semantics.c: unreachable, blackhole and prohibit), or else for a reason of its own.
func atOnce(err error) Kind {
	for _, e := range []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EINVAL, unix.EACCES} {
		if errors.Is(err, e) {
			return NoRoute
		}
	}
	return LocalError
}

// judgeICMP says what an ICMP error means.
func (out *Outcome) judgeICMP(o Dial) {
	out.Kind = Unreachable
	switch {
	case out.ICMP.Sender == ByTarget && o.UDP && out.ICMP.IsPortUnreachable():
		out.Kind = Refused
	case out.ICMP.Sender == ByHost && out.ICMP.IsHostUnreachable():
		out.Neighbour = silentHop(o.From, o.To.Addr(), o.Device)
	case out.ICMP.Sender == ByHost:
		out.Kind = LocalError
	}
	out.Err = fmt.Errorf("%w: ICMP %v", out.Err, out.ICMP)
}

// judgeSilence looks whether the packets got as far as the next hop.
func (out *Outcome) judgeSilence(o Dial) {
	hop := silentHop(o.From, o.To.Addr(), o.Device)
	if !hop.IsValid() {
		return
	}
	question := "ARP"
	if hop.Is6() {
		question = "neighbour discovery"
	}
	out.Kind, out.Neighbour = Unreachable, hop
	out.Err = fmt.Errorf("%w: the next hop %v does not answer to %s", out.Err, hop, question)
}

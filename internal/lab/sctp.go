package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"
)

// ErrSCTP tells that the kernel has SCTP of its own. It would answer hand-made packets with ABORT, so use its sockets.
var ErrSCTP = errors.New("the kernel speaks SCTP itself")

// sctpResend is how long a client waits for an answer before it asks again.
const sctpResend = time.Second

// SCTP is a server that accepts SCTP associations, by hand: of the protocol there is the handshake, and nothing else. It is
// for kernels that track SCTP and do not speak it.
type SCTP struct {
	Addr netip.AddrPort

	mu    sync.Mutex
	peers []netip.AddrPort
}

// AnswerSCTP starts a server for SCTP associations in the host. The port must not be 0.
func (h *Host) AnswerSCTP(addr netip.AddrPort) (*SCTP, error) {
	c, err := h.sctpSocket(addr.Addr())
	if err != nil {
		return nil, err
	}
	h.lab.own(func() error { return ignoreClosed(c.Close()) })
	s := &SCTP{Addr: addr}
	go s.serve(c)
	return s, nil
}

// Peers are the clients of the associations that were made, as the server saw them.
func (s *SCTP) Peers() []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.peers)
}

// serve keeps nothing in between: the cookie that a client brings back is the tag that it wants to see.
func (s *SCTP) serve(c *net.IPConn) {
	for buf := make([]byte, 1<<16); ; {
		n, from, err := c.ReadFromIP(buf)
		if err != nil {
			return
		}
		p, err := parseSCTP(buf[:n])
		if err != nil || p.dst != s.Addr.Port() {
			continue
		}
		answer := sctpPacket{src: p.dst, dst: p.src}
		switch {
		case p.chunk == sctpInit && len(p.value) >= 16:
			answer.tag, answer.chunk = binary.BigEndian.Uint32(p.value), sctpInitAck
			cookie := binary.BigEndian.AppendUint16(nil, sctpCookie)
			cookie = append(binary.BigEndian.AppendUint16(cookie, 8), p.value[:4]...)
			answer.value = append(initValue(), cookie...)
		case p.chunk == sctpCookieEcho && len(p.value) >= 4:
			answer.tag, answer.chunk = binary.BigEndian.Uint32(p.value), sctpCookieAck
			peer, _ := netip.AddrFromSlice(from.IP)
			s.mu.Lock()
			s.peers = append(s.peers, netip.AddrPortFrom(peer.Unmap(), p.src))
			s.mu.Unlock()
		default:
			continue
		}
		_, _ = c.WriteToIP(answer.bytes(), from) // a packet may get lost
	}
}

// Associate makes an association from a port of the host to a server. The packets it takes on the way are INIT, INIT ACK,
// COOKIE ECHO and COOKIE ACK: a middle box that tracks SCTP has seen a new association and then an established one. It gives up with ctx, and after 20 s.
func (h *Host) Associate(ctx context.Context, port uint16, to netip.AddrPort) error {
	c, err := h.sctpSocket(h.addr(to.Addr()))
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	call := sctpCall{conn: c, to: to}
	first := sctpPacket{src: port, dst: to.Port(), chunk: sctpInit, value: initValue()}
	answer, err := call.ask(ctx, first, sctpInitAck)
	if err == nil && len(answer.value) < 20 {
		err = errors.New("the INIT ACK has no cookie")
	}
	if err == nil {
		next := sctpPacket{src: port, dst: to.Port(), tag: binary.BigEndian.Uint32(answer.value), chunk: sctpCookieEcho, value: answer.value[20:]}
		_, err = call.ask(ctx, next, sctpCookieAck)
	}
	if err != nil {
		return fmt.Errorf("host %s: SCTP to %v: %w", h.Name, to, err)
	}
	return nil
}

// sctpSocket opens a raw socket for SCTP on an address of the host.
func (h *Host) sctpSocket(addr netip.Addr) (*net.IPConn, error) {
	network := "ip4:132" // IANA: "Assigned Internet Protocol Numbers"
	if addr.Is6() {
		network = "ip6:132"
	}
	var c *net.IPConn
	err := h.Do(func() (err error) {
		if _, err := os.Stat("/proc/thread-self/net/sctp"); err == nil {
			return ErrSCTP
		}
		c, err = net.ListenIP(network, &net.IPAddr{IP: addr.AsSlice()})
		return err
	})
	return c, err
}

// sctpCall is a client's side of a handshake.
type sctpCall struct {
	conn *net.IPConn
	to   netip.AddrPort
}

// ask sends a packet until there is an answer of the type wanted.
func (c sctpCall) ask(ctx context.Context, p sctpPacket, want byte) (sctpPacket, error) {
	for buf := make([]byte, 1<<16); ; {
		if _, err := c.conn.WriteToIP(p.bytes(), &net.IPAddr{IP: c.to.Addr().AsSlice()}); err != nil {
			return sctpPacket{}, err
		}
		until := time.Now().Add(sctpResend)
		if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
			until = deadline
		}
		if err := c.conn.SetReadDeadline(until); err != nil {
			return sctpPacket{}, err
		}
		for {
			n, from, err := c.conn.ReadFromIP(buf)
			if err != nil {
				break // the time is up
			}
			peer, _ := netip.AddrFromSlice(from.IP)
			got, err := parseSCTP(buf[:n])
			if err == nil && peer.Unmap() == c.to.Addr() && got.src == p.dst && got.dst == p.src && got.chunk == want {
				return got, nil
			}
		}
		if err := ctx.Err(); err != nil {
			return sctpPacket{}, fmt.Errorf("no answer of type %d: %w", want, err)
		}
	}
}

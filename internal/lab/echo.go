package lab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// Echo is a server that sends back what it gets, and remembers from whom.
type Echo struct {
	Addr netip.AddrPort

	mu    sync.Mutex
	peers []netip.AddrPort
	conns []net.Conn
}

// EchoTCP starts a TCP echo server in the host. Port 0 picks one.
func (h *Host) EchoTCP(addr string) (*Echo, error) {
	l, err := h.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	e := &Echo{Addr: addrPort(l.Addr())}
	h.lab.own(e.closeConns)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			e.met(addrPort(c.RemoteAddr()), c)
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c) // ends when the client does
			}()
		}
	}()
	return e, nil
}

// EchoUDP starts a UDP echo server in the host. Port 0 picks one. It answers from the address that it was spoken to.
func (h *Host) EchoUDP(addr string) (*Echo, error) {
	p, err := h.ListenPacket("udp", addr)
	if err != nil {
		return nil, err
	}
	c, ok := p.(*net.UDPConn)
	if !ok {
		return nil, fmt.Errorf("host %s: %s is not UDP", h.Name, addr)
	}
	if err := tellDestinations(c); err != nil {
		return nil, fmt.Errorf("host %s: preparing the echo server on %s: %w", h.Name, addr, err)
	}
	e := &Echo{Addr: addrPort(c.LocalAddr())}
	go e.echoDatagrams(c)
	return e, nil
}

func (e *Echo) echoDatagrams(c *net.UDPConn) {
	buf, told := make([]byte, 1<<16), make([]byte, 128)
	for {
		n, m, _, from, err := c.ReadMsgUDPAddrPort(buf, told)
		if err != nil || asSource(told[:m]) != nil {
			return
		}
		e.met(netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), nil)
		_, _, _ = c.WriteMsgUDPAddrPort(buf[:n], told[:m], from) // a datagram may get lost
	}
}

// Peers are the clients as the server saw them: one for each connection, or for each datagram.
func (e *Echo) Peers() []netip.AddrPort {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.peers)
}

func (e *Echo) met(peer netip.AddrPort, c net.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.peers = append(e.peers, peer)
	if c != nil {
		e.conns = append(e.conns, c)
	}
}

// closeConns ends the connections: an open socket would keep the host's namespace.
func (e *Echo) closeConns() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for _, c := range e.conns {
		errs = append(errs, ignoreClosed(c.Close()))
	}
	return errors.Join(errs...)
}

// addrPort is the address of a TCP or UDP socket, an IPv4 address in its short form.
func addrPort(a net.Addr) netip.AddrPort {
	ap, ok := a.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.AddrPort().Addr().Unmap(), ap.AddrPort().Port())
}

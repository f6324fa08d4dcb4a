package lab

import (
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// Teller is a server that tells every client its name, so that a client knows whom it has reached.
type Teller struct {
	Addr netip.AddrPort
	Name string

	socket io.Closer
	told   atomic.Int64
}

// TellTCP starts a TCP server in the host that tells each connection its name and closes it. Port 0 picks one.
func (h *Host) TellTCP(addr, name string) (*Teller, error) {
	l, err := h.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &Teller{Addr: addrPort(l.Addr()), Name: name, socket: l}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.told.Add(1)
			// A line fits into the empty buffer of a new socket: this does not wait for the client.
			_, _ = io.WriteString(c, name+"\n")
			_ = c.Close()
		}
	}()
	return s, nil
}

// TellUDP starts a UDP server in the host that answers each datagram with its name. Port 0 picks one.
func (h *Host) TellUDP(addr, name string) (*Teller, error) {
	c, err := h.ListenPacket("udp", addr)
	if err != nil {
		return nil, err
	}
	s := &Teller{Addr: addrPort(c.LocalAddr()), Name: name, socket: c}
	go func() {
		buf := make([]byte, 1<<16)
		for {
			_, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			s.told.Add(1)
			_, _ = c.WriteTo([]byte(name+"\n"), from) // a datagram may get lost
		}
	}()
	return s, nil
}

// Told is how many connections or datagrams it has answered.
func (s *Teller) Told() int { return int(s.told.Load()) }

// Stop closes the server. Another may start on its address.
func (s *Teller) Stop() error { return ignoreClosed(s.socket.Close()) }

// Ask asks a teller for its name, over a datagram socket that may ask again. After a question that was not answered in time,
// the next one may get the late answer.
func Ask(c net.Conn, within time.Duration) (string, error) {
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, "?"); err != nil {
		return "", err
	}
	buf := make([]byte, 512)
	n, err := c.Read(buf)
	return firstLine(buf[:n]), err
}

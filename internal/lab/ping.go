package lab

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// The types of echo messages, of RFC 792 and RFC 4443.
const (
	icmpEchoReply     = 0
	icmpEchoRequest   = 8
	icmpv6EchoRequest = 128
	icmpv6EchoReply   = 129
)

// Ping sends one echo request, from an address of the host or any when from is the zero Addr, and waits for the reply,
// which must come from the address that was asked.
func (h *Host) Ping(from, to netip.Addr, within time.Duration) error {
	network, request, reply := "ip4:icmp", byte(icmpEchoRequest), byte(icmpEchoReply)
	if to.Is6() {
		network, request, reply = "ip6:ipv6-icmp", icmpv6EchoRequest, icmpv6EchoReply
	}
	var local *net.IPAddr
	if from.IsValid() {
		local = &net.IPAddr{IP: from.AsSlice()}
	}
	var c *net.IPConn
	if err := h.Do(func() (err error) {
		// Connected, so that the kernel passes on only what comes from there.
		c, err = net.DialIP(network, local, &net.IPAddr{IP: to.AsSlice()})
		return err
	}); err != nil {
		return err
	}
	defer c.Close()
	if err := ping(c, request, reply, within); err != nil {
		return fmt.Errorf("host %s: ping %v: %w", h.Name, to, err)
	}
	return nil
}

func ping(c *net.IPConn, request, reply byte, within time.Duration) error {
	began := time.Now()
	if err := c.SetDeadline(began.Add(within)); err != nil {
		return err
	}
	// Type, code, checksum, identifier, sequence number, data. The time tells this request from any other.
	message := make([]byte, 16)
	message[0] = request
	binary.BigEndian.PutUint64(message[4:], uint64(began.UnixNano()))
	if request == icmpEchoRequest { // for ICMPv6 the kernel fills it in (RFC 3542, 3.1)
		binary.BigEndian.PutUint16(message[2:], checksum(message))
	}
	if _, err := c.Write(message); err != nil {
		return err
	}
	for buf := make([]byte, 1<<16); ; {
		n, _, err := c.ReadFromIP(buf) // not Read, which leaves the IPv4 header in front
		if err != nil {
			return err
		}
		if n >= len(message) && buf[0] == reply && string(buf[4:len(message)]) == string(message[4:]) {
			return nil
		}
	}
}

// checksum is the internet checksum of RFC 1071, of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"
)

const (
	// batch is how many packets one system call takes.
	batch = 64
	// countPatience is how long the server may take to say what arrived.
	countPatience = time.Second
	// assured is how long a flow has to be answered until connection tracking calls it assured: two seconds
	// (nf_conntrack_udp_packet), and one look more.
	assured = 2400 * time.Millisecond
)

// flows are the flows of a client, by destination. They stay: only one that has been answered for a while is established in every
// respect.
type flows map[netip.AddrPort]*net.UDPConn

// of is the flow to a destination.
func (f flows) of(to netip.AddrPort) (*net.UDPConn, error) {
	if c := f[to]; c != nil {
		return c, nil
	}
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, fmt.Errorf("dialling %v: %w", to, err)
	}
	for began := time.Now(); time.Since(began) < assured; time.Sleep(assured / 8) {
		if _, err := received(c); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	f[to] = c
	return c, nil
}

// packets sends packets of one flow as fast as it can.
func (f flows) packets(spec Spec) (Result, error) {
	c, err := f.of(spec.To)
	if err != nil {
		return Result{}, err
	}
	first, err := received(c)
	if err != nil {
		return Result{}, err
	}
	data := make([]byte, max(spec.Size, 1))
	data[0] = askDrop
	if _, err := flood(c, data, time.Now().Add(spec.Warm)); err != nil {
		return Result{}, err
	}
	before, err := received(c)
	if err != nil {
		return Result{}, err
	}
	began := time.Now()
	sent, err := flood(c, data, began.Add(spec.Duration))
	if err != nil {
		return Result{}, err
	}
	took := time.Since(began)
	after, err := received(c)
	return Result{Sent: sent, Packets: after - before, Total: after - first, Took: took}, err
}

// flood sends the same packet until the time is up, and says how often.
func flood(c *net.UDPConn, data []byte, until time.Time) (sent int64, err error) {
	p := ipv4.NewPacketConn(c)
	messages := make([]ipv4.Message, batch)
	for i := range messages {
		messages[i].Buffers = [][]byte{data}
	}
	for time.Now().Before(until) {
		n, err := p.WriteBatch(messages, 0)
		if err != nil {
			return sent, fmt.Errorf("sending packets: %w", err)
		}
		sent += int64(n)
	}
	return sent, nil
}

// received asks the server how many packets its host has received. It asks again when the question is lost among them.
func received(c *net.UDPConn) (int64, error) {
	var answer [8]byte
	var err error
	for range 5 {
		if err = c.SetDeadline(time.Now().Add(countPatience)); err != nil {
			return 0, err
		}
		if _, err = c.Write([]byte{askCount}); err != nil {
			continue
		}
		var n int
		if n, err = c.Read(answer[:]); err == nil && n == len(answer) {
			return int64(binary.BigEndian.Uint64(answer[:])), nil
		}
		if err == nil {
			err = errors.New("the answer is of another kind")
		}
	}
	return 0, fmt.Errorf("asking the server what arrived: %w", err)
}

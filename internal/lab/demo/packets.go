package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"natd/internal/lab"
)

// watch is a capture on each host of one connection to port 80.
type watch struct {
	hosts    []*lab.Host
	captures []*lab.Capture
}

// visits is the filter for what a visitor causes. natd itself asks port 80 of 169.254.169.254 and fd00:ec2::254, the instance
// metadata service, whether this is an instance of EC2.
const visits = "ip and tcp port 80 and not host 169.254.169.254"

func startWatch(ctx context.Context, hosts ...*lab.Host) (*watch, error) {
	w := &watch{hosts: hosts}
	for _, h := range hosts {
		c, err := h.Capture(ctx, lab.Device, visits)
		if err != nil {
			return nil, err
		}
		w.captures = append(w.captures, c)
	}
	return w, nil
}

// seen is what one host saw: the first packet of each direction of each leg, in order.
type seen struct {
	host  *lab.Host
	first []lab.Packet
}

// stop waits until both sides have closed the connection on every host, and ends the captures.
func (w *watch) stop(ctx context.Context) ([]seen, error) {
	var all []seen
	for i, c := range w.captures {
		err := c.Await(ctx, 5*time.Second, func(packets []lab.Packet) error {
			if open := stillOpen(packets); len(open) > 0 {
				return fmt.Errorf("%s: no end of %s", w.hosts[i].Name, strings.Join(open, ", "))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		packets, err := c.Stop(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, seen{w.hosts[i], firsts(packets)})
	}
	return all, nil
}

// stillOpen lists the directions that have not ended with a FIN yet.
func stillOpen(packets []lab.Packet) []string {
	var open []string
	for _, p := range packets {
		switch {
		case strings.Contains(p.Flags, "S"):
			open = append(open, pair(p))
		case strings.Contains(p.Flags, "F"):
			open = slices.DeleteFunc(open, func(o string) bool { return o == pair(p) })
		}
	}
	return open
}

// firsts keeps the first packet of each pair of addresses and ports.
func firsts(packets []lab.Packet) []lab.Packet {
	var first []lab.Packet
	for _, p := range packets {
		if !slices.ContainsFunc(first, func(q lab.Packet) bool { return q.Is(p.Src, p.Dst) }) {
			first = append(first, p)
		}
	}
	return first
}

// pair writes a packet's addresses and ports as tcpdump does.
func pair(p lab.Packet) string { return dotted(p.Src) + " > " + dotted(p.Dst) }

func dotted(a netip.AddrPort) string { return fmt.Sprintf("%s.%d", a.Addr(), a.Port()) }

// tellPackets prints what the hosts saw of the connection, and checks it: A and C saw one leg each, B both, and the
// client's port is the same on both legs.
func (s *story) tellPackets(all []seen) {
	client := netip.AddrPortFrom(s.A.Addr, clientPort(all))
	listen, target := netipAddrPort(s.B, 80), netipAddrPort(s.C, 80)
	snat := netip.AddrPortFrom(s.B.Addr, client.Port())
	to := func(src, dst netip.AddrPort) string { return pair(lab.Packet{Src: src, Dst: dst}) }
	want := map[*lab.Host][]string{
		s.A: {to(client, listen), to(listen, client)},
		s.B: {to(client, listen), to(snat, target), to(target, snat), to(listen, client)},
		s.C: {to(snat, target), to(target, snat)},
	}
	role := map[*lab.Host]string{
		s.A: "A, the client, talks to B",
		s.B: "B, the relay, rewrites both addresses, and keeps the client's port",
		s.C: "C, the server, talks to B",
	}
	for _, sn := range all {
		var got []string
		for _, p := range sn.first {
			got = append(got, pair(p))
		}
		s.check(slices.Equal(got, want[sn.host]), role[sn.host], "want "+strings.Join(want[sn.host], "\n     "))
		for _, p := range sn.first {
			s.show(fmt.Sprintf("%s  [%s]", pair(p), p.Flags), 1)
		}
	}
}

// clientPort is the port that A used.
func clientPort(all []seen) uint16 {
	for _, sn := range all {
		if len(sn.first) > 0 {
			return sn.first[0].Src.Port()
		}
	}
	return 0
}

func netipAddrPort(h *lab.Host, port uint16) netip.AddrPort { return netip.AddrPortFrom(h.Addr, port) }

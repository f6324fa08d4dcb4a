package main

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"natd/internal/control"
)

// look is one answer of natd, and when it came.
type look struct {
	at   time.Time
	list *control.ConnectionList
}

// rates are how fast something carries, in each direction and second.
type rates struct {
	ByteRate   speed `json:"bytes_per_second"`
	PacketRate speed `json:"packets_per_second"`
}

type speed struct {
	ToTarget float64 `json:"to_target"`
	ToClient float64 `json:"to_client"`
}

func (r *rates) add(more rates) {
	r.ByteRate.ToTarget += more.ByteRate.ToTarget
	r.ByteRate.ToClient += more.ByteRate.ToClient
	r.PacketRate.ToTarget += more.PacketRate.ToTarget
	r.PacketRate.ToClient += more.PacketRate.ToClient
}

// measured is a connection with its rates, which are nil after the first look.
type measured struct {
	control.Connection
	*rates

	client netip.AddrPort // to sort by
}

// measurement is what two looks have found out.
type measurement struct {
	list        *control.ConnectionList // of the later one
	connections []measured
	total       *rates
	fresh       *float64 // new connections a second
}

// both is what tells a connection from every other one: its tuples on both sides of the translation.
type both struct{ protocol, client, listen, snat, target string }

func keyOf(c *control.Connection) both {
	return both{c.Protocol, c.Client, c.Listen, c.SNAT, c.Target}
}

// measure compares two looks. Without an earlier one nothing is known of rates.
func measure(before *look, now look) *measurement {
	m := &measurement{list: now.list, connections: make([]measured, len(now.list.Connections))}
	for i, c := range now.list.Connections {
		m.connections[i] = measured{Connection: c, client: endOf(c.Client)}
	}
	if before == nil {
		return m
	}
	seconds := now.at.Sub(before.at).Seconds()
	old := make(map[both]*control.Connection, len(before.list.Connections))
	for i := range before.list.Connections {
		c := &before.list.Connections[i]
		old[keyOf(c)] = c
	}
	m.total = new(rates)
	fresh := 0
	for i := range m.connections {
		c := &m.connections[i]
		was := old[keyOf(&c.Connection)]
		// Counters that fell are those of another connection with the same addresses and ports.
		if was == nil || c.Packets.ToTarget < was.Packets.ToTarget || c.Packets.ToClient < was.Packets.ToClient {
			was = new(control.Connection)
			fresh++
		}
		c.rates = &rates{speedOf(was.Bytes, c.Bytes, seconds), speedOf(was.Packets, c.Packets, seconds)}
		m.total.add(*c.rates)
	}
	perSecond := float64(fresh) / seconds
	m.fresh = &perSecond
	return m
}

func speedOf(before, now control.Volume, seconds float64) speed {
	return speed{float64(now.ToTarget-before.ToTarget) / seconds, float64(now.ToClient-before.ToClient) / seconds}
}

// group is what connections have in common, and what they are together.
type group struct {
	Name        string         `json:"name"`
	Kind        string         `json:"kind,omitempty"` // of relays
	Connections int            `json:"connections"`
	Bytes       control.Volume `json:"bytes"`
	Packets     control.Volume `json:"packets"`
	*rates

	addr netip.AddrPort // of a client or target, to sort by
}

// What connections can be grouped by.
const (
	byConnection = "connection"
	byClient     = "client"
	byRelay      = "relay"
	byTarget     = "target"
)

// groups adds up connections that have the same client, target or relay.
func groups(connections []measured, by string) []group {
	sums := make(map[[2]string]*group)
	for i := range connections {
		c := &connections[i]
		one := group{Name: c.Target}
		switch by {
		case byClient:
			one.addr = netip.AddrPortFrom(c.client.Addr(), 0)
			one.Name = one.addr.Addr().String()
		case byRelay:
			one.Kind, one.Name = c.Kind, c.Relay
		default:
			one.addr = endOf(c.Target)
		}
		key := [2]string{one.Kind, one.Name}
		if sums[key] == nil {
			sums[key] = &one
		}
		sums[key].add(c)
	}
	all := make([]group, 0, len(sums))
	for _, sum := range sums {
		all = append(all, *sum)
	}
	return all
}

func (g *group) add(c *measured) {
	g.Connections++
	g.Bytes.ToTarget += c.Bytes.ToTarget
	g.Bytes.ToClient += c.Bytes.ToClient
	g.Packets.ToTarget += c.Packets.ToTarget
	g.Packets.ToClient += c.Packets.ToClient
	if c.rates == nil {
		return
	}
	if g.rates == nil {
		g.rates = new(rates)
	}
	g.rates.add(*c.rates)
}

// sortByRate is the order that only natctl knows.
const sortByRate = "rate"

// sortConnections puts connections in an order. Those that tie stand by their clients, so that rows do not jump from round to round.
func sortConnections(all []measured, order string) {
	slices.SortFunc(all, func(a, b measured) int {
		if by := a.traffic(order).compare(b.traffic(order)); by != 0 {
			return by
		}
		if by := cmp.Compare(a.Timeout, b.Timeout); by != 0 && order == control.SortByTimeout {
			return by
		}
		return cmp.Or(a.client.Compare(b.client), strings.Compare(a.Listen, b.Listen), strings.Compare(a.Protocol, b.Protocol))
	})
}

// sortGroups does so with groups.
func sortGroups(all []group, order string) {
	slices.SortFunc(all, func(a, b group) int {
		if by := a.traffic(order).compare(b.traffic(order)); by != 0 {
			return by
		}
		return cmp.Or(a.addr.Compare(b.addr), strings.Compare(a.Name, b.Name), strings.Compare(a.Kind, b.Kind))
	})
}

// traffic is what an order goes by, in both directions together: the rate, and how much there was where rates tie or are not known yet.
type traffic struct {
	rate   float64
	amount uint64
}

// compare puts the most first.
func (t traffic) compare(other traffic) int {
	return cmp.Or(cmp.Compare(other.rate, t.rate), cmp.Compare(other.amount, t.amount))
}

func (m *measured) traffic(order string) traffic {
	return trafficOf(order, m.rates, m.Bytes, m.Packets)
}

func (g *group) traffic(order string) traffic {
	return trafficOf(order, g.rates, g.Bytes, g.Packets)
}

func trafficOf(order string, r *rates, bytes, packets control.Volume) traffic {
	switch order {
	case sortByRate:
		t := traffic{amount: bytes.ToTarget + bytes.ToClient}
		if r != nil {
			t.rate = r.ByteRate.ToTarget + r.ByteRate.ToClient
		}
		return t
	case control.SortByBytes:
		return traffic{amount: bytes.ToTarget + bytes.ToClient}
	case control.SortByPackets:
		return traffic{amount: packets.ToTarget + packets.ToClient}
	}
	return traffic{}
}

// endOf reads ADDR:PORT, or ADDR with port 0.
func endOf(end string) netip.AddrPort {
	if ap, err := netip.ParseAddrPort(end); err == nil {
		return ap
	}
	addr, _ := netip.ParseAddr(end)
	return netip.AddrPortFrom(addr, 0)
}

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
		m.connections[i].Connection = c
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
		kind, name := "", c.Target
		switch by {
		case byClient:
			name = addrOf(c.Client).String()
		case byRelay:
			kind, name = c.Kind, c.Relay
		}
		sum := sums[[2]string{kind, name}]
		if sum == nil {
			sum = &group{Name: name, Kind: kind}
			sums[[2]string{kind, name}] = sum
		}
		sum.add(c)
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

// sortConnections puts connections in an order of natd's, or in that of rates. Those that tie stand by their clients, so that rows do not
// jump from round to round.
func sortConnections(all []measured, order string) {
	slices.SortFunc(all, func(a, b measured) int {
		return cmp.Or(
			compareTraffic(order, a.rates, b.rates, [2]control.Volume{a.Bytes, a.Packets}, [2]control.Volume{b.Bytes, b.Packets}),
			compareTimeout(order, a.Timeout, b.Timeout),
			compareEnds(a.Client, b.Client), strings.Compare(a.Listen, b.Listen), strings.Compare(a.Protocol, b.Protocol),
		)
	})
}

// sortGroups does so with groups.
func sortGroups(all []group, order string) {
	slices.SortFunc(all, func(a, b group) int {
		return cmp.Or(
			compareTraffic(order, a.rates, b.rates, [2]control.Volume{a.Bytes, a.Packets}, [2]control.Volume{b.Bytes, b.Packets}),
			compareEnds(a.Name, b.Name), strings.Compare(a.Kind, b.Kind),
		)
	})
}

// sortByRate is the order that only natctl knows.
const sortByRate = "rate"

// compareTraffic compares by what was carried, bytes and packets, the most first. Where rates tie, as at the first look, bytes decide.
func compareTraffic(order string, aRate, bRate *rates, a, b [2]control.Volume) int {
	most := func(a, b control.Volume) int { return cmp.Compare(b.ToTarget+b.ToClient, a.ToTarget+a.ToClient) }
	switch order {
	case sortByRate:
		if aRate != nil && bRate != nil {
			faster := cmp.Compare(bRate.ByteRate.ToTarget+bRate.ByteRate.ToClient, aRate.ByteRate.ToTarget+aRate.ByteRate.ToClient)
			return cmp.Or(faster, most(a[0], b[0]))
		}
		return most(a[0], b[0])
	case control.SortByBytes:
		return most(a[0], b[0])
	case control.SortByPackets:
		return most(a[1], b[1])
	}
	return 0
}

func compareTimeout(order string, a, b int) int {
	if order != control.SortByTimeout {
		return 0
	}
	return cmp.Compare(a, b)
}

// compareEnds compares ADDR and ADDR:PORT as numbers, anything else as text.
func compareEnds(a, b string) int {
	return cmp.Or(addrOf(a).Compare(addrOf(b)), cmp.Compare(portOf(a), portOf(b)), strings.Compare(a, b))
}

// addrOf is the address of ADDR:PORT or ADDR; the zero Addr of what is neither.
func addrOf(end string) netip.Addr {
	if ap, err := netip.ParseAddrPort(end); err == nil {
		return ap.Addr()
	}
	addr, _ := netip.ParseAddr(end)
	return addr
}

func portOf(end string) uint16 {
	ap, _ := netip.ParseAddrPort(end)
	return ap.Port()
}

package daemon

import (
	"cmp"
	"context"
	"math"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"natd/internal/control"
	"natd/internal/flow"
	"natd/nat"
)

// Connections lists the tracked connections that belong to something natd translates, as far as they are asked for.
func (h handler) Connections(ctx context.Context, which *control.ConnectionFilter) (*control.ConnectionList, error) {
	list, err := inLoop(ctx, h.d, func() (*control.ConnectionList, error) {
		if err := h.d.askable(which); err != nil {
			return nil, err
		}
		return &control.ConnectionList{
			SchemaVersion: control.SchemaVersion, Conntrack: h.d.conntrackUse(), Connections: []control.Connection{},
		}, nil
	})
	judge := h.d.judge.Load()
	if err != nil || judge == nil {
		return list, err
	}
	p := picker{order: orderOf(which.Sort), room: which.Limit}
	err = h.d.table.each(ctx, func(e *flow.Entry) {
		if !wanted(which, e) {
			return
		}
		if owner := judge.Owner(e); owner.Kind != "" && (which.Relay == "" || owner.Name == which.Relay) {
			p.add(owner, e)
		}
	})
	list.Connections, list.Matched, list.Active = p.connections(), p.matched, p.active
	list.Truncated = list.Matched > len(list.Connections)
	return list, err
}

// askable refuses to look for what cannot be there.
func (d *Daemon) askable(which *control.ConnectionFilter) error {
	if which.Relay != "" && !slices.Contains(d.names(), which.Relay) {
		return control.Errorf(control.CodeFailed, "there is no relay, gateway or static %q in %s; it has: %s",
			which.Relay, d.cfg.Path, listing(d.names()))
	}
	if states := flow.States(); which.State != "" && !slices.Contains(states, which.State) {
		return control.Errorf(control.CodeUsage, "state %q must be one of %s", which.State, strings.Join(states, ", "))
	}
	return nil
}

// wanted tells whether a filter lets an entry through, whoever it belongs to.
func wanted(which *control.ConnectionFilter, e *flow.Entry) bool {
	return (which.Protocol < 0 || which.Protocol == int(e.Proto)) &&
		(!which.Client.IsValid() || which.Client.Contains(e.Orig.Src.Addr())) &&
		which.Target.Has(e.Reply.Src) && which.SNAT.Has(e.Reply.Dst) &&
		(which.State == "" || which.State == e.State())
}

// found is an entry and what it belongs to. The entry is read for what connection shows, which is what stays of it after the call that it came with.
type found struct {
	owner flow.Owner
	entry flow.Entry
}

// picker keeps the first connections of an order. It holds at most twice as many as are asked for.
type picker struct {
	order   func(a, b found) int // nil = the first that come
	room    int
	matched int
	active  int
	kept    []found
}

func (p *picker) add(owner flow.Owner, e *flow.Entry) {
	p.matched++
	if e.Replied() && !e.Over() {
		p.active++
	}
	if p.order == nil && len(p.kept) == p.room {
		return
	}
	p.kept = append(p.kept, found{owner, *e})
	if len(p.kept) == 2*p.room {
		p.prune()
	}
}

func (p *picker) prune() {
	if p.order != nil {
		slices.SortStableFunc(p.kept, p.order)
	}
	p.kept = p.kept[:min(len(p.kept), p.room)]
}

func (p *picker) connections() []control.Connection {
	p.prune()
	all := make([]control.Connection, len(p.kept))
	for i := range p.kept {
		all[i] = connection(p.kept[i].owner, &p.kept[i].entry)
	}
	return all
}

func orderOf(sort string) func(a, b found) int {
	bytes := func(f found) uint64 { return f.entry.ToTarget.Bytes + f.entry.ToClient.Bytes }
	packets := func(f found) uint64 { return f.entry.ToTarget.Packets + f.entry.ToClient.Packets }
	switch sort {
	case control.SortByBytes:
		return func(a, b found) int { return cmp.Compare(bytes(b), bytes(a)) }
	case control.SortByPackets:
		return func(a, b found) int { return cmp.Compare(packets(b), packets(a)) }
	case control.SortByTimeout:
		left := func(f found) uint32 {
			if f.entry.Fast() {
				return math.MaxUint32
			}
			return f.entry.Timeout
		}
		return func(a, b found) int { return cmp.Compare(left(a), left(b)) }
	case control.SortByClient:
		return func(a, b found) int { return a.entry.Orig.Src.Compare(b.entry.Orig.Src) }
	}
	return nil
}

// names is the names of everything in the configuration.
func (d *Daemon) names() (names []string) {
	for i := range d.cfg.NAT.Relays {
		names = append(names, d.cfg.NAT.Relays[i].Name)
	}
	for i := range d.cfg.NAT.Gateways {
		names = append(names, d.cfg.NAT.Gateways[i].Name)
	}
	for i := range d.cfg.NAT.Statics {
		names = append(names, d.cfg.NAT.Statics[i].Name)
	}
	return names
}

func connection(owner flow.Owner, e *flow.Entry) control.Connection {
	return control.Connection{
		Relay: owner.Name, Kind: owner.Kind, Protocol: protocolText(e.Proto), State: e.State(),
		Client: endText(e.Orig.Src), Listen: endText(e.Orig.Dst), SNAT: endText(e.Reply.Dst), Target: endText(e.Reply.Src),
		Timeout: int(e.Timeout), Fast: e.Fast(),
		Bytes:   control.Volume{ToTarget: e.ToTarget.Bytes, ToClient: e.ToClient.Bytes},
		Packets: control.Volume{ToTarget: e.ToTarget.Packets, ToClient: e.ToClient.Packets},
	}
}

// endText is ADDR:PORT, or ADDR where the protocol has no ports.
func endText(a netip.AddrPort) string {
	if a.Port() == 0 {
		return a.Addr().String()
	}
	return a.String()
}

// protocolText names also what only gateways and statics carry, as /etc/protocols does.
func protocolText(p nat.Protocol) string {
	switch uint8(p) {
	case unix.IPPROTO_ICMP:
		return "icmp"
	case unix.IPPROTO_ICMPV6:
		return "ipv6-icmp"
	}
	return p.String()
}

package daemon

import (
	"context"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"natd/internal/control"
	"natd/internal/flow"
	"natd/nat"
)

// maxConnections bounds the answer to connections.
const maxConnections = 100_000

// Connections lists the tracked connections of one relay, gateway or static, or of all.
func (h handler) Connections(ctx context.Context, name string) (*control.ConnectionList, error) {
	return inLoop(ctx, h.d, func() (*control.ConnectionList, error) {
		if name != "" && !slices.Contains(h.d.names(), name) {
			return nil, control.Errorf(control.CodeFailed, "there is no relay, gateway or static %q in %s; it has: %s",
				name, h.d.cfg.Path, listing(h.d.names()))
		}
		list := &control.ConnectionList{SchemaVersion: control.SchemaVersion, Connections: []control.Connection{}}
		judge := h.d.judge.Load()
		if judge == nil {
			return list, nil
		}
		err := h.d.conntrack.Entries(func(e *flow.Entry) {
			owner := judge.Owner(e)
			if owner.Kind == "" || name != "" && owner.Name != name {
				return
			}
			if len(list.Connections) == maxConnections {
				list.Truncated = true
				return
			}
			list.Connections = append(list.Connections, connection(owner, e))
		})
		return list, err
	})
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
		Timeout: int(e.Timeout),
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

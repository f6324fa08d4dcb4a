package daemon

import (
	"net/netip"

	"natd/internal/control"
	"natd/internal/flow"
	"natd/nat"
)

// counts is what the kernel's counters and connection tracking say, by name.
type counts struct {
	table             *nat.Table // its counters; empty when it could not be read
	relays            map[string]*count
	gateways, statics map[string]*count
	ports             flow.PortUse
}

// count is what belongs to one relay, gateway or static.
type count struct {
	connections    control.Connections
	bytes, packets control.Volume
	active         map[netip.AddrPort]uint64 // open connections by where they go; of a relay only
}

func countsOf[T any](things []T, name func(*T) string) map[string]*count {
	counts := make(map[string]*count, len(things))
	for i := range things {
		counts[name(&things[i])] = &count{active: make(map[netip.AddrPort]uint64)}
	}
	return counts
}

// counts reads the counts of everything. What cannot be read is left out: the next pass reports it.
func (d *Daemon) counts() *counts {
	c := &counts{
		table:    &nat.Table{},
		relays:   countsOf(d.cfg.NAT.Relays, func(r *nat.Relay) string { return r.Name }),
		gateways: countsOf(d.cfg.NAT.Gateways, func(g *nat.Gateway) string { return g.Name }),
		statics:  countsOf(d.cfg.NAT.Statics, func(st *nat.Static) string { return st.Name }),
	}
	if have, err := d.kernel.Read(); err == nil {
		c.table = have
	}
	judge := d.judge.Load()
	if judge == nil {
		return c
	}
	if err := d.conntrack.Entries(func(e *flow.Entry) { c.add(judge, e) }); err != nil {
		d.Log.Warn("the connections of relays cannot be counted", "error", err)
	}
	return c
}

// add counts an entry where it belongs. After a reload that failed, the judge may know what the configuration does not.
func (c *counts) add(judge *flow.Judge, e *flow.Entry) {
	if e.Translated() {
		if r, i := judge.Relay(e); r != nil {
			c.ports.Add(i, e)
			if one := c.relays[r.Name]; one != nil {
				one.add(e)
				if !e.Over() {
					one.active[e.Reply.Src]++
				}
			}
			return
		}
	}
	if st := judge.Static(e); st != nil {
		c.statics[st.Name].add(e)
	} else if g := judge.Gateway(e); g != nil {
		c.gateways[g.Name].add(e)
	}
}

func (c *count) add(e *flow.Entry) {
	if c == nil {
		return
	}
	switch {
	case e.Over():
	case e.Replied():
		c.connections.Active++
	default:
		c.connections.Unreplied++
	}
	c.bytes.ToTarget += e.ToTarget.Bytes
	c.bytes.ToClient += e.ToClient.Bytes
	c.packets.ToTarget += e.ToTarget.Packets
	c.packets.ToClient += e.ToClient.Packets
}

// portUse is how far the source ports of each relay are used up, by its position.
func (c *counts) portUse() map[int]*control.PortUse {
	uses := make(map[int]*control.PortUse)
	for i, worst := range c.ports.Worst() {
		uses[i] = &control.PortUse{
			Source: worst.Source.String(), Target: worst.Target.String(), Used: worst.Used, Max: flow.SourcePorts,
		}
	}
	return uses
}

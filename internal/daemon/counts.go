package daemon

import (
	"context"
	"net/netip"
	"time"

	"natd/internal/control"
	"natd/internal/flow"
	"natd/nat"
)

// counts is what the meter or the kernel's counters, and connection tracking, say.
type counts struct {
	accounting control.Accounting
	owners     map[flow.Owner]*count
	ports      flow.PortUse
	uses       map[flow.Owner]*control.PortUse // of ports, once everything was added
}

// count is what belongs to one relay, gateway or static, or to one target of a relay.
type count struct {
	connections    control.Connections
	bytes, packets control.Volume
	targets        map[netip.AddrPort]*count // of a relay only
}

// counters is what the kernel's counters say at a generation of the ruleset.
type counters struct {
	generation uint32
	from, at   time.Time // while they were read
	tally      map[lastingKey]uint64
	relays     map[string]bool // whose they are, besides those of gateways and statics
	want       *nat.Ruleset    // that they are of
}

// lookAtCounters reads the counters of some relays of the configuration, if they are needed: what limits have refused is counted nowhere
// else, connections are by the meter, where that runs. nil for what cannot be read: the next pass reports it. It is for any goroutine, and
// has a socket of its own.
func (d *Daemon) lookAtCounters(ctx context.Context, view *Daemon, some []int, metered bool) *counters {
	if view.want == nil || metered && !d.limited.Load() {
		return nil
	}
	c := &counters{relays: make(map[string]bool, len(some)), want: view.want}
	for _, i := range some {
		c.relays[view.cfg.NAT.Relays[i].Name] = true
	}
	done, err := d.table.take(ctx)
	if err != nil {
		return nil
	}
	defer done()
	kernel, err := nat.Open()
	if err != nil {
		return nil
	}
	defer kernel.Close()
	c.from = time.Now()
	have, err := kernel.Counted(view.want, func(relay string) bool { return c.relays[relay] })
	if err != nil {
		return nil
	}
	c.generation, c.at, c.tally = have.Generation, time.Now(), tally(&have.Ruleset)
	return c
}

// takeCounters takes note of the counters, unless what is wanted, or the table, has become another since they were asked for: what is not found
// by its old key is counted under a new one.
func (d *Daemon) takeCounters(c *counters) {
	if c == nil || c.want != d.want || d.sync.mirror == nil {
		return
	}
	before := d.sync.mirror.Generation
	if known, err := d.current(); err != nil || !known {
		return
	}
	if c.generation >= before || d.others.spared(c.generation, before) {
		d.lasting.take(c.tally, c.from, c.at, func(o flow.Owner) bool { return o.Kind != flow.KindRelay || c.relays[o.Name] })
	}
}

// counted is what the meter says, or where it does not tell what is tracked now. It is for any goroutine but the loop's, since it waits.
func (d *Daemon) counted(ctx context.Context) *counts {
	if c := d.metered(); c != nil {
		return c
	}
	return d.tracked(ctx)
}

// metered is what the meter has counted; nil when it does not run, or not in time.
func (d *Daemon) metered() *counts {
	c, judge := d.newCounts(), d.judge.Load()
	if judge == nil {
		return nil
	}
	counted := d.meter.look(func(e *flow.Entry) { c.add(judge, e) })
	if counted == nil {
		return nil // what it was to fill may still be filled
	}
	c.accounting = control.Accounting{Exact: true, Since: counted.since, Lost: counted.losses}
	for _, one := range c.owners {
		one.uncarried()
	}
	for i := range counted.tallies {
		t := &counted.tallies[i]
		c.of(t.Owner, netip.AddrPort{}).tally(&t.Totals)
		if t.Target.IsValid() {
			c.of(t.Owner, t.Target).tally(&t.Totals)
		}
	}
	return c
}

// tracked is what connection tracking says of the connections that it has now.
func (d *Daemon) tracked(ctx context.Context) *counts {
	c, judge := d.newCounts(), d.judge.Load()
	if judge == nil {
		return c
	}
	if err := d.table.each(ctx, func(e *flow.Entry) { c.add(judge, e) }); err != nil {
		d.Log.Warn("the connections of relays cannot be counted", "error", err)
	}
	return c
}

func (d *Daemon) newCounts() *counts {
	return &counts{owners: make(map[flow.Owner]*count), accounting: control.Accounting{Since: d.startedAt}}
}

// of is the count of an owner, or of a target of it.
func (c *counts) of(owner flow.Owner, target netip.AddrPort) *count {
	one := c.owners[owner]
	if one == nil {
		one = &count{targets: make(map[netip.AddrPort]*count)}
		c.owners[owner] = one
	}
	if !target.IsValid() {
		return one
	}
	if one.targets[target] == nil {
		one.targets[target] = new(count)
	}
	return one.targets[target]
}

// known is the count of an owner, of nothing for one that was not counted.
func (c *counts) known(owner flow.Owner) *count {
	if one := c.owners[owner]; one != nil {
		return one
	}
	return new(count)
}

// add counts an entry where it belongs.
func (c *counts) add(judge *flow.Judge, e *flow.Entry) {
	owner := judge.Owner(e)
	if owner == (flow.Owner{}) {
		return
	}
	c.of(owner, netip.AddrPort{}).add(e)
	c.ports.Add(owner, e)
	if owner.Kind == flow.KindRelay {
		c.of(owner, e.Reply.Src).add(e)
	}
}

func (c *count) add(e *flow.Entry) {
	switch {
	case e.Over():
	case e.Replied():
		c.connections.Active++
	default:
		c.connections.Unreplied++
	}
	c.carry(e.ToTarget, e.ToClient)
}

func (c *count) carry(toTarget, toClient flow.Volume) {
	c.bytes.ToTarget += toTarget.Bytes
	c.bytes.ToClient += toClient.Bytes
	c.packets.ToTarget += toTarget.Packets
	c.packets.ToClient += toClient.Packets
}

// uncarried forgets what tracked connections carry: the meter counts it, too.
func (c *count) uncarried() {
	c.bytes, c.packets = control.Volume{}, control.Volume{}
	for _, target := range c.targets {
		target.uncarried()
	}
}

// tally adds what the meter has counted.
func (c *count) tally(t *flow.Totals) {
	c.connections.Total += t.Begun
	c.connections.Refused += t.Refused
	c.connections.Unanswered += t.Unanswered
	c.carry(t.ToTarget, t.ToClient)
}

// to is the sum of the targets that match.
func (c *count) to(match func(netip.AddrPort) bool) (sum count) {
	for target, one := range c.targets {
		if match(target) {
			sum.plus(one)
		}
	}
	return sum
}

func (c *count) plus(o *count) {
	c.connections.Total += o.connections.Total
	c.connections.Active += o.connections.Active
	c.connections.Unreplied += o.connections.Unreplied
	c.connections.Refused += o.connections.Refused
	c.connections.Unanswered += o.connections.Unanswered
	c.bytes = control.Volume{ToTarget: c.bytes.ToTarget + o.bytes.ToTarget, ToClient: c.bytes.ToClient + o.bytes.ToClient}
	c.packets = control.Volume{ToTarget: c.packets.ToTarget + o.packets.ToTarget, ToClient: c.packets.ToClient + o.packets.ToClient}
}

// portUse is how far the source ports of each owner are used up.
func (c *counts) portUse() map[flow.Owner]*control.PortUse {
	uses := make(map[flow.Owner]*control.PortUse)
	for owner, worst := range c.ports.Worst() {
		uses[owner] = &control.PortUse{
			Source: worst.Source.String(), Target: worst.Target.String(), Used: worst.Used, Max: flow.SourcePorts,
		}
	}
	return uses
}

package flow

import (
	"net/netip"
	"slices"
	"sync"

	"natd/nat"
)

// Why an entry is removed.
const (
	WhyRemoved  = "its relay was removed"
	WhyGone     = "its gateway or static was removed or narrowed"
	WhyMoved    = "its static leads elsewhere now"
	WhySource   = "its source may not use the relay any more"
	WhyBackend  = "its backend left the relay"
	WhyDown     = "its backend is down"
	WhyDrained  = "its backend takes no new connections"
	WhyBypass   = "it bypassed the relay"
	WhyNoSource = "its source address left the host"
)

// Judge decides which tracked connections contradict the configuration. It looks at what is, not at what has changed,
// so it finds also what was missed while natd was not running. Only what was removed it has to be told.
type Judge struct {
	Spec    *nat.Spec
	Places  *nat.Placements
	Index   *nat.Index
	Retired map[nat.Endpoint]bool // listens that the kernel had and that nothing serves any more
	Gone    []Box                 // of gateways and statics that were removed or narrowed

	once    sync.Once
	indexed *boxIndexes // made when the first connection asks for it

	onceLimited sync.Once
	limitedTo   map[netip.Addr][]int // likewise, when the first refused packet does
}

// Relay is the relay that a translated connection belongs to, with its position; nil when it is none of natd's.
func (j *Judge) Relay(e *Entry) (*nat.Relay, int) {
	i, ok := j.Index.Relay(e.Listen())
	if !ok {
		return nil, 0
	}
	return &j.Spec.Relays[i], i
}

// Condemned returns why the entry has to go, or "" for one that stays.
func (j *Judge) Condemned(e *Entry) (why string) {
	if len(e.zone) > 0 {
		return "" // natd's rules work in the default zone, whose entries name none
	}
	r, i := j.Relay(e)
	if r == nil {
		return j.unclaimed(e)
	}
	p := &j.Places.Relays[i]
	if e.Translated() {
		return j.translated(e, r, p)
	}
	// A relay on every address has those of the families that its backends have.
	if p.Held || !slices.Contains(p.Addrs, e.Orig.Dst.Addr()) {
		return ""
	}
	return j.bypass(e, r)
}

// unclaimed judges a connection to something that no relay claims: it was natd's if the kernel had the listen, or if a
// gateway or static made it.
func (j *Judge) unclaimed(e *Entry) string {
	if listen := e.Listen(); e.Translated() && j.Retired[listen] && !j.Index.Anywhere(listen) {
		return WhyRemoved
	}
	if why := j.gone(e); why != "" || !j.homeless(e) {
		return why
	}
	return WhyNoSource
}

// homeless tells whether a gateway or static sends datagrams from an address of its pool that left the host. With the address
// of an interface the kernel itself forgets what was sent from it (net/netfilter/nf_nat_masquerade.c).
func (j *Judge) homeless(e *Entry) bool {
	source := e.Reply.Dst.Addr()
	if e.connects() || e.status&statusSrcNAT == 0 || j.Index.Local(source) {
		return false
	}
	if s := j.Static(e); s != nil {
		return e.Translated() && s.SNAT.Mode == nat.SNATFixed // what is sent from inside has an External address, which no host has
	}
	g := j.Gateway(e)
	return g != nil && g.SNAT.Mode == nat.SNATFixed
}

func (j *Judge) translated(e *Entry, r *nat.Relay, p *nat.Placement) string {
	target := p.Target(r.Listen.Ports, e.Orig.Dst.Port(), e.Reply.Src)
	if target == nil {
		if why := j.gone(e); why != "" || !j.served(e, p) {
			return why
		}
	}
	switch {
	case !r.Admits(e.Orig.Src.Addr()):
		return WhySource
	case target == nil:
		if r.OnChange == nat.Close || sticks(e) {
			return WhyBackend
		}
		return ""
	}
	return j.targeted(e, r, p, target)
}

// served tells whether it was the relay that translated the connection. While a relay is held, or does not have the address,
// another program may translate in its place, as Docker does for the ports that containers publish.
func (j *Judge) served(e *Entry, p *nat.Placement) bool {
	return j.Retired[e.Listen()] || !p.Held && slices.Contains(p.Addrs, e.Orig.Dst.Addr())
}

// targeted judges a connection to a target that the relay has.
func (j *Judge) targeted(e *Entry, r *nat.Relay, p *nat.Placement, target *nat.Target) string {
	if target.Closing {
		return WhyDown
	}
	// Without another target to go to, the next packet would take the same way.
	if target.Weight == 0 && sticks(e) && (r.Fail == nat.FailClosed || slices.ContainsFunc(p.Targets, takesNew)) {
		return WhyDrained
	}
	// TCP and SCTP wait for an address that comes back. Datagrams would be sent from it into nowhere for ever.
	source := e.Reply.Dst.Addr()
	if e.Proto == nat.UDP && len(target.SNAT) > 0 && !slices.Contains(target.SNAT, source) && !j.Index.Local(source) {
		return WhyNoSource
	}
	return ""
}

func takesNew(t nat.Target) bool { return t.Weight > 0 }

// sticks tells whether the entry only keeps its client from a better target. Datagrams have no connection to drain: the next
// one would go to the old target for as long as they come. Nor has a connection that was never answered.
func sticks(e *Entry) bool { return !e.connects() || !e.Replied() }

// bypass judges a connection to a listen that was not translated: its first packet came before the rules.
func (j *Judge) bypass(e *Entry, r *nat.Relay) string {
	if !r.Admits(e.Orig.Src.Addr()) || j.Index.Local(e.Orig.Src.Addr()) {
		return ""
	}
	// An established connection to a local service on the port is somebody's login.
	if e.Proto != nat.UDP && e.Assured() {
		return ""
	}
	return WhyBypass
}

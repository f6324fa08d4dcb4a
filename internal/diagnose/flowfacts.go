package diagnose

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"natd/internal/control"
	"natd/internal/flow"
	"natd/nat"
)

// sighting is what one reading of the connection tracking table says of a way.
type sighting struct {
	newest   *Flow
	halfOpen []Flow
	flows    Flows
	active   int
	crowd    map[netip.Addr]int
	ports    *control.PortUse
	leads    map[netip.Addr]bool
	passed   bool // somebody's packet went to the way's target since the look began
}

// flowsKept is how many connections of a kind are kept as examples.
const flowsKept = 16

// flows reads the connection tracking table once, for all ways.
func (k *look) flows() (map[*Way]*sighting, error) {
	seen := make(map[*Way]*sighting, len(k.ev.Ways))
	byRelay := make(map[string][]*Way)
	for i := range k.ev.Ways {
		w := &k.ev.Ways[i]
		seen[w] = &sighting{crowd: make(map[netip.Addr]int), leads: k.leads(w)}
		byRelay[w.Relay.Name] = append(byRelay[w.Relay.Name], w)
	}
	var use flow.PortUse
	err := k.conntrack.Entries(func(e *flow.Entry) {
		i, ok := k.index.Relay(e.Listen())
		if !ok || byRelay[k.spec.Relays[i].Name] == nil {
			return
		}
		relay := k.spec.Relays[i].Name
		use.Add(flow.Owner{Kind: flow.KindRelay, Name: relay}, e)
		for _, w := range byRelay[relay] {
			if w.Protocol == e.Proto {
				k.meet(seen[w], w, e)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	for owner, u := range use.Worst() {
		for _, w := range byRelay[owner.Name] {
			if u.Proto != w.Protocol || u.Target.Addr() != w.Target.Addr() {
				continue
			}
			seen[w].ports = &control.PortUse{Source: u.Source.String(), Target: u.Target.String(), Used: u.Used, Max: flow.SourcePorts}
		}
	}
	return seen, nil
}

// meet takes one connection of the way's relay into account.
func (k *look) meet(s *sighting, w *Way, e *flow.Entry) {
	src := e.Orig.Src.Addr()
	another := w.Client.How == Met && src != w.Client.Addr || k.ev.Asked.Client.IsValid() && src != k.ev.Asked.Client
	if e.Translated() && e.Replied() && !e.Over() {
		s.active++
		if w.Relay.MaxPerSource > 0 && !another {
			s.crowd[src]++
		}
	}
	f := k.flowOf(e)
	if e.Translated() && e.Reply.Src.Addr() == w.Target.Addr() && f.Idle <= time.Since(k.began)+time.Second { // the kernel tells whole seconds
		s.passed = true
	}
	if k.index.Local(src) || another {
		return
	}
	if !e.Translated() {
		if bypasses(w, e) {
			keep(&s.flows.Bypassing, f)
		}
		return
	}
	k.sort(s, w, e, f)
	if e.Reply.Src.Addr() == w.Target.Addr() {
		s.reached(f)
	}
}

// bypasses tells whether a connection that is not translated should be. One to a local service that is established is somebody's login.
func bypasses(w *Way, e *flow.Entry) bool {
	return w.InKernel && w.Relay.Admits(e.Orig.Src.Addr()) && (e.Proto == nat.UDP || !e.Assured() && !e.Over())
}

// sort finds out what is wrong with a translated connection, if anything is.
func (k *look) sort(s *sighting, w *Way, e *flow.Entry, f Flow) {
	switch src := e.Orig.Src.Addr(); {
	case src == w.Target.Addr() && !e.Replied():
		keep(&s.flows.Circling, f)
	case s.elsewhere(w, e):
		keep(&s.flows.Misled, f)
	case e.Reply.Dst.Addr() == src && w.Relay.SNAT.Mode != nat.SNATOff && !k.index.Local(e.Reply.Src.Addr()):
		keep(&s.flows.Unmasked, f)
	}
}

// reached takes a connection to the way's own target into account.
func (s *sighting) reached(f Flow) {
	s.flows.Tracked++
	s.flows.Answered = s.flows.Answered || f.Replied
	if u := s.flows.Unheard; !f.Replied && (u == nil || f.Idle < u.Idle) {
		s.flows.Unheard = &f
	}
	if s.newest == nil || cmp.Or(cmp.Compare(f.Idle, s.newest.Idle), cmp.Compare(s.newest.tells(), f.tells())) < 0 {
		s.newest = &f
	}
	if f.State == "SYN_RECV" {
		keep(&s.halfOpen, f)
	} else if u := s.flows.Whole; f.Replied && (u == nil || f.Idle < u.Idle) {
		s.flows.Whole = &f
	}
}

// tells ranks connections of the same second, for the kernel tells whole seconds: one that waits for the client's answer shows an attempt
// that is under way, one that was answered shows that an answer comes.
func (f *Flow) tells() int {
	switch {
	case f.State == "SYN_RECV":
		return 2
	case f.Replied:
		return 1
	}
	return 0
}

// outlived tells whether the connection was never answered, and a later one of the way was: an attempt from before a change.
func (s *sighting) outlived(f Flow) bool {
	return !f.Replied && s.newest != nil && s.newest.Replied && s.newest.Idle <= f.Idle
}

func keep(list *[]Flow, f Flow) {
	if len(*list) < flowsKept {
		*list = append(*list, f)
	}
}

// elsewhere tells whether the connection leads to where the relay does not lead. A backend that left the relay serves its last
// connections, and natd lists it; without natd only what has no end or no answer is held against the configuration.
func (s *sighting) elsewhere(w *Way, e *flow.Entry) bool {
	if s.leads[e.Reply.Src.Addr()] {
		return false
	}
	if w.Status == nil {
		return e.Proto == nat.UDP || !e.Replied()
	}
	return !e.Over()
}

// leads is the addresses that a relay's connections may lead to.
func (k *look) leads(w *Way) map[netip.Addr]bool {
	to := make(map[netip.Addr]bool)
	if w.Status == nil {
		for _, a := range k.targetsOf(w.Relay, nil) {
			to[a.addr] = true
		}
		return to
	}
	for i := range w.Status.Backends {
		addr, _, _ := splitPorts(w.Status.Backends[i].Address)
		to[addr] = true
	}
	return to
}

func (k *look) flowOf(e *flow.Entry) Flow {
	f := Flow{
		Client: e.Orig.Src, Listen: e.Orig.Dst, Target: e.Reply.Src, Source: e.Reply.Dst, State: e.State(), Replied: e.Replied(),
		ToTarget: e.ToTarget.Packets, ToClient: e.ToClient.Packets,
	}
	state := f.State
	if e.Proto == nat.UDP && e.Assured() {
		state = "ASSURED"
	}
	f.Idle = k.ages.since(state, time.Duration(e.Timeout)*time.Second)
	return f
}

// settle puts the second reading into the ways. What was half open at both is stuck.
func (s *sighting) settle(w *Way, earlier *sighting) {
	w.Flows = s.flows
	w.Flows.Newest, w.Flows.Active, w.Ports = s.newest, s.active, s.ports
	if w.Protocol != nat.UDP { // whose clients stick to their entries
		w.Flows.Unmasked = slices.DeleteFunc(w.Flows.Unmasked, s.outlived)
	}
	for source, open := range s.crowd {
		if c := &w.Flows.Crowd; cmp.Or(cmp.Compare(open, c.Open), source.Compare(c.Source)) > 0 {
			*c = Crowd{source, open}
		}
	}
	for _, f := range s.halfOpen {
		if slices.ContainsFunc(earlier.halfOpen, func(o Flow) bool { return o.Client == f.Client && o.Listen == f.Listen }) {
			w.Flows.Stuck = append(w.Flows.Stuck, f)
		}
	}
}

package flow

import (
	"natd/nat"
)

// Why an entry is removed.
const (
	WhyRemoved  = "its relay was removed"
	WhySource   = "its source may not use the relay any more"
	WhyBackend  = "its backend left the relay"
	WhyBypass   = "it bypassed the relay"
	WhyNoSource = "its source address left the host"
)

// Judge decides which tracked connections contradict the configuration. It looks at what is, not at what has changed,
// so it finds also what was missed while natd was not running.
type Judge struct {
	Spec    *nat.Spec
	Places  []nat.Placement // one for each relay
	Index   *nat.Index
	Retired map[nat.Endpoint]bool // listens that the kernel had and that nothing serves any more
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
	switch {
	case r == nil:
		return j.unclaimed(e)
	case e.Translated():
		return j.translated(e, r, &j.Places[i])
	case !j.Places[i].Held:
		return j.bypass(e, r)
	}
	return ""
}

// unclaimed judges a connection to something that no relay claims: it was natd's if the kernel had the listen.
func (j *Judge) unclaimed(e *Entry) string {
	if !e.Translated() {
		return ""
	}
	if listen := e.Listen(); j.Retired[listen] && !j.Index.Anywhere(listen) {
		return WhyRemoved
	}
	return ""
}

func (j *Judge) translated(e *Entry, r *nat.Relay, p *nat.Placement) string {
	moved := e.Reply.Src != r.Target(e.Orig.Dst.Port())
	// While a relay is held another program may translate in its place, as Docker does for the ports that containers publish.
	if p.Held && moved && !j.Retired[e.Listen()] {
		return ""
	}
	if !r.Admits(e.Orig.Src.Addr()) {
		return WhySource
	}
	if moved {
		// Datagrams have no connection to drain: the next one would go to the old backend for as long as they come.
		// Nor has a connection that the old backend never answered.
		if r.OnChange == nat.Close || e.Proto == nat.UDP || !e.Replied() {
			return WhyBackend
		}
		return ""
	}
	// TCP waits for an address that comes back. Datagrams would be sent from it into nowhere for ever.
	source := e.Reply.Dst.Addr()
	if e.Proto == nat.UDP && p.SNAT.IsValid() && source != p.SNAT && !j.Index.Local(source) {
		return WhyNoSource
	}
	return ""
}

// bypass judges a connection to a listen that was not translated: its first packet came before the rules.
func (j *Judge) bypass(e *Entry, r *nat.Relay) string {
	if !r.Admits(e.Orig.Src.Addr()) || j.Index.Local(e.Orig.Src.Addr()) {
		return ""
	}
	// An established connection to a local service on the port is somebody's login.
	if e.Proto == nat.TCP && e.Assured() {
		return ""
	}
	return WhyBypass
}

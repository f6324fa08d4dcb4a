package flow

// What a connection can belong to.
const (
	KindRelay   = "relay"
	KindGateway = "gateway"
	KindStatic  = "static"
)

// Owner is what the connection belongs to; the zero value for one that is none of natd's.
func (j *Judge) Owner(e *Entry) Owner {
	if len(e.zone) > 0 {
		return Owner{} // natd's rules work in the default zone, whose entries name none
	}
	if e.Translated() {
		if r, i := j.Relay(e); r != nil && !j.foreign(e, i) {
			return Owner{KindRelay, r.Name}
		}
	}
	if s := j.Static(e); s != nil {
		return Owner{KindStatic, s.Name}
	}
	if g := j.Gateway(e); g != nil {
		return Owner{KindGateway, g.Name}
	}
	return Owner{}
}

// foreign tells whether another program translates in place of the relay, which is held and has targets, none of which this is: such as
// Docker, for a port that it had first. See served.
func (j *Judge) foreign(e *Entry, relay int) bool {
	p := &j.Places.Relays[relay]
	return p.Held && len(p.Targets) > 0 && p.Target(j.Spec.Relays[relay].Listen.Ports, e.Orig.Dst.Port(), e.Reply.Src) == nil
}

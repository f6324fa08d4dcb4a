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
		if r, _ := j.Relay(e); r != nil {
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

package flow

import (
	"testing"

	"natd/nat"
)

func TestOver(t *testing.T) {
	t.Parallel()
	for state := range uint8(10) {
		e := Entry{Proto: nat.TCP, state: state}
		if want := e.State() == "TIME_WAIT" || e.State() == "CLOSE"; e.Over() != want {
			t.Errorf("a connection in %s is over: %t", e.State(), e.Over())
		}
		e.Proto = nat.SCTP
		if want := e.State() == "CLOSED"; e.Over() != want {
			t.Errorf("an association in %s is over: %t", e.State(), e.Over())
		}
		e.Proto = nat.UDP
		if e.Over() {
			t.Errorf("datagrams are over in state %d", state)
		}
	}
}

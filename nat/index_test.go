package nat

import (
	"testing"
)

// indexed is a host with the addresses 10.2.0.100 and 10.2.0.101 and these relays, by their position:
func indexed() *Index {
	return NewIndex(&Spec{Relays: []Relay{
		0: relayOf("web", 80, "10.3.0.1"),
		1: relayOf("range", 8000, "10.3.0.1", width(100), protocols(TCP, UDP)),
		2: relayOf("next", 8100, "10.3.0.1"),
		3: relayOf("any", 443, "10.3.0.1", anyAddress, width(2)),
		4: relayOf("off", 90, "10.3.0.1", func(r *Relay) { r.Enabled = false }),
		5: relayOf("elsewhere", 443, "10.3.0.1", func(r *Relay) { r.Listen.Addr = addr("10.2.0.200") }),
		6: relayOf("first", 1, "10.3.0.1"),
		7: relayOf("last", 65535, "10.3.0.1"),
		8: relayOf("v6", 80, "fd00:10:3::1", listen(hostAddr6)),
	}}, addresses(hostAddr, "10.2.0.101", hostAddr6))
}

func TestIndexRelay(t *testing.T) {
	t.Parallel()
	const none = -1
	ix := indexed()
	for _, c := range []struct {
		address string
		proto   Protocol
		port    uint16
		relay   int
	}{
		{hostAddr, TCP, 80, 0},
		{hostAddr, UDP, 80, none},
		{"10.2.0.101", TCP, 80, none},
		{hostAddr, TCP, 79, none},
		{hostAddr, TCP, 81, none},
		{hostAddr, TCP, 7999, none},
		{hostAddr, TCP, 8000, 1},
		{hostAddr, UDP, 8050, 1},
		{hostAddr, TCP, 8099, 1},
		{hostAddr, TCP, 8100, 2},
		{hostAddr, UDP, 8100, none},
		{hostAddr, TCP, 443, 3},
		{"10.2.0.101", TCP, 444, 3},
		{"10.2.0.102", TCP, 443, none},
		{"10.2.0.200", TCP, 443, 5},
		{"10.2.0.200", TCP, 444, none},
		{hostAddr, TCP, 90, none},
		{hostAddr, TCP, 1, 6},
		{hostAddr, TCP, 0, none},
		{hostAddr, TCP, 65535, 7},
		{hostAddr, TCP, 65534, none},
		{hostAddr6, TCP, 80, 8},
		{hostAddr6, TCP, 443, 3},
		{"fd00:10:2::101", TCP, 443, none},
	} {
		e := endpoint(c.address, c.proto, c.port)
		got, ok := ix.Relay(e)
		if !ok {
			got = none
		}
		if got != c.relay {
			t.Errorf("%v belongs to relay %d, want %d", e, got, c.relay)
		}
	}
}

func TestIndexAnywhere(t *testing.T) {
	t.Parallel()
	ix := indexed()
	for e, want := range map[Endpoint]bool{
		endpoint("192.0.2.1", TCP, 443): true, // an address that the host may have had
		endpoint("192.0.2.1", TCP, 444): true,
		endpoint("192.0.2.1", UDP, 443): false,
		endpoint("192.0.2.1", TCP, 445): false,
		endpoint(hostAddr, TCP, 80):     false,
	} {
		if got := ix.Anywhere(e); got != want {
			t.Errorf("Anywhere(%v) = %v, want %v", e, got, want)
		}
	}
}

func TestIndexLocal(t *testing.T) {
	t.Parallel()
	ix := indexed()
	for a, want := range map[string]bool{hostAddr: true, "10.2.0.101": true, "10.2.0.200": false, "10.3.0.1": false} {
		if got := ix.Local(addr(a)); got != want {
			t.Errorf("Local(%s) = %v, want %v", a, got, want)
		}
	}
}

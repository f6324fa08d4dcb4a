package daemon

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"natd/nat"
	"natd/netconf"
)

func listener(protocol nat.Protocol, at string) netconf.Listener {
	a := netip.MustParseAddrPort(at)
	return netconf.Listener{Protocol: uint8(protocol), Addr: a.Addr(), Port: a.Port(), UID: 33}
}

func ports(first, last uint16) func(*nat.Relay) {
	return func(r *nat.Relay) {
		r.Listen.Ports = nat.PortRange{First: first, Last: last}
		r.Backends[0].Ports = r.Listen.Ports
	}
}

func both(r *nat.Relay)     { r.Protocols = []nat.Protocol{nat.TCP, nat.UDP} }
func override(r *nat.Relay) { r.OverrideLocal = true }

func TestConflicts(t *testing.T) {
	t.Parallel()
	const here = "10.2.0.100:22"
	tests := []struct {
		name      string
		relay     nat.Relay
		listeners []netconf.Listener
		want      string // in the reason; "" = no conflict
	}{
		{"same address", relay("a", here), []netconf.Listener{listener(nat.TCP, here)}, "port 22/tcp belongs to a local service (a socket of uid 33 on 10.2.0.100)"},
		{"every address", relay("a", here), []netconf.Listener{listener(nat.TCP, "0.0.0.0:22")}, "on 0.0.0.0"},
		{"other address", relay("a", here), []netconf.Listener{listener(nat.TCP, "10.2.9.1:22")}, ""},
		{"relay of every address", relay("a", ":22"), []netconf.Listener{listener(nat.TCP, "10.2.9.1:22")}, "on 10.2.9.1"},
		{"other port", relay("a", here), []netconf.Listener{listener(nat.TCP, "0.0.0.0:23")}, ""},
		{"other protocol", relay("a", here), []netconf.Listener{listener(nat.UDP, "0.0.0.0:22")}, ""},
		{"one of two protocols", relay("a", here, both), []netconf.Listener{listener(nat.UDP, "0.0.0.0:22")}, "port 22/udp"},
		{"IPv6 alone", relay("a", here), []netconf.Listener{listener(nat.TCP, "[::]:22")}, ""},
		{"override", relay("a", here, override), []netconf.Listener{listener(nat.TCP, here)}, ""},
		{"address is not here", relay("a", "10.2.0.77:22"), []netconf.Listener{listener(nat.TCP, "0.0.0.0:22")}, ""},
		{"narrow range", relay("a", here, ports(20, 22)), manyListeners(22, 30), "port 22/tcp"},
		{"wide range", relay("a", here, ports(1, 65535)), manyListeners(22, 25), "port 22/tcp"},
		{"beside the range", relay("a", here, ports(1, 21)), manyListeners(22, 25), ""},
		{"highest port", relay("a", here, ports(65535, 65535)), []netconf.Listener{listener(nat.TCP, "0.0.0.0:65535")}, "port 65535/tcp"},
		{"nobody", relay("a", here), nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := hostFacts()
			spec := &nat.Spec{Relays: []nat.Relay{tt.relay}}
			next := placeOn(f, spec, nil)
			got := conflicts(spec, next, tt.listeners, nil)["a"]
			if !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			had := &tenure{had: []bool{true}}
			if got := conflicts(spec, next, tt.listeners, had); len(got) > 0 {
				t.Errorf("a relay that had its port loses it: %v", got)
			}
			next.relays[0].Held = true
			if got := conflicts(spec, next, tt.listeners, nil); len(got) > 0 {
				t.Errorf("a relay that is not in the kernel has a conflict: %v", got)
			}
		})
	}
}

// manyListeners is a service on each of the ports.
func manyListeners(first, last uint16) []netconf.Listener {
	var all []netconf.Listener
	for port := last; port >= first; port-- {
		all = append(all, listener(nat.TCP, fmt.Sprintf("0.0.0.0:%d", port)))
	}
	return all
}

func TestClaim(t *testing.T) {
	t.Parallel()
	base := relay("a", "10.2.0.100:22")
	same := relay("b", "10.2.0.100:22", to("192.0.2.1"), from(nat.SNATOff, ""))
	if claimOf(&base) != claimOf(&same) {
		t.Error("name, backend and source are no part of what a relay takes of the host")
	}
	for _, other := range []nat.Relay{
		relay("a", "10.2.0.100:23"), relay("a", "10.2.0.101:22"), relay("a", ":22"), relay("a", "10.2.0.100:22", both),
		relay("a", "10.2.0.100:22", ports(22, 23)), relay("a", "10.2.0.100:22", override),
	} {
		if claimOf(&base) == claimOf(&other) {
			t.Errorf("%s %v takes something else than %s", other.Listen, other.Protocols, base.Listen)
		}
	}
}

// Ports that the configuration does not have any more are forgotten; those that it has under another name are not.
func TestTenureFollowsTheClaims(t *testing.T) {
	t.Parallel()
	kept, gone, off, renamed, wider := relay("a", "10.2.0.100:22"), relay("b", "10.2.0.100:23"), relay("c", "10.2.0.100:24"),
		relay("d", "10.2.0.100:25"), relay("e", "10.2.0.100:26")
	before := newTenure(&nat.Spec{Relays: []nat.Relay{kept, gone, off, renamed, wider}})
	since := time.Now()
	for i := range before.had {
		before.had[i], before.since[i] = true, since
	}
	off.Enabled, renamed.Name, wider.Protocols = false, "z", []nat.Protocol{nat.TCP, nat.UDP}
	after := before.of(&nat.Spec{Relays: []nat.Relay{renamed, wider, off, kept}})
	if want := []bool{true, false, false, true}; !slices.Equal(after.had, want) {
		t.Errorf("had %v, want %v", after.had, want)
	}
	if want := []time.Time{{}, since, since, since}; !slices.Equal(after.since, want) {
		t.Errorf("since %v, want %v", after.since, want)
	}
	back := after.of(&nat.Spec{Relays: []nat.Relay{relay("b", "10.2.0.100:23")}})
	if back.had[0] || !back.since[0].IsZero() {
		t.Error("a relay that was gone comes back with what it had")
	}
}

// Of thousands of statics a reload must not take so long that natd seems to hang: each compared with each takes half a minute.
func TestTenureOfManyStatics(t *testing.T) {
	t.Parallel()
	spec := new(nat.Spec)
	for i := range 1 << 13 {
		external := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 32)
		spec.Statics = append(spec.Statics, nat.Static{Name: fmt.Sprint(i), External: external, Enabled: true})
	}
	before := newTenure(spec)
	before.statics[7] = true
	other := &nat.Spec{Statics: slices.Clone(spec.Statics)}
	slices.Reverse(other.Statics)
	began := time.Now()
	after := before.of(other)
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	if last := len(other.Statics) - 1; !after.static(last-7) || after.static(last-8) || after.static(7) {
		t.Error("the claims went to others")
	}
}

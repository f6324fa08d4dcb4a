package firewall

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"natd/internal/lab"
)

// A set that is too large to be read is asked for the one key: of addresses, of ranges, of both.
func TestLargeSets(t *testing.T) {
	t.Parallel()
	const limit = 2000
	h := lab.NewHost(t)
	var script strings.Builder
	for _, s := range []struct{ name, typ, flags, element, more string }{
		{"plain", "ipv4_addr", "", "11.%d.%d.1", "10.9.9.9"},
		{"nets", "ipv4_addr", "flags interval;", "12.%d.%d.0/25", "10.9.8.0/25"},
		{"pairs", "ipv4_addr . inet_service", "flags interval;", "13.%d.%d.0/25 . 80-90", "10.9.7.0/25 . 80"},
	} {
		elements := []string{s.more}
		for i := range limit {
			elements = append(elements, fmt.Sprintf(s.element, i>>8, i&0xff))
		}
		fmt.Fprintf(&script, "add table inet f\nadd set inet f %s { type %s; %s elements = { %s }; }\n", s.name, s.typ, s.flags, strings.Join(elements, ", "))
	}
	script.WriteString(`table inet f { chain forward { type filter hook forward priority 0; policy drop;
		ip saddr @plain accept; ip saddr @nets accept; ip saddr . tcp dport @pairs accept; }; }`)
	lab.Check(t, h.Nft(t.Context(), script.String()))
	var r *Ruleset
	lab.Check(t, h.Do(func() (err error) {
		r, err = readOnce(t.Context(), limit)
		return err
	}))
	for from, want := range map[string]Outcome{
		"11.7.7.1": Accept, "11.7.7.2": Drop, "12.7.7.127": Accept, "12.7.7.0": Accept, "12.7.7.128": Drop, "13.7.7.5": Accept, "13.7.7.129": Drop,
	} {
		p := Packet{Hook: Forward, Proto: unix.IPPROTO_TCP, CTState: New, Src: netip.MustParseAddrPort(from + ":1"), Dst: netip.MustParseAddrPort("10.3.0.100:85")}
		lab.Check(t, h.Do(func() error {
			if f := r.Walk(p); len(f) != 1 || f[0].Outcome != want || !f[0].Certain {
				t.Errorf("from %s: %+v, want %s", from, f, want)
			}
			return nil
		}))
	}
	for id, s := range r.sets {
		if !s.large {
			t.Errorf("%v was read: it has %d elements", id, len(s.elements))
		}
	}
}

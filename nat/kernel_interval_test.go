package nat

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/lab"
	"natd/internal/nfnl"
)

// A network in the place of another that it overlaps with, or beside others, whoever put it there.
func TestIntervalsAreMended(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOff)
	want := scenarios()["gateways"].build()
	m.bring(want)
	before := m.list("ruleset")
	const own = "10.100.20.0/24 . 0.0.0.0/0"
	for name, script := range map[string]string{
		"narrower": "delete element inet natd gateways4 { " + own + " }\nadd element inet natd gateways4 { 10.100.20.0/25 . 0.0.0.0/0 }",
		"wider":    "flush set inet natd gateways4\nadd element inet natd gateways4 { 10.0.0.0/8 . 0.0.0.0/0 }",
		"another":  "add element inet natd gateways4 { 10.9.9.9 . 10.8.8.8, 10.7.0.0-10.7.0.5 . 10.8.8.8 }",
	} {
		t.Run(name, func(t *testing.T) {
			m.nft(script)
			m.mends(t, want, before)
		})
	}
	t.Run("without an end", func(t *testing.T) {
		f := families()[0]
		point := newSetOf("gateways4", f.pair, nil) // no set of intervals: its elements are written by one key
		b := nfnl.NewBatch(0)
		key := intervalKey(network(netip.MustParsePrefix("10.9.9.9/32")), network(netip.MustParsePrefix("10.8.8.8/32")))
		changeElements(b, unix.NFT_MSG_NEWSETELEM, point, []Element{{Key: key[:len(key)/2]}})
		lab.Check(t, m.commit(b))
		m.mends(t, want, before)
	})
}

// A static that leads elsewhere, and networks that are cut and joined, each in one transaction.
func TestNetworksChange(t *testing.T) {
	t.Parallel()
	m := newMachine(t, ProtectOff)
	static := func(internal string, from ...string) *Ruleset {
		return scenario{statics: []Static{{
			Name: "s", External: netip.MustParsePrefix("10.2.64.0/24"), Internal: netip.MustParsePrefix(internal), From: prefixes(from...), Enabled: true,
		}}}.build()
	}
	for range 2 {
		for _, want := range []*Ruleset{
			static("192.168.1.0/24"), static("192.168.2.0/24"), static("192.168.2.0/24", "10.1.0.0/17", "10.1.128.0/17"), static("192.168.1.0/24", "10.1.0.0/16"),
		} {
			m.bring(want)
		}
	}
}

// What it takes to build many statics grows with their number, and not with its square.
func TestManyStatics(t *testing.T) {
	t.Parallel()
	const n = 30_000
	s := scenario{statics: make([]Static, n)}
	for i := range n {
		host := func(first byte) netip.Prefix {
			return netip.PrefixFrom(netip.AddrFrom4([4]byte{first, 64, byte(i >> 8), byte(i)}), 32)
		}
		s.statics[i] = Static{Name: fmt.Sprint("s", i), External: host(100), Internal: host(10), Enabled: true}
	}
	done := make(chan struct{})
	go func() {
		s.build()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Errorf("%d statics are not built after %v", n, patience)
	}
}

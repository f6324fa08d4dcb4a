package daemon

import (
	"net/netip"
	"testing"
	"time"

	"natd/internal/flow"
	"natd/internal/lab"
	"natd/nat"
)

// A connection of a relay that is gone is still the relay's, whatever else has changed since, until a dump has found
// all that lived then, and the ends of those that it was too late for were heard of.
func TestOwners(t *testing.T) {
	t.Parallel()
	lab.Require(t, "conntrack")
	host := lab.NewHost(t)
	lab.Check(t, host.SetSysctl("net.netfilter.nf_conntrack_timestamp", "1"))
	host.Output(t, "conntrack", "-I", "-p", "tcp", "--state", "ESTABLISHED", "-t", "600", "-s", "10.1.0.5", "-d", "10.2.0.100",
		"--sport", "1001", "--dport", "80", "--dst-nat", "10.3.0.100:80")
	var e flow.Entry
	lab.Check(t, host.Do(func() error {
		table, err := flow.Open()
		if err != nil {
			return err
		}
		defer table.Close()
		return table.Entries(func(one *flow.Entry) { e = one.Clone() })
	}))
	judge := func(relays ...nat.Relay) *flow.Judge {
		spec := &nat.Spec{Relays: relays}
		places := &nat.Placements{Relays: make([]nat.Placement, len(relays))}
		return &flow.Judge{Spec: spec, Places: places, Index: nat.NewIndex(spec, []netip.Addr{netip.MustParseAddr("10.2.0.100")})}
	}
	old, without := judge(relay("old", "10.2.0.100:80")), judge()
	changed := func(after time.Duration) *owners {
		o := new(owners)
		o.change(old, e.Began().Add(after-time.Second))
		for i := range 3 * judgesHeld { // such as the health of a backend that comes and goes
			o.change(&flow.Judge{Spec: without.Spec, Index: without.Index}, e.Began().Add(after+time.Duration(i)*time.Second))
		}
		return o
	}
	o := changed(time.Second)
	if got := o.of(&e); got.Name != "old" {
		t.Errorf("a connection that began under the relay is %q's", got.Name)
	}
	o.forget(e.Began())
	if got := o.of(&e); got.Name != "old" {
		t.Errorf("one whose end is heard of behind the dump is %q's", got.Name)
	}
	o.forget(e.Began().Add(time.Hour))
	if got := o.of(&e); got.Name != "" {
		t.Errorf("one that no dump has found is %q's", got.Name)
	}
	if got := changed(-time.Second).of(&e); got.Name != "" {
		t.Errorf("one that began later is %q's", got.Name)
	}
}

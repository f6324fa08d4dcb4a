package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"natd/internal/control"
	"natd/nat"
)

// TestTableChanges leaves out what only a natd that runs knows, and what is not in the table.
func TestTableChanges(t *testing.T) {
	t.Parallel()
	spec := &nat.Spec{Relays: []nat.Relay{{Name: "web"}, {Name: "api", Health: nat.Health{Interval: time.Second}}}}
	steps := []string{
		"take ownership of table inet natd", "make table inet natd_guard", "set sysctl net.ipv4.ip_forward = 1 (now 0)",
		`add to relays4 { 10.2.0.100 . tcp . 80 comment "web" : 10.3.0.100 . 80 }`, `delete from turns4_tcp { 10.2.0.100 . 443 . 0 comment "api" : 10.3.0.101 . 443 }`,
		"write 2 rules of chain forward", "write 9 rules of chain choose_3", "set the policy of chain forward to drop (was accept)", "make set balance4 with 1 element",
	}
	want := []string{steps[3], steps[5], steps[7]}
	if got := TableChanges(steps, spec); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := TableChanges([]string{"make table inet natd", "make table inet natd anew: its flags are 0 and should be 6"}, spec); len(got) != 2 {
		t.Errorf("a table that is not there: %q", got)
	}
}

// TestTableChangesOfOneLess leaves out the rules that the first or the last choice between backends brings with it: natd died while one
// was down. Without a set that comes or goes, somebody else wrote the rules.
func TestTableChangesOfOneLess(t *testing.T) {
	t.Parallel()
	spec := &nat.Spec{Relays: []nat.Relay{{Name: "web", Health: nat.Health{Interval: time.Second}}}}
	steps := []string{"make set balance4_from16 with 1 element", "set up 8 chains, turn3_0 to turn3_7", "write 5 rules of chain prerouting", "write 2 rules of chain forward"}
	if got := TableChanges(steps, spec); !slices.Equal(got, steps[3:]) {
		t.Errorf("got %q, want %q", got, steps[3:])
	}
	if got := TableChanges(steps[2:], spec); !slices.Equal(got, steps[2:]) {
		t.Errorf("got %q, want %q", got, steps[2:])
	}
}

// TestNetstat reads a counter from below its name.
func TestNetstat(t *testing.T) {
	t.Parallel()
	const text = "TcpExt: SyncookiesSent IPReversePathFilter Other\nTcpExt: 0 7 9\nIpExt: InNoRoutes\nIpExt: 3\n"
	for name, want := range map[string]uint64{"IPReversePathFilter": 7, "Other": 9, "Missing": 0} {
		if got := netstat(text, "TcpExt:", name); got != want {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
	}
	if got := netstat("TcpExt: A\n", "TcpExt:", "A"); got != 0 {
		t.Errorf("names without numbers: %d", got)
	}
}

// TestSince tells a connection that is busy from one that has been silent for days.
func TestSince(t *testing.T) {
	t.Parallel()
	a := ages{"ESTABLISHED": 432000 * time.Second, unacknowledged: 300 * time.Second, "SYN_SENT": 120 * time.Second}
	for _, c := range []struct {
		state      string
		left, want time.Duration
	}{
		{"ESTABLISHED", 431999 * time.Second, time.Second},
		{"ESTABLISHED", 299 * time.Second, time.Second},
		{"SYN_SENT", 119 * time.Second, time.Second},
		{"SYN_SENT", 121 * time.Second, 0},
	} {
		if got := a.since(c.state, c.left); got != c.want {
			t.Errorf("%s with %v left: %v, want %v", c.state, c.left, got, c.want)
		}
	}
}

// TestSpecOf makes relays of natd's own words.
func TestSpecOf(t *testing.T) {
	t.Parallel()
	got := specOf(&control.Status{Relays: []control.Relay{{
		Name: "web", State: control.RelayReady, Listen: []string{":8000-8099"}, Protocol: []string{"tcp", "udp"}, From: []string{"10.1.0.0/16"}, SNAT: []string{"10.2.0.100"},
		Backends: []control.Backend{{Address: "[fd00::1]:9000-9099", Weight: 1}, {Address: "", Name: "db"}},
	}}, Gateways: []control.Gateway{{Name: "private", State: control.RelayReady, From: []string{"10.100.20.0/24"}, To: []string{"0.0.0.0/0"}}}, Statics: []control.Static{
		{Name: "overlap", State: control.RelayDisabled, External: "10.2.64.0/24"},
	}})
	want := nat.Relay{
		Name: "web", Enabled: true, Listen: nat.Listen{Ports: nat.PortRange{First: 8000, Last: 8099}}, Protocols: []nat.Protocol{nat.TCP, nat.UDP},
		From: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}, Backends: []nat.Backend{{Addr: addr("fd00::1"), Ports: nat.PortRange{First: 9000, Last: 9099}, Weight: 1}},
	}
	if len(got.Relays) != 1 || fmt.Sprintf("%+v", got.Relays[0]) != fmt.Sprintf("%+v", want) {
		t.Errorf("got %+v, want %+v", got.Relays, want)
	}
	gateway := nat.Gateway{Name: "private", Enabled: true, From: []netip.Prefix{netip.MustParsePrefix("10.100.20.0/24")}, To: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}
	if fmt.Sprintf("%+v", got.Gateways) != fmt.Sprintf("%+v", []nat.Gateway{gateway}) {
		t.Errorf("got %+v, want %+v", got.Gateways, gateway)
	}
	static := nat.Static{Name: "overlap", External: netip.MustParsePrefix("10.2.64.0/24")}
	if fmt.Sprintf("%+v", got.Statics) != fmt.Sprintf("%+v", []nat.Static{static}) {
		t.Errorf("got %+v, want %+v", got.Statics, static)
	}
}

// TestNewestOfOneSecond wants the connection that tells most, whichever the kernel lists first: it tells whole seconds, so what was closed
// just before an attempt looks as new as the attempt.
func TestNewestOfOneSecond(t *testing.T) {
	t.Parallel()
	flows := []Flow{
		{State: "SYN_SENT", Idle: time.Second},
		{State: "TIME_WAIT", Replied: true, Idle: time.Second},
		{State: "SYN_RECV", Replied: true, Idle: time.Second},
	}
	for range 2 {
		var s sighting
		for _, f := range flows {
			s.reached(f)
		}
		if s.newest.State != "SYN_RECV" {
			t.Errorf("of %v the newest is %v", flows, s.newest)
		}
		slices.Reverse(flows)
	}
}

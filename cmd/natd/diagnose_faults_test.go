package main

import (
	"net/netip"
	"testing"

	"natd/internal/control"
	"natd/internal/diagnose"
	"natd/internal/lab"
)

// TestDiagnoseHost injects faults into the host, one after the other, and mends each.
func TestDiagnoseHost(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	_, err := b.C.StartNginx(t.Context(), netip.MustParseAddrPort("10.3.0.100:80"))
	lab.Check(t, err)
	lab.Check(t, b.B.SetSysctl("net.ipv4.ip_forward", "1"))
	b.start("[host]\nip_forward = false\n" + webRelay("off"))
	for _, tt := range b.hostFaults() {
		t.Log(tt.name)
		lab.Check(t, tt.inject())
		if err := b.fetch(t.Context()); err == nil {
			t.Errorf("%s: it works all the same", tt.name)
		}
		b.wantCodes(tt.want, "web")
		lab.Check(t, tt.mend())
		b.awaitReady()
		lab.Eventually(t, patience, func() error { return b.fetch(t.Context()) })
		b.wantWhole("web")
	}
	b.kill()
	b.wantCodes([]diagnose.Code{diagnose.DaemonNotRunning}, "web")
	b.nft("delete table inet natd")
	b.wantCodes([]diagnose.Code{diagnose.RulesetMissing, diagnose.DaemonNotRunning}, "web")
	if _, code := b.diagnose("nope"); code != control.CodeFailed {
		t.Errorf("a relay that is not there: exit %d", code)
	}
}

// hostFault is a fault that can be injected into host B.
type hostFault struct {
	name         string
	inject, mend func() error
	want         []diagnose.Code
}

// hostFaults is faults of the network of the host and of other programs on it.
func (b *box) hostFaults() []hostFault {
	t := b.t
	target, everything, gateway := netip.MustParsePrefix("10.3.0.0/16"), netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.2.0.1")
	sysctl := func(key, value string) func() error { return func() error { return b.B.SetSysctl(key, value) } }
	nft := func(script string) func() error { return func() error { return b.B.Nft(t.Context(), script) } }
	ip := func(args ...string) func() error {
		return func() error {
			_, err := b.B.Run(t.Context(), "ip", args...)
			return err
		}
	}
	return []hostFault{
		{"forwarding off", sysctl("net.ipv4.ip_forward", "0"), sysctl("net.ipv4.ip_forward", "1"), []diagnose.Code{diagnose.IPForwardDisabled}},
		{"forwarding of the link off", sysctl("net.ipv4.conf.ens5.forwarding", "0"), sysctl("net.ipv4.conf.ens5.forwarding", "1"), []diagnose.Code{diagnose.IPForwardDisabled}},
		{
			"policy drop", nft("table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }"),
			nft("delete table ip filter"),
			[]diagnose.Code{diagnose.ForwardDrop},
		},
		{
			"raw drop", nft("table ip raw { chain pre { type filter hook prerouting priority -300; tcp dport 80 drop; }; }"),
			nft("delete table ip raw"),
			[]diagnose.Code{diagnose.InputDrop},
		},
		{
			"another translation", nft("table ip other { chain pre { type nat hook prerouting priority -150; tcp dport 80 dnat to 10.3.0.99:80; }; }"),
			nft("delete table ip other"),
			[]diagnose.Code{diagnose.NATShadowed},
		},
		{"blackhole", ip("route", "add", "blackhole", target.String()), ip("route", "del", "blackhole", target.String()), []diagnose.Code{diagnose.NoRoute}},
		{
			"no route", func() error { return b.B.DelRoute(everything, gateway) }, func() error { return b.B.AddRoute(everything, gateway) },
			[]diagnose.Code{diagnose.NoRoute, diagnose.ReplyNotArrived},
		},
		{
			"interface down", func() error { return b.B.SetUp(lab.Device, false) }, func() error {
				lab.Check(t, b.B.SetUp(lab.Device, true))
				return b.B.AddRoute(everything, gateway)
			}, []diagnose.Code{diagnose.EgressDown},
		},
		{
			"address gone", ip("address", "del", "10.2.0.100/24", "dev", "ens5"), func() error {
				lab.Check(t, ip("address", "add", "10.2.0.100/24", "dev", "ens5")())
				return b.B.AddRoute(everything, gateway)
			}, []diagnose.Code{diagnose.RelayAddressNotLocal, diagnose.NoRoute, diagnose.ReplyNotArrived},
		},
	}
}

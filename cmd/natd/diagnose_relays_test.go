package main

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"natd/internal/control"
	"natd/internal/diagnose"
	"natd/internal/lab"
)

// faultyRelays are relays that each have a fault of their own, and one that has none.
const faultyRelays = labRelay + `
[[relay]]
name = "refused"
listen = "10.2.0.100:81"
to = ["10.3.0.100:81"]

[[relay]]
name = "refused-udp"
listen = "10.2.0.100:81"
protocol = "udp"
to = ["10.3.0.100:81"]

[[relay]]
name = "refused6"
listen = "[fd00:10:2::100]:81"
to = ["[fd00:10:3::100]:81"]

[[relay]]
name = "unreachable"
listen = "10.2.0.100:82"
to = ["10.3.0.77:80"]

[[relay]]
name = "silent"
listen = "10.2.0.100:83"
to = ["10.3.0.100:83"]

[[relay]]
name = "disabled"
listen = "10.2.0.100:84"
to = ["10.3.0.100:80"]
enabled = false

[[relay]]
name = "address"
listen = "10.2.0.77:80"
to = ["10.3.0.100:80"]

[[relay]]
name = "name"
listen = "10.2.0.100:85"
to = ["db.example:80"]

[[relay]]
name = "egress"
listen = "10.2.0.100:86"
to = ["10.3.0.100:80"]
egress = "ens9"

[[relay]]
name = "source"
listen = "10.2.0.100:87"
to = ["10.3.0.100:80"]
snat = "10.2.0.55"

[[relay]]
name = "drained"
listen = "10.2.0.100:88"
to = ["10.3.0.100:80"]

[[relay]]
name = "taken"
listen = "10.2.0.100:89"
to = ["10.3.0.100:80"]

[[relay]]
name = "full"
listen = "10.2.0.100:90"
to = ["10.3.0.100:7"]
max_connections = 1

[[relay]]
name = "asymmetric"
listen = "10.2.0.100:91"
to = ["10.3.0.100:80"]
snat = "off"

[[relay]]
name = "half"
listen = "10.2.0.100:92"
to = ["10.3.0.100:80", "10.3.0.100:81"]

[[relay]]
name = "neighbour"
listen = "10.2.0.100:93"
to = ["10.2.0.9:80"]
`

// TestDiagnoseRelays asks about all relays at once, while a client tries some: what one has is not taken for what another has.
func TestDiagnoseRelays(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	_, err := b.C.StartNginx(t.Context(), netip.MustParseAddrPort("10.3.0.100:80"))
	lab.Check(t, err)
	lab.Check(t, b.C.Nft(t.Context(), "table inet f { chain input { type filter hook input priority 0; tcp dport 83 drop; }; }"))
	_, err = b.C.EchoTCP("10.3.0.100:7")
	lab.Check(t, err)
	_, err = b.B.Listen("tcp", "10.2.0.100:89")
	lab.Check(t, err)
	b.configure(faultyRelays)
	b.launch()
	b.awaitDegraded("relay taken")
	if out, errs, code := b.natctl("drain", "drained"); code != 0 {
		t.Fatalf("drain exits %d: %s%s", code, out, errs)
	}
	held := b.A.Converse(t, netip.Addr{}, "10.2.0.100:90")
	defer held.End(t)
	_, _ = b.A.Curl(t.Context(), "http://10.2.0.100:91/", "--max-time", "1")
	r, code := b.diagnose()
	got := make(map[string][]diagnose.Code)
	for _, p := range r.Paths {
		got[p.Relay+" "+p.Target] = nil
		for _, e := range p.Explanations {
			got[p.Relay+" "+p.Target] = append(got[p.Relay+" "+p.Target], e.ExplanationCode)
		}
	}
	if diff := cmp.Diff(faultyRelayCodes(), got); diff != "" || code != control.CodeDegraded || r.NetworkPathFound {
		t.Errorf("diagnose exits %d (-want +got):\n%s\n%s", code, diff, indented(r))
	}
	b.wantCodes([]diagnose.Code{diagnose.TargetRefused}, "10.2.0.100:81") // one of two relays
	b.wantCodes([]diagnose.Code{diagnose.RelayDisabled}, "disabled")
	b.wantWhole("web")
}

// faultyRelayCodes are those of each path of faultyRelays. Nobody asks about a relay that is disabled but by its name.
func faultyRelayCodes() map[string][]diagnose.Code {
	return map[string][]diagnose.Code{
		"address 10.3.0.100:80":        {diagnose.RelayAddressNotLocal},
		"asymmetric 10.3.0.100:80":     {diagnose.Asymmetric},
		"drained 10.3.0.100:80":        {diagnose.BackendsDrained},
		"egress 10.3.0.100:80":         {diagnose.EgressDown},
		"full 10.3.0.100:7":            {diagnose.RelayLimitReached},
		"half 10.3.0.100:80":           nil,
		"half 10.3.0.100:81":           {diagnose.TargetRefused},
		"name db.example":              {diagnose.TargetNameUnknown},
		"neighbour 10.2.0.9:80":        {diagnose.TargetUnreachable},
		"refused 10.3.0.100:81":        {diagnose.TargetRefused},
		"refused-udp 10.3.0.100:81":    {diagnose.TargetRefused},
		"refused6 [fd00:10:3::100]:81": {diagnose.TargetRefused},
		"silent 10.3.0.100:83":         {diagnose.TargetNoReply}, // it answers a ping, so it has a way back
		"source 10.3.0.100:80":         {diagnose.SNATNotLocal},
		"taken 10.3.0.100:80":          {diagnose.RelayPortShadows},
		"unreachable 10.3.0.77:80":     {diagnose.TargetUnreachable},
		"web 10.3.0.100:80":            nil,
	}
}

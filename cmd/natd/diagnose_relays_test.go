package main

import (
	"errors"
	"net/netip"
	"testing"

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

// TestDiagnoseRelays asks about relays that have a fault each, while a client tries them.
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
	try := func(addr string) { _, _ = b.A.Curl(t.Context(), "http://"+addr+"/", "--max-time", "1") }
	try("10.2.0.100:91")
	for _, tt := range []struct {
		relay string
		want  []diagnose.Code
	}{
		{"refused", []diagnose.Code{diagnose.TargetRefused}},
		{"10.2.0.100:81", []diagnose.Code{diagnose.TargetRefused}},
		{"refused-udp", []diagnose.Code{diagnose.TargetRefused}},
		{"refused6", []diagnose.Code{diagnose.TargetRefused}},
		{"unreachable", []diagnose.Code{diagnose.TargetUnreachable}},
		{"silent", []diagnose.Code{diagnose.TargetNoReply}}, // it answers a ping, so it has a way back
		{"disabled", []diagnose.Code{diagnose.RelayDisabled}},
		{"address", []diagnose.Code{diagnose.RelayAddressNotLocal}},
		{"name", []diagnose.Code{diagnose.TargetNameUnknown}},
		{"egress", []diagnose.Code{diagnose.EgressDown}},
		{"source", []diagnose.Code{diagnose.SNATNotLocal}},
		{"drained", []diagnose.Code{diagnose.BackendsDrained}},
		{"taken", []diagnose.Code{diagnose.RelayPortShadows}},
		{"full", []diagnose.Code{diagnose.RelayLimitReached}},
		{"asymmetric", []diagnose.Code{diagnose.Asymmetric}},
		{"neighbour", []diagnose.Code{diagnose.TargetUnreachable}},
	} {
		b.wantCodes(tt.want, tt.relay)
	}
	b.wantWhole("web")
	r, _ := b.diagnose("half")
	if len(r.Paths) != 2 || !r.Paths[0].NetworkPathFound || r.Paths[1].NetworkPathFound || r.NetworkPathFound {
		t.Errorf("of a relay with one backend that refuses:\n%s", indented(r))
	}
	if r, _ := b.diagnose(); len(r.Paths) != 17 {
		t.Errorf("%d paths were looked at", len(r.Paths))
	}
}

// TestDiagnoseWayBack breaks what only connections show: the way back to the client, entries that an older natd left, the reverse
// path filter, the size of packets.
func TestDiagnoseWayBack(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	_, err := b.C.StartNginx(t.Context(), netip.MustParseAddrPort("10.3.0.100:80"))
	lab.Check(t, err)
	_, err = b.C.EchoUDP("10.3.0.100:53")
	lab.Check(t, err)
	_, err = b.AddPrivate()
	lab.Check(t, err)
	b.start(webRelay("off") + "\n[[relay]]\nname = \"dns\"\nlisten = \"10.2.0.100:53\"\nprotocol = \"udp\"\nto = [\"10.3.0.100:53\"]\n")

	lab.Check(t, b.R.Nft(t.Context(), "table ip f { chain forward { type filter hook forward priority -1; oifname a drop; }; }"))
	trying := make(chan struct{})
	go func() {
		defer close(trying)
		_, _ = b.A.Curl(t.Context(), "http://10.2.0.100/", "--max-time", "4")
	}()
	lab.Eventually(t, patience, func() error {
		entries, err := b.B.Conntrack(t.Context(), "-p", "tcp", "--state", "SYN_RECV")
		if err == nil && len(entries) == 0 {
			err = errors.New("there is none")
		}
		return err
	})
	b.wantCodes([]diagnose.Code{diagnose.ReplyNotArrived}, "web")
	<-trying
	lab.Check(t, b.R.Nft(t.Context(), "delete table ip f"))
	lab.Check(t, b.fetch(t.Context()))
	b.wantWhole("web")

	b.wantWhole("dns")
	lab.Check(t, reach(t, b.A, "udp", "10.2.0.100:53", patience))
	b.wantWhole("dns")

	b.kill() // it would loosen the filter, and remove the entry
	_, err = b.B.Run(t.Context(), "ip", "route", "add", "10.1.0.0/16", "dev", "ens6")
	lab.Check(t, err)
	lab.Check(t, b.B.SetSysctl("net.ipv4.conf.ens5.rp_filter", "1"))
	if b.fetch(t.Context()) == nil {
		t.Error("a strict filter lets it pass")
	}
	b.wantCodes([]diagnose.Code{diagnose.RPFilterDrop, diagnose.DaemonNotRunning}, "web")
	_, err = b.B.Run(t.Context(), "ip", "route", "del", "10.1.0.0/16", "dev", "ens6")
	lab.Check(t, err)
	lab.Check(t, b.fetch(t.Context()))
	b.wantCodes([]diagnose.Code{diagnose.DaemonNotRunning}, "web")
	out, err := b.B.Run(t.Context(), "conntrack", "-I", "-p", "udp", "-s", "10.1.0.100", "--sport", "5353", "-d", "10.2.0.100", "--dport", "53",
		"-r", "10.3.0.66", "-q", "10.2.0.100", "--reply-port-src", "53", "--reply-port-dst", "5353", "-t", "600", "-u", "SEEN_REPLY,ASSURED")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r, _ := b.diagnose("dns")
	if got := codes(r); len(got) != 2 || got[0] != diagnose.StaleFlows || got[1] != diagnose.DaemonNotRunning {
		t.Errorf("a stale flow is %v:\n%s", got, indented(r))
	}
}

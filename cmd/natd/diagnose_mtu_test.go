package main

import (
	"net/netip"
	"testing"

	"natd/internal/diagnose"
	"natd/internal/lab"
)

// TestDiagnoseNarrow has a link that large packets vanish on, and the remedy that diagnose names.
func TestDiagnoseNarrow(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	_, err := b.Narrow(t.Context(), 1400)
	lab.Check(t, err)
	_, err = b.C.StartNginx(t.Context(), netip.MustParseAddrPort("10.3.0.100:80"))
	lab.Check(t, err)
	b.start(webRelay("auto"))
	b.wantCodes([]diagnose.Code{diagnose.MTUBlackhole}, "web")
	b.reload(webRelay("auto") + "mss = 1360\n")
	b.wantWhole("web")
}

// TestDiagnoseLoop relays in a circle of two natds' making: the second is a router that sends everything back.
func TestDiagnoseLoop(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	lab.Check(t, b.C.Nft(t.Context(), `table ip back {
		chain pre { type nat hook prerouting priority dstnat; tcp dport 80 dnat to 10.2.0.100; }
		chain post { type nat hook postrouting priority srcnat; ip daddr 10.2.0.100 snat to 10.3.0.100; }
	}`))
	lab.Check(t, b.C.SetSysctl("net.ipv4.ip_forward", "1"))
	b.start(relayForEveryone)
	_ = b.fetch(t.Context())
	r, _ := b.diagnose("web")
	if got := codes(r); len(got) == 0 || got[0] != diagnose.RelayLoop {
		t.Errorf("a loop is %v:\n%s", got, indented(r))
	}
}

const relayForEveryone = `
[[relay]]
name = "web"
listen = "10.2.0.100:80"
to = ["10.3.0.100:80"]
`

package lab

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// relayHTTP relays B's port 80 to C, and lets no side send segments larger than the given ones.
const relayHTTP = `table inet relay {
	chain pre {
		type nat hook prerouting priority dstnat
		tcp dport 80 dnat ip to 10.3.0.100
		tcp dport 80 dnat ip6 to fd00:10:3::100
	}
	chain post {
		type nat hook postrouting priority srcnat
		ct status dnat masquerade
	}
	chain clamp {
		type filter hook forward priority mangle
		tcp flags syn tcp option maxseg size set %d
	}
}`

// TestNarrow downloads through a hop of 1400 bytes that tells nobody: what is left after 20 bytes of TCP and 20 of IPv4, or
// 40 of IPv6, passes, and what does not fit never arrives.
func TestNarrow(t *testing.T) {
	t.Parallel()
	Require(t, "nginx", "curl", "tcpdump")
	for _, tt := range []struct {
		mss    int
		v4, v6 bool
	}{{1361, false, false}, {1360, true, false}, {1341, true, false}, {1340, true, true}} {
		t.Run(fmt.Sprint(tt.mss), func(t *testing.T) {
			t.Parallel()
			p := New(t)
			_, err := p.Narrow(t.Context(), 1400)
			Check(t, err)
			Check(t, p.B.Nft(t.Context(), fmt.Sprintf(relayHTTP, tt.mss)))
			Check(t, p.B.forward())
			var listen []netip.AddrPort
			for _, a := range p.C.addrs() {
				listen = append(listen, netip.AddrPortFrom(a, 80))
			}
			n, err := p.C.StartNginx(t.Context(), listen...)
			Check(t, err)
			large := strings.Repeat("natd", 1<<18)
			Check(t, n.Publish("large", large))
			Check(t, n.Publish("small", "natd"))
			capture, err := p.C.Capture(t.Context(), Device, "tcp src port 80 and greater 1415") // 1400 bytes, and 14 of Ethernet
			Check(t, err)
			downloads(t, p, netip.AddrPortFrom(p.B.Addr, 80), large, tt.v4)
			if p.B.Addr6.IsValid() {
				downloads(t, p, netip.AddrPortFrom(p.B.Addr6, 80), large, tt.v6)
			}
			tooLarge, err := capture.Stop(t.Context())
			Check(t, err)
			if fit := tt.v4 && (tt.v6 || !p.B.Addr6.IsValid()); fit != (len(tooLarge) == 0) {
				t.Errorf("C sent %d packets that are too large, want none: %v", len(tooLarge), fit)
			}
		})
	}
}

// downloads wants A to get a small page, and a large one or nothing of it.
func downloads(t *testing.T, p *Peering, from netip.AddrPort, large string, want bool) {
	t.Helper()
	url := "http://" + from.String() + "/"
	_, err := p.A.Curl(t.Context(), url+"small")
	Check(t, err)
	limit := "20"
	if !want {
		limit = "1"
	}
	body, err := p.A.Curl(t.Context(), url+"large", "--max-time", limit)
	if got := err == nil && body == large; got != want {
		t.Errorf("%v: got %d bytes (%v), want them all: %v", from, len(body), err, want)
	}
	if !want && ExitCode(err) != 28 { // curl(1): operation timeout
		t.Errorf("%v: %v, want a download that hangs", from, err)
	}
}

func TestSetLinkMTU(t *testing.T) {
	t.Parallel()
	p := New(t)
	Check(t, p.SetLinkMTU(p.A, 1500))
	for host, dev := range map[*Host]string{p.A: Device, p.R: "a"} {
		if got := host.Output(t, "cat", "/sys/class/net/"+dev+"/mtu"); got != "1500\n" {
			t.Errorf("%s of %s has the MTU %q", dev, host.Name, got)
		}
	}
	if err := p.SetLinkMTU(p.R, 1500); err == nil {
		t.Error("the router has a link to itself")
	}
}

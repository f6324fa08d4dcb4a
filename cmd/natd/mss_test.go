package main

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"natd/internal/lab"
)

// sizeOf finds the maximum segment size in what tcpdump prints of a SYN or SYN-ACK.
var sizeOf = regexp.MustCompile(`mss (\d+)`)

// sizes is the maximum segment sizes that the two ends of a connection were told: the server by the client's SYN, the client by the
// server's SYN-ACK.
type sizes struct{ server, client int }

// told dials from the client, and looks at what arrives at both ends.
func told(t *testing.T, client, server *lab.Host, to netip.AddrPort, port uint16) sizes {
	t.Helper()
	filter := fmt.Sprintf("tcp port %d and greater 54", port)
	atClient, err := client.Capture(t.Context(), lab.Device, filter)
	lab.Check(t, err)
	atServer, err := server.Capture(t.Context(), lab.Device, filter)
	lab.Check(t, err)
	lab.Check(t, says(t, client, "tcp", netip.Addr{}, to))
	return sizes{server: announced(t, atServer, "S"), client: announced(t, atClient, "S.")}
}

// announced is the size in the first packet with those flags.
func announced(t *testing.T, c *lab.Capture, flags string) (size int) {
	t.Helper()
	lab.Check(t, c.Await(t.Context(), patience, func(packets []lab.Packet) error {
		for _, p := range packets {
			if found := sizeOf.FindStringSubmatch(p.Line); p.Flags == flags && found != nil {
				var err error
				size, err = strconv.Atoi(found[1])
				return err
			}
		}
		return fmt.Errorf("no packet with flags %q has a size", flags)
	}))
	return size
}

// TestSegmentSizes looks at what both ends are told, for every way that host B can know of an MTU.
func TestSegmentSizes(t *testing.T) {
	t.Parallel()
	route := func(dst, via, mtu string) func(t *testing.T, b *box) {
		return func(t *testing.T, b *box) {
			t.Helper()
			b.B.Output(t, "ip", "route", "replace", dst, "via", via, "mtu", mtu)
		}
	}
	const v4, v6 = 40, 60 // the headers (RFC 9293, RFC 791, RFC 8200)
	const full, full6 = 9001 - v4, 9001 - v6
	tests := map[string]struct {
		prepare func(t *testing.T, b *box)
		mss     string
		v4, v6  sizes
	}{
		"nothing is narrow": {func(*testing.T, *box) {}, `"auto"`, sizes{full, full}, sizes{full6, full6}},
		"interface of B": {
			func(t *testing.T, b *box) { t.Helper(); lab.Check(t, b.SetLinkMTU(b.B, 1500)) },
			`"auto"`,
			sizes{1460, 1460},
			sizes{1440, 1440},
		},
		"interface of A": {
			func(t *testing.T, b *box) { t.Helper(); lab.Check(t, b.SetLinkMTU(b.A, 1500)) },
			`"auto"`,
			sizes{1460, full},
			sizes{1440, full6}, // A sends what fits its own interface
		},
		"route to C":    {route("10.3.0.0/16", "10.2.0.1", "1400"), `"auto"`, sizes{1360, 1360}, sizes{full6, full6}},
		"route to A":    {route("10.1.0.0/16", "10.2.0.1", "1400"), `"auto"`, sizes{1360, 1360}, sizes{full6, full6}},
		"IPv6 route":    {route("fd00:10:1::/48", "fd00:10:2::1", "1400"), `"auto"`, sizes{full, full}, sizes{1340, 1340}},
		"number":        {func(*testing.T, *box) {}, "1360", sizes{1360, 1360}, sizes{1360, 1360}},
		"number, large": {func(t *testing.T, b *box) { t.Helper(); lab.Check(t, b.SetLinkMTU(b.A, 1500)) }, "8000", sizes{1460, 8000}, sizes{1440, 8000}},
		"off":           {route("10.3.0.0/16", "10.2.0.1", "1400"), `"off"`, sizes{full, full}, sizes{full6, full6}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			tt.prepare(t, b)
			_, err := b.C.EchoTCP(":7")
			lab.Check(t, err)
			b.start(fmt.Sprintf("[[relay]]\nname = \"echo\"\nlisten = \":7\"\nto = [\"10.3.0.100:7\", \"[fd00:10:3::100]:7\"]\nmss = %s\n", tt.mss))
			for i, want := range []sizes{tt.v4, tt.v6} {
				if got := told(t, b.A, b.C, netip.AddrPortFrom(addrsOf(b.B)[i], 7), 7); got != want {
					t.Errorf("family %d: the ends are told %+v, want %+v", i, got, want)
				}
			}
		})
	}
}

// TestSegmentSizesBehind is the same for what has no relay: gateways and statics, of one family alone.
func TestSegmentSizesBehind(t *testing.T) {
	t.Parallel()
	for i, family := range []string{"IPv4", "IPv6"} {
		want := []sizes{{1360, 1360}, {1340, 1340}}[i]
		t.Run("gateway of "+family, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t)
			e.B.Output(t, "ip", "route", "replace", []string{"203.0.113.0/24", "2001:db8::/64"}[i], "via", []string{"10.2.0.1", "fd00:10:2::1"}[i], "mtu", "1400")
			e.start(fmt.Sprintf("[[gateway]]\nname = \"out\"\nfrom = [%q]\n", []string{privateNet, privateNet6}[i]))
			if got := told(t, e.private, e.internet, e.servers[i], 7); got != want {
				t.Errorf("the ends are told %+v, want %+v", got, want)
			}
		})
		t.Run("static of "+family, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			p := staticPairs()[i]
			ownAll(t, b.C)
			lab.Check(t, b.RouteTo(p.internal, b.C))
			b.B.Output(t, "ip", "route", "replace", p.internal.String(), "via", []string{"10.2.0.1", "fd00:10:2::1"}[i], "mtu", "1400")
			b.start(fmt.Sprintf("[[static]]\nname = \"s\"\nexternal = %q\ninternal = %q\n", p.external, p.internal))
			if got := told(t, b.A, b.C, netip.AddrPortFrom(nth(p.external, 7), 7), 7); got != want {
				t.Errorf("the ends are told %+v, want %+v", got, want)
			}
		})
	}
}

// TestNarrowPath downloads over a hop that is narrower than every host knows, and that nobody tells of.
func TestNarrowPath(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ passes4, passes6 bool }{`"off"`: {false, false}, "1360": {true, false}, "1340": {true, true}}
	for mss, tt := range tests {
		t.Run(mss, func(t *testing.T) {
			t.Parallel()
			lab.Require(t, "nginx", "curl")
			b := newBox(t)
			_, err := b.Narrow(t.Context(), 1400)
			lab.Check(t, err)
			nginx, err := b.C.StartNginx(t.Context(), netip.MustParseAddrPort("10.3.0.100:80"), netip.MustParseAddrPort("[fd00:10:3::100]:80"))
			lab.Check(t, err)
			large := strings.Repeat("natd", 1<<18)
			lab.Check(t, nginx.Publish("large", large))
			b.start(fmt.Sprintf("[[relay]]\nname = \"web\"\nlisten = \":80\"\nto = [\"10.3.0.100:80\", \"[fd00:10:3::100]:80\"]\nmss = %s\n", mss))
			for i, passes := range []bool{tt.passes4, tt.passes6} {
				patience := map[bool]string{true: "20", false: "1"}[passes]
				body, err := b.A.Curl(t.Context(), "http://"+netip.AddrPortFrom(addrsOf(b.B)[i], 80).String()+"/large", "--max-time", patience)
				if got := err == nil && body == large; got != passes {
					t.Errorf("family %d: %d bytes (%v), want them all: %v", i, len(body), err, passes)
				}
				if !passes && lab.ExitCode(err) != 28 { // curl(1): operation timeout
					t.Errorf("family %d: %v, want a download that hangs", i, err)
				}
			}
		})
	}
}

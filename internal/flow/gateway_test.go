package flow

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"natd/internal/lab"
	"natd/nat"
)

// behind makes a private host, the tracker's host as its gateway, and a host that stands for the internet.
func behind(t *testing.T, c *tracker) (private, internet *lab.Host) {
	t.Helper()
	private, internet = lab.NewHost(t), lab.NewHost(t)
	lab.Check(t, lab.Connect(
		lab.End{Host: private, Name: "ens5", Addrs: prefixes("10.100.1.5/24", "fd00:100::5/64")},
		lab.End{Host: c.host, Name: "inside", Addrs: prefixes("10.100.1.1/24", "fd00:100::1/64")},
	))
	lab.Check(t, lab.Connect(
		lab.End{Host: c.host, Name: "outside", Addrs: prefixes("198.51.100.2/24", "fd00:200::2/64")},
		lab.End{Host: internet, Name: "ens5", Addrs: prefixes("198.51.100.1/24", "fd00:200::1/64")},
	))
	lab.Check(t, private.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.100.1.1")))
	lab.Check(t, private.AddRoute(netip.MustParsePrefix("::/0"), netip.MustParseAddr("fd00:100::1")))
	lab.Check(t, c.host.Nft(t.Context(), `table inet t { chain c {
		type nat hook postrouting priority srcnat
		ip saddr 10.100.1.0/24 masquerade
		ip6 saddr fd00:100::/64 masquerade
	}; }`))
	for _, key := range []string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"} {
		lab.Check(t, c.host.SetSysctl(key, "1"))
	}
	return private, internet
}

// ping sends an echo request (RFC 792, 4443) and waits for the reply.
func ping(t *testing.T, h *lab.Host, addr string) {
	t.Helper()
	network, request, reply := "ip4:icmp", byte(8), byte(0)
	if strings.Contains(addr, ":") {
		network, request, reply = "ip6:ipv6-icmp", 128, 129
	}
	conn, err := h.Dial(t.Context(), network, addr)
	lab.Check(t, err)
	defer conn.Close()
	lab.Check(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	// The checksum is the complement of the only word that is not zero; that of ICMPv6 is the kernel's affair.
	_, err = conn.Write([]byte{request, 0, ^request, 0xff, 0, 0, 0, 0})
	lab.Check(t, err)
	answer := make([]byte, 100)
	for answer[0] = request; answer[0] != reply; {
		_, _, err = conn.(*net.IPConn).ReadFrom(answer) // Read would keep the header of IPv4
		lab.Check(t, err)
	}
}

// What a gateway carries, pings too, stays while it is wanted and ends with it, as the kernel has it.
func TestJudgeOfAKernelGateway(t *testing.T) {
	t.Parallel()
	c := newTracker(t)
	private, internet := behind(t, c)
	for _, addr := range []string{"198.51.100.1", "fd00:200::1"} {
		server := netip.AddrPortFrom(netip.MustParseAddr(addr), 7).String()
		if _, err := internet.EchoTCP(server); err != nil {
			t.Fatal(err)
		}
		conn, err := private.Dial(t.Context(), "tcp", server)
		lab.Check(t, err)
		defer conn.Close()
		lab.Check(t, echo(conn))
		ping(t, private, addr)
	}
	was := &nat.Spec{Gateways: []nat.Gateway{gateway("10.100.1.0/24", "fd00:100::/64")}}
	condemned := func(j *Judge) (found []Entry, texts []string) {
		lab.Check(t, c.Entries(func(e *Entry) {
			if why := j.Condemned(e); why != "" {
				found = append(found, e.Clone())
				texts = append(texts, e.Proto.String()+" "+e.Orig.Dst.String()+" "+why)
			}
		}))
		slices.Sort(texts)
		return found, texts
	}
	if _, texts := condemned(judgeChange(was, was)); len(texts) > 0 {
		t.Errorf("while the gateway is wanted: %q", texts)
	}
	found, texts := condemned(judgeChange(was, &nat.Spec{}))
	want := []string{"1 198.51.100.1:0 " + WhyGone, "58 [fd00:200::1]:0 " + WhyGone, "tcp 198.51.100.1:7 " + WhyGone, "tcp [fd00:200::1]:7 " + WhyGone}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Fatalf("(-want +got):\n%s\n%s", diff, strings.Join(c.listed(), "\n"))
	}
	if n, err := c.Delete(found); err != nil || n != len(want) {
		t.Errorf("Delete removed %d, %v, want %d", n, err, len(want))
	}
	for _, line := range c.listed() {
		if strings.Contains(line, "198.51.100.1") || strings.Contains(line, "fd00:200::1") {
			t.Errorf("still tracked: %s", line)
		}
	}
}

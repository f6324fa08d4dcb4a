package lab

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestAssociate(t *testing.T) {
	t.Parallel()
	Require(t, "conntrack")
	p := New(t)
	Check(t, p.B.Nft(t.Context(), `table inet relay {
		chain pre {
			type nat hook prerouting priority dstnat
			sctp dport 36412 dnat ip to 10.3.0.100
			sctp dport 36412 dnat ip6 to fd00:10:3::100
		}
		chain post {
			type nat hook postrouting priority srcnat
			ct status dnat masquerade
		}
	}`))
	Check(t, p.B.forward())
	for i, to := range p.B.addrs() {
		server, err := p.C.AnswerSCTP(netip.AddrPortFrom(p.C.addrs()[i], 36412))
		if errors.Is(err, ErrSCTP) {
			t.Skip(err)
		}
		Check(t, err)
		Check(t, p.A.Associate(t.Context(), 4000, netip.AddrPortFrom(to, 36412)))
		if got, want := server.Peers(), netip.AddrPortFrom(to, 4000); len(got) != 1 || got[0] != want {
			t.Errorf("the server met %v, want %v", got, want)
		}
		tracked, err := p.B.Conntrack(t.Context(), "-p", "sctp", "-d", to.String(), "-f", []string{"ipv4", "ipv6"}[i])
		Check(t, err)
		want := fmt.Sprintf("ESTABLISHED src=%v dst=%v sport=4000 dport=36412 src=%v", p.A.addrs()[i], to, p.C.addrs()[i])
		if len(tracked) != 1 || !strings.Contains(tracked[0], want) {
			t.Errorf("B tracks %q, want %q", tracked, want)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), blocked)
	defer cancel()
	if err := p.A.Associate(ctx, 4001, netip.MustParseAddrPort("10.2.0.100:36413")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v from a port without a server, want no answer", err)
	}
}

func TestSCTPPacket(t *testing.T) {
	t.Parallel()
	p := sctpPacket{src: 4000, dst: 36412, tag: 0x01020304, chunk: sctpCookieEcho, value: []byte{1, 2, 3, 4, 5}}
	b := p.bytes()
	if want := "0fa08e3c01020304"; len(b) != 24 || hex.EncodeToString(b[:8]) != want {
		t.Errorf("the packet is %x, want 24 bytes that begin with %s", b, want)
	}
	got, err := parseSCTP(b)
	Check(t, err)
	if got.src != p.src || got.dst != p.dst || got.tag != p.tag || got.chunk != p.chunk || !bytes.Equal(got.value, p.value) {
		t.Errorf("got %+v, want %+v", got, p)
	}
	for i := range b {
		broken := bytes.Clone(b)
		broken[i] ^= 1
		if _, err := parseSCTP(broken); err == nil {
			t.Errorf("a packet with another byte %d was taken", i)
		}
		if _, err := parseSCTP(b[:i]); err == nil {
			t.Errorf("a packet of %d bytes was taken", i)
		}
	}
}

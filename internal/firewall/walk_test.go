package firewall

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"natd/internal/lab"
)

// A rule that cannot be decided leaves both ways open: what it and those behind it do is not certain, unless they agree.
func TestUncertain(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	for rules, want := range map[string]string{
		"limit rate 5/second accept":                                     "maybe accept, maybe drop",
		"limit rate 5/second drop":                                       "drop",
		"ip ttl 9 jump other":                                            "maybe accept, maybe drop",
		"ip ttl 9 meta mark set 1; meta mark 1 accept":                   "maybe accept, maybe drop",
		"ip ttl 9 meta mark set 1; meta mark 2 accept":                   "drop",
		"meta mark set 1; meta mark 1 accept":                            "accept",
		"ip ttl 9 accept; ip saddr 10.1.0.100 accept":                    "accept",
		"ip ttl 9 return; accept":                                        "maybe accept, maybe drop",
		"numgen random mod 2 vmap { 0 : jump other, 1 : accept }; drop;": "maybe accept, maybe drop",
		"tcp sport 5 accept":                                             "maybe accept, maybe drop", // the port is not known
		"tcp sport != 0 tcp dport 81 accept":                             "drop",
		"tcp option maxseg size > 9 accept":                              "maybe accept, maybe drop",
		"udp dport 80 accept":                                            "drop",
		"update @seen { ip saddr limit rate 1/second } accept":           "maybe accept, maybe drop",
		"tcp flags syn / syn,ack,rst,fin accept":                         "accept",
		"tcp flags ack accept":                                           "drop",
		"ct state untracked accept; ct status dnat accept":               "accept",
		"ct status snat accept":                                          "drop",
		"ct original ip daddr 10.1.0.1 ct status dnat accept":            "accept",
		"fib saddr . iif oif exists accept":                              "accept",
		"fib daddr type local accept":                                    "drop",
	} {
		b.forget()
		b.nft("table inet t0 { set seen { type ipv4_addr; flags dynamic; size 9; }; chain other { accept; }; chain f { type filter hook forward priority 0; policy drop; " + rules + "; }; }")
		p := translatedSYN()
		p.TCPFlags = FlagSYN
		var got []string
		seen := make(map[string]bool)
		for _, f := range b.forward(p) {
			word := string(f.Outcome)
			if !f.Certain {
				word = "maybe " + word
			}
			if !seen[word] {
				seen[word] = true
				got = append(got, word)
			}
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("%s: %s, want %s", rules, text, want)
		}
	}
}

// What takes a packet out of connection tracking is found, and so is a chain of the device.
func TestBeforeTracking(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.nft(relayed + `table ip raw { chain pre { type filter hook prerouting priority raw; tcp dport 80 notrack; }; }
		table netdev dev { chain in { type filter hook ingress device "in" priority 0; tcp dport 81 drop; }; }
		table inet old { flags dormant; chain f { type filter hook prerouting priority 0; policy drop; }; }`)
	p := syn(ends4(), 80)
	p.Hook, p.Dst = Prerouting, netip.MustParseAddrPort("10.1.0.1:80")
	if all := b.forward(p); len(all) != 2 || all[0].Outcome != Untrack || !all[0].Certain || all[0].Rule != "tcp dport 80 notrack" || all[1].Outcome != Accept {
		t.Errorf("in prerouting: %+v", all)
	}
	_, err := b.server.EchoTCP("10.3.0.100:8080")
	lab.Check(t, err)
	if b.reaches() {
		t.Error("the packet was tracked")
	}
	b.nft("table ip late { chain pre { type filter hook prerouting priority mangle; notrack; }; }") // it comes too late to do anything
	if all := b.forward(p); len(all) != 3 || all[2].Outcome != Accept || !all[2].Certain {
		t.Errorf("in prerouting, with a rule behind connection tracking: %+v", all)
	}
	_, err = b.host.Run(t.Context(), "sh", "-c", b.forward(p)[0].Remedy[0])
	lab.Check(t, err)
	if all := b.forward(p); !b.reaches() || foretold(all) != yes || len(all) != 2 {
		t.Errorf("the remedy does not help: %+v", all)
	}
	p.Hook, p.Dst = Ingress, netip.MustParseAddrPort("10.1.0.1:81")
	if f := stopper(b.forward(p)); f == nil || f.Table != "dev" || f.Family != "netdev" {
		t.Errorf("at the device: %+v", b.forward(p))
	}
	p.InDevice = "out"
	if all := b.forward(p); len(all) != 0 {
		t.Errorf("at another device: %+v", all)
	}
}

// Answers are judged by the rules for their direction.
func TestAnswers(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.nft("table inet f { chain f { type filter hook forward priority 0; ct direction reply tcp flags syn,ack / syn,ack counter drop; }; }")
	p := translatedSYN()
	if stopper(b.forward(p)) != nil {
		t.Error("it stops the first packet")
	}
	p.Reply, p.CTState, p.TCPFlags, p.InDevice, p.OutDevice = true, Established, FlagSYN|FlagACK, "out", "in"
	p.Src, p.Dst = p.Dst, p.Src
	f := stopper(b.forward(p))
	if f == nil || f.Counter == nil || *f.Counter != 0 || len(f.Remedy) != 1 || f.Remedy[0] != "nft insert rule inet f f ct status dnat accept" {
		t.Fatalf("the answer: %+v", f)
	}
	b.nft(relayed)
	_, err := b.server.EchoTCP("10.3.0.100:8080")
	lab.Check(t, err)
	if b.reaches() {
		t.Error("the answer came through")
	}
	if f = stopper(b.forward(p)); f == nil || *f.Counter == 0 {
		t.Errorf("the rule that stops it has counted nothing: %+v", f)
	}
}

// The same of IPv6, with ip6tables-nft.
func TestIP6Tables(t *testing.T) {
	t.Parallel()
	lab.Require(t, "ip6tables-nft-restore")
	b := newBox(t)
	_, err := b.host.RunInput(t.Context(), "*filter\n:FORWARD DROP\n-A FORWARD -p tcp -m multiport --dports 81,90:99 -m conntrack --ctstate NEW -j ACCEPT\n"+
		"-A FORWARD -s fd00:1::/64 -p tcp -m iprange --dst-range fd00:3::1-fd00:3::ffff -j REJECT\nCOMMIT\n", "ip6tables-nft-restore")
	lab.Check(t, err)
	p := syn(ends6(), 81)
	p.Hook = Forward
	if all := b.forward(p); foretold(all) != yes {
		t.Errorf("to port 81: %+v", all)
	}
	p.Dst = netip.AddrPortFrom(p.Dst.Addr(), 80)
	f := stopper(b.forward(p))
	if f == nil || f.Family != "ip6" || f.Outcome != Reject || f.Owner != "iptables-nft" || f.Remedy[0] != "ip6tables -I FORWARD -m conntrack --ctstate DNAT -j ACCEPT" {
		t.Fatalf("to port 80: %+v", b.forward(p))
	}
	_, err = b.client.Dial(t.Context(), "tcp", "[fd00:3::100]:80")
	if !errors.Is(err, unix.ECONNREFUSED) { // what a port-unreachable of IPv6 is to a connection
		t.Errorf("the client's connection: %v", err)
	}
}

// Tables of iptables-legacy cannot be read: that they are there is said, at their hooks.
func TestLegacy(t *testing.T) {
	t.Parallel()
	r := &Ruleset{legacy: []string{"ip filter", "ip6 nat"}}
	p := Packet{Hook: Forward, Proto: unix.IPPROTO_TCP, Src: netip.MustParseAddrPort("10.0.0.1:1"), Dst: netip.MustParseAddrPort("10.0.0.2:2")}
	if all := r.Walk(p); len(all) != 1 || all[0].Outcome != Unknown || all[0].Owner != "iptables-legacy" || all[0].Table != "filter" || all[0].Certain {
		t.Errorf("at forward: %+v", all)
	}
	p.Hook = Prerouting
	if all := r.Walk(p); len(all) != 0 {
		t.Errorf("at prerouting: %+v", all)
	}
}

func TestBits(t *testing.T) {
	t.Parallel()
	half := bits{[]byte{0x10}, []byte{0xf0}} // 0x10 to 0x1f
	for name, c := range map[string]struct{ got, want tri }{
		"equal":        {half.equal([]byte{0x15}), maybe},
		"not equal":    {half.equal([]byte{0x25}), no},
		"at most":      {half.atMost([]byte{0x1f}), yes},
		"not at most":  {half.atMost([]byte{0x0f}), no},
		"in between":   {half.between([]byte{0x18}, []byte{0x20}), maybe},
		"within":       {half.between([]byte{0x10}, []byte{0x20}), yes},
		"masked":       {half.masked([]byte{0x70}, nil).equal([]byte{0x10}), yes},
		"masked away":  {half.masked([]byte{0x0f}, nil).equal([]byte{0x10}), no},
		"masked maybe": {half.masked([]byte{0x0f}, nil).equal([]byte{0x05}), maybe},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", name, c.got, c.want)
		}
	}
	if got := before([]byte{1, 0, 0}); !bytes.Equal(got, []byte{0, 255, 255}) {
		t.Errorf("before 1.0.0 is %v", got)
	}
}

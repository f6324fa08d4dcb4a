package firewall

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/lab"
	"natd/internal/nfnl"
)

const patience = 5 * time.Second

// box is a host that forwards between a client and a server, in both families.
//
//	client 10.1.0.100 --- 10.1.0.1 in [box] out 10.3.0.1 --- 10.3.0.100 server
type box struct {
	t                    testing.TB
	host, client, server *lab.Host
}

// ends are the addresses of client and server.
type ends struct{ client, server netip.Addr }

func ends4() ends { return ends{netip.MustParseAddr("10.1.0.100"), netip.MustParseAddr("10.3.0.100")} }

func ends6() ends {
	return ends{netip.MustParseAddr("fd00:1::100"), netip.MustParseAddr("fd00:3::100")}
}

func newBox(t testing.TB) *box {
	t.Helper()
	lab.Require(t, "nft")
	b := &box{t: t, host: lab.NewHost(t)}
	for _, h := range []struct {
		host       **lab.Host
		name       string
		near, far  []string
		via4, via6 string
	}{
		{&b.client, "in", []string{"10.1.0.1/24", "fd00:1::1/64"}, []string{"10.1.0.100/24", "fd00:1::100/64"}, "10.1.0.1", "fd00:1::1"},
		{&b.server, "out", []string{"10.3.0.1/24", "fd00:3::1/64"}, []string{"10.3.0.100/24", "fd00:3::100/64"}, "10.3.0.1", "fd00:3::1"},
	} {
		host, err := b.host.Lab().Host(h.name)
		lab.Check(t, err)
		*h.host = host
		near, far := lab.End{Host: b.host, Name: h.name}, lab.End{Host: host, Name: lab.Device}
		for i := range h.near {
			near.Addrs = append(near.Addrs, netip.MustParsePrefix(h.near[i]))
			far.Addrs = append(far.Addrs, netip.MustParsePrefix(h.far[i]))
		}
		lab.Check(t, lab.Connect(near, far))
		lab.Check(t, host.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr(h.via4)))
		lab.Check(t, host.AddRoute(netip.MustParsePrefix("::/0"), netip.MustParseAddr(h.via6)))
	}
	for _, key := range []string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"} {
		lab.Check(t, b.host.SetSysctl(key, "1"))
	}
	return b
}

func (b *box) nft(script string) {
	b.t.Helper()
	lab.Check(b.t, b.host.Nft(b.t.Context(), script))
}

func (b *box) read() *Ruleset {
	b.t.Helper()
	var r *Ruleset
	lab.Check(b.t, b.host.Do(func() (err error) {
		r, err = Read(b.t.Context())
		return err
	}))
	return r
}

// walk walks the packet through the hooks of its way in the box.
func (b *box) walk(r *Ruleset, p Packet) (all []Finding) {
	b.t.Helper()
	lab.Check(b.t, b.host.Do(func() error {
		for _, h := range []Hook{Prerouting, Forward, Postrouting} {
			p.Hook = h
			found := r.Walk(p)
			all = append(all, found...)
			if n := len(found); n > 0 && found[n-1].Certain && found[n-1].Stops() {
				break
			}
			for _, f := range found {
				switch {
				case f.Outcome == Untrack && f.Certain:
					p.CTState = Untracked
				case f.Outcome == Untrack:
					p.CTState = ""
				}
			}
		}
		return nil
	}))
	return all
}

// foretold is what findings foretell: maybe where they are not certain.
func foretold(all []Finding) (passes tri) {
	passes = yes
	for _, f := range all {
		switch {
		case f.Certain && f.Stops():
			return min(passes, no)
		case !f.Certain:
			passes = maybe
		}
	}
	return passes
}

// syn is the first packet of a connection from the client to the server.
func syn(e ends, port uint16) Packet {
	return Packet{
		InDevice: "in", OutDevice: "out", Proto: unix.IPPROTO_TCP, CTState: New, Back: "in",
		Src: netip.AddrPortFrom(e.client, 0), Dst: netip.AddrPortFrom(e.server, port),
	}
}

// counted is how many packets came to the box, and how many left it, of those that watch counts.
func (b *box) counted() (came, went uint64) {
	b.t.Helper()
	for _, c := range b.read().chains {
		for _, r := range c.rules {
			switch c.table.name + " " + c.name {
			case "watch came":
				came += *r.counter
			case "watch went":
				went += *r.counter
			}
		}
	}
	return came, went
}

// watch makes the box count the packets that come to it and that leave it, to and from the ports.
func (b *box) watch(ports string) {
	b.t.Helper()
	b.nft(fmt.Sprintf(`
table inet watch {
	chain came { type filter hook prerouting priority -500; meta l4proto { tcp, udp } th sport %[1]s counter; meta l4proto { tcp, udp } th dport %[1]s counter; }
	chain went { type filter hook postrouting priority 500; meta l4proto { tcp, udp } th sport %[1]s counter; meta l4proto { tcp, udp } th dport %[1]s counter; }
	chain track { type filter hook forward priority -500; ct state invalid counter; }
}
`, ports))
}

// forget removes the tables t0 and t1.
func (b *box) forget() {
	b.t.Helper()
	lab.Check(b.t, b.host.Do(func() error {
		s, err := nfnl.Dial(0)
		if err != nil {
			return err
		}
		defer s.Close()
		batch := nfnl.NewBatch(0)
		for _, name := range []string{"t0", "t1"} {
			for _, message := range []uint8{unix.NFT_MSG_NEWTABLE, unix.NFT_MSG_DELTABLE} {
				batch.Begin(nfnl.Type(unix.NFNL_SUBSYS_NFTABLES, message), unix.NLM_F_CREATE, unix.NFPROTO_INET, 0)
				batch.String(unix.NFTA_TABLE_NAME, name)
				batch.End()
			}
		}
		return s.Commit(batch)
	}))
}

// passed tells whether a packet that send sends went through, as the kernel's counters have it.
func (b *box) passed(send func() error) bool {
	b.t.Helper()
	cameBefore, wentBefore := b.counted()
	lab.Check(b.t, send())
	var went uint64
	lab.Eventually(b.t, patience, func() (err error) {
		var came uint64
		if came, went = b.counted(); came == cameBefore {
			err = errors.New("the packet did not come to the box")
		}
		return err
	})
	return went > wentBefore
}

// socket is a UDP socket of a host.
func (b *box) socket(h *lab.Host, addr netip.Addr, port uint16) net.PacketConn {
	b.t.Helper()
	var c net.PacketConn
	lab.Eventually(b.t, patience, func() (err error) { // a program that is being started holds the last one for a moment
		c, err = h.ListenPacket("udp", netip.AddrPortFrom(addr, port).String())
		return err
	})
	return c
}

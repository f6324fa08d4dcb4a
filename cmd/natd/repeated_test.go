package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/control"
	"natd/internal/lab"
)

// repeaters are relays whose targets make clients repeat packets, by the port: 11 is silent, 12 is for the first SYN, what 13 and 14 answer is lost,
// and so are the SYNs but the first to 14. 15 is B itself, and too busy to answer. 17, of UDP, and 18, of SCTP, are silent, too.
func repeaters() string {
	return relayText("mute", "10.2.0.100:11", "tcp") + relayText("late", "10.2.0.100:12", "tcp") +
		relayText("unheard", "10.2.0.100:13", "tcp") + relayText("once", "10.2.0.100:14", "tcp") +
		"[[relay]]\nname = \"here\"\nlisten = \"10.2.0.100:15\"\nto = [\"10.2.0.100:16\"]\n\n" +
		relayText("mute-udp", "10.2.0.100:17", "udp") + relayText("mute-sctp", "10.2.0.100:18", "sctp")
}

// loseRepeaters loses what repeaters says.
func (b *box) loseRepeaters(t *testing.T) {
	t.Helper()
	const first, later = "limit rate 1/hour burst 1 packets", "limit rate over 1/hour burst 1 packets"
	lab.Check(t, errors.Join(
		b.C.Nft(t.Context(), "table inet lose { chain in { type filter hook input priority 0; udp dport 17 drop; meta l4proto sctp drop; tcp dport 12 "+first+" drop; }; }"),
		b.A.Nft(t.Context(), "table inet lose { chain in { type filter hook input priority 0; tcp sport { 13, 14 } drop; }; "+
			"chain out { type filter hook output priority 0; tcp dport 14 "+later+" drop; }; }"),
		b.C.SetSysctl("net.ipv4.tcp_synack_retries", "2"))) // for IPv6, too
	for _, port := range []string{"12", "13", "14"} {
		_, err := b.C.TellTCP(b.say("10.3.0.100:"+port), "late")
		lab.Check(t, err)
	}
	b.busy(t, b.say("10.2.0.100:16"))
}

// busy makes host B listen on an address, and have more connections than it takes.
func (b *box) busy(t *testing.T, addr string) {
	t.Helper()
	domain, at := sockaddrOf(netip.MustParseAddrPort(addr))
	lab.Check(t, b.B.Do(func() error {
		fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		t.Cleanup(func() { lab.Check(t, unix.Close(fd)) })
		return errors.Join(unix.Bind(fd, at), unix.Listen(fd, 0))
	}))
	c, err := b.B.Dial(t.Context(), "tcp", addr)
	lab.Check(t, err)
	t.Cleanup(func() { lab.Check(t, c.Close()) })
}

// callRepeaters calls each of them long enough for packets to come again, and tells how many legs these are.
func (b *box) callRepeaters(t *testing.T) (legs int) {
	t.Helper()
	const silent, answered, here = 2, 4, 1
	legs = 2*silent + 3*answered + here
	var calls sync.WaitGroup
	for _, port := range []int{11, 12, 13, 14, 15} {
		calls.Go(func() {
			to := netip.MustParseAddrPort(b.say(fmt.Sprint("10.2.0.100:", port)))
			made, err := b.A.Call(t.Context(), lab.Plan{Network: "tcp", To: to, Count: 1, Within: 3500 * time.Millisecond})
			if err != nil || (made[0].Err == nil) != (port == 12) {
				t.Errorf("call to port %d: %v, %v", port, err, made)
			}
		})
	}
	calls.Go(func() {
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		switch err := b.A.Associate(ctx, 4000, netip.MustParseAddrPort(b.say("10.2.0.100:18"))); {
		case err == nil:
			t.Error("a mute server answers")
		case !errors.Is(err, lab.ErrSCTP):
			legs += silent
		}
	})
	c := b.dialUDP("10.2.0.100:17")
	for range 3 {
		_, err := c.Write([]byte("again"))
		lab.Check(t, err)
	}
	calls.Wait()
	return legs
}

// TestRepeatedPackets holds records and status against tcpdump where packets come again before a connection stands. The kernel counts
// some of them, and which depends on the kernel: each has to count once.
func TestRepeatedPackets(t *testing.T) {
	t.Parallel()
	inFamilies(t, func(t *testing.T, f family) {
		b := newFlowBox(t, f)
		b.loseRepeaters(t)
		tap := b.tap(lab.Device, "(tcp or udp or sctp) and not port 80")
		b.start(repeaters() + b.flowLogText(flowFields))
		legs := b.callRepeaters(t)
		b.sameAsWire(legs, tap)

		b.sameInStatus(b.throughRelays(tap))
	})
}

// throughRelays is what tcpdump counted between clients and B. Where something was to come again it must have.
func (b *box) throughRelays(tap *lab.Tap) (toTarget, toClient lab.Volume) {
	b.t.Helper()
	counted, err := tap.Count()
	lab.Check(b.t, err)
	self := netip.MustParseAddr(b.say("10.2.0.100"))
	for wire, v := range counted {
		listens := func(end netip.AddrPort) bool { return end.Addr() == self && end.Port() < 100 }
		least := uint64(3)
		if wire.Proto == unix.IPPROTO_TCP && (wire.Dst.Port() == 14 || wire.Dst.Addr() != self && wire.Src.Port() > 100) {
			least = 1 // the only SYN to port 14, and on its way to C
		}
		switch {
		case listens(wire.Dst):
			toTarget = lab.Volume{Packets: toTarget.Packets + v.Packets, Bytes: toTarget.Bytes + v.Bytes}
		case listens(wire.Src):
			toClient = lab.Volume{Packets: toClient.Packets + v.Packets, Bytes: toClient.Bytes + v.Bytes}
		}
		if v.Packets < least {
			b.t.Errorf("%v: %d packets prove nothing", wire, v.Packets)
		}
	}
	return toTarget, toClient
}

// sameInStatus waits until status says that all relays together carried as much.
func (b *box) sameInStatus(toTarget, toClient lab.Volume) {
	b.t.Helper()
	b.awaitStatus(func(s *control.Status) error {
		var sum, back lab.Volume
		for i := range s.Relays {
			r := &s.Relays[i]
			sum = lab.Volume{Packets: sum.Packets + r.Packets.ToTarget, Bytes: sum.Bytes + r.Bytes.ToTarget}
			back = lab.Volume{Packets: back.Packets + r.Packets.ToClient, Bytes: back.Bytes + r.Bytes.ToClient}
		}
		if sum != toTarget || back != toClient || s.Accounting.Lost != 0 {
			return fmt.Errorf("status has %v and %v, the wire had %v and %v; %+v", sum, back, toTarget, toClient, s.Accounting)
		}
		return nil
	})
}

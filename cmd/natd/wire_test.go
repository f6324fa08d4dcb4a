package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// wire is a tcpdump on host B, which what status says is held against.
type wire struct {
	*lab.Tap
	b *box
}

func (b *box) watchWire() *wire {
	b.t.Helper()
	lab.Require(b.t, "tcpdump")
	lab.Check(b.t, b.NoOffload())
	return &wire{b.tap(lab.Device, "ip"), b}
}

// carried is the volume from client to target and back, as tcpdump counted what left B. A kernel may take a last segment for INVALID, which
// is not relayed; but for such, as much has come.
func (w *wire) carried() (bytes, packets control.Volume, err error) {
	counted, err := w.Count()
	if err != nil {
		return bytes, packets, err
	}
	legs := make(map[string]lab.Volume)
	network := func(at netip.AddrPort) string { return strings.Split(at.Addr().String(), ".")[1] }
	for on, v := range counted {
		leg := network(on.Src) + ">" + network(on.Dst)
		legs[leg] = lab.Volume{Packets: legs[leg].Packets + v.Packets, Bytes: legs[leg].Bytes + v.Bytes}
	}
	const stray, header = 20, 60 // of thousands, on a machine that is busy; each has at most the headers of an empty segment
	for _, pair := range [][2]string{{"1>2", "2>3"}, {"3>2", "2>1"}} {
		if came, left := legs[pair[0]], legs[pair[1]]; came.Packets < left.Packets || came.Packets > left.Packets+stray ||
			came.Bytes > left.Bytes+header*(came.Packets-left.Packets) {
			return bytes, packets, fmt.Errorf("the legs differ: %v", legs)
		}
	}
	there, back := legs["2>3"], legs["2>1"]
	return control.Volume{ToTarget: there.Bytes, ToClient: back.Bytes}, control.Volume{ToTarget: there.Packets, ToClient: back.Packets}, nil
}

// sums is the sum over all relays, and checks that backends add up to their relay.
func sums(s *control.Status) (bytes, packets control.Volume, begun uint64, err error) {
	plus := func(a, b control.Volume) control.Volume {
		return control.Volume{ToTarget: a.ToTarget + b.ToTarget, ToClient: a.ToClient + b.ToClient}
	}
	for i := range s.Relays {
		r := &s.Relays[i]
		var of control.Backend
		for _, back := range r.Backends {
			of.Bytes, of.Packets, of.Total, of.Refused = plus(of.Bytes, back.Bytes), plus(of.Packets, back.Packets), of.Total+back.Total, of.Refused+back.Refused
		}
		if of.Bytes != r.Bytes || of.Packets != r.Packets || of.Total != r.Connections.Total || of.Refused != r.Connections.Refused {
			err = errors.Join(err, fmt.Errorf("relay %s has %+v %v %v, its backends %+v", r.Name, r.Connections, r.Bytes, r.Packets, of))
		}
		bytes, packets, begun = plus(bytes, r.Bytes), plus(packets, r.Packets), begun+r.Connections.Total
	}
	return bytes, packets, begun, err
}

// agree waits until status says what tcpdump has counted, and so many connections.
func (w *wire) agree(when string, begun uint64) {
	w.b.t.Helper()
	began := time.Now()
	var last error
	for time.Since(began) < patience {
		if last = w.compare(begun); last == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	w.b.t.Fatalf("%s: %v\nnatd wrote:\n%s", when, last, w.b.natd.Log())
}

func (w *wire) compare(want uint64) error {
	s, err := w.b.tryStatus()
	if err != nil {
		return err
	}
	bytes, packets, begun, err := sums(s)
	if err != nil {
		return err
	}
	seenBytes, seenPackets, err := w.carried()
	if err != nil {
		return err
	}
	if bytes != seenBytes || packets != seenPackets || begun != want || !s.Accounting.Exact {
		return fmt.Errorf("status says %v bytes, %v packets, %d connections, exact %t; tcpdump %v and %v, want %d connections",
			bytes, packets, begun, s.Accounting.Exact, seenBytes, seenPackets, want)
	}
	w.b.t.Logf("%d connections, bytes %v, packets %v", begun, bytes, packets)
	return nil
}

// serveAll starts what the relays of metered lead to.
func (b *box) serveAll() {
	b.t.Helper()
	t := b.t
	nginx, err := b.C.StartNginx(t.Context(), netip.MustParseAddrPort("10.3.0.100:80"))
	lab.Check(t, err)
	lab.Check(t, nginx.Publish("big", strings.Repeat("natd", 1<<20)))
	for _, start := range []func(string) (*lab.Echo, error){b.C.EchoTCP, b.C.EchoUDP} {
		_, err := start("10.3.0.100:7")
		lab.Check(t, err)
	}
	lab.Check(t, b.C.Nft(t.Context(), `table ip silent { chain in { type filter hook input priority 0; tcp dport 82 drop; }; }`))
}

// countMany makes one transfer and a thousand connections.
func (w *wire) countMany() {
	b, t := w.b, w.b.t
	t.Helper()
	_, err := b.A.Curl(t.Context(), "http://10.2.0.100/big", "-o", "/dev/null")
	lab.Check(t, err)
	w.agree("one transfer", 1)

	calls, err := b.A.Call(t.Context(), lab.Plan{Network: "tcp", To: netip.MustParseAddrPort("10.2.0.100:7000"), Count: 1000, AtOnce: 8})
	lab.Check(t, errors.Join(err, calls.Err()))
	w.agree("a thousand connections", 1001)
	for _, back := range b.relay("tell").Backends {
		if back.Total < 333 || back.Total > 334 || back.Packets.ToTarget == 0 {
			t.Errorf("backend %+v, want a third of 1000 connections", back)
		}
	}
}

// countFailures makes connections that are refused, and one that nobody answers.
func (w *wire) countFailures() {
	b, t := w.b, w.b.t
	t.Helper()
	for range 5 {
		if c, err := b.A.Dial(t.Context(), "tcp", "10.2.0.100:81"); err == nil {
			t.Errorf("%v took a connection", c.RemoteAddr())
		}
	}
	lab.Check(t, b.B.SetSysctl("net.netfilter.nf_conntrack_tcp_timeout_syn_sent", "1"))
	if _, err := b.A.Curl(t.Context(), "http://10.2.0.100:82/", "--connect-timeout", "0.5"); err == nil {
		t.Error("the silent one answered")
	}
	w.agree("refused and unanswered", 1009)
	if c := b.relay("refuses").Connections; c.Refused != 5 || c.Unanswered != 0 {
		t.Errorf("the one that refuses: %+v", c)
	}
	b.awaitStatus(func(s *control.Status) error {
		for i := range s.Relays {
			if c := s.Relays[i].Connections; s.Relays[i].Name == "silent" && (c.Unanswered != 1 || c.Refused != 0) {
				return fmt.Errorf("the silent one: %+v", c)
			}
		}
		return nil
	})
}

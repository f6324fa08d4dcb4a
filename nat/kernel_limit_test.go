package nat

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"natd/internal/lab"
)

// limited is a relay of TCP and UDP with an echo server behind it.
func (w *wire) limited(s sides, edit func(*Relay)) {
	w.t.Helper()
	w.echoes([]string{s.server})
	_, err := w.server.EchoUDP(port80(s.server))
	lab.Check(w.t, err)
	w.bring(relayed(s, []string{s.server}, protocols(TCP, UDP), edit).build())
}

// allowed opens so many connections, and asserts that the one after is refused at once.
func (w *wire) allowed(s sides, source, network string, n int) []net.Conn {
	w.t.Helper()
	var open []net.Conn
	for i := range n {
		conn, err := w.say(w.client, source, network, port80(s.in))
		if err != nil {
			w.t.Fatalf("%s connection %d of %d: %v", network, i+1, n, err)
		}
		open = append(open, conn)
	}
	_, err := w.say(w.client, source, network, port80(s.in))
	refused(w.t, fmt.Sprintf("%s connection %d", network, n+1), err)
	return open
}

// Who comes when the relay is full is told so, TCP by a reset and UDP by an ICMP error from the address that it dialled.
// A connection that ends makes room, and a flow that is let in goes on.
func TestMaxConnections(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, w *wire, s sides) {
		clients := more(t, w.client, s.client, 1)
		w.limited(s, func(r *Relay) { r.MaxConnections = 3 })
		open := w.allowed(s, "", "tcp", 3)
		_, err := w.say(w.client, clients[1], "tcp", port80(s.in))
		refused(t, "another client's connection", err)
		lab.Check(t, open[0].Close())
		lab.Eventually(t, patience, func() error {
			_, err := w.say(w.client, "", "tcp", port80(s.in))
			return err
		})
		for _, flow := range w.allowed(s, "", "udp", 3) {
			if _, err := flow.Write([]byte("more")); err != nil {
				t.Errorf("a datagram of a flow that was let in: %v", err)
			}
			if _, err := flow.Read(make([]byte, 4)); err != nil {
				t.Errorf("the answer to it: %v", err)
			}
		}
		got := w.read().Refused()["web"]
		if got.Connections < 3 || got.Sources != 0 || got.Rate != 0 {
			t.Errorf("refused %+v, want at least 3 for the connections", got)
		}
		if p := w.plan(relayed(s, []string{s.server}, protocols(TCP, UDP), func(r *Relay) { r.MaxConnections = 3 }).build()); !p.Empty() {
			t.Errorf("what the limits counted is repaired: %q", p.Steps(5))
		}
	})
}

// The limit of one source is none of the others'.
func TestMaxPerSource(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, w *wire, s sides) {
		w.limited(s, func(r *Relay) { r.MaxPerSource = 2 })
		for _, c := range more(t, w.client, s.client, 1) {
			w.allowed(s, c, "tcp", 2)
			w.allowed(s, c, "udp", 2)
		}
		if diff := cmp.Diff(map[string]Refusals{"web": {Sources: 4}}, w.read().Refused()); diff != "" {
			t.Errorf("refused (-want +got):\n%s", diff)
		}
	})
}

// What was saved up is for as many connections as the rate has; datagrams of one flow are one connection, answered or not.
func TestRate(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, w *wire, s sides) {
		w.limited(s, func(r *Relay) { r.Rate = Rate{4, time.Hour} })
		for _, c := range more(t, w.client, s.client, 1) {
			w.allowed(s, c, "tcp", 4)
		}
		flows := w.allowed(s, "", "udp", 4)
		for range 20 {
			if _, err := flows[0].Write([]byte("more")); err != nil {
				t.Fatalf("a datagram of a flow that was let in: %v", err)
			}
		}
		if diff := cmp.Diff(map[string]Refusals{"web": {Rate: 3}}, w.read().Refused()); diff != "" {
			t.Errorf("refused (-want +got):\n%s", diff)
		}
	})
}

// One-way UDP is new to connection tracking with every datagram; the limits count the flow.
func TestOneWayDatagramsCountOnce(t *testing.T) {
	t.Parallel()
	w, s := newWire(t, 1500, 1500), sides4()
	sink, err := w.server.ListenPacket("udp", port80(s.server))
	lab.Check(t, err)
	w.bring(relayed(s, []string{s.server}, protocols(UDP), func(r *Relay) {
		r.MaxConnections, r.MaxPerSource, r.Rate = 1, 1, Rate{1, time.Hour}
	}).build())
	conn, err := w.client.Dial(t.Context(), "udp", port80(s.in))
	lab.Check(t, err)
	defer conn.Close()
	lab.Check(t, sink.SetReadDeadline(time.Now().Add(patience)))
	for i := range 10 {
		if _, err := conn.Write([]byte{byte(i)}); err != nil {
			t.Fatalf("datagram %d: %v", i, err)
		}
		if _, _, err := sink.ReadFrom(make([]byte, 4)); err != nil {
			t.Fatalf("datagram %d did not arrive: %v", i, err)
		}
	}
}

// A relay whose backends are all out refuses, whether it listens on an address of the host or on one that is routed to it.
func TestRelayWithoutABackend(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, w *wire, s sides) {
		w.echoes([]string{s.server})
		elsewhere, network := "192.0.2.80", "192.0.2.0/24"
		if addr(s.in).Is6() {
			elsewhere, network = "2001:db8::80", "2001:db8::/64"
		}
		lab.Check(t, w.host.AddRoute(netip.MustParsePrefix(network), addr(s.server)))
		for _, a := range []string{s.in, elsewhere} {
			relay := relayed(s, []string{s.server}, protocols(TCP, UDP), listen(a))
			w.bring(relay.build())
			conn, err := w.say(w.client, "", "tcp", port80(a))
			lab.Check(t, err)
			drained := relay
			drained.places = map[string]func(*Placement){"web": func(p *Placement) {
				sources(s.out)(p)
				weights(0)(p)
			}}
			w.bring(drained.build())
			for _, network := range []string{"tcp", "udp"} {
				_, err := w.say(w.client, "", network, port80(a))
				refused(t, network+" to "+a, err)
			}
			if _, err := conn.Write([]byte("more")); err != nil {
				t.Error(err)
			}
			if _, err := conn.Read(make([]byte, 4)); err != nil {
				t.Errorf("the connection to %s from before is not drained but broken: %v", a, errors.Unwrap(err))
			}
		}
	})
}

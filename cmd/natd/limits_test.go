package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/diagnose"
	"natd/internal/lab"
)

// open opens n connections or datagram sockets to the relay and uses each once; the error is that of the first that fails.
func (b *box) open(network string, from netip.Addr, listen string, n int) (open []net.Conn, err error) {
	b.t.Helper()
	for range n {
		c, err := b.A.DialFrom(b.t.Context(), network, from, listen)
		if err != nil {
			return open, err
		}
		b.t.Cleanup(func() { _ = c.Close() })
		if err := exchange(c, 2*time.Second); err != nil {
			return open, err
		}
		open = append(open, c)
	}
	return open, nil
}

// refused wants one more client to be told that there is no place for it, and soon.
func (b *box) refused(network string, from netip.Addr, listen string) {
	b.t.Helper()
	began := time.Now()
	if _, err := b.open(network, from, listen, 1); !errors.Is(err, syscall.ECONNREFUSED) {
		b.t.Errorf("%s from %v: one more got %v, want it refused", network, from, err)
	}
	const again = time.Second // a SYN that nobody answers is repeated (RFC 6298, 2.1)
	if took := time.Since(began); took >= again {
		b.t.Errorf("%s: the refusal took %v", network, took)
	}
}

// TestLimits opens as many connections as a relay allows, and one more.
func TestLimits(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	for _, network := range []string{"tcp", "udp"} {
		for port := 7001; port <= 7003; port++ {
			echo(t, b.C, network, fmt.Sprintf("10.3.0.100:%d", port))
			if b.C.Addr6.IsValid() {
				echo(t, b.C, network, fmt.Sprintf("[fd00:10:3::100]:%d", port))
			}
		}
	}
	lab.Check(t, b.A.AddExtra(2))
	relay := func(name, listen, to, line string) string {
		return fmt.Sprintf("[[relay]]\nname = %q\nlisten = %q\nprotocol = [\"tcp\", \"udp\"]\nto = [%q]\n%s\n", name, listen, to, line)
	}
	b.start(relay("all", "10.2.0.100:7001", "10.3.0.100:7001", "max_connections = 5") +
		relay("each", "10.2.0.100:7002", "10.3.0.100:7002", "max_per_source = 3") +
		relay("fast", "10.2.0.100:7003", "10.3.0.100:7003", `rate = "4/m"`) +
		relay("six", "[fd00:10:2::100]:7001", "[fd00:10:3::100]:7001", "max_connections = 5"))
	b.lintRules()
	one, two := b.A.Extra(1)[0], b.A.Extra(2)[0]

	for _, network := range []string{"tcp", "udp"} {
		for version, listen := range []string{"10.2.0.100:7001", "[fd00:10:2::100]:7001"} {
			open, err := b.open(network, b.A.Extra(1)[version], listen, 5)
			lab.Check(t, err)
			// By somebody else: IPv6 counts redirects that it would send on a host with one interface against the limit of ICMP
			// errors to a client (ip6_forward in net/ipv6/ip6_output.c), so that one with traffic may hear nothing.
			b.refused(network, b.A.Extra(2)[version], listen)
			for _, c := range open {
				lab.Check(t, exchange(c, patience))
			}
			if network == "tcp" {
				lab.Check(t, open[0].Close())
				lab.Eventually(t, patience, func() error { _, err := b.open(network, b.A.Extra(1)[version], listen, 1); return err })
			}
		}
		_, err := b.open(network, one, "10.2.0.100:7002", 3)
		lab.Check(t, err)
		b.refused(network, one, "10.2.0.100:7002")
		_, err = b.open(network, two, "10.2.0.100:7002", 1)
		lab.Check(t, err)

		_, err = b.open(network, one, "10.2.0.100:7003", 4)
		lab.Check(t, err)
		b.refused(network, one, "10.2.0.100:7003")
		_, err = b.open(network, two, "10.2.0.100:7003", 1)
		lab.Check(t, err)
	}
	b.step([]string{"status"}, control.CodeOK, "refused new connections: 2 over max_per_source")
	for name, want := range map[string]control.Refused{
		"all": {Connections: 2}, "each": {PerSource: 2}, "fast": {Rate: 2}, "six": {Connections: 2},
	} {
		if r, err := relayOf(b.status(), name); err != nil || r.Refused.PerSource != want.PerSource || r.Refused.Rate != want.Rate ||
			r.Refused.Connections < want.Connections || want.Connections == 0 && r.Refused.Connections > 0 {
			t.Errorf("relay %s counts %+v refusals (%v), want %+v", name, r.Refused, err, want)
		}
	}
	b.tellsRefused()
	b.refusalsLast()
}

// tellsRefused wants natctl diagnose to have a word about a limit that refused connections a moment ago, and refuses none now.
func (b *box) tellsRefused() {
	b.t.Helper()
	r, code := b.diagnose("fast")
	for _, c := range r.Paths[0].ForwardPathComponents {
		if c.Looked == "the limits of the relay" && (code != control.CodeOK || c.Verdict != diagnose.Suspect || !strings.Contains(c.Found, "the last noticed ")) {
			b.t.Errorf("exit %d, %+v", code, c)
		}
	}
}

// refusalsLast has the table made anew, and with it its counters.
func (b *box) refusalsLast() {
	b.t.Helper()
	b.step([]string{"flush"}, control.CodeOK, "")
	b.step([]string{"reload"}, control.CodeOK, "")
	if r, err := relayOf(b.status(), "each"); err != nil || r.Refused.PerSource != 2 {
		b.t.Errorf("after a flush relay each counts %+v refusals (%v)", r.Refused, err)
	}
}

// TestLimitsCountFlowsNotDatagrams sends many datagrams one way, as syslog does: they are one flow, though none is ever answered.
func TestLimitsCountFlowsNotDatagrams(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	sink, err := b.C.ListenPacket("udp", "10.3.0.100:514")
	lab.Check(t, err)
	b.start("[[relay]]\nname = \"syslog\"\nlisten = \"10.2.0.100:514\"\nprotocol = \"udp\"\nto = [\"10.3.0.100:514\"]\n" +
		"max_connections = 2\nmax_per_source = 1\nrate = \"2/m\"\n")
	c, err := b.A.Dial(t.Context(), "udp", "10.2.0.100:514")
	lab.Check(t, err)
	defer c.Close()
	const datagrams = 100
	buf := make([]byte, 100)
	for i := range datagrams {
		_, err := c.Write([]byte("message"))
		lab.Check(t, err)
		lab.Check(t, sink.SetReadDeadline(time.Now().Add(patience)))
		if _, _, err := sink.ReadFrom(buf); err != nil {
			t.Fatalf("datagram %d of one flow: %v", i+1, err)
		}
	}
	if r, _ := relayOf(b.status(), "syslog"); r.Refused != (control.Refused{}) || r.Connections.Total != 1 {
		t.Errorf("one flow counts as %+v, with %+v refused", r.Connections, r.Refused)
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"natd/internal/control"
	"natd/internal/lab"
)

// list is what natctl connections says with the arguments.
func (b *box) list(args ...string) (list control.ConnectionList) {
	b.t.Helper()
	out, errs, code := b.natctl(append([]string{"connections", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 {
		b.t.Fatalf("natctl connections %q exits %d: %v\n%s%s", args, code, err, out, errs)
	}
	return list
}

// TestConnectionsFilters wants what natctl lets through to be what conntrack(8) does with the same filter.
func TestConnectionsFilters(t *testing.T) {
	t.Parallel()
	lab.Require(t, "conntrack")
	b := newEchoBox(t, "auto")
	lab.Check(t, b.A.AddExtra(1))
	for _, from := range []netip.Addr{b.A.Addr, b.A.Addr, b.A.Extra(1)[0]} {
		c, err := b.A.DialFrom(t.Context(), "tcp", from, "10.2.0.100:7000")
		lab.Check(t, err)
		defer c.Close()
		awaitEcho(t, c)
	}
	awaitEcho(t, b.dialUDP("10.2.0.100:7000"))
	lab.Check(t, b.A.SayOnce(t.Context(), "10.2.0.100:7000")) // and has ended

	one := b.list("--client", b.A.Extra(1)[0].String()).Connections[0]
	port := func(end string) string { return end[strings.LastIndexByte(end, ':')+1:] }
	for _, test := range []struct {
		natctl, conntrack []string
		want              int
	}{
		{nil, nil, 5},
		{[]string{"--protocol", "tcp"}, []string{"-p", "tcp"}, 4},
		{[]string{"--protocol", "17"}, []string{"-p", "udp"}, 1},
		{[]string{"--client", "10.1.0.101"}, []string{"--orig-src", "10.1.0.101"}, 1},
		{[]string{"--client", "10.1.0.100/31"}, []string{"--orig-src", "10.1.0.100/31"}, 5},
		{[]string{"--snat", one.SNAT}, []string{"-p", "tcp", "--reply-dst", "10.2.0.100", "--reply-port-dst", port(one.SNAT)}, 1},
		{[]string{"--snat", "10.2.0.100"}, []string{"--reply-dst", "10.2.0.100"}, 5},
		{[]string{"--target", "10.3.0.100:7000", "--protocol", "udp"}, []string{"-p", "udp", "--reply-src", "10.3.0.100", "--reply-port-src", "7000"}, 1},
		{[]string{"--target", "10.3.0.100:7001"}, []string{"-p", "tcp", "--reply-port-src", "7001"}, 0},
		{[]string{"--state", "time_wait"}, []string{"-p", "tcp", "--state", "TIME_WAIT"}, 1},
		{[]string{"--state", "established", "--client", "10.1.0.100"}, []string{"-p", "tcp", "--state", "ESTABLISHED", "--orig-src", "10.1.0.100"}, 2},
	} {
		entries, err := b.B.Conntrack(t.Context(), append(test.conntrack, "--orig-dst", "10.2.0.100")...)
		lab.Check(t, err)
		list := b.list(test.natctl...)
		if len(list.Connections) != test.want || list.Matched != test.want || len(entries) != test.want || list.Truncated {
			t.Errorf("natctl %q lists %d, matched %d, conntrack %d, want %d:\n%+v\n%s",
				test.natctl, len(list.Connections), list.Matched, len(entries), test.want, list, strings.Join(entries, "\n"))
		}
	}
	if list := b.list(); list.Active != 4 || list.Conntrack.Entries < 5 || list.Conntrack.Max == 0 {
		t.Errorf("%d active, conntrack %+v", list.Active, list.Conntrack)
	}
	b.wantOrders()
	b.step([]string{"connections", "--limit", "2"}, control.CodeOK, "2 of 5 connections")
	b.step([]string{"connections", "--relay", "none"}, control.CodeFailed, `there is no relay, gateway or static "none"`)
}

// wantOrders wants the first three of five connections in each order.
func (b *box) wantOrders() {
	b.t.Helper()
	for order, less := range map[string]func(a, b control.Connection) bool{
		"bytes": func(a, b control.Connection) bool {
			return a.Bytes.ToTarget+a.Bytes.ToClient > b.Bytes.ToTarget+b.Bytes.ToClient
		},
		"timeout": func(a, b control.Connection) bool { return a.Timeout < b.Timeout },
		"client": func(a, b control.Connection) bool {
			return netip.MustParseAddrPort(a.Client).Compare(netip.MustParseAddrPort(b.Client)) < 0
		},
	} {
		list := b.list("--sort", order, "--limit", "3")
		if len(list.Connections) != 3 || list.Matched != 5 || !list.Truncated {
			b.t.Errorf("--limit 3 lists %d of %d", len(list.Connections), list.Matched)
		}
		for i := 1; i < len(list.Connections); i++ {
			if less(list.Connections[i], list.Connections[i-1]) {
				b.t.Errorf("not by %s: %+v", order, list.Connections)
			}
		}
	}
}

// TestTop wants the connection that is busy first, with a rate, and its client as the busiest.
func TestTop(t *testing.T) {
	t.Parallel()
	b := newEchoBox(t, "auto")
	lab.Check(t, b.A.AddExtra(1))
	idle, err := b.A.Dial(t.Context(), "tcp", "10.2.0.100:7000")
	lab.Check(t, err)
	defer idle.Close()
	awaitEcho(t, idle)
	talk := b.A.Converse(t, b.A.Extra(1)[0], "10.2.0.100:7000")
	defer talk.End(t)

	var frame struct {
		Connections, Groups []struct {
			Name, Client     string
			BytesPerSecond   speed `json:"bytes_per_second"`
			PacketsPerSecond speed `json:"packets_per_second"`
		}
	}
	for _, by := range []string{"connection", "client"} {
		out, errs, code := b.natctl("connections", "--top", "--json", "--interval", "300ms", "--by", by)
		if err := json.Unmarshal([]byte(out), &frame); err != nil || code != 0 {
			t.Fatalf("exit %d: %v\n%s%s", code, err, out, errs)
		}
	}
	first := frame.Connections[0]
	if !strings.HasPrefix(first.Client, "10.1.0.101:") || first.BytesPerSecond.ToTarget == 0 || first.PacketsPerSecond.ToClient == 0 {
		t.Errorf("the busiest connection is %+v", first)
	}
	if last := frame.Connections[len(frame.Connections)-1]; last.Client != idle.LocalAddr().String() || last.BytesPerSecond.ToTarget != 0 {
		t.Errorf("the last connection is %+v, want the idle one", last)
	}
	if g := frame.Groups[0]; g.Name != "10.1.0.101" || g.BytesPerSecond.ToClient == 0 {
		t.Errorf("the busiest client is %+v", g)
	}
	b.step([]string{"connections", "--top", "--interval", "300ms"}, control.CodeOK, "2 connections, 2 active, 0.0 new/s")
}

// speed is a rate in each direction.
type speed struct {
	ToTarget float64 `json:"to_target"`
	ToClient float64 `json:"to_client"`
}

// TestAuditor reads nginx's access log on C, and asks B which client each line is of. Both clients use the same port, so that natd's
// source ports are not theirs.
func TestAuditor(t *testing.T) {
	t.Parallel()
	lab.Require(t, "nginx", "curl")
	for _, format := range []string{"vpc-v2", "vpc-v5", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			lab.Check(t, b.A.AddExtra(2))
			web, err := b.C.StartNginx(t.Context(), netip.MustParseAddrPort("10.3.0.100:80"))
			lab.Check(t, err)
			log := filepath.Join(b.dir, "log", "flow.log")
			b.start(webRelay("auto") + fmt.Sprintf("[flow_log]\npath = %q\nformat = %q\ninterval = \"1s\"\n", log, format))
			for n := range 2 {
				client := b.A.Extra(n + 1)[0].String()
				_, err := b.A.Curl(t.Context(), "http://10.2.0.100/?client="+client, "--interface", client, "--local-port", "40000")
				lab.Check(t, err)
			}
			lines, err := web.AccessLog()
			lab.Check(t, err)
			ports := make(map[string]bool)
			for _, line := range lines {
				ports[b.audit(line)] = true
			}
			if len(ports) != 2 {
				t.Errorf("both clients have the source port %v: the test shows nothing\n%q", ports, lines)
			}
			b.step([]string{"flows", "--snat", "10.2.0.100:1", "--at", "1m"}, control.CodeFailed, "no client was 10.2.0.100:1 at ")
			b.step([]string{"flows", "--relay", "web", "--client", "10.1.0.102"}, control.CodeOK, "10.1.0.102:40000")
			b.step([]string{"flows", "--relay", "other"}, control.CodeOK, "no flows")
			b.step([]string{"status"}, control.CodeOK, log+", "+format+" every 1 s")
		})
	}
}

// audit asks natctl which client a line of nginx's log is of, which has said so in its request, and returns the port that nginx saw.
func (b *box) audit(line string) (port string) {
	b.t.Helper()
	said := regexp.MustCompile(`^(\S+) - - (\[.*\]) "GET /\?client=(\S+) .* (\d+)$`).FindStringSubmatch(line)
	if said == nil {
		b.t.Fatalf("nginx logged %q", line)
	}
	ask := []string{"flows", "--snat", said[1] + ":" + said[4], "--at", said[2]}
	answer := " was " + said[3] + ":40000\n"
	b.step(ask, control.CodeOK, answer) // at once, from connection tracking
	lab.Eventually(b.t, patience, func() error {
		out, errs, code := b.natctl(ask...)
		for _, want := range []string{said[1] + ":" + said[4] + " at ", answer, "sure      exact", "relay     web, dialled as 10.2.0.100:80"} {
			if code != control.CodeOK || !strings.Contains(out, want) {
				return fmt.Errorf("%q exits %d, want %q: %s%s", ask, code, want, out, errs)
			}
		}
		return nil
	})
	return said[4]
}

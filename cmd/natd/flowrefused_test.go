package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"natd/internal/control"
	"natd/internal/lab"
	"natd/internal/record"
)

// rejected are the records of what was refused, as text.
func rejected(records []record.Record) (texts []string) {
	for _, r := range records {
		if r.Action == record.Reject {
			texts = append(texts, fmt.Sprintf("%s %d %v > %v:%d %d packets flags %d %s leg %d",
				r.Relay, r.Protocol, r.Src, r.Dst, r.DstPort, r.Packets, r.TCPFlags, r.Direction, r.Leg))
		}
	}
	slices.Sort(texts)
	return texts
}

// TestFlowRejects wants what natd's own rules refuse to be told, once, and nothing else: what a server refuses is none of it, nor is
// a source that may not use a relay, whom the host itself answers.
func TestFlowRejects(t *testing.T) {
	t.Parallel()
	b := newFlowBox(t, ipv4)
	d := b.withNeighbour()
	lab.Check(t, b.A.AddAddr(lab.Device, netip.MustParsePrefix("10.1.0.66/24")))
	b.start(relayText("limited", "10.2.0.100:7", "tcp", "max_per_source = 1", `from = ["10.1.0.100"]`) +
		relayText("closed", "10.2.0.100:9", "tcp") + relayText("dark", "10.2.0.100:13", "tcp", `fail = "closed"`, `health = "tcp"`) +
		b.flowLogText(flowFields))
	b.awaitRelays(map[string]string{"dark": "every backend is down, new connections are refused"})
	first, err := b.A.Dial(t.Context(), "tcp", "10.2.0.100:7")
	lab.Check(t, err)
	defer first.Close()
	lab.Check(t, exchange(first, patience))
	b.refused("tcp", netip.MustParseAddr("10.1.0.100"), "10.2.0.100:7")
	b.refused("tcp", netip.MustParseAddr("10.1.0.66"), "10.2.0.100:7") // by the host
	b.refused("tcp", netip.Addr{}, "10.2.0.100:9")                     // by the server
	b.refused("tcp", netip.Addr{}, "10.2.0.100:13")
	if err := reach(t, d, "udp", "10.3.0.100:99", 100*time.Millisecond); err == nil {
		t.Error("D reaches C")
	}
	want := []string{
		" 17 10.2.9.2 > 10.3.0.100:99 N packets flags 0 ingress leg 1",
		"dark 6 10.1.0.100 > 10.2.0.100:13 1 packets flags 2 ingress leg 1",
		"limited 6 10.1.0.100 > 10.2.0.100:7 1 packets flags 2 ingress leg 1",
	}
	lab.Eventually(t, patience, func() error {
		got := rejected(b.records())
		if len(got) > 0 && strings.HasPrefix(got[0], " 17 ") { // a datagram may have been sent again
			fields := strings.Fields(got[0])
			fields[4] = "N"
			got[0] = " " + strings.Join(fields, " ")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("(-want +got):\n%s\n%s", diff, b.natd.Log())
		}
		return nil
	})
}

// TestFlowInstance fills the fields that AWS knows, and wants windows without traffic to be told for each network interface.
func TestFlowInstance(t *testing.T) {
	t.Parallel()
	b := newFlowBox(t, ipv4)
	b.withNeighbour() // another interface, which AWS does not know
	instance := b.instance("10.2.0.100")
	instance.Interfaces[0].VPCIPv4 = []string{"10.2.0.0/16", "10.3.0.0/16"} // C is in the same VPC, A is not
	b.standin(metadataAddress, instance)
	b.start(echoRelay() + b.flowLogText(record.V5))
	b.awaitInstance(func(i *control.Instance) error {
		if i == nil {
			return errors.New("natd does not know the instance")
		}
		return nil
	})
	b.wantInstance("10.2.0.100")
	none := "5 - - - - - S E - - - 123456789012 vpc-0b subnet-0b i-0123456789abcdef0 eni-0abc eu-west-1 euw1-az2 - - - - - - - - - - NODATA"
	lab.Eventually(t, patience, func() error { return b.hasLine(none) })
	lab.Check(t, b.A.SayOnce(t.Context(), "10.2.0.100:7"))
	const aws = " 123456789012 vpc-0b subnet-0b i-0123456789abcdef0 eni-0abc eu-west-1 euw1-az2 - - ACCEPT "
	for _, line := range []string{
		"5 10.1.0.100 10.2.0.100 P 7 6 S E IPv4 N N" + aws + "3 10.1.0.100 10.3.0.100 - - - ingress OK",
		"5 10.2.0.100 10.3.0.100 P 7 6 S E IPv4 N N" + aws + "3 10.1.0.100 10.3.0.100 - - 1 egress OK",
		"5 10.3.0.100 10.2.0.100 7 P 6 S E IPv4 N N" + aws + "19 10.3.0.100 10.1.0.100 - - - ingress OK",
		"5 10.2.0.100 10.1.0.100 7 P 6 S E IPv4 N N" + aws + "19 10.3.0.100 10.1.0.100 - - - egress OK",
	} {
		lab.Eventually(t, patience, func() error { return b.hasLine(line) })
	}
	for _, r := range b.records() {
		if r.Status == record.NoData && r.InterfaceID != "eni-0abc" && r.InstanceID != "" {
			t.Errorf("recorded is %+v: AWS has no such interface", r)
		}
	}
	b.wantQuietWindows()
}

// wantQuietWindows wants every window to have either traffic or a record that there was none.
func (b *box) wantQuietWindows() {
	b.t.Helper()
	none, some := make(map[[2]int64]int), []record.Record(nil)
	for _, r := range b.records() {
		if r.Status == record.NoData && r.InterfaceID == "eni-0abc" {
			none[[2]int64{r.Start, r.End}]++
		} else if r.Status == record.OK {
			some = append(some, r)
		}
	}
	for window, n := range none {
		if n != 1 {
			b.t.Errorf("window %v is told %d times to be without traffic", window, n)
		}
		for _, r := range some {
			if r.Start > window[0] && r.End < window[1] {
				b.t.Errorf("window %v is without traffic, and has %+v", window, r)
			}
		}
	}
}

// hasLine wants a record of the format vpc-v5 like the line, in which P stands for any port, S and E for any times, N for numbers.
func (b *box) hasLine(line string) error {
	want := strings.Fields(line)
	for _, file := range b.flowFiles() {
		for got := range strings.Lines(string(file)) {
			fields := strings.Fields(got)
			for i := range min(len(fields), len(want)) {
				if slices.Contains([]string{"P", "S", "E", "N"}, want[i]) && fields[i] != "-" {
					fields[i] = want[i]
				}
			}
			if slices.Equal(fields, want) {
				return nil
			}
		}
	}
	return fmt.Errorf("there is no line %s", line)
}

// TestFlowSkips stops natd while more connections end than the kernel keeps news of: the log says that it is not whole, and goes on. They
// are none of natd's. Of its own there would be tens of thousands of records before the one that is waited for, and to write and read these
// takes longer than anybody waits when a loaded machine looks for races.
func TestFlowSkips(t *testing.T) {
	t.Parallel()
	lab.Require(t, "conntrack")
	b := newFlowBox(t, ipv4)
	b.start(flowRelays() + b.flowLogText(record.V2))
	lab.Check(t, b.natd.Signal(syscall.SIGSTOP))
	const more, nobodys = 20_000, 4000 // than 16 MiB have room for, see flow.Events
	lab.Check(t, sprinkle(b.A, 20_000, more, &unix.SockaddrInet4{Port: nobodys, Addr: b.B.Addr.As4()}))
	if _, err := b.B.Run(t.Context(), "conntrack", "-F"); err != nil {
		t.Fatal(err)
	}
	lab.Check(t, b.natd.Signal(syscall.SIGCONT))
	lab.Eventually(t, patience, func() error {
		for _, r := range b.records() {
			if r.Status == record.SkipData && r.InterfaceID == lab.Device {
				return nil
			}
		}
		return errors.New("there is no SKIPDATA")
	})
	before := len(b.records())
	lab.Check(t, b.A.SayOnce(t.Context(), "10.2.0.100:7"))
	lab.Eventually(t, patience, func() error {
		if !slices.ContainsFunc(b.records()[before:], func(r record.Record) bool { return r.Status == record.OK }) {
			return errors.New("there are no records afterwards")
		}
		return nil
	})
}

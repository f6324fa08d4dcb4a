package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"natd/internal/lab"
	"natd/internal/record"
)

// flowFields is every field that natd knows, as text.
const flowFields = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${packets} ${bytes} " +
	"${start} ${end} ${action} ${log-status} ${vpc-id} ${subnet-id} ${instance-id} ${tcp-flags} ${type} ${pkt-srcaddr} ${pkt-dstaddr} " +
	"${region} ${az-id} ${sublocation-type} ${sublocation-id} ${pkt-src-aws-service} ${pkt-dst-aws-service} ${flow-direction} " +
	"${traffic-path} ${natd-relay} ${natd-kind} ${natd-leg} ${natd-client} ${natd-listen} ${natd-snat} ${natd-target}"

// flowLogText is a [flow_log] with windows of a second; lines are added to it.
func (b *box) flowLogText(format string, lines ...string) string {
	return fmt.Sprintf("\n[flow_log]\npath = %q\nformat = %q\ninterval = \"1s\"\n%s\n", b.flowPath(), format, strings.Join(lines, "\n"))
}

func (b *box) flowPath() string { return filepath.Join(b.dir, "log", "flow.log") }

// flowFiles is the text of the flow log and of what was put aside of it, the oldest first.
func (b *box) flowFiles() (files [][]byte) {
	b.t.Helper()
	names, err := filepath.Glob(filepath.Join(b.dir, "log", "flow*.log*"))
	lab.Check(b.t, err)
	slices.Sort(names) // flow-DATE...: "-" comes before "."
	for _, name := range names {
		whole := strings.HasSuffix(name, ".log") || strings.HasSuffix(name, ".gz") && !slices.Contains(names, strings.TrimSuffix(name, ".gz"))
		if !whole {
			continue // it is being compressed
		}
		text, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) { // it has just been renamed or compressed
			return b.flowFiles()
		}
		lab.Check(b.t, err)
		if strings.HasSuffix(name, ".gz") {
			r, err := gzip.NewReader(bytes.NewReader(text))
			if err == nil {
				text, err = io.ReadAll(r)
			}
			lab.Check(b.t, err)
		}
		files = append(files, text)
	}
	return files
}

// records are those of the flow log so far.
func (b *box) records() (records []record.Record) {
	b.t.Helper()
	for _, text := range b.flowFiles() {
		text = text[:bytes.LastIndexByte(text, '\n')+1]
		r := record.NewReader(bytes.NewReader(text))
		for {
			var one record.Record
			err := r.Read(&one)
			if errors.Is(err, io.EOF) {
				break
			}
			lab.Check(b.t, err)
			records = append(records, one)
		}
	}
	return records
}

// accepted is what the records say was carried, on each leg.
func accepted(records []record.Record) map[lab.Wire]lab.Volume {
	sums := make(map[lab.Wire]lab.Volume)
	for _, r := range records {
		if r.Status == record.OK && r.Action == record.Accept {
			v := sums[wireOf(&r)]
			sums[wireOf(&r)] = lab.Volume{Packets: v.Packets + r.Packets, Bytes: v.Bytes + r.Bytes}
		}
	}
	return sums
}

func wireOf(r *record.Record) lab.Wire {
	return lab.Wire{Proto: r.Protocol, Src: netip.AddrPortFrom(r.Src, r.SrcPort), Dst: netip.AddrPortFrom(r.Dst, r.DstPort)}
}

// tap counts what B sends and receives.
func (b *box) tap(dev, filter string) *lab.Tap {
	b.t.Helper()
	t, err := b.B.Tap(b.t.Context(), dev, filter, filepath.Join(b.t.TempDir(), "tap.pcap"))
	lab.Check(b.t, err)
	return t
}

// sameAsWire waits until the records add up to what tcpdump counted, packet for packet and byte for byte, which has to be so many legs
// at least.
func (b *box) sameAsWire(legs int, taps ...*lab.Tap) {
	b.t.Helper()
	lab.Eventually(b.t, patience, func() error {
		counted := make(map[lab.Wire]lab.Volume)
		for _, tap := range taps {
			one, err := tap.Count()
			if err != nil {
				return err
			}
			maps.Copy(counted, one)
		}
		if err := sameVolumes(counted, accepted(b.records())); err != nil {
			return fmt.Errorf("%w\nnatd wrote:\n%s", err, b.natd.Log())
		}
		if len(counted) < legs {
			return fmt.Errorf("%d legs were counted, want %d", len(counted), legs)
		}
		return nil
	})
}

// sameVolumes tells of a leg on which the records are not what was counted. cmp.Diff takes many seconds to write down a difference among
// thousands of legs, in which the records come.
func sameVolumes(counted, recorded map[lab.Wire]lab.Volume) error {
	wrong := 0
	var first error
	note := func(w lab.Wire) {
		if wrong++; wrong == 1 {
			first = fmt.Errorf("%v: %+v were counted, %+v recorded", w, counted[w], recorded[w])
		}
	}
	for w, v := range counted {
		if recorded[w] != v {
			note(w)
		}
	}
	for w := range recorded {
		if _, ok := counted[w]; !ok {
			note(w)
		}
	}
	if first == nil {
		return nil
	}
	return fmt.Errorf("%d of %d legs differ: %w", wrong, len(counted), first)
}

// flowRelays are one whose server answers, one whose server refuses, and one whose server says nothing.
func flowRelays() string {
	return relayText("echo", "10.2.0.100:7", "tcp") + relayText("echo-udp", "10.2.0.100:7", "udp") + relayText("closed", "10.2.0.100:9", "tcp") +
		relayText("mute", "10.2.0.100:11", "tcp")
}

// newFlowBox is a box with the servers of flowRelays, and packets that are as large as on a wire.
func newFlowBox(t *testing.T, f family) *box {
	t.Helper()
	b := newBoxOf(t, f)
	lab.Check(t, b.NoOffload())
	echo(t, b.C, "tcp", b.say("10.3.0.100:7"))
	echo(t, b.C, "udp", b.say("10.3.0.100:7"))
	lab.Check(t, b.C.Nft(t.Context(), "table inet mute { chain in { type filter hook input priority 0; tcp dport 11 drop; }; }"))
	return b
}

// bulk sends through an echo server and reads it all again.
func (b *box) bulk(to string, size int) {
	b.t.Helper()
	c, err := b.A.Dial(b.t.Context(), "tcp", b.say(to))
	lab.Check(b.t, err)
	defer c.Close()
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, size))
		sent <- err
	}()
	lab.Check(b.t, c.SetDeadline(time.Now().Add(patience)))
	_, err = io.ReadFull(c, make([]byte, size))
	lab.Check(b.t, errors.Join(err, <-sent))
}

// transfers is one of each kind: short, large, datagrams, refused, unanswered. One more has lasted for several windows, and goes on.
func (b *box) transfers(t *testing.T) (lasts net.Conn) {
	t.Helper()
	lasts, err := b.A.Dial(t.Context(), "tcp", b.say("10.2.0.100:7"))
	lab.Check(t, err)
	t.Cleanup(func() { _ = lasts.Close() })
	b.bulk("10.2.0.100:7", 300_000)
	lab.Check(t, b.A.SayOnce(t.Context(), b.say("10.2.0.100:7")))
	awaitEcho(t, b.dialUDP("10.2.0.100:7"))
	if err := b.A.SayOnce(t.Context(), b.say("10.2.0.100:9")); err == nil {
		t.Error("a closed port answers")
	}
	calls, err := b.A.Call(t.Context(), lab.Plan{
		Network: "tcp", To: netip.MustParseAddrPort(b.say("10.2.0.100:11")), Count: 1, Within: 1500 * time.Millisecond, // a second SYN comes after one
	})
	lab.Check(t, err)
	if calls[0].Err == nil {
		t.Error("a mute server answers")
	}
	b.lasts(t, lasts, 3)
	return lasts
}

// lasts uses the connection once in each of so many windows.
func (b *box) lasts(t *testing.T, c net.Conn, windows int) {
	t.Helper()
	from := netip.MustParseAddrPort(c.LocalAddr().String())
	seen := func() (n int) {
		for _, r := range b.records() {
			if wireOf(&r).Src == from {
				n++
			}
		}
		return n
	}
	for range windows {
		before := seen()
		lab.Check(t, exchange(c, patience))
		lab.Eventually(t, patience, func() error {
			if seen() == before {
				return errors.New("the window has no record of the connection")
			}
			return nil
		})
	}
}

// TestFlowRecords holds the records of real transfers against what tcpdump counts on the interface that all legs go by.
func TestFlowRecords(t *testing.T) {
	t.Parallel()
	for _, format := range []string{record.V2, record.V5, record.JSON, flowFields} {
		inFamilies(t, func(t *testing.T, f family) {
			b := newFlowBox(t, f)
			tap := b.tap(lab.Device, "(tcp or udp) and not port 80")
			b.start(flowRelays() + b.flowLogText(format))
			lasts := b.transfers(t)
			const relayed, unanswered = 5, 1
			b.sameAsWire(4*relayed+2*unanswered, tap)
			lab.Check(t, exchange(lasts, patience))
			lab.Check(t, lasts.Close())
			b.sameAsWire(4*relayed+2*unanswered, tap)
			if format == flowFields {
				b.wantShapes()
			}
		})
	}
}

// wantShapes wants the records of flowRelays to look as those of AWS do.
func (b *box) wantShapes() {
	b.t.Helper()
	flags := make(map[string]uint8)
	windows := make(map[lab.Wire]int)
	for _, r := range b.records() {
		if r.Status != record.OK {
			continue
		}
		windows[wireOf(&r)]++
		flags[fmt.Sprintf("%s %d", r.Relay, r.Leg)] |= r.TCPFlags
		from, to := netip.MustParseAddr(b.say("10.1.0.100")), netip.MustParseAddr(b.say("10.3.0.100"))
		client := from
		if r.Leg > 2 {
			from, to = to, from
		}
		if r.PktSrc != from || r.PktDst != to || r.InterfaceID != lab.Device || r.Version != 5 || r.Kind != "relay" ||
			(r.Src == r.PktSrc) == (r.Dst == r.PktDst) || r.Start > r.End || r.Client.Addr() != client || r.Action != record.Accept {
			b.t.Errorf("recorded is %+v", r)
		}
	}
	if os.Getenv(fastEnv) != "" && kernelSince(b.t, 6, 15) {
		for leg := 1; leg <= 4; leg++ { // who closes a connection on the fast path is not seen
			flags[fmt.Sprintf("echo %d", leg)] |= record.FIN
		}
	}
	want := map[string]uint8{
		"echo 1": 3, "echo 2": 3, "echo 3": 19, "echo 4": 19, "echo-udp 1": 0, "echo-udp 2": 0, "echo-udp 3": 0, "echo-udp 4": 0,
		"closed 1": record.SYN, "closed 2": record.SYN, "closed 3": record.RST, "closed 4": record.RST,
		"mute 1": record.SYN, "mute 2": record.SYN,
	}
	if diff := cmp.Diff(want, flags); diff != "" {
		b.t.Errorf("TCP flags (-want +got):\n%s", diff)
	}
	if most := slices.Max(slices.Collect(maps.Values(windows))); most < 3 {
		b.t.Errorf("the connection that lasted has records in %d windows", most)
	}
}

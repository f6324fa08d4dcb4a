package main

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/lab"
	"natd/internal/record"
	"natd/nat"
)

// synchronise is a TCP segment that begins a connection (RFC 9293, 3.1), behind the IPv4 header that a raw socket completes.
func synchronise(src, dst [4]byte, from, to uint16) []byte {
	const header, tcp, protocol, syn = 20, 20, 6, 2
	b := make([]byte, header+tcp)
	b[0], b[8], b[9] = 4<<4|header/4, 64, protocol
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	binary.BigEndian.PutUint16(b[header:], from)
	binary.BigEndian.PutUint16(b[header+2:], to)
	b[header+12], b[header+13] = tcp/4<<4, syn
	sum := uint32(protocol + tcp)
	for i := 12; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[header+16:], ^uint16(sum))
	return b
}

// synFlood sends a SYN from each of so many ports of A to the port of B that refuses, at a pace.
func (b *box) synFlood(count, rate int) {
	b.t.Helper()
	lab.Check(b.t, b.A.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		began, dst := time.Now(), b.B.Addr.As4()
		for i := range count {
			if i%(rate/100) == 0 {
				time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate))))
			}
			segment := synchronise(b.A.Addr.As4(), dst, uint16(20_000+i), 9)
			if err := unix.Sendto(fd, segment, 0, &unix.SockaddrInet4{Addr: dst}); err != nil {
				return fmt.Errorf("SYN %d: %w", i, err)
			}
		}
		b.t.Logf("%.0f connections a second", float64(count)/time.Since(began).Seconds())
		return nil
	}))
}

// TestFlowFlood makes real connections, each of which is refused at once, as fast as a natd that looks for races beside other tests can
// take them: none is missing.
func TestFlowFlood(t *testing.T) {
	t.Parallel()
	const count, rate = 20_000, 4_000
	b := newFlowBox(t, ipv4)
	b.start(flowRelays() + b.flowLogText(record.V5))
	b.awaitSysctl("net.netfilter.nf_conntrack_timestamp", "1")
	b.synFlood(count, rate)
	lab.Eventually(t, patience, func() error {
		var packets, legs uint64
		for _, r := range b.records() {
			if r.Status == record.SkipData {
				t.Error("records are missing")
			}
			if r.Status == record.OK {
				packets, legs = packets+r.Packets, legs+1
			}
		}
		if packets != 4*count || legs != 4*count {
			return fmt.Errorf("%d records of %d packets, want %d", legs, packets, 4*count)
		}
		return nil
	})
	s := b.status()
	if c := b.relay("closed").Connections; c.Total != count || c.Refused != count || s.Accounting.Lost != 0 || s.FlowLog.Dropped != 0 {
		t.Errorf("the relay has %+v, accounting %+v, the flow log %+v", c, s.Accounting, s.FlowLog)
	}
}

// TestFlowRefusedFlood dials a relay over its limit as fast as it can. All is refused and counted; what is reported of it is no more than natd
// should be kept busy with, and the flow log says that there was more.
func TestFlowRefusedFlood(t *testing.T) {
	t.Parallel()
	const count, rate, admitted = 20_000, 20_000, 5
	b := newFlowBox(t, ipv4)
	b.start(relayText("closed", "10.2.0.100:9", "tcp", fmt.Sprintf("rate = \"%d/h\"", admitted)) + b.flowLogText(record.V5))
	b.awaitSysctl("net.netfilter.nf_conntrack_timestamp", "1")
	began := time.Now()
	b.synFlood(count, rate)
	most := nat.RefusedBurst * (2 + uint64(time.Since(began)/time.Second))
	lab.Eventually(t, patience, func() error {
		var packets uint64
		skipped := false
		for _, r := range b.records() {
			skipped = skipped || r.Status == record.SkipData
			if r.Action == record.Reject {
				packets += r.Packets
			}
		}
		if packets > most {
			t.Errorf("%d packets are reported, want %d at most", packets, most)
		}
		if packets < nat.RefusedBurst || !skipped {
			return fmt.Errorf("%d packets are reported; it is said that some are missing: %t", packets, skipped)
		}
		return nil
	})
	if r := b.relay("closed"); r.Refused.Rate != count-admitted || r.Connections.Total != admitted {
		t.Errorf("the limit refused %d, want %d; the relay has %+v", r.Refused.Rate, count-admitted, r.Connections)
	}
}

package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
)

// Wire is one direction between two ends, as it is on the wire. The ports are 0 where the protocol has none.
type Wire struct {
	Proto    uint8 // IANA number
	Src, Dst netip.AddrPort
}

// String is "6 10.1.0.100:40000 > 10.2.0.100:80".
func (w Wire) String() string { return fmt.Sprintf("%d %v > %v", w.Proto, w.Src, w.Dst) }

// Volume is how much there was, in packets and in bytes from the IP header on.
type Volume struct{ Packets, Bytes uint64 }

// Tap is a tcpdump that writes packets to a file.
type Tap struct {
	*Capture
	file string
}

// Tap starts a tcpdump that writes to the file, and returns once it really listens.
func (h *Host) Tap(ctx context.Context, dev, filter, file string) (*Tap, error) {
	p, err := h.Start("tcpdump", "-i", dev, "-nn", "-U", "--immediate-mode", "-s", "128", "-B", "16384", "-Z", "root", "-w", file, filter)
	if err != nil {
		return nil, err
	}
	return &Tap{&Capture{proc: p}, file}, p.AwaitLog(ctx, capturePatience, "listening on")
}

// Count is what was captured so far.
func (t *Tap) Count() (map[Wire]Volume, error) {
	b, err := os.ReadFile(t.file)
	if err != nil {
		return nil, fmt.Errorf("reading a capture: %w", err)
	}
	return countPackets(b)
}

// countPackets reads the file format of tcpdump (pcap-savefile(5)): a header of 24 bytes, then the packets, each behind one of 16
// bytes, in the byte order of the machine. The last packet may still be growing.
func countPackets(b []byte) (map[Wire]Volume, error) {
	const header, packetHeader, magic = 24, 16, 0xa1b2c3d4
	if len(b) < header || binary.NativeEndian.Uint32(b) != magic {
		return nil, errors.New("this is not a capture")
	}
	counts := make(map[Wire]Volume)
	for b = b[header:]; len(b) >= packetHeader; {
		size := int(binary.NativeEndian.Uint32(b[8:]))
		if len(b) < packetHeader+size {
			break
		}
		if w, length, ok := parseFrame(b[packetHeader : packetHeader+size]); ok {
			v := counts[w]
			counts[w] = Volume{v.Packets + 1, v.Bytes + uint64(length)}
		}
		b = b[packetHeader+size:]
	}
	return counts, nil
}

// parseFrame reads an Ethernet frame with an IP packet that has no IPv6 extensions. The length is that of the packet.
func parseFrame(b []byte) (w Wire, length int, ok bool) {
	const ethernet, shortest4, header6 = 14, 20, 40
	if len(b) < ethernet+shortest4 {
		return w, 0, false
	}
	b = b[ethernet:]
	var src, dst netip.Addr
	var rest []byte
	switch {
	case b[0]>>4 == 4:
		src, dst, w.Proto = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), b[9]
		length, rest = int(binary.BigEndian.Uint16(b[2:])), b[4*int(b[0]&15):]
	case b[0]>>4 == 6 && len(b) >= header6:
		src, dst, w.Proto = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), b[6]
		length, rest = header6+int(binary.BigEndian.Uint16(b[4:])), b[header6:]
	default:
		return w, 0, false
	}
	if w.Proto == 1 || w.Proto == 58 || len(rest) < 4 { // ICMP and ICMPv6 have no ports
		rest = make([]byte, 4)
	}
	w.Src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(rest))
	w.Dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(rest[2:]))
	return w, length, true
}

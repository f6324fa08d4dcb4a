package lab

import (
	"context"
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Packet is one packet as tcpdump saw it.
type Packet struct {
	Proto    string // tcp, udp, sctp or icmp; "" for what has no ports and is not ICMP
	Src, Dst netip.AddrPort
	Flags    string // of TCP, as tcpdump prints them: "S", "S.", "P.", ...
	Line     string // the line of tcpdump
}

// Is tells whether the packet goes from one to the other. A zero port stands for any.
func (p Packet) Is(src, dst netip.AddrPort) bool { return matches(p.Src, src) && matches(p.Dst, dst) }

func matches(got, want netip.AddrPort) bool {
	return got.Addr() == want.Addr() && (want.Port() == 0 || got.Port() == want.Port())
}

// Capture is a running tcpdump.
type Capture struct {
	proc  *Process
	asked int // how often for its counts
}

// capturePatience is how long tcpdump may take to start, and to work off what it has received.
const capturePatience = 10 * time.Second

// Capture starts a capture on an interface and returns once it really listens. The filter is tcpdump's.
func (h *Host) Capture(ctx context.Context, dev, filter string) (*Capture, error) {
	// Each packet is delivered and printed at once, and the user kept, so that it ends with the lab. A short snapshot
	// and 8 MiB of buffer, because a slot of the buffer has the size of the snapshot: tcpdump's own values give eight
	// slots, and lose packets.
	p, err := h.Start("tcpdump", "-i", dev, "-nn", "-l", "--immediate-mode", "-s", "512", "-B", "8192", "-Z", "root", filter)
	if err != nil {
		return nil, err
	}
	return &Capture{proc: p}, p.AwaitLog(ctx, capturePatience, "listening on")
}

// Packets are the packets so far.
func (c *Capture) Packets() []Packet {
	log := c.proc.Log()
	log = log[:strings.LastIndexByte(log, '\n')+1] // the last line may still be growing
	var packets []Packet
	for _, line := range lines(log) {
		if p, ok := parsePacket(line); ok {
			packets = append(packets, p)
		}
	}
	return packets
}

// Await waits until the packets so far fulfil cond.
func (c *Capture) Await(ctx context.Context, within time.Duration, cond func([]Packet) error) error {
	return c.proc.Await(ctx, within, func() error { return cond(c.Packets()) })
}

// Stop ends the capture, once tcpdump has printed every packet that it has received, and returns all packets.
func (c *Capture) Stop(ctx context.Context) ([]Packet, error) {
	if err := c.proc.Await(ctx, capturePatience, c.workedOff); err != nil {
		return nil, err
	}
	if err := c.proc.Stop(); err != nil {
		return nil, err
	}
	return c.Packets(), nil
}

// counts are what tcpdump tells on SIGUSR1 and at its end.
var counts = regexp.MustCompile(`(\d+) packets? captured, (\d+) packets? received by filter, (\d+) packets? dropped`)

// settledAnswers is how often tcpdump must give the same counts before they are believed although they differ: the
// kernel counts as received also a packet that came while the capture was set up, which tcpdump never gets.
const settledAnswers = 40

// workedOff asks tcpdump for its counts, and looks at those it has answered before.
func (c *Capture) workedOff() error {
	all := counts.FindAllString(c.proc.Log(), -1)
	if len(all) > 0 {
		last := counts.FindStringSubmatch(all[len(all)-1])
		steady := all[max(0, len(all)-settledAnswers):]
		settled := len(steady) == settledAnswers && len(slices.Compact(slices.Clone(steady))) == 1
		if (last[1] == last[2] || settled) && last[3] == "0" {
			return nil
		}
	}
	if len(all) == c.asked { // a question that interrupts the answer to another one may hang tcpdump
		c.asked++
		if err := c.proc.Signal(syscall.SIGUSR1); err != nil {
			return err
		}
	}
	return errors.New("not every packet received is printed yet")
}

// parsePacket reads a line such as
//
//	07:49:10.954731 IP 10.2.0.100.80 > 10.1.0.100.54012: Flags [S.], seq 1, ack 2, win 62643, length 0
func parsePacket(line string) (Packet, bool) {
	fields := strings.SplitN(line, " ", 6) // time, family, source, ">", destination, the rest
	if len(fields) < 6 || (fields[1] != "IP" && fields[1] != "IP6") || fields[3] != ">" {
		return Packet{}, false
	}
	src, okSrc := parseEndpoint(fields[2])
	dst, okDst := parseEndpoint(strings.TrimSuffix(fields[4], ":"))
	if !okSrc || !okDst {
		return Packet{}, false
	}
	p := Packet{Src: src, Dst: dst, Line: line}
	flags, isTCP := strings.CutPrefix(fields[5], "Flags [")
	switch {
	case isTCP:
		p.Proto = "tcp"
		p.Flags, _, _ = strings.Cut(flags, "]")
	case strings.HasPrefix(fields[5], "ICMP"):
		p.Proto = "icmp"
	case strings.HasPrefix(fields[5], "sctp "):
		p.Proto = "sctp"
	case src.Port() != 0 || dst.Port() != 0:
		p.Proto = "udp"
	}
	return p, true
}

// parseEndpoint reads an address, with a port after a dot where there is one.
func parseEndpoint(s string) (netip.AddrPort, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a, 0), true
	}
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return netip.AddrPort{}, false
	}
	a, err := netip.ParseAddr(s[:i])
	port, errPort := strconv.ParseUint(s[i+1:], 10, 16)
	return netip.AddrPortFrom(a, uint16(port)), err == nil && errPort == nil
}

package trace

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"natd/internal/lab"
)

// TestKernelSees compares what the watch sees of requests through a relay with what tcpdump does: the same packets, each once, with the same
// addresses and flags, and nothing of what goes on beside them.
func TestKernelSees(t *testing.T) {
	t.Parallel()
	lab.Require(t, "tcpdump", "nginx", "curl")
	p := lab.New(t)
	scene{proto: TCP, closed: true}.prepare(t, p)
	n, err := p.C.StartNginx(t.Context(), netip.AddrPortFrom(p.C.Addr, targetPort))
	lab.Check(t, err)
	lab.Check(t, n.Publish("large", strings.Repeat("natd", 1<<16)))
	_, err = p.B.EchoTCP(netip.AddrPortFrom(p.B.Addr, 8081).String())
	lab.Check(t, err)
	capture, err := p.B.Capture(t.Context(), lab.Device, "tcp port 80 or tcp port 8080")
	lab.Check(t, err)
	r := between(TCP, p, false)
	w := watch(t, p.B, r, Filter{Ends: slices.Concat(r.Listen, r.Targets)})
	for range 3 {
		_, err := p.A.Curl(t.Context(), "http://10.2.0.100/large")
		lab.Check(t, err)
		c, err := p.A.Dial(t.Context(), "tcp", "10.2.0.100:8081")
		lab.Check(t, err)
		lab.Check(t, c.Close())
	}
	captured, err := capture.Stop(t.Context())
	lab.Check(t, err)
	var want []string
	for _, packet := range captured {
		want = append(want, fmt.Sprintf("%v > %v %s", packet.Src, packet.Dst, packet.Flags))
	}
	slices.Sort(want)
	lab.Eventually(t, patience, func() error {
		var got []string
		for _, packet := range w.all() {
			got = append(got, fmt.Sprintf("%v > %v %v", packet.Src, packet.Dst, packet.Flags))
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			return fmt.Errorf("%d packets, tcpdump has %d", len(got), len(want))
		}
		return nil
	})
	for _, packet := range w.all() {
		if out := packet.Src.Addr() == p.B.Addr; packet.Outgoing != out || packet.Device != lab.Device {
			t.Errorf("not the way that it went: %v", packet)
		}
	}
	if w.first.ToClient.Bytes < 1<<18 || w.first.FromTarget.Bytes < 1<<18 || w.first.FromTarget.Missing != 0 {
		t.Errorf("the data of a large answer: %+v, %+v", w.first.FromTarget, w.first.ToClient)
	}
}

// TestKernelText wants the text of a packet to be that of tcpdump, where both say the same.
func TestKernelText(t *testing.T) {
	t.Parallel()
	lab.Require(t, "tcpdump")
	p := lab.New(t)
	s := scene{proto: TCP}
	s.prepare(t, p)
	theirs, err := p.B.Start("tcpdump", "-i", lab.Device, "-nn", "-S", "-l", "--immediate-mode", "-Z", "root", "tcp port 80")
	lab.Check(t, err)
	lab.Check(t, theirs.AwaitLog(t.Context(), patience, "listening on"))
	w := watch(t, p.B, between(TCP, p, false), Filter{Ends: []End{{Proto: TCP, First: 80, Last: 80}}})
	s.dial(t, p)
	lab.Eventually(t, patience, func() error {
		ours := w.all()
		if len(ours) < 6 {
			return fmt.Errorf("%d packets", len(ours))
		}
		for _, packet := range ours {
			text := strings.Join(strings.Fields(packet.String())[3:], " ")
			if !slices.ContainsFunc(strings.Split(theirs.Log(), "\n"), func(line string) bool { return sameText(line, text) }) {
				return fmt.Errorf("tcpdump has no %q", text)
			}
		}
		return nil
	})
}

// sameText compares a line of tcpdump with ours, which leaves out the window and the options.
func sameText(line, ours string) bool {
	_, line, ok := strings.Cut(line, " ") // the time
	if !ok {
		return false
	}
	var kept []string
	for part := range strings.SplitSeq(line, ", ") {
		if !strings.HasPrefix(part, "win ") && !strings.HasPrefix(part, "options ") && !strings.HasPrefix(part, "nop") {
			kept = append(kept, part)
		}
	}
	text := strings.Join(kept, ", ")
	if i := strings.Index(text, " length "); i >= 0 { // behind which tcpdump guesses at HTTP
		text, _, _ = strings.Cut(text[:i+len(" length ")]+strings.SplitN(text[i+len(" length "):], ":", 2)[0], "\n")
	}
	return text == strings.TrimSpace(ours)
}

// TestKernelOpenings wants a filter for what opens and ends connections to pass nothing else, and a later one to be in force at once.
func TestKernelOpenings(t *testing.T) {
	t.Parallel()
	p := lab.New(t)
	s := scene{proto: TCP}
	s.prepare(t, p)
	r := between(TCP, p, false)
	f := r.Filter()
	f.Openings = true
	w := watch(t, p.B, r, f)
	s.dial(t, p)
	want := func(flags string) {
		t.Helper()
		lab.Eventually(t, patience, func() error {
			for _, packet := range w.all() {
				if packet.Flags.String() == flags {
					return nil
				}
			}
			return fmt.Errorf("no %s among %v", flags, w.all())
		})
	}
	want("F.")
	for _, packet := range w.all() {
		if packet.Flags&(SYN|FIN|RST) == 0 {
			t.Errorf("it passed: %v", packet)
		}
	}
	lab.Check(t, w.stream.Refilter(r.Filter()))
	s.dial(t, p)
	want("P.")
}

// TestKernelStuck sends more than a narrow hop carries, both ways, and wants the segments that do not get through to be found.
func TestKernelStuck(t *testing.T) {
	t.Parallel()
	for _, upload := range []bool{true, false} {
		t.Run(fmt.Sprintf("upload %v", upload), func(t *testing.T) {
			t.Parallel()
			p := lab.New(t)
			scene{proto: TCP, closed: true}.prepare(t, p)
			_, err := p.Narrow(t.Context(), 1400)
			lab.Check(t, err)
			l, err := p.C.Listen("tcp", netip.AddrPortFrom(p.C.Addr, targetPort).String())
			lab.Check(t, err)
			r := between(TCP, p, false)
			w := watch(t, p.B, r, r.Filter())
			said := make(chan net.Conn, 1)
			go func() {
				c, err := l.Accept()
				if err == nil && !upload { // the end follows what is too large, and gets through
					_, _ = c.Write(make([]byte, 4000))
					_ = c.(*net.TCPConn).CloseWrite()
				}
				said <- c
			}()
			c, err := p.A.Dial(t.Context(), "tcp", netip.AddrPortFrom(p.B.Addr, listenPort).String())
			lab.Check(t, err)
			defer c.Close()
			if upload {
				_, err = c.Write(make([]byte, 4000))
				lab.Check(t, err)
			}
			defer func() { (<-said).Close() }()
			w.await(func(a *Attempt) error {
				length, times := a.ToTarget.Stuck()
				if upload && (length < 1400 || times < 2) || !upload && a.FromTarget.Missing < 1400 {
					return fmt.Errorf("%d bytes, %d times; %+v", length, times, a.FromTarget)
				}
				return nil
			})
		})
	}
}

// TestKernelVLAN puts tagged frames on the wire, and wants the packets in them to be read on both sides: where they leave with the tag,
// and where the kernel has taken it off.
func TestKernelVLAN(t *testing.T) {
	t.Parallel()
	p := lab.New(t)
	f := Filter{Ends: []End{{Proto: UDP, First: 5300, Last: 5300}}}
	leaving, arriving := watch(t, p.R, Relay{}, f), watch(t, p.B, Relay{}, f)
	for _, packet := range [][]byte{ipv4Packet(UDP, udpTo(5300, "natd")), ipv6Packet(UDP, udpTo(5300, "natd"))} {
		for _, tags := range [][]byte{{0x81, 0, 0, 77}, {0x88, 0xa8, 0, 78, 0x81, 0, 0, 77}, {0x81, 0, 0x40, 77}} {
			lab.Check(t, p.R.Do(func() error { return sendFrame("b", tags, packet) }))
		}
	}
	for _, w := range []*watched{leaving, arriving} {
		lab.Eventually(t, patience, func() error {
			packets := w.all()
			if len(packets) != 6 {
				return fmt.Errorf("%d packets: %v", len(packets), packets)
			}
			return nil
		})
	}
	for _, packet := range arriving.all() {
		if packet.Length != 4 || packet.Dst.Port() != 5300 || packet.VLAN != 77 && packet.VLAN != 78 {
			t.Errorf("VLAN %d: %v", packet.VLAN, packet)
		}
	}
}

// sendFrame sends an Ethernet frame with tags and a packet to everybody.
func sendFrame(device string, tags, packet []byte) error {
	link, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	frame := slices.Concat([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, link.HardwareAddr, tags)
	if packet[0]>>4 == 4 {
		frame = append(frame, 0x08, 0x00)
	} else {
		frame = append(frame, 0x86, 0xdd)
	}
	protocol := bigEndian(uint16(tags[0])<<8 | uint16(tags[1]))
	return unix.Sendto(fd, append(frame, packet...), 0, &unix.SockaddrLinklayer{Ifindex: link.Index, Protocol: protocol, Halen: 6})
}

// TestKernelDrops lets more packets come than there is room for, and wants those that were lost to be counted, and the watch to go on.
func TestKernelDrops(t *testing.T) {
	t.Parallel()
	h := lab.NewHost(t)
	server, err := h.EchoUDP("127.0.0.1:5300")
	lab.Check(t, err)
	var s *Stream
	lab.Check(t, h.Do(func() (err error) {
		s, err = Watch(t.Context(), Filter{Ends: []End{{Proto: UDP, First: 5300, Last: 5300}}})
		return err
	}))
	defer s.Close()
	c, err := h.Dial(t.Context(), "udp", server.Addr.String())
	lab.Check(t, err)
	defer c.Close()
	lab.Eventually(t, patience, func() error {
		for range 1000 {
			_, _ = c.Write([]byte("natd")) // what the server has no room for is lost, too
		}
		if s.Drops() == 0 {
			return errors.New("no packet was lost")
		}
		return nil
	})
	if before := s.Drops(); before == 0 {
		t.Error("the count is gone when it is asked for again")
	}
	if p, err := s.Next(); err != nil || p.Device != "lo" || p.Length != 4 {
		t.Errorf("%v, %v", p, err)
	}
}

// TestKernelNotPermitted wants an error that says what is needed.
func TestKernelNotPermitted(t *testing.T) {
	t.Parallel()
	h := lab.NewHost(t)
	lab.Check(t, h.Do(func() error { // on a thread that ends with it
		var none [2]unix.CapUserData
		if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
			return err
		}
		_, err := Watch(t.Context(), Filter{Ends: []End{{Proto: TCP}}})
		if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "CAP_NET_RAW") {
			t.Errorf("%v, want it to say what is needed", err)
		}
		return nil
	}))
}

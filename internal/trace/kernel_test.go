package trace

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/lab"
)

// translate is the relay's rules; what they say of the source is put in.
const translate = `table inet relay {
	chain pre {
		type nat hook prerouting priority dstnat
		meta nfproto ipv4 th dport 80 meta l4proto { tcp, udp, sctp } dnat ip to 10.3.0.100:8080
		meta nfproto ipv6 th dport 80 meta l4proto { tcp, udp, sctp } dnat ip6 to [fd00:10:3::100]:8080
	}
	chain post {
		type nat hook postrouting priority srcnat
		ct status dnat %s
	}
}
`

// The rules of the scenarios.
const (
	elsewhere = `table inet other { chain pre { type nat hook prerouting priority -150; tcp dport 80 dnat ip to 10.3.0.100:9090; }; }`
	forwardNo = `table inet own { chain f { type filter hook forward priority 0; th dport 8080 %s; }; }`
	replyNo   = `table inet own { chain f { type filter hook forward priority 0; tcp sport 8080 %s; }; }`
	targetNo  = `table inet own { chain i { type filter hook input priority 0; th dport 8080 %s; }; }`
	routerNo  = `table inet loss { chain f { type filter hook forward priority -10; %s; }; }`
)

// scene is a connection that meets with something.
type scene struct {
	name           string
	proto          Protocol
	v6             bool
	closed         bool   // nobody listens at C
	source         string // what the rules do with the source; "" for masquerade
	atB, atC, atR  string // rules
	routerless     bool   // B has no route to C
	stage          Stage
	whole          bool
	answer         string // the content of the packet that answered, or a part of it
	own            string // likewise of what B itself said to the client
	again          int    // the least number of openings
	shadowed, kept bool
}

func scenes() []scene {
	return []scene{
		{name: "healthy", proto: TCP, stage: Completed, whole: true, answer: "Flags [S.]"},
		{name: "healthy IPv6", proto: TCP, v6: true, stage: Completed, whole: true, answer: "Flags [S.]"},
		{name: "other port", proto: TCP, source: "meta l4proto { tcp, udp } snat ip to 10.2.0.100:2000-2001", stage: Completed, whole: true, answer: "Flags [S.]"},
		{name: "refused", proto: TCP, closed: true, stage: AnswerSent, answer: "Flags [R.]"},
		{name: "silent", proto: TCP, atC: fmt.Sprintf(targetNo, "drop"), stage: SentOn, again: 2},
		{name: "rejected", proto: TCP, atC: fmt.Sprintf(targetNo, "reject with icmpx admin-prohibited"), stage: AnswerSent, answer: "ICMP admin-prohibited, about 10.2.0.100."},
		{name: "rejected IPv6", proto: TCP, v6: true, atC: fmt.Sprintf(targetNo, "reject with icmpx admin-prohibited"), stage: AnswerSent, answer: "ICMP6 admin-prohibited, about fd00:10:2::100."},
		{name: "rejected on the way", proto: TCP, atR: fmt.Sprintf(routerNo, "tcp dport 8080 reject with icmp host-unreachable"), stage: AnswerSent, answer: "10.2.0.1 > 10.2.0.100: ICMP host-unreachable"},
		{name: "dropped here", proto: TCP, atB: fmt.Sprintf(forwardNo, "drop"), stage: Arrived, again: 2},
		{name: "rejected here", proto: TCP, atB: fmt.Sprintf(forwardNo, "reject with icmpx admin-prohibited"), stage: Arrived, own: "ICMP admin-prohibited, about 10.1.0.100."},
		{name: "reset here", proto: TCP, atB: fmt.Sprintf(forwardNo, "reject with tcp reset"), stage: Arrived, own: "Flags [R.]"},
		{name: "no route", proto: TCP, routerless: true, stage: Arrived, own: "ICMP net-unreachable, about 10.1.0.100."},
		{name: "answer dropped here", proto: TCP, atB: fmt.Sprintf(replyNo, "drop"), stage: Answered, answer: "Flags [S.]", again: 2},
		{name: "answer lost", proto: TCP, atR: fmt.Sprintf(routerNo, "tcp sport 80 drop"), stage: AnswerSent, answer: "Flags [S.]", again: 2},
		{name: "shadowed", proto: TCP, atB: elsewhere, stage: AnswerSent, answer: "Flags [R.]", shadowed: true},
		{name: "source kept", proto: TCP, source: "accept", stage: SentOn, kept: true, again: 2},
		{name: "UDP", proto: UDP, stage: AnswerSent, whole: true, answer: "UDP, length 4"},
		{name: "UDP IPv6", proto: UDP, v6: true, stage: AnswerSent, whole: true, answer: "UDP, length 4"},
		{name: "UDP other port", proto: UDP, source: "meta l4proto { tcp, udp } snat ip to 10.2.0.100:2000-2001", stage: AnswerSent, whole: true, answer: "UDP, length 4"},
		{name: "SCTP", proto: SCTP, stage: AnswerSent, whole: true, answer: "sctp, size"},
		{name: "UDP silent", proto: UDP, atC: fmt.Sprintf(targetNo, "drop"), stage: SentOn},
		{name: "UDP refused", proto: UDP, closed: true, stage: AnswerSent, answer: "10.3.0.100 > 10.2.0.100: ICMP port-unreachable"},
	}
}

// TestKernelAttempt has connections meet with everything, through rules that nft loads, and wants to be told how far they got.
func TestKernelAttempt(t *testing.T) {
	t.Parallel()
	for _, s := range scenes() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			p := lab.New(t)
			s.prepare(t, p)
			w := watch(t, p.B, between(s.proto, p, s.v6), between(s.proto, p, s.v6).Filter())
			s.dial(t, p)
			w.await(s.check)
			if n := w.stream.Drops(); n != 0 {
				t.Errorf("%d packets were lost", n)
			}
		})
	}
}

func (s scene) prepare(t *testing.T, p *lab.Peering) {
	t.Helper()
	if s.v6 && !p.B.Addr6.IsValid() {
		t.Skip("the kernel has no IPv6")
	}
	source := s.source
	if source == "" {
		source = "masquerade"
	}
	lab.Check(t, p.B.Nft(t.Context(), fmt.Sprintf(translate, source)))
	for _, key := range []string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"} {
		if err := p.B.SetSysctl(key, "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	for _, r := range []struct {
		host  *lab.Host
		rules string
	}{{p.B, s.atB}, {p.C, s.atC}, {p.R, s.atR}} {
		if r.rules != "" {
			lab.Check(t, r.host.Nft(t.Context(), r.rules))
		}
	}
	if s.routerless {
		lab.Check(t, errors.Join(p.B.DelRoute(netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.2.0.1")),
			p.B.AddRoute(netip.MustParsePrefix("10.1.0.0/16"), netip.MustParseAddr("10.2.0.1"))))
	}
	if !s.closed {
		s.serve(t, p)
	}
}

// serve starts the server in C.
func (s scene) serve(t *testing.T, p *lab.Peering) {
	t.Helper()
	at := netip.AddrPortFrom(p.C.Addr, targetPort)
	if s.v6 {
		at = netip.AddrPortFrom(p.C.Addr6, targetPort)
	}
	var err error
	switch s.proto {
	case UDP:
		_, err = p.C.EchoUDP(at.String())
	case SCTP:
		_, err = p.C.AnswerSCTP(at)
	default:
		_, err = p.C.EchoTCP(at.String())
	}
	lab.Check(t, err)
}

// dial has the client try in the background, and say something when it is connected.
func (s scene) dial(t *testing.T, p *lab.Peering) {
	t.Helper()
	to := p.B.Addr
	if s.v6 {
		to = p.B.Addr6
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if s.proto == SCTP {
			_ = p.A.Associate(t.Context(), 5000, netip.AddrPortFrom(to, listenPort)) // what becomes of it is seen in B
			return
		}
		_ = p.A.Do(func() error {
			c, err := (&net.Dialer{}).DialContext(t.Context(), s.proto.String(), netip.AddrPortFrom(to, listenPort).String())
			if err != nil {
				return err
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(2 * time.Second))
			_, err = io.WriteString(c, "natd")
			_, _ = c.Read(make([]byte, 4))
			return err
		})
	}()
	t.Cleanup(func() { <-done })
}

// check compares what was seen with what should have been.
func (s scene) check(a *Attempt) error {
	again := max(1, s.again)
	for what, wrong := range map[string]bool{
		"stage":     a.Stage() != s.stage,
		"whole":     a.Whole() != s.whole,
		"answer":    !like(a.Answer, s.answer),
		"own":       !like(a.Own, s.own),
		"elsewhere": a.Elsewhere() != s.shadowed,
		"source":    a.SourceKept() != s.kept,
		"openings":  a.Opening.Times < again,
		"sent on":   s.stage > Arrived && a.Forwarded.Times < again,
		"targets":   s.stage > Arrived && !s.shadowed && a.Target.Port() != targetPort,
	} {
		if wrong {
			return fmt.Errorf("%s: stage %v, %+v", what, a.Stage(), a)
		}
	}
	return nil
}

func like(s Sight, want string) bool {
	return s.Seen() == (want != "") && (want == "" || strings.Contains(s.String(), want))
}

// TestKernelSees compares what the watch sees with what tcpdump does: the same packets, each once, with the same addresses and flags, of requests through a relay
// and of what has nothing to do with it, which only tcpdump is to see.
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
				if err == nil && !upload { // a small piece that gets through follows the large one that does not
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
				if upload && (length < 1400 || times < 2) || !upload && a.FromTarget.Missing < 1400 && a.FromTarget.Bytes > 0 {
					return fmt.Errorf("%d bytes, %d times; %+v", length, times, a.FromTarget)
				}
				return nil
			})
		})
	}
}

// TestKernelVLAN puts tagged frames on the wire, and wants the packets in them to be read on both sides: where they leave with the tag, and where the kernel has
// taken it off.
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

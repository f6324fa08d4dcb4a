package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/control"
	"natd/internal/lab"
)

// Flags of a TCP segment: RFC 9293, section 3.1.
const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	flagPSH
	flagACK
)

// segment is a TCP header without options and data, as RFC 9293 has it, with the checksum that its addresses make.
func segment(src, dst netip.AddrPort, flags byte, seq, ack uint32) []byte {
	s := make([]byte, 20)
	binary.BigEndian.PutUint16(s[0:], src.Port())
	binary.BigEndian.PutUint16(s[2:], dst.Port())
	binary.BigEndian.PutUint32(s[4:], seq)
	binary.BigEndian.PutUint32(s[8:], ack)
	s[12], s[13] = 5<<4, flags // five words of header
	binary.BigEndian.PutUint16(s[14:], 64000)

	from, to := src.Addr().As4(), dst.Addr().As4()
	pseudo := []byte{0, unix.IPPROTO_TCP, 0, byte(len(s))}
	binary.BigEndian.PutUint16(s[16:], checksum(slices.Concat(from[:], to[:], pseudo, s)))
	return s
}

// checksum is the Internet checksum: RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum>>16 + sum&0xffff
	return ^uint16(sum + sum>>16)
}

// ping sends one ICMP echo request (RFC 792) and waits for its reply, which comes with its IPv4 header (raw(7)).
func ping(t testing.TB, from *lab.Host, to netip.Addr, within time.Duration) error {
	t.Helper()
	const headerSize = 20
	c, err := from.Dial(t.Context(), "ip4:icmp", to.String())
	if err != nil {
		return err
	}
	defer c.Close()
	request := []byte{8, 0, 0, 0, 0, 1, 0, 1}
	binary.BigEndian.PutUint16(request[2:], checksum(request))
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	if _, err := c.Write(request); err != nil {
		return err
	}
	for reply := make([]byte, 1500); ; {
		n, err := c.Read(reply)
		if err != nil {
			return err
		}
		if n == headerSize+len(request) && reply[headerSize] == 0 {
			return nil
		}
	}
}

// inject sends a segment that no socket of the host would send.
func inject(t testing.TB, h *lab.Host, src, dst netip.AddrPort, flags byte, seq, ack uint32) {
	t.Helper()
	lab.Check(t, h.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		if err != nil {
			return fmt.Errorf("open a raw socket: %w", err)
		}
		defer func() { _ = unix.Close(fd) }()
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: src.Addr().As4()}); err != nil {
			return fmt.Errorf("bind the raw socket to %s: %w", src.Addr(), err)
		}
		return unix.Sendto(fd, segment(src, dst, flags, seq, ack), 0, &unix.SockaddrInet4{Addr: dst.Addr().As4()})
	}))
}

// markPort is the port of the packet that ends a capture.
const markPort = 9

// until captures what the filter lets through until a packet that B sends to the address once the function is called has
// passed: all that was sent before it has passed then, for the links of the lab keep the order. It returns what came first.
func (b *box) until(on *lab.Host, filter, to string) (end func() []lab.Packet) {
	b.t.Helper()
	capture, err := on.Capture(b.t.Context(), lab.Device, fmt.Sprintf("(%s) or udp dst port %d", filter, markPort))
	lab.Check(b.t, err)
	return func() []lab.Packet {
		b.t.Helper()
		c, err := b.B.Dial(b.t.Context(), "udp", fmt.Sprintf("%s:%d", to, markPort))
		lab.Check(b.t, err)
		defer c.Close()
		_, err = c.Write([]byte("mark"))
		lab.Check(b.t, err)
		var before []lab.Packet
		lab.Check(b.t, capture.Await(b.t.Context(), patience, func(packets []lab.Packet) error {
			i := slices.IndexFunc(packets, func(p lab.Packet) bool { return p.Dst.Port() == markPort })
			if i < 0 {
				return errors.New("the mark has not arrived")
			}
			before = packets[:i]
			return nil
		}))
		return before
	}
}

// none fails the test for the first of the packets.
func none(t testing.TB, who string, packets []lab.Packet) {
	t.Helper()
	if len(packets) > 0 {
		t.Errorf("%s: %d packets, the first is %s", who, len(packets), packets[0].Line)
	}
}

// withNeighbour adds host D to B's VPC, on a network of its own behind B: what it sends elsewhere can only go through B.
func (b *box) withNeighbour() *lab.Host {
	b.t.Helper()
	d, err := b.Host("D")
	lab.Check(b.t, err)
	lab.Check(b.t, lab.Connect(
		lab.End{Host: d, Name: lab.Device, Addrs: []netip.Prefix{netip.MustParsePrefix("10.2.9.2/24")}},
		lab.End{Host: b.B, Name: "ens6", Addrs: []netip.Prefix{netip.MustParsePrefix("10.2.9.1/24")}}))
	lab.Check(b.t, d.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.2.9.1")))
	return d
}

// TestForwardsNothingElse tries everything to get through B that no relay asks for, and then sees with forward = "open" that
// it would have got through.
func TestForwardsNothingElse(t *testing.T) {
	t.Parallel()
	lab.Require(t, "tcpdump")
	b := newBox(t)
	d := b.withNeighbour()
	relay := relayText("echo", "10.2.0.100:7", "tcp", `from = ["10.1.0.0/16"]`) +
		relayText("echo-udp", "10.2.0.100:7", "udp", `from = ["10.1.0.0/16"]`)
	for _, network := range []string{"tcp", "udp"} {
		echo(t, b.C, network, "10.3.0.100:7")
		echo(t, b.C, network, "10.3.0.100:99")
		echo(t, d, network, "10.2.9.2:7")
	}
	b.start(relay)
	for _, network := range []string{"tcp", "udp"} {
		lab.Check(t, reach(t, b.A, network, "10.2.0.100:7", patience)) // the way to C is known
	}
	fromD, fromC := b.until(b.C, "src host 10.2.9.2", "10.3.0.100"), b.until(d, "src host 10.3.0.100", "10.2.9.2")
	attack(t, b, d)
	none(t, "what C got from D", fromD())
	none(t, "what D got from C", fromC())

	b.reload("[host]\nforward = \"open\"\n" + relay)
	for _, network := range []string{"tcp", "udp"} {
		lab.Check(t, reach(t, d, network, "10.3.0.100:7", patience))
		lab.Check(t, reach(t, b.C, network, "10.2.9.2:7", patience))
	}
	lab.Check(t, ping(t, d, b.C.Addr, patience))
	b.reload(relay)
	if err := reach(t, d, "tcp", "10.3.0.100:7", 200*time.Millisecond); err == nil {
		t.Error("after going back to strict a new connection gets through")
	}
}

// attack sends what must not get through: past the relay, and through it from a source that may not use it.
func attack(t *testing.T, b *box, d *lab.Host) {
	t.Helper()
	const brief = 150 * time.Millisecond
	for _, network := range []string{"tcp", "udp"} {
		for _, addr := range []string{"10.3.0.100:7", "10.3.0.100:99", "10.2.0.100:7", "10.2.9.1:7"} {
			if err := reach(t, d, network, addr, brief); err == nil {
				t.Errorf("D reaches %s %s", network, addr)
			}
		}
		if err := reach(t, b.C, network, "10.2.9.2:7", brief); err == nil {
			t.Errorf("C reaches D by %s", network)
		}
	}
	if err := ping(t, d, b.C.Addr, brief); err == nil {
		t.Error("D pings C")
	}
	// In the middle of a connection that never was, which connection tracking takes for a new one
	// (nf_conntrack_tcp_loose), and what it takes for none at all.
	src := netip.MustParseAddrPort("10.2.9.2:40000")
	for _, dst := range []string{"10.3.0.100:7", "10.2.0.100:7"} {
		for _, flags := range []byte{flagACK, flagACK | flagPSH, flagSYN | flagACK, flagFIN | flagACK, flagRST, flagSYN | flagFIN, 0} {
			inject(t, d, src, netip.MustParseAddrPort(dst), flags, 1000, 1000)
		}
	}
}

// TestSourcesOutsideFrom dials a relay from an address that it does not name, beside one that it does.
func TestSourcesOutsideFrom(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	lab.Check(t, b.A.AddAddr(lab.Device, netip.MustParsePrefix("10.1.0.66/24")))
	servers := map[string]*lab.Echo{"tcp": echo(t, b.C, "tcp", "10.3.0.100:7"), "udp": echo(t, b.C, "udp", "10.3.0.100:7")}
	b.start("[[relay]]\nname = \"echo\"\nlisten = \"10.2.0.100:7\"\nprotocol = [\"tcp\", \"udp\"]\n" +
		"from = [\"10.1.0.100\", \"10.1.0.128/25\", \"10.9.0.0/16\"]\nto = [\"10.3.0.100:7\"]\n")
	for network, server := range servers {
		c, err := b.A.DialFrom(t.Context(), network, netip.MustParseAddr("10.1.0.66"), "10.2.0.100:7")
		if err == nil {
			if err := exchange(c, 200*time.Millisecond); err == nil {
				t.Errorf("a source outside of from is served over %s", network)
			}
			_ = c.Close()
		}
		lab.Check(t, reach(t, b.A, network, "10.2.0.100:7", patience))
		if n := len(server.Peers()); n != 1 {
			t.Errorf("C met %d %s clients, want the one that may", n, network)
		}
	}
}

// connected opens a connection through the echo relay, and returns it with the ends of both of its legs.
func (b *box) connected() (c net.Conn, client, source netip.AddrPort) {
	b.t.Helper()
	server := echo(b.t, b.C, "tcp", "10.3.0.100:7")
	c, err := b.A.Dial(b.t.Context(), "tcp", "10.2.0.100:7")
	lab.Check(b.t, err)
	b.t.Cleanup(func() { _ = c.Close() })
	lab.Check(b.t, exchange(c, patience))
	return c, netip.MustParseAddrPort(c.LocalAddr().String()), server.Peers()[0]
}

// TestOutOfWindow sends segments into an established connection that connection tracking finds invalid, and so does not
// translate. B's own stack must not answer them with a reset.
func TestOutOfWindow(t *testing.T) {
	t.Parallel()
	lab.Require(t, "tcpdump")
	b := newBox(t)
	b.start(echoRelay())
	c, client, source := b.connected()
	listen, target := netip.MustParseAddrPort("10.2.0.100:7"), netip.MustParseAddrPort("10.3.0.100:7")
	resets := b.until(b.B, "tcp[tcpflags] & tcp-rst != 0", "10.3.0.100")
	for seq := range uint32(8) { // whatever the window is, most of these are far outside of it
		for _, flags := range []byte{flagACK, flagACK | flagFIN} {
			inject(t, b.A, client, listen, flags, seq<<29, seq<<29)
			inject(t, b.C, target, source, flags, seq<<29, seq<<29)
		}
	}
	lab.Check(t, exchange(c, patience))
	none(t, "resets at B", resets())
	lab.Check(t, exchange(c, patience))
}

// TestForgottenConnection makes B forget its connections while the server is about to speak.
func TestForgottenConnection(t *testing.T) {
	t.Parallel()
	lab.Require(t, "conntrack", "tcpdump")
	b := newBox(t)
	b.start(relayText("greeter", "10.2.0.100:25", "tcp"))
	l, err := b.C.Listen("tcp", "10.3.0.100:25")
	lab.Check(t, err)
	c, err := b.A.Dial(t.Context(), "tcp", "10.2.0.100:25")
	lab.Check(t, err)
	defer c.Close()
	server, err := l.Accept()
	lab.Check(t, err)
	defer server.Close()
	say(t, server, c, "220 ready\n")
	resets := b.until(b.B, "tcp[tcpflags] & tcp-rst != 0", "10.3.0.100")
	arrivals, err := b.B.Capture(t.Context(), lab.Device, "src host 10.3.0.100 and tcp src port 25")
	lab.Check(t, err)

	_, err = b.B.Run(t.Context(), "conntrack", "-F")
	lab.Check(t, err)
	_, err = server.Write([]byte("250 late\n"))
	lab.Check(t, err)
	lab.Check(t, arrivals.Await(t.Context(), patience, func(packets []lab.Packet) error {
		if len(packets) == 0 {
			return errors.New("the server's segment has not come to B")
		}
		return nil
	}))
	say(t, c, server, "QUIT\n")
	hear(t, c, "250 late\n")
	none(t, "resets at B", resets())
}

// say writes the text at one end and wants it at the other.
func say(t testing.TB, from, to net.Conn, text string) {
	t.Helper()
	_, err := from.Write([]byte(text))
	lab.Check(t, err)
	hear(t, to, text)
}

func hear(t testing.TB, c net.Conn, text string) {
	t.Helper()
	lab.Check(t, c.SetDeadline(time.Now().Add(patience)))
	buf := make([]byte, len(text))
	_, err := io.ReadFull(c, buf)
	lab.Check(t, err)
	if string(buf) != text {
		t.Errorf("got %q, want %q", buf, text)
	}
}

// TestSocketPermissions asks as strangers, as members of the group and as root.
func TestSocketPermissions(t *testing.T) {
	t.Parallel()
	lab.Require(t, "setpriv")
	b := newBox(t)
	b.everybodys()
	const group, gid = "daemon", "1" // base-passwd gives every Debian this one
	b.start(fmt.Sprintf("[daemon]\nsocket_group = %q\n", group) + echoRelay())
	lab.Check(t, os.Chmod(b.configPath(), 0o644))
	id := fmt.Sprint(nobody)
	stranger := []string{"--reuid", id, "--regid", id, "--clear-groups"}
	member := []string{"--reuid", id, "--regid", id, "--groups", gid}
	tests := []struct {
		name string
		who  []string
		verb string
		code int
	}{
		{"stranger", stranger, "status", control.CodeNotPermitted},
		{"stranger", stranger, "connections", control.CodeNotPermitted},
		{"stranger", stranger, "reload", control.CodeNotPermitted},
		{"stranger", stranger, "flush", control.CodeNotPermitted},
		{"stranger", stranger, "plan", control.CodeNotPermitted},
		{"member", member, "status", control.CodeOK},
		{"member", member, "connections", control.CodeOK},
		{"member", member, "reload", control.CodeNotPermitted},
		{"member", member, "flush", control.CodeNotPermitted},
	}
	before := b.status()
	for _, tt := range tests {
		args := append(slices.Clone(tt.who), filepath.Join(b.bin, "natctl"), "--socket", b.socketPath(), tt.verb)
		if tt.verb == "plan" {
			args = append(args, b.configPath())
		}
		out, err := b.B.Command(t.Context(), "setpriv", args...).CombinedOutput()
		if code := lab.ExitCode(err); code != tt.code {
			t.Errorf("%s: natctl %s exits %d, want %d:\n%s", tt.name, tt.verb, code, tt.code, out)
		}
		if tt.code != 0 && !strings.Contains(string(out), "root") {
			t.Errorf("%s: natctl %s does not say who may:\n%s", tt.name, tt.verb, out)
		}
	}
	if after := b.status(); after.State != control.StateReady || !after.Config.LoadedAt.Equal(before.Config.LoadedAt) {
		t.Errorf("somebody without the right changed something: %+v", after)
	}
}

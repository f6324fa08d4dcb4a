package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/icmp"
)

// The sizes in bytes of what stands before the data of an echo request, without options (RFC 791, RFC 8200, RFC 792).
const (
	ipv4Header = 20
	ipv6Header = 40
	echoHeader = 8
)

// smallEcho is the size in bytes of an echo request, with headers, that passes everywhere: ping(8) sends 84.
const smallEcho = 84

// Ping sends one echo request, and a second one if nothing comes, and tells whether the target answers. From may be the zero Addr. It
// needs CAP_NET_RAW, unless net.ipv4.ping_group_range admits the process.
func Ping(ctx context.Context, from, to netip.Addr) Outcome {
	p, err := newPinger(from, to)
	if err != nil {
		return Outcome{Kind: atOnce(err), Err: fmt.Errorf("pinging %v: %w", to, err)}
	}
	defer p.close()
	for _, wait := range []time.Duration{time.Second, DefaultTimeout - time.Second} {
		if err := p.round(ctx, time.Now().Add(wait), smallEcho); err != nil {
			return Outcome{Kind: LocalError, Err: fmt.Errorf("pinging %v: %w", to, err)}
		}
		if len(p.answers) > 0 || p.failure.IsValid() {
			break
		}
	}
	out := Outcome{Kind: NoReply, RTT: p.rtt, ICMP: p.failure, Err: fmt.Errorf("pinging %v: no answer", to)}
	switch {
	case len(p.answers) > 0:
		out.Kind, out.Err = Answered, nil
	case p.failure.IsValid():
		out.Err = fmt.Errorf("pinging %v", to)
		out.ICMP.Sender = sender(out.ICMP.From, to)
		out.judgeICMP(Dial{From: from, To: netip.AddrPortFrom(to, 0)})
	default:
		out.judgeSilence(Dial{From: from, To: netip.AddrPortFrom(to, 0)})
	}
	return out
}

// pinger sends echo requests that must not be fragmented, of any size, and collects what comes of them.
type pinger struct {
	*socket
	exclusive bool   // the kernel chooses what requests are known by, and passes on nothing else
	id        uint16 // what they are known by otherwise
	seq       uint16 // of the last request
	sent      map[uint16]request
	answers   map[int]bool // the sizes that were answered
	rtt       time.Duration
	failure   ICMP // the last error, other than that a request was too big
	tooBig    ICMP // the last error that says that a request was too big
}

type request struct {
	size int // with headers, in bytes
	at   time.Time
}

// newPinger opens a ping socket (icmp(7)), or a raw one where the settings do not allow it.
func newPinger(from, to netip.Addr) (*pinger, error) {
	protocol := unix.IPPROTO_ICMP
	if to.Is6() {
		protocol = unix.IPPROTO_ICMPV6
	}
	s, err := openSocket(unix.SOCK_DGRAM, protocol, to, from, "", (*socket).unfragmented)
	exclusive := err == nil
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPROTONOSUPPORT) {
		s, err = openSocket(unix.SOCK_RAW, protocol, to, from, "", (*socket).unfragmented)
	}
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			return nil, fmt.Errorf("opening a socket for ICMP needs CAP_NET_RAW, run as root: %w", err)
		}
		return nil, err
	}
	p := &pinger{socket: s, exclusive: exclusive, id: uint16(rand.Uint32()), sent: map[uint16]request{}, answers: map[int]bool{}}
	if err := unix.Connect(s.fd, sockaddr(netip.AddrPortFrom(to, 0))); err != nil {
		s.close()
		return nil, err
	}
	if err := s.watch(); err != nil {
		s.close()
		return nil, err
	}
	return p, nil
}

// unfragmented makes a socket send what the interface takes, whatever was learned of the path, and never fragments.
func (s *socket) unfragmented() error {
	if s.v6 {
		return errors.Join(unix.SetsockoptInt(s.fd, unix.SOL_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE),
			unix.SetsockoptInt(s.fd, unix.SOL_IPV6, unix.IPV6_DONTFRAG, 1))
	}
	return unix.SetsockoptInt(s.fd, unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
}

// round sends a request of each size, and waits until all are answered, or the target is said to be out of reach, or the time is up. An
// error is one of this host, which cannot send.
func (p *pinger) round(ctx context.Context, deadline time.Time, sizes ...int) error {
	waiting := map[uint16]bool{}
	var failed error
	err := p.readable(ctx, deadline, once(func(fd int) bool {
		for _, size := range sizes {
			if err := p.send(fd, size); err != nil {
				failed = err
				return true
			}
			waiting[p.seq] = true
		}
		return false
	}, func(fd int) bool {
		for p.collect(fd, waiting) {
		}
		return len(waiting) == 0
	}))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case failed != nil:
		return failed
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	}
	return err
}

// send sends a request. One that is larger than the interface takes counts as sent: there is no answer to it.
func (p *pinger) send(fd, size int) error {
	header, kind := ipv4Header, byte(icmp.Echo)
	if p.v6 {
		header, kind = ipv6Header, icmp.Echo6
	}
	p.seq++
	m := make([]byte, max(size-header, echoHeader))
	m[0] = kind
	binary.BigEndian.PutUint16(m[4:], p.id)
	binary.BigEndian.PutUint16(m[6:], p.seq)
	if !p.v6 { // of ICMPv6 the kernel does it (RFC 3542, 3.1), and of ping sockets
		binary.BigEndian.PutUint16(m[2:], checksum(m))
	}
	p.sent[p.seq] = request{size: size, at: time.Now()}
	_, err := unix.SendmsgN(fd, m, nil, nil, 0)
	for _, earlier := range []error{unix.EMSGSIZE, unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EAGAIN, unix.EACCES, unix.EPROTO} {
		if errors.Is(err, earlier) { // or what an ICMP error about the one before means, which the error queue has
			return nil
		}
	}
	return err
}

// collect takes one message or error from the socket, and strikes what it settles off what waits. It is false when there was none.
func (p *pinger) collect(fd int, waiting map[uint16]bool) bool {
	if t, ok := readTrouble(fd); ok {
		p.troubled(t, waiting)
		return true
	}
	b := make([]byte, 128)
	n, _, err := unix.Recvfrom(fd, b, unix.MSG_TRUNC) // its real size, whatever the buffer has room for
	if err != nil {
		return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EHOSTUNREACH) // of which the error queue tells more
	}
	b, n = p.body(b[:min(n, len(b))], n)
	if len(b) < echoHeader || b[0] != icmp.EchoReply && b[0] != icmp.EchoReply6 {
		return true
	}
	seq := binary.BigEndian.Uint16(b[6:])
	r, known := p.sent[seq]
	if !known || !p.own(b) || n < r.size-ipv6Header {
		return true
	}
	p.rtt = time.Since(r.at)
	p.answers[r.size] = true
	delete(waiting, seq)
	return true
}

// troubled notes an error about a request.
func (p *pinger) troubled(t trouble, waiting map[uint16]bool) {
	if len(t.sent) < echoHeader || !p.own(t.sent) {
		return
	}
	seq := binary.BigEndian.Uint16(t.sent[6:])
	if r, known := p.sent[seq]; known {
		p.rtt = time.Since(r.at)
	}
	delete(waiting, seq)
	switch {
	case !t.icmp.IsValid(): // the interface does not take it
	case t.icmp.IsTooBig():
		p.tooBig = t.icmp
	default:
		p.failure = t.icmp
	}
}

// own tells whether a message is one of this pinger, or the answer to one.
func (p *pinger) own(b []byte) bool { return p.exclusive || binary.BigEndian.Uint16(b[4:]) == p.id }

// body is a message of n bytes without the IP header, which raw sockets of IPv4 get with it.
func (p *pinger) body(b []byte, n int) ([]byte, int) {
	if p.v6 || len(b) == 0 || b[0]>>4 != 4 {
		return b, n
	}
	header := min(int(b[0]&0xf)*4, len(b))
	return b[header:], n - header
}

// checksum is the internet checksum of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

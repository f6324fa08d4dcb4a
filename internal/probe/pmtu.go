package probe

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// MTU is what the path to a target carries. All sizes are those of whole IP packets, in bytes.
type MTU struct {
	Answers   bool       // the target answers echo requests; if not, there is nothing but Link and Route
	Link      int        // what the interface takes that the route leads to
	Route     int        // what the kernel sends there at present: by the interface, the route, and what it has learned
	Largest   int        // the largest packet that was answered
	Failing   int        // the smallest packet that was not; 0 when all were
	Blackhole bool       // larger packets than Largest vanish, and nobody tells
	Reported  int        // the size that an ICMP error asked for (RFC 1191, RFC 8201); 0 when none came
	By        netip.Addr // who sent that error
	Err       error      // why nothing could be measured
}

// ladder are the sizes that networks have: EC2 (jumbo frames, and between Regions or by a transit gateway), Ethernet, PPPoE, tunnels,
// and the least that IPv6 and IPv4 allow. Source: "Network MTU for your EC2 instance"; RFC 2516; RFC 8200, 5; RFC 1122, 3.3.3.
func ladder() []int { return []int{9001, 8500, 1500, 1492, 1480, 1400, 1280, 576, smallEcho} }

const (
	refinements = 3                      // rounds that search between a size that passes and one that does not
	perRound    = 7                      // requests in each
	leastWait   = 250 * time.Millisecond // for answers that may not come, if the path is short
	mostWait    = time.Second            // and if it is long
)

// PathMTU measures by echo requests that must not be fragmented how large a packet gets to a target and back. It sends two where
// the path carries what the interface does, some forty otherwise. Where the target does not answer to echo, that cannot be told, and
// Connect's MSS is the next best. It needs what Ping needs.
//
// An ICMP error that a packet was too big makes the kernel remember the size for that target, as with every other packet.
func PathMTU(ctx context.Context, from, to netip.Addr) MTU {
	w, err := findWay(from, to, "")
	if err != nil {
		return MTU{Err: fmt.Errorf("measuring the path to %v: %w", to, err)}
	}
	m := MTU{Link: w.mtu}
	p, err := newPinger(from, to)
	if err != nil {
		m.Err = fmt.Errorf("measuring the path to %v: %w", to, err)
		return m
	}
	defer p.close()
	m.Route = p.pathMTU()
	if err := p.measure(ctx, &m); err != nil {
		m.Err = fmt.Errorf("measuring the path to %v: %w", to, err)
	}
	return m
}

// pathMTU is what the kernel believes.
func (p *pinger) pathMTU() (size int) {
	level, option := unix.SOL_IP, unix.IP_MTU
	if p.v6 {
		level, option = unix.SOL_IPV6, unix.IPV6_MTU
	}
	_ = p.raw.Control(func(fd uintptr) { size, _ = unix.GetsockoptInt(int(fd), level, option) }) // 0 says that it cannot be told
	return size
}

// measure fills in what the path carries.
func (p *pinger) measure(ctx context.Context, m *MTU) error {
	for range 2 {
		if err := p.round(ctx, time.Now().Add(mostWait), smallEcho); err != nil {
			return err
		}
		if m.Answers = p.answers[smallEcho]; m.Answers {
			break
		}
	}
	if !m.Answers {
		return nil
	}
	m.Largest = smallEcho
	wait := min(max(leastWait, 4*p.rtt), mostWait)
	top := min(m.Link, ladder()[0])
	if err := p.try(ctx, m, wait, []int{top}); err != nil || m.Failing == 0 {
		return err
	}
	for i := 0; i <= refinements && m.Failing > m.Largest+1; i++ {
		sizes := steps(m.Largest, m.Failing)
		if i == 0 {
			sizes = slices.DeleteFunc(ladder(), func(size int) bool { return size >= top })
		}
		if told := p.tooBig.MTU; told > m.Largest && told < m.Failing {
			sizes = []int{told, told + 1}
		}
		if err := p.try(ctx, m, wait, sizes); err != nil {
			return err
		}
	}
	m.Reported, m.By = p.tooBig.MTU, p.tooBig.From
	m.Blackhole = !m.By.IsValid()
	return nil
}

// try tries the sizes, and the smallest of those that fail once more, and notes what that says.
func (p *pinger) try(ctx context.Context, m *MTU, wait time.Duration, sizes []int) error {
	if err := p.round(ctx, time.Now().Add(wait), sizes...); err != nil {
		return err
	}
	m.note(p)
	if m.Failing == 0 {
		return nil
	}
	if err := p.round(ctx, time.Now().Add(wait), m.Failing); err != nil {
		return err
	}
	m.note(p)
	return nil
}

// note notes the bounds that the answers so far give.
func (m *MTU) note(p *pinger) {
	m.Failing = 0
	for size := range p.answers {
		m.Largest = max(m.Largest, size)
	}
	for _, r := range p.sent {
		if r.size > m.Largest && (m.Failing == 0 || r.size < m.Failing) {
			m.Failing = r.size
		}
	}
}

// steps are sizes that divide what lies between two into equal parts.
func steps(passes, fails int) (sizes []int) {
	for i := 1; i <= perRound; i++ {
		size := passes + (fails-passes)*i/(perRound+1)
		if size > passes && size < fails && !slices.Contains(sizes, size) {
			sizes = append(sizes, size)
		}
	}
	return sizes
}

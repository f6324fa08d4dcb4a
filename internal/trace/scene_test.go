package trace

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

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

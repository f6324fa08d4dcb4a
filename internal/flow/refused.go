package flow

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
	"natd/nat"
)

// Refused is a packet that natd's rules refused.
type Refused struct {
	Proto   nat.Protocol
	From    netip.AddrPort // the ports are 0 where the protocol has none
	Dialled netip.AddrPort // as it was sent
	Target  netip.AddrPort // where it was to go: not Dialled when the destination had been translated already
	Bytes   uint64         // from the IP header on
	Flags   uint8          // of TCP (RFC 9293, section 3.1)
	Device  int            // the index of the interface that it came in by
}

// How reports of refused packets are collected before they are handed over: so many, or for so long in hundredths of a second.
// Someone who floods a limit must not make natd wake up for each packet.
const (
	refusedAtOnce = 64
	refusedDelay  = 20
)

// Refusals hears of packets that the rules refuse, see nat.Spec.ReportRefused.
type Refusals struct {
	socket *nfnl.Socket
}

// OpenRefusals binds nat.RefusedGroup. Only one program in a network namespace can. A kernel that does not add the tracked
// connection to a report (CONFIG_NETFILTER_NETLINK_GLUE_CT) leaves Dialled what the translation made of it.
func OpenRefusals() (*Refusals, error) {
	bind := func(more func(*nfnl.Builder)) (*nfnl.Socket, error) {
		return bindGroup(nat.RefusedGroup, "refused packets", func(b *nfnl.Builder) {
			b.Uint32(cfgTimeout, refusedDelay)
			b.Uint32(cfgAtOnce, refusedAtOnce)
			more(b)
		})
	}
	s, err := bind(func(b *nfnl.Builder) { b.Uint16(cfgFlags, flagConntrack) })
	if isUnsupported(err) {
		s, err = bind(func(*nfnl.Builder) {})
	}
	if err != nil {
		return nil, err
	}
	return &Refusals{socket: s}, nil
}

// Close ends the subscription.
func (r *Refusals) Close() error { return r.socket.Close() }

// Run calls each for every refused packet until ctx ends; lost when the kernel dropped reports, or may not have made them: what the
// rules do not report because it is too much nobody tells, but it takes half a burst in some second. What each is called with is valid
// during the call only.
func (r *Refusals) Run(ctx context.Context, each func(*Refused), lost func()) error {
	var packet Refused
	var entry Entry
	var pace pace
	return r.socket.Follow(ctx, func(m nfnl.Message) error {
		if decodeRefused(m.Attrs(), &packet, &entry) {
			each(&packet)
		}
		if pace.reaches(nat.RefusedBurst/2, time.Now()) {
			lost()
		}
		return nil
	}, lost)
}

// decodeRefused reads a report. The entry is room to work in.
func decodeRefused(attrs []byte, r *Refused, e *Entry) bool {
	*r = Refused{}
	tracked := false
	for typ, b := range nfnl.Attrs(attrs) {
		switch typ {
		case logDevice:
			r.Device = int(nfnl.Uint32(b))
		case logPayload:
			r.decode(b)
		case logConntrack:
			tracked = decodeEntry(b, e)
		}
	}
	if tracked && e.Translated() && e.Orig.Src == r.From {
		r.Dialled = e.Orig.Dst
	}
	return r.From.Addr().IsValid()
}

// decode reads the beginning of a packet.
func (r *Refused) decode(b []byte) {
	const lengthAt, lengthAt6, header6 = 2, 4, 40
	var src, dst netip.Addr
	var rest []byte
	switch {
	case len(b) > 0 && b[0]>>4 == 4:
		if src, dst, r.Proto, rest = decodeIPv4(b); src.IsValid() {
			r.Bytes = uint64(binary.BigEndian.Uint16(b[lengthAt:]))
		}
	case len(b) > 0 && b[0]>>4 == 6:
		if src, dst, r.Proto, rest = decodeIPv6(b); src.IsValid() {
			r.Bytes = header6 + uint64(binary.BigEndian.Uint16(b[lengthAt6:]))
		}
	}
	if r.Proto != nat.TCP && r.Proto != nat.UDP && r.Proto != nat.SCTP || len(rest) < 4 {
		rest = []byte{0, 0, 0, 0}
	}
	const flagsAt = 13
	if r.Proto == nat.TCP && len(rest) > flagsAt {
		r.Flags = rest[flagsAt]
	}
	r.From = netip.AddrPortFrom(src, binary.BigEndian.Uint16(rest))
	r.Target = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(rest[2:]))
	r.Dialled = r.Target
}

// isUnsupported tells whether the kernel does not know an option.
func isUnsupported(err error) bool {
	refused, ok := errors.AsType[*nfnl.Error](err)
	return ok && refused.Errno == unix.EOPNOTSUPP
}

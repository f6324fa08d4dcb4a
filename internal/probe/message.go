package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// Family is the address family that a name is resolved in.
type Family uint8

// The families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// String is "ipv4" or "ipv6".
func (f Family) String() string { return fmt.Sprintf("ipv%d", uint8(f)) }

// MarshalText is for the file of answers.
func (f Family) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (f *Family) UnmarshalText(text []byte) error {
	for _, is := range []Family{IPv4, IPv6} {
		if string(text) == is.String() {
			*f = is
			return nil
		}
	}
	return fmt.Errorf("%q is no address family", text)
}

func (f Family) recordType() uint16 {
	if f == IPv6 {
		return dns.TypeAAAA
	}
	return dns.TypeA
}

// maxAddrs bounds the addresses of a name, as nat bounds those of a pool. Of more, the lowest are taken, so that the choice
// does not depend on the order of an answer.
const maxAddrs = 256

// maxChain bounds the aliases (CNAME) from a name to its addresses.
const maxChain = 16

// udpSize is the answer we take by UDP, in bytes: what passes without fragments everywhere (dnsflagday.net/2020).
const udpSize = 1232

// The answers that are one, though without an address.
var (
	errNoName    = errors.New("there is no such name (NXDOMAIN)")
	errNoAddress = errors.New("the name has no address")
)

// found is a good answer.
type found struct {
	addrs []netip.Addr  // at least one, each once, ascending
	ttl   time.Duration // the least on the way to them
}

// without is the answer without addresses that lead to this host. One that has no other is no good one: whoever moves a name
// from a backend to the relay in front of it would make the relay its own backend.
func (f found) without(here func(netip.Addr) bool) (found, error) {
	others := slices.DeleteFunc(slices.Clone(f.addrs), here)
	if len(others) == 0 {
		return found{}, fmt.Errorf("the name leads to %v, which is this host", f.addrs[0])
	}
	return found{others, f.ttl}, nil
}

// question asks for the addresses of an absolute name.
func question(name string, f Family) *dns.Msg {
	m := new(dns.Msg).SetQuestion(name, f.recordType())
	m.SetEdns0(udpSize, false)
	return m
}

// read finds the addresses in an answer, whatever a server wrote there.
func read(asked, answer *dns.Msg, f Family) (found, error) {
	if !answersTo(asked, answer) {
		return found{}, errors.New("the answer is to another question")
	}
	switch answer.Rcode {
	case dns.RcodeSuccess:
	case dns.RcodeNameError:
		return found{}, errNoName
	default:
		return found{}, fmt.Errorf("it answers %s", rcode(answer.Rcode))
	}
	addrs, ttl := follow(asked.Question[0].Name, answer.Answer)
	if len(addrs) == 0 {
		return found{}, fmt.Errorf("%w (%v)", errNoAddress, f)
	}
	good := usable(addrs, f)
	if len(good) == 0 {
		return found{}, fmt.Errorf("%w but %v, which is not the address of another host", errNoAddress, addrs[0])
	}
	return found{good, ttl}, nil
}

func rcode(code int) string {
	if name, ok := dns.RcodeToString[code]; ok {
		return name
	}
	return fmt.Sprintf("code %d", code)
}

// answersTo tells whether one message answers the other. A server that refuses may leave the question out.
func answersTo(asked, answer *dns.Msg) bool {
	if !answer.Response || answer.Id != asked.Id || answer.Opcode != dns.OpcodeQuery {
		return false
	}
	if len(answer.Question) == 0 {
		return answer.Rcode != dns.RcodeSuccess && answer.Rcode != dns.RcodeNameError
	}
	want, got := asked.Question[0], answer.Question[0]
	return len(answer.Question) == 1 && got.Qtype == want.Qtype && got.Qclass == want.Qclass && same(got.Name, want.Name)
}

func same(a, b string) bool { return dns.CanonicalName(a) == dns.CanonicalName(b) }

// follow goes from the name, over its aliases, to the addresses.
func follow(name string, records []dns.RR) (addrs []netip.Addr, ttl time.Duration) {
	least := ^uint32(0)
	for range maxChain {
		alias := ""
		for _, record := range records {
			h := record.Header()
			if h.Class != dns.ClassINET || !same(h.Name, name) {
				continue
			}
			switch r := record.(type) {
			case *dns.CNAME:
				alias = r.Target
			case *dns.A:
				addrs = appendAddr(addrs, r.A.To4())
			case *dns.AAAA:
				addrs = appendAddr(addrs, r.AAAA)
			default:
				continue
			}
			least = min(least, ttlOf(h))
		}
		if len(addrs) > 0 || alias == "" {
			break
		}
		name = alias
	}
	return addrs, time.Duration(least) * time.Second
}

// ttlOf is a record's time to live in seconds. One with the highest bit set counts as zero (RFC 2181, 8).
func ttlOf(h *dns.RR_Header) uint32 {
	if h.Ttl > 1<<31-1 {
		return 0
	}
	return h.Ttl
}

func appendAddr(addrs []netip.Addr, raw []byte) []netip.Addr {
	if a, ok := netip.AddrFromSlice(raw); ok {
		return append(addrs, a)
	}
	return addrs
}

// usable are the addresses of the family that can be those of another host, each once, ascending, and not too many. The
// unspecified, loopback, multicast, link-local and broadcast addresses would lead to this host, its neighbours or the
// instance metadata service, and so would the addresses of EC2's own services for IPv6.
func usable(addrs []netip.Addr, f Family) []netip.Addr {
	var good []netip.Addr
	for _, a := range addrs {
		if a.Is4() == (f == IPv4) && !a.Is4In6() && a.Zone() == "" && a.IsGlobalUnicast() && !isEC2(a) {
			good = append(good, a)
		}
	}
	slices.SortFunc(good, netip.Addr.Compare)
	good = slices.Compact(good)
	return good[:min(len(good), maxAddrs)]
}

// isEC2 tells whether the address is one of a service that every instance has for itself: metadata, DNS and time at fd00:ec2::/32
// ("Access instance metadata for an EC2 instance", Amazon EC2 User Guide).
func isEC2(a netip.Addr) bool {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 0, 0x0e, 0xc2}), 32).Contains(a)
}

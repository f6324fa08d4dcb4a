package nat

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// family is what the sets and rules of IPv4 differ in from those of IPv6.
type family struct {
	digit        string // at the end of the names of its sets
	word         string // what nft calls it
	nfproto      byte
	size         uint32     // bytes of an address
	saddr, daddr uint32     // offsets in the header
	ctDaddr      expr.CtKey // the address of a tracked tuple
	source, dest Field
	endpoint     []Field // the key of most sets: what a client dials, or a backend
	sourced      []Field // the same with a source network in front
	target       []Field // where to: an address and a port
	pair         []Field // the key of what is between two networks
}

// Offsets in the headers: RFC 791 and RFC 8200.
func families() [2]family {
	all := [...]family{
		{
			digit: "4", word: "ip", nfproto: unix.NFPROTO_IPV4, size: 4, saddr: 12, daddr: 16, ctDaddr: unix.NFT_CT_DST_IP,
			source: addr4Source(), dest: addr4Field(),
		},
		{
			digit: "6", word: "ip6", nfproto: unix.NFPROTO_IPV6, size: 16, saddr: 8, daddr: 24, ctDaddr: unix.NFT_CT_DST_IP6,
			source: addr6Source(), dest: addr6Field(),
		},
	}
	for i := range all {
		f := &all[i]
		f.endpoint = []Field{f.dest, protoField(), portField()}
		f.sourced = slices.Concat([]Field{f.source}, f.endpoint)
		f.target = []Field{f.dest, portField()}
		f.pair = []Field{f.source, f.dest}
	}
	return all
}

// familyIndex is the position of the address's family in families.
func familyIndex(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// Sets of a family are called by what they are and the family's digit, and where there are several of a kind by what
// they differ in.
func (f family) name(kind string) string { return kind + f.digit }

func (f family) nameOf(kind, which string) string { return kind + f.digit + "_" + which }

// zero is the address of no bits.
func (f family) zero() netip.Addr {
	if f.size == 4 {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// maskOf is the mask of a prefix length, as an address.
func maskOf(f family, bits int) netip.Addr {
	mask := make([]byte, f.size)
	for i := range bits {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(mask)
	return a
}

// kindOf is the kind of a set by its name, "" when it is none that natd makes.
func kindOf(name string) string {
	if name == setFastLinks {
		return name
	}
	at := strings.IndexAny(name, "46")
	if at < 0 || len(name) > at+1 && name[at+1] != '_' || !slices.Contains(kinds(), name[:at]) {
		return ""
	}
	return name[:at]
}

func kinds() []string {
	return []string{
		setRelays, setBalance, setTurns, setSNAT, setPools, setListens, setTargets, setLogged, setClosed,
		setSlow, setLimits, setCounts, setRefused, setMSS, setUnclamped, setGateways, setMasquerade, setGatePools,
		setGatePool, setStaticPool, setStatic, setStaticMasq, setStaticPools, setStaticIn, setStaticOut, setStaticFrom,
	}
}

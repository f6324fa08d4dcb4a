package firewall

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// Types of values, by nft's numbers (enum datatypes of its include/datatype.h): sets have them in their headers.
const (
	typeNFProto   = 2
	typeInteger   = 4
	typeIPv4      = 7
	typeIPv6      = 8
	typeEthertype = 11 - 1
	typeProto     = 12
	typeService   = 13
	typeICMP      = 14
	typeTCPFlag   = 15
	typeMark      = 19
	typeIfindex   = 20
	typeARPHRD    = 21
	typeUID       = 24
	typeCTState   = 26
	typeCTDir     = 27
	typeCTStatus  = 28
	typeICMPv6    = 29
	typePktType   = 31
	typeDevgroup  = 35
	typeFibAddr   = 38
	typeIfname    = 41
)

// valueText is a value in nft's words.
func valueText(kind uint32, b []byte) string {
	switch kind {
	case typeIPv4:
		b = b[:min(4, len(b))]
		fallthrough
	case typeIPv6:
		if a, ok := netip.AddrFromSlice(b[:min(16, len(b))]); ok {
			return a.String()
		}
	case typeProto:
		return protoName(at(b, 0))
	case typeNFProto:
		return map[byte]string{unix.NFPROTO_IPV4: "ipv4", unix.NFPROTO_IPV6: "ipv6"}[at(b, 0)]
	case typeEthertype:
		return map[uint16]string{unix.ETH_P_IP: "ip", unix.ETH_P_IPV6: "ip6", unix.ETH_P_ARP: "arp"}[nfnl.Uint16(b)]
	case typeIfname:
		if n := len(b); n > 0 && n < unix.IFNAMSIZ && b[n-1] != 0 {
			return fmt.Sprintf("%q", string(b)+"*")
		}
		return fmt.Sprintf("%q", nfnl.String(b))
	case typeMark:
		return fmt.Sprintf("0x%08x", native32(b, 0))
	case typeIfindex, typeUID, typeDevgroup:
		return fmt.Sprint(native32(b, 0))
	case typeARPHRD:
		return map[uint16]string{1: "ether", 772: "loopback"}[native16(b, 0)]
	case typeCTDir:
		return name(at(b, 0), "original", "reply")
	case typePktType:
		return name(at(b, 0), "unicast", "broadcast", "multicast", "other")
	case typeFibAddr:
		return name(native32(b, 0), "unspec", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit")
	case typeICMP:
		return icmpType(at(b, 0))
	case typeICMPv6:
		return icmpv6Type(at(b, 0))
	case typeCTState, typeCTStatus, typeTCPFlag:
		return flagsText(kind, b)
	}
	return numberText(b)
}

// numberText is a number as it stands in headers.
func numberText(b []byte) string {
	if len(b) > 8 {
		return "0x" + hex.EncodeToString(b)
	}
	return new(big.Int).SetBytes(b).String()
}

// flagsText is the names of the bits that are set, in the order in which nft has them.
func flagsText(kind uint32, b []byte) string {
	bit := uint64(at(b, 0))
	if len(b) >= 4 {
		bit = uint64(binary.NativeEndian.Uint32(b))
	}
	type flag struct {
		bit  uint64
		name string
	}
	list := map[uint32][]flag{
		typeCTState: {{1, "invalid"}, {2, "established"}, {4, "related"}, {8, "new"}, {64, "untracked"}},
		typeCTStatus: {
			{1, "expected"}, {2, "seen-reply"}, {4, "assured"}, {8, "confirmed"}, {16, "snat"}, {32, "dnat"}, {512, "dying"},
		},
		typeTCPFlag: {{1, "fin"}, {2, "syn"}, {4, "rst"}, {8, "psh"}, {16, "ack"}, {32, "urg"}, {64, "ecn"}, {128, "cwr"}},
	}[kind]
	var names []string
	for _, f := range list {
		if bit&f.bit != 0 {
			names = append(names, f.name)
			bit &^= f.bit
		}
	}
	if bit != 0 || len(names) == 0 {
		names = append(names, fmt.Sprintf("0x%x", bit))
	}
	return strings.Join(names, ",")
}

// protoName is the name of a protocol, as /etc/protocols has the common ones.
func protoName(proto uint8) string {
	name, ok := map[uint8]string{
		unix.IPPROTO_ICMP: "icmp", unix.IPPROTO_IGMP: "igmp", unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp", unix.IPPROTO_GRE: "gre",
		unix.IPPROTO_ESP: "esp", unix.IPPROTO_AH: "ah", unix.IPPROTO_ICMPV6: "ipv6-icmp", unix.IPPROTO_SCTP: "sctp",
		unix.IPPROTO_UDPLITE: "udplite", unix.IPPROTO_DCCP: "dccp", unix.IPPROTO_IPIP: "ipencap",
	}[proto]
	if !ok {
		return fmt.Sprint(proto)
	}
	return name
}

func icmpType(typ uint8) string {
	name, ok := map[uint8]string{0: "echo-reply", 3: "destination-unreachable", 8: "echo-request", 11: "time-exceeded", 12: "parameter-problem"}[typ]
	if !ok {
		return fmt.Sprint(typ)
	}
	return name
}

func icmpv6Type(typ uint8) string {
	name, ok := map[uint8]string{
		1: "destination-unreachable", 2: "packet-too-big", 3: "time-exceeded", 4: "parameter-problem", 128: "echo-request",
		129: "echo-reply", 133: "nd-router-solicit", 134: "nd-router-advert", 135: "nd-neighbor-solicit", 136: "nd-neighbor-advert",
		137: "nd-redirect",
	}[typ]
	if !ok {
		return fmt.Sprint(typ)
	}
	return name
}

// rangeText is a range in nft's words: a prefix where it is one of addresses.
func rangeText(kind uint32, first, last []byte) string {
	from := valueText(kind, first)
	if last == nil || string(first) == string(last) {
		return from
	}
	if kind == typeIPv4 || kind == typeIPv6 {
		if bits := prefixBits(first, last); bits >= 0 {
			return fmt.Sprintf("%s/%d", from, bits)
		}
	}
	return from + "-" + valueText(kind, last)
}

// prefixBits is the length of the prefix that goes from first to last, -1 when none does.
func prefixBits(first, last []byte) int {
	mask := make([]byte, len(first))
	for i := range first {
		mask[i] = ^(first[i] ^ at(last, i))
		if first[i]&^mask[i] != 0 {
			return -1
		}
	}
	return maskBits(mask)
}

// maskBits is the number of leading ones of a mask, -1 when there are others.
func maskBits(mask []byte) int {
	n, open := 0, false
	for i := range 8 * len(mask) {
		switch one := mask[i/8]>>(7-i%8)&1 == 1; {
		case one && open:
			return -1
		case one:
			n++
		default:
			open = true
		}
	}
	return n
}

// kindsOf splits nft's number of a concatenation into its types: six bits each.
func kindsOf(id uint32) (kinds []uint32) {
	for ; id != 0; id >>= 6 {
		kinds = append([]uint32{id & 0x3f}, kinds...)
	}
	return kinds
}

// keyText is a key of a set, field by field.
func (s *set) keyText(e *element) string {
	kinds := kindsOf(s.keyType)
	if len(kinds) < 2 {
		return rangeText(s.keyType, e.key, e.end)
	}
	var texts []string
	from := 0
	for i, kind := range kinds {
		n := kindLen(kind)
		if i < len(s.fields) {
			n = s.fields[i]
		}
		to := from + n
		if to > len(e.key) {
			break
		}
		var end []byte
		if len(e.end) >= to {
			end = e.end[from:to]
		}
		texts = append(texts, rangeText(kind, e.key[from:to], end))
		from = to + (4-n%4)%4
	}
	return strings.Join(texts, " . ")
}

// kindLen is the length of a type in bytes.
func kindLen(kind uint32) int {
	switch kind {
	case typeIPv6, typeIfname:
		return 16
	case typeService, typeEthertype, typeARPHRD:
		return 2
	case typeProto, typeNFProto, typeICMP, typeICMPv6, typeTCPFlag, typePktType, typeCTDir:
		return 1
	}
	return 4
}

package firewall

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// xtAddrtype reads struct xt_addrtype_info and xt_addrtype_info_v1: masks of kinds of addresses.
func xtAddrtype(rev uint32, info []byte) expression {
	const notSource, notDest, limitIn, limitOut = 1, 2, 4, 8
	size := 8 + 4*int(1-min(rev, 1))
	if rev > 1 || len(info) < size {
		return nil
	}
	source, dest, flags := native16(info, 0), native16(info, 2), native32(info, 4)
	if rev == 0 {
		flags = min(native32(info, 4), 1)*notSource | min(native32(info, 8), 1)*notDest
	}
	var words []string
	for _, one := range []struct {
		mask uint16
		not  bool
		what string
	}{{source, flags&notSource != 0, "fib saddr type "}, {dest, flags&notDest != 0, "fib daddr type "}} {
		if one.mask != 0 {
			words = append(words, one.what+strings.Repeat("!= ", int(b2u(one.not)))+xtAddrText(one.mask))
		}
	}
	return &extension{strings.Join(words, " "), func(m *machine) tri {
		device := ""
		switch {
		case flags&limitIn != 0:
			device = m.packet.InDevice
		case flags&limitOut != 0:
			device = m.packet.OutDevice
		}
		all := yes
		if source != 0 {
			all = min(all, hasKind(m.addrType(true, device), source).inverted(flags&notSource != 0))
		}
		if dest != 0 {
			all = min(all, hasKind(m.addrType(false, device), dest).inverted(flags&notDest != 0))
		}
		return all
	}}
}

// hasKind tells whether the kind of an address is in the mask.
func hasKind(b bits, mask uint16) tri {
	found, all := no, yes
	for kind := range uint32(16) {
		t := b.equal(host32(kind))
		if mask&(1<<kind) == 0 {
			all = min(all, t.not())
			continue
		}
		found = max(found, t)
	}
	if found == maybe && all == yes {
		return yes // whichever it is
	}
	return found
}

func xtAddrText(mask uint16) string {
	var names []string
	for kind := range uint32(16) {
		if mask&(1<<kind) != 0 {
			names = append(names, valueText(typeFibAddr, host32(kind)))
		}
	}
	if len(names) == 1 {
		return names[0]
	}
	return "{ " + strings.Join(names, ", ") + " }"
}

// Where in the headers ports are.
func sourcePort() span { return span{transportSpan().at, 2} }
func destPort() span   { return span{transportSpan().at + 2, 2} }

// ports tells whether a port is in a range of iptables, whose numbers are in the host's order.
func (m *machine) ports(where span, first, last uint16) tri {
	if first == 0 && last == 0xffff {
		return yes
	}
	return m.state.get(where).between([]byte{byte(first >> 8), byte(first)}, []byte{byte(last >> 8), byte(last)})
}

func portsText(first, last uint16) string {
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

// portWords are the words of ranges that are not everything.
func portWords(proto string, info []byte, notSource, notDest bool) []string {
	var words []string
	for i, one := range []struct {
		what string
		not  bool
	}{{"sport", notSource}, {"dport", notDest}} {
		first, last := native16(info, 4*i), native16(info, 4*i+2)
		if first != 0 || last != 0xffff {
			words = append(words, proto+" "+one.what+" "+strings.Repeat("!= ", int(b2u(one.not)))+portsText(first, last))
		}
	}
	return words
}

// xtTCP reads struct xt_tcp of linux/netfilter/xt_tcpudp.h.
func xtTCP(info []byte) expression {
	const length, notSource, notDest, notFlags = 12, 1, 2, 4
	if len(info) < length {
		return nil
	}
	option, mask, value, not := info[8], info[9], info[10], info[11]
	words := portWords("tcp", info, not&notSource != 0, not&notDest != 0)
	if mask != 0 {
		words = append(words, "tcp flags "+strings.Repeat("!= ", int(b2u(not&notFlags != 0)))+
			valueText(typeTCPFlag, []byte{value})+" / "+valueText(typeTCPFlag, []byte{mask}))
	}
	return &extension{strings.Join(words, " "), func(m *machine) tri {
		all := min(m.ports(sourcePort(), native16(info, 0), native16(info, 2)).inverted(not&notSource != 0),
			m.ports(destPort(), native16(info, 4), native16(info, 6)).inverted(not&notDest != 0))
		if mask != 0 {
			flags := m.state.get(span{transportSpan().at + 13, 1}).masked([]byte{mask}, nil)
			all = min(all, flags.equal([]byte{value}).inverted(not&notFlags != 0))
		}
		if option != 0 {
			all = min(all, maybe)
		}
		return all
	}}
}

// xtUDP reads struct xt_udp.
func xtUDP(info []byte) expression {
	const length, notSource, notDest = 9, 1, 2
	if len(info) < length {
		return nil
	}
	not := info[8]
	return &extension{strings.Join(portWords("udp", info, not&notSource != 0, not&notDest != 0), " "), func(m *machine) tri {
		return min(m.ports(sourcePort(), native16(info, 0), native16(info, 2)).inverted(not&notSource != 0),
			m.ports(destPort(), native16(info, 4), native16(info, 6)).inverted(not&notDest != 0))
	}}
}

// xtMultiport reads struct xt_multiport_v1: ports, of which some begin a range that the next one ends.
func xtMultiport(rev uint32, info []byte) expression {
	const source, either, length, most = 0, 2, 48, 15
	if rev != 1 || len(info) < length || info[1] > most {
		return nil
	}
	which, count, invert := info[0], int(info[1]), info[47] != 0
	var list [][2]uint16
	var names []string
	for i := 0; i < count; i++ {
		r := [2]uint16{native16(info, 2+2*i), native16(info, 2+2*i)}
		if info[32+i] != 0 && i+1 < count {
			i++
			r[1] = native16(info, 2+2*i)
		}
		list = append(list, r)
		names = append(names, portsText(r[0], r[1]))
	}
	what := name(which, "sport", "dport", "port")
	words := "th " + what + " " + strings.Repeat("!= ", int(b2u(invert))) + "{ " + strings.Join(names, ", ") + " }"
	return &extension{words, func(m *machine) tri {
		hit := no
		for _, r := range list {
			if which == source || which == either {
				hit = max(hit, m.ports(sourcePort(), r[0], r[1]))
			}
			if which != source {
				hit = max(hit, m.ports(destPort(), r[0], r[1]))
			}
		}
		return hit.inverted(invert)
	}}
}

// xtIPRange reads struct xt_iprange_mtinfo: first and last addresses, and flags. Both families use it.
func xtIPRange(rev uint32, info []byte) expression {
	const source, dest, notSource, notDest, length = 1, 2, 16, 32, 65
	if rev != 1 || len(info) < length {
		return nil
	}
	flags := info[64]
	return &extension{`xt match "iprange"`, func(m *machine) tri {
		at, n := 12, 4
		if m.packet.is6() {
			at, n = 8, 16
		}
		all := yes
		if flags&source != 0 {
			t := m.state.get(span{at, n}).between(info[:n], info[16:16+n])
			all = min(all, t.inverted(flags&notSource != 0))
		}
		if flags&dest != 0 {
			t := m.state.get(span{at + n, n}).between(info[32:32+n], info[48:48+n])
			all = min(all, t.inverted(flags&notDest != 0))
		}
		return all
	}}
}

// xtMarkMatch reads struct xt_mark_mtinfo1, which connmark has likewise.
func xtMarkMatch(name string, rev uint32, info []byte) expression {
	if rev != 1 || len(info) < 9 {
		return nil
	}
	where, what := markSpan(), "meta mark"
	if name == "connmark" {
		where, what = ctMarkSpan(), "ct mark"
	}
	mark, mask, invert := native32(info, 0), native32(info, 4), info[8] != 0
	op := map[bool]string{false: "==", true: "!="}[invert]
	words := fmt.Sprintf("%s & 0x%08x %s 0x%08x", what, mask, op, mark)
	return &extension{words, func(m *machine) tri {
		hit := m.state.get(where).masked(host32(mask), nil).equal(host32(mark)).inverted(invert)
		if name == "connmark" {
			hit = min(hit, m.state.get(ctThereSpan()).equal([]byte{1}))
		}
		return hit
	}}
}

// xtICMP reads struct ipt_icmp and ip6t_icmp: a type (255 = any), a range of codes, an inversion.
func xtICMP(name string, info []byte) expression {
	const any = 0xff
	if len(info) < 4 {
		return nil
	}
	typ, first, last, invert := info[0], info[1], info[2], info[3]&1 != 0
	family := strings.Replace(name, "icmp6", "icmpv6", 1)
	return &extension{fmt.Sprintf("%s type %d", family, typ), func(m *machine) tri {
		hit := yes
		if typ != any || name == "icmp6" {
			hit = min(m.state.get(span{transportSpan().at, 1}).equal([]byte{typ}),
				m.state.get(span{transportSpan().at + 1, 1}).between([]byte{first}, []byte{last}))
		}
		return hit.inverted(invert)
	}}
}

// xtPktType reads struct xt_pkttype_info.
func xtPktType(info []byte) expression {
	if len(info) < 8 {
		return nil
	}
	typ, invert := byte(native32(info, 0)), native32(info, 4) != 0
	return &extension{"pkttype " + valueText(typePktType, []byte{typ}), func(m *machine) tri {
		return m.state.get(pktTypeSpan()).equal([]byte{typ}).inverted(invert)
	}}
}

// xtPhysdev reads struct xt_physdev_info for a packet that crosses no bridge: it matches what is asked the opposite of.
func xtPhysdev(info []byte) tri {
	const invertAt = 4 * unix.IFNAMSIZ
	if len(info) < invertAt+2 {
		return maybe
	}
	return truth(info[invertAt+1]&^info[invertAt] == 0)
}

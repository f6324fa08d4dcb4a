package firewall

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// headerField is a field of a header.
type headerField struct {
	offset, size uint32
	name         string
	kind         uint32
}

// networkFields are those of RFC 791 and RFC 8200 that nft has names for, and whose bytes are their own.
func networkFields(family string) []headerField {
	if family == "ip6" {
		return []headerField{
			{4, 2, "length", typeInteger}, {6, 1, "nexthdr", typeProto}, {7, 1, "hoplimit", typeInteger}, {8, 16, "saddr", typeIPv6}, {24, 16, "daddr", typeIPv6},
		}
	}
	return []headerField{
		{2, 2, "length", typeInteger},
		{4, 2, "id", typeInteger},
		{6, 2, "frag-off", typeInteger},
		{8, 1, "ttl", typeInteger},
		{9, 1, "protocol", typeProto},
		{12, 4, "saddr", typeIPv4},
		{16, 4, "daddr", typeIPv4},
	}
}

func transportFields(proto string) []headerField {
	switch proto {
	case "icmp":
		return []headerField{{0, 1, "type", typeICMP}, {1, 1, "code", typeInteger}}
	case "ipv6-icmp":
		return []headerField{{0, 1, "type", typeICMPv6}, {1, 1, "code", typeInteger}}
	case "tcp":
		return []headerField{{0, 2, "sport", typeService}, {2, 2, "dport", typeService}, {13, 1, "flags", typeTCPFlag}}
	}
	return []headerField{{0, 2, "sport", typeService}, {2, 2, "dport", typeService}}
}

func (l *payload) text(p *printer) {
	o := l.operand(p)
	if l.write {
		p.word(o.words + " set " + valueText(o.kind, p.get(l.source).value))
		return
	}
	p.set(l.dest, o)
}

// operand names the field, and drops the words that follow from the name.
func (l *payload) operand(p *printer) operand {
	header, fields, dependency := "", []headerField(nil), ""
	switch {
	case l.base == unix.NFT_PAYLOAD_NETWORK_HEADER && p.network != "":
		header, fields, dependency = p.network, networkFields(p.network), "network"
	case l.base == unix.NFT_PAYLOAD_TRANSPORT_HEADER && p.transport == "":
		header, fields = "th", transportFields("")
	case l.base == unix.NFT_PAYLOAD_TRANSPORT_HEADER:
		header, fields, dependency = strings.Replace(p.transport, "ipv6-icmp", "icmpv6", 1), transportFields(p.transport), "transport"
		if header == "th" {
			dependency = ""
		}
	}
	for _, f := range fields {
		prefix := (f.kind == typeIPv4 || f.kind == typeIPv6) && l.size < f.size
		if f.offset == l.offset && (f.size == l.size || prefix) {
			if p.drop(dependency); strings.HasPrefix(header, "icmp") {
				p.drop("network")
			}
			return operand{words: header + " " + f.name, kind: f.kind, size: int(l.size)}
		}
	}
	base := map[uint32]string{unix.NFT_PAYLOAD_LL_HEADER: "ll", unix.NFT_PAYLOAD_NETWORK_HEADER: "nh", unix.NFT_PAYLOAD_TRANSPORT_HEADER: "th"}[l.base]
	return operand{words: fmt.Sprintf("@%s,%d,%d", base, 8*uint64(l.offset), 8*uint64(l.size)), kind: typeInteger, size: int(min(l.size, 64))}
}

// metaKey is a key of meta: nft's word, its type, and its length.
func metaKey(key uint32) operand {
	o, ok := map[uint32]operand{
		unix.NFT_META_LEN:       {words: "meta length", kind: typeIfindex, size: 4},
		unix.NFT_META_PROTOCOL:  {words: "meta protocol", kind: typeEthertype, size: 2},
		unix.NFT_META_PRIORITY:  {words: "meta priority", kind: typeMark, size: 4},
		unix.NFT_META_MARK:      {words: "meta mark", kind: typeMark, size: 4},
		unix.NFT_META_IIF:       {words: "iif", kind: typeIfindex, size: 4},
		unix.NFT_META_OIF:       {words: "oif", kind: typeIfindex, size: 4},
		unix.NFT_META_IIFNAME:   {words: "iifname", kind: typeIfname, size: 16},
		unix.NFT_META_OIFNAME:   {words: "oifname", kind: typeIfname, size: 16},
		unix.NFT_META_IIFTYPE:   {words: "iiftype", kind: typeARPHRD, size: 2},
		unix.NFT_META_OIFTYPE:   {words: "oiftype", kind: typeARPHRD, size: 2},
		unix.NFT_META_SKUID:     {words: "meta skuid", kind: typeUID, size: 4},
		unix.NFT_META_SKGID:     {words: "meta skgid", kind: typeUID, size: 4},
		unix.NFT_META_NFPROTO:   {words: "meta nfproto", kind: typeNFProto, size: 1},
		unix.NFT_META_L4PROTO:   {words: "meta l4proto", kind: typeProto, size: 1},
		unix.NFT_META_PKTTYPE:   {words: "meta pkttype", kind: typePktType, size: 1},
		unix.NFT_META_CPU:       {words: "meta cpu", kind: typeIfindex, size: 4},
		unix.NFT_META_IIFGROUP:  {words: "iifgroup", kind: typeDevgroup, size: 4},
		unix.NFT_META_OIFGROUP:  {words: "oifgroup", kind: typeDevgroup, size: 4},
		unix.NFT_META_NFTRACE:   {words: "meta nftrace", kind: typeInteger, size: 1},
		unix.NFT_META_RTCLASSID: {words: "meta rtclassid", kind: typeIfindex, size: 4},
	}[key]
	if !ok {
		return operand{words: fmt.Sprintf("meta %d", key), kind: typeInteger, size: 4}
	}
	return o
}

func (l *meta) text(p *printer) {
	o := metaKey(l.key)
	if l.write {
		p.word(o.words + " set " + p.valueOf(l.source, o.kind))
		return
	}
	p.set(l.dest, o)
}

// valueOf is what is written from a register.
func (p *printer) valueOf(reg uint32, kind uint32) string {
	if o := p.get(reg); o.value == nil {
		return o.words
	}
	return valueText(kind, p.get(reg).value)
}

// ctKey is a key of ct.
func ctKey(key uint32) operand {
	o, ok := map[uint32]operand{
		unix.NFT_CT_STATE:      {words: "state", kind: typeCTState, size: 4},
		unix.NFT_CT_DIRECTION:  {words: "direction", kind: typeCTDir, size: 1},
		unix.NFT_CT_STATUS:     {words: "status", kind: typeCTStatus, size: 4},
		unix.NFT_CT_MARK:       {words: "mark", kind: typeMark, size: 4},
		unix.NFT_CT_EXPIRATION: {words: "expiration", kind: typeIfindex, size: 4},
		unix.NFT_CT_HELPER:     {words: "helper", kind: typeIfname, size: 16},
		unix.NFT_CT_PROTOCOL:   {words: "protocol", kind: typeProto, size: 1},
		unix.NFT_CT_L3PROTOCOL: {words: "l3proto", kind: typeNFProto, size: 1},
		unix.NFT_CT_SRC:        {words: "saddr", kind: typeInteger, size: 16},
		unix.NFT_CT_DST:        {words: "daddr", kind: typeInteger, size: 16},
		unix.NFT_CT_SRC_IP:     {words: "ip saddr", kind: typeIPv4, size: 4},
		unix.NFT_CT_DST_IP:     {words: "ip daddr", kind: typeIPv4, size: 4},
		unix.NFT_CT_SRC_IP6:    {words: "ip6 saddr", kind: typeIPv6, size: 16},
		unix.NFT_CT_DST_IP6:    {words: "ip6 daddr", kind: typeIPv6, size: 16},
		unix.NFT_CT_PROTO_SRC:  {words: "proto-src", kind: typeService, size: 2},
		unix.NFT_CT_PROTO_DST:  {words: "proto-dst", kind: typeService, size: 2},
		unix.NFT_CT_ZONE:       {words: "zone", kind: typeARPHRD, size: 2},
		unix.NFT_CT_PKTS:       {words: "packets", kind: typeInteger, size: 8},
		unix.NFT_CT_BYTES:      {words: "bytes", kind: typeInteger, size: 8},
	}[key]
	if !ok {
		return operand{words: fmt.Sprint(key), kind: typeInteger, size: 4}
	}
	return o
}

func (l *connection) text(p *printer) {
	o := ctKey(l.key)
	if l.directed {
		o.words = name(b2u(l.answers), "original", "reply") + " " + o.words
	}
	o.words = "ct " + o.words
	if l.write {
		p.word(o.words + " set " + p.valueOf(l.source, o.kind))
		return
	}
	p.set(l.dest, o)
}

func (f *fib) text(p *printer) {
	var what []string
	for _, part := range []struct {
		bit  uint32
		name string
	}{
		{unix.NFTA_FIB_F_SADDR, "saddr"},
		{unix.NFTA_FIB_F_DADDR, "daddr"},
		{unix.NFTA_FIB_F_MARK, "mark"},
		{unix.NFTA_FIB_F_IIF, "iif"},
		{unix.NFTA_FIB_F_OIF, "oif"},
	} {
		if f.flags&part.bit != 0 {
			what = append(what, part.name)
		}
	}
	o := operand{words: "fib " + strings.Join(what, " . ") + " " + name(f.result, "", "oif", "oifname", "type"), size: 4}
	o.kind = map[uint32]uint32{unix.NFT_FIB_RESULT_OIF: typeIfindex, unix.NFT_FIB_RESULT_OIFNAME: typeIfname, unix.NFT_FIB_RESULT_ADDRTYPE: typeFibAddr}[f.result]
	p.set(f.dest, o)
}

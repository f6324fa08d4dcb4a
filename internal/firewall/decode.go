package firewall

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// Attributes that golang.org/x/sys does not have (linux/netfilter/nf_tables.h).
const (
	attrHookDevs       = 4  // NFTA_HOOK_DEVS
	attrDeviceName     = 1  // NFTA_DEVICE_NAME
	attrSetDescConcat  = 2  // NFTA_SET_DESC_CONCAT
	attrSetFieldLen    = 1  // NFTA_SET_FIELD_LEN
	attrElemKeyEnd     = 10 // NFTA_SET_ELEM_KEY_END
	attrElemExprs      = 11 // NFTA_SET_ELEM_EXPRESSIONS
	attrDynsetExprs    = 10 // NFTA_DYNSET_EXPRESSIONS
	attrBitwiseOp      = 6  // NFTA_BITWISE_OP: 0 is and, then xor
	elemCatchAll       = 2  // NFT_SET_ELEM_CATCHALL
	setConcat          = 1 << 7
	hookIngressOfInet  = 5 // NF_INET_INGRESS
	hookEgressOfNetdev = 1 // NF_NETDEV_EGRESS
)

// decodeExpr reads an expression. One that is not known is a stranger, whatever is in it.
func decodeExpr(b []byte, sets func(string) *set) expression {
	name := nfnl.String(nfnl.Attr(b, unix.NFTA_EXPR_NAME))
	data := nfnl.Attr(b, unix.NFTA_EXPR_DATA)
	switch name {
	case "payload":
		return decodePayload(data)
	case "meta":
		return decodeMeta(data)
	case "ct":
		return decodeCT(data)
	case "fib":
		return decodeFib(data)
	case "cmp":
		return decodeCompare(data)
	case "range":
		return decodeRange(data)
	case "bitwise":
		return decodeBitwise(data)
	case "byteorder":
		return decodeByteorder(data)
	case "lookup":
		return decodeLookup(data, sets)
	case "dynset":
		return decodeDynset(data, sets)
	case "immediate":
		return decodeImmediate(data)
	}
	return decodeAction(name, data)
}

// decodeAction reads what does something, and what is not known.
func decodeAction(name string, data []byte) expression {
	switch name {
	case "reject":
		return decodeReject(data)
	case "queue":
		return decodeQueue(data)
	case "nat":
		return decodeNAT(data)
	case "masq":
		return decodeMasquerade(data)
	case "redir":
		return decodeRedirect(data)
	case "tproxy":
		return tproxy{}
	case "notrack":
		return notrack{}
	case "counter":
		return decodeCounter(data)
	case "log":
		return decodeLog(data)
	case "limit":
		return decodeLimit(data)
	case "quota":
		return decodeQuota(data)
	case "connlimit":
		return decodeConnlimit(data)
	case "objref":
		return decodeObjref(data)
	case "numgen", "hash":
		return decodeNumgen(name, data)
	case "rt", "socket", "xfrm", "tunnel", "osf":
		return decodeUnseen(name, data)
	case "exthdr":
		return decodeExthdr(data)
	case "match":
		return decodeMatch(data)
	case "target":
		return decodeTarget(data)
	case "flow_offload":
		return &plain{yes, "flow add"}
	case "last", "dup":
		return &plain{yes, name}
	}
	return &stranger{what: fmt.Sprintf("(%s)", name)}
}

func decodeDynset(b []byte, sets func(string) *set) expression {
	name := nfnl.String(nfnl.Attr(b, unix.NFTA_DYNSET_SET_NAME))
	d := &dynset{
		set: sets(name), name: name,
		source: nfnl.Uint32(nfnl.Attr(b, unix.NFTA_DYNSET_SREG_KEY)),
		op:     nfnl.Uint32(nfnl.Attr(b, unix.NFTA_DYNSET_OP)),
	}
	add := func(b []byte) { d.exprs = append(d.exprs, decodeExpr(b, func(string) *set { return nil })) }
	if one := nfnl.Attr(b, unix.NFTA_DYNSET_EXPR); one != nil {
		add(one)
	}
	for _, one := range nfnl.Attrs(nfnl.Attr(b, attrDynsetExprs)) {
		add(one)
	}
	return d
}

// decodeChain reads a chain without its rules.
func decodeChain(family uint8, attrs []byte) *chain {
	c := &chain{}
	c.table.family = family
	for typ, b := range nfnl.Attrs(attrs) {
		switch typ {
		case unix.NFTA_CHAIN_TABLE:
			c.table.name = nfnl.String(b)
		case unix.NFTA_CHAIN_NAME:
			c.name = nfnl.String(b)
		case unix.NFTA_CHAIN_TYPE:
			c.kind = nfnl.String(b)
		case unix.NFTA_CHAIN_POLICY:
			c.drop = nfnl.Uint32(b) == 0 // NF_DROP
		case unix.NFTA_CHAIN_COUNTERS:
			packets := decodeCounter(b).packets
			c.counter = &packets
		case unix.NFTA_CHAIN_HOOK:
			c.base = true
			c.hook = hookOf(family, nfnl.Uint32(nfnl.Attr(b, unix.NFTA_HOOK_HOOKNUM)))
			c.priority = int(int32(nfnl.Uint32(nfnl.Attr(b, unix.NFTA_HOOK_PRIORITY))))
			c.devices = decodeDevices(b)
		}
	}
	return c
}

func decodeDevices(hook []byte) (all []string) {
	if one := nfnl.Attr(hook, unix.NFTA_HOOK_DEV); one != nil {
		all = append(all, nfnl.String(one))
	}
	for typ, b := range nfnl.Attrs(nfnl.Attr(hook, attrHookDevs)) {
		if name := nfnl.String(b); typ == attrDeviceName {
			all = append(all, name)
		} else {
			all = append(all, name+"*") // NFTA_DEVICE_PREFIX
		}
	}
	return all
}

func hookOf(family uint8, number uint32) Hook {
	if family == unix.NFPROTO_NETDEV {
		if number == hookEgressOfNetdev {
			return Egress
		}
		return Ingress
	}
	switch number {
	case unix.NF_INET_PRE_ROUTING:
		return Prerouting
	case unix.NF_INET_LOCAL_IN:
		return Input
	case unix.NF_INET_FORWARD:
		return Forward
	case unix.NF_INET_LOCAL_OUT:
		return Output
	case unix.NF_INET_POST_ROUTING:
		return Postrouting
	case hookIngressOfInet:
		return Ingress
	}
	return ""
}

// decodeRule reads a rule, and the chain that it is in.
func decodeRule(family uint8, attrs []byte, sets func(setID) *set) (id chainID, r *rule) {
	r = &rule{}
	id.table = tableID{family, nfnl.String(nfnl.Attr(attrs, unix.NFTA_RULE_TABLE))}
	id.name = nfnl.String(nfnl.Attr(attrs, unix.NFTA_RULE_CHAIN))
	r.handle = nfnl.Uint64(nfnl.Attr(attrs, unix.NFTA_RULE_HANDLE))
	r.comment = decodeComment(nfnl.Attr(attrs, unix.NFTA_RULE_USERDATA))
	for _, b := range nfnl.Attrs(nfnl.Attr(attrs, unix.NFTA_RULE_EXPRESSIONS)) {
		e := decodeExpr(b, func(name string) *set { return sets(setID{id.table, name}) })
		if c, ok := e.(*counter); ok && r.counter == nil {
			r.counter = &c.packets
		}
		r.exprs = append(r.exprs, e)
	}
	return id, r
}

// decodeComment finds the comment in user data as nft writes it (type, length, value). What others write there may be
// anything.
func decodeComment(b []byte) string {
	const comment = 0 // NFTNL_UDATA_RULE_COMMENT of libnftnl's udata.h
	for len(b) >= 2 && len(b) >= 2+int(b[1]) {
		if b[0] == comment {
			return nfnl.String(b[2 : 2+int(b[1])])
		}
		b = b[2+int(b[1]):]
	}
	return ""
}

// decodeSet reads a set without its elements.
func decodeSet(family uint8, attrs []byte) *set {
	s := &set{}
	s.table = tableID{family, nfnl.String(nfnl.Attr(attrs, unix.NFTA_SET_TABLE))}
	s.name = nfnl.String(nfnl.Attr(attrs, unix.NFTA_SET_NAME))
	s.flags = nfnl.Uint32(nfnl.Attr(attrs, unix.NFTA_SET_FLAGS))
	s.keyType = nfnl.Uint32(nfnl.Attr(attrs, unix.NFTA_SET_KEY_TYPE))
	s.keyLen = int(min(nfnl.Uint32(nfnl.Attr(attrs, unix.NFTA_SET_KEY_LEN)), 64))
	s.dataType = nfnl.Uint32(nfnl.Attr(attrs, unix.NFTA_SET_DATA_TYPE))
	for _, field := range nfnl.Attrs(nfnl.Attr(nfnl.Attr(attrs, unix.NFTA_SET_DESC), attrSetDescConcat)) {
		s.fields = append(s.fields, int(min(nfnl.Uint32(nfnl.Attr(field, attrSetFieldLen)), 64)))
	}
	s.intervals = s.flags&unix.NFT_SET_INTERVAL != 0 && len(s.fields) < 2
	return s
}

// decodeElement reads an element. One for every other key has no key.
func decodeElement(b []byte) element {
	e := element{
		key: clone(nfnl.Attr(nfnl.Attr(b, unix.NFTA_SET_ELEM_KEY), unix.NFTA_DATA_VALUE)),
		end: clone(nfnl.Attr(nfnl.Attr(b, attrElemKeyEnd), unix.NFTA_DATA_VALUE)),
	}
	data := nfnl.Attr(b, unix.NFTA_SET_ELEM_DATA)
	e.data = clone(nfnl.Attr(data, unix.NFTA_DATA_VALUE))
	e.verdict = decodeVerdict(nfnl.Attr(data, unix.NFTA_DATA_VERDICT))
	e.isEnd = nfnl.Uint32(nfnl.Attr(b, unix.NFTA_SET_ELEM_FLAGS))&unix.NFT_SET_ELEM_INTERVAL_END != 0
	if nfnl.Uint32(nfnl.Attr(b, unix.NFTA_SET_ELEM_FLAGS))&elemCatchAll != 0 {
		e.key = nil
	}
	stateful := func(b []byte) bool {
		name := nfnl.String(nfnl.Attr(b, unix.NFTA_EXPR_NAME))
		return name != "" && name != "counter" && name != "last"
	}
	e.stateful = stateful(nfnl.Attr(b, unix.NFTA_SET_ELEM_EXPR))
	for _, one := range nfnl.Attrs(nfnl.Attr(b, attrElemExprs)) {
		e.stateful = e.stateful || stateful(one)
	}
	return e
}

// clone keeps bytes of a message beyond it; nil stays nil.
func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

func native16(b []byte, from int) uint16 {
	if from+2 > len(b) {
		return 0
	}
	return binary.NativeEndian.Uint16(b[from:])
}

func native32(b []byte, from int) uint32 {
	if from+4 > len(b) {
		return 0
	}
	return binary.NativeEndian.Uint32(b[from:])
}

package firewall

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// compare compares a register with a value.
type compare struct {
	source, op uint32
	data       []byte
}

func decodeCompare(b []byte) expression {
	return &compare{
		source: nfnl.Uint32(nfnl.Attr(b, unix.NFTA_CMP_SREG)),
		op:     nfnl.Uint32(nfnl.Attr(b, unix.NFTA_CMP_OP)),
		data:   nfnl.Attr(nfnl.Attr(b, unix.NFTA_CMP_DATA), unix.NFTA_DATA_VALUE),
	}
}

func (c *compare) eval(m *machine) tri {
	b := m.regs.load(c.source, len(c.data))
	switch c.op {
	case unix.NFT_CMP_EQ:
		return b.equal(c.data)
	case unix.NFT_CMP_NEQ:
		return b.equal(c.data).not()
	case unix.NFT_CMP_LT:
		return b.atLeast(c.data).not()
	case unix.NFT_CMP_LTE:
		return b.atMost(c.data)
	case unix.NFT_CMP_GT:
		return b.atMost(c.data).not()
	case unix.NFT_CMP_GTE:
		return b.atLeast(c.data)
	}
	return maybe
}

// within compares a register with a range, ends included.
type within struct {
	source   uint32
	outside  bool
	from, to []byte
}

func decodeRange(b []byte) expression {
	return &within{
		source:  nfnl.Uint32(nfnl.Attr(b, unix.NFTA_RANGE_SREG)),
		outside: nfnl.Uint32(nfnl.Attr(b, unix.NFTA_RANGE_OP)) == unix.NFT_RANGE_NEQ,
		from:    nfnl.Attr(nfnl.Attr(b, unix.NFTA_RANGE_FROM_DATA), unix.NFTA_DATA_VALUE),
		to:      nfnl.Attr(nfnl.Attr(b, unix.NFTA_RANGE_TO_DATA), unix.NFTA_DATA_VALUE),
	}
}

func (r *within) eval(m *machine) tri {
	return m.regs.load(r.source, len(r.from)).between(r.from, r.to).inverted(r.outside)
}

// bitwise masks a register and turns bits of it. Shifts, and what later kernels add, leave a value that is not known.
type bitwise struct {
	source, dest uint32
	size         int
	boolean      bool
	mask, xor    []byte
}

func decodeBitwise(b []byte) expression {
	return &bitwise{
		source:  nfnl.Uint32(nfnl.Attr(b, unix.NFTA_BITWISE_SREG)),
		dest:    nfnl.Uint32(nfnl.Attr(b, unix.NFTA_BITWISE_DREG)),
		size:    int(min(nfnl.Uint32(nfnl.Attr(b, unix.NFTA_BITWISE_LEN)), 64)),
		boolean: nfnl.Uint32(nfnl.Attr(b, attrBitwiseOp)) == 0,
		mask:    nfnl.Attr(nfnl.Attr(b, unix.NFTA_BITWISE_MASK), unix.NFTA_DATA_VALUE),
		xor:     nfnl.Attr(nfnl.Attr(b, unix.NFTA_BITWISE_XOR), unix.NFTA_DATA_VALUE),
	}
}

func (e *bitwise) eval(m *machine) tri {
	b := unknown(e.size)
	if e.boolean {
		b = m.regs.load(e.source, e.size).masked(e.mask, e.xor)
	}
	m.regs.store(e.dest, b)
	return yes
}

// byteorder turns numbers in a register between the host's order and that of the network.
type byteorder struct {
	source, dest uint32
	size, unit   int
}

func decodeByteorder(b []byte) expression {
	return &byteorder{
		source: nfnl.Uint32(nfnl.Attr(b, unix.NFTA_BYTEORDER_SREG)),
		dest:   nfnl.Uint32(nfnl.Attr(b, unix.NFTA_BYTEORDER_DREG)),
		size:   int(min(nfnl.Uint32(nfnl.Attr(b, unix.NFTA_BYTEORDER_LEN)), 64)),
		unit:   int(min(nfnl.Uint32(nfnl.Attr(b, unix.NFTA_BYTEORDER_SIZE)), 64)),
	}
}

func (e *byteorder) eval(m *machine) tri {
	b := m.regs.load(e.source, e.size)
	if little := binary.NativeEndian.Uint16([]byte{1, 0}) == 1; little && e.unit > 0 {
		b = bits{swapped(b.value, e.unit), swapped(b.known, e.unit)}
	}
	m.regs.store(e.dest, b)
	return yes
}

// swapped is the bytes with every unit of them turned around.
func swapped(b []byte, unit int) []byte {
	out := make([]byte, 0, len(b))
	for from := 0; from < len(b); from += unit {
		to := min(from+unit, len(b))
		for i := to - 1; i >= from; i-- {
			out = append(out, b[i])
		}
	}
	return out
}

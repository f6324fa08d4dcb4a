package firewall

import "bytes"

// tri is a truth that may not be known.
type tri uint8

// The truths, so that "and" is the smaller one.
const (
	no tri = iota
	maybe
	yes
)

func truth(b bool) tri {
	if b {
		return yes
	}
	return no
}

func (t tri) not() tri { return yes - t }

// inverted is the truth, or its opposite.
func (t tri) inverted(invert bool) tri {
	if invert {
		return t.not()
	}
	return t
}

// bits is a value of which some bits may not be known; those are zero in value.
type bits struct {
	value, known []byte
}

func known(b []byte) bits { return bits{b, bytes.Repeat([]byte{0xff}, len(b))} }

func unknown(n int) bits { return bits{make([]byte, n), make([]byte, n)} }

func (b bits) len() int { return len(b.value) }

// whole tells whether every bit is known.
func (b bits) whole() bool {
	for _, k := range b.known {
		if k != 0xff {
			return false
		}
	}
	return true
}

// slice is a part of the value.
func (b bits) slice(from, to int) bits { return bits{b.value[from:to], b.known[from:to]} }

// equal compares with a value of at most the same length, as the kernel does: as far as that goes.
func (b bits) equal(to []byte) tri {
	all := yes
	for i, c := range to {
		if i >= len(b.value) {
			return maybe
		}
		if (b.value[i]^c)&b.known[i] != 0 {
			return no
		}
		if b.known[i] != 0xff {
			all = maybe
		}
	}
	return all
}

// high is the largest value that the bits may stand for; the smallest is value.
func (b bits) high() []byte {
	h := make([]byte, len(b.value))
	for i := range h {
		h[i] = b.value[i] | ^b.known[i]
	}
	return h
}

// atMost tells whether the value is not above the limit.
func (b bits) atMost(limit []byte) tri {
	n := min(len(limit), b.len())
	switch {
	case bytes.Compare(b.value[:n], limit[:n]) > 0:
		return no
	case bytes.Compare(b.high()[:n], limit[:n]) <= 0:
		return yes
	}
	return maybe
}

// atLeast tells whether the value is not below the limit.
func (b bits) atLeast(limit []byte) tri {
	n := min(len(limit), b.len())
	switch {
	case bytes.Compare(b.high()[:n], limit[:n]) < 0:
		return no
	case bytes.Compare(b.value[:n], limit[:n]) >= 0:
		return yes
	}
	return maybe
}

// between tells whether the value is in a range, ends included.
func (b bits) between(first, last []byte) tri { return min(b.atLeast(first), b.atMost(last)) }

// masked is the value with the bits outside the mask zero, and then those of xor turned.
func (b bits) masked(mask, xor []byte) bits {
	out := unknown(b.len())
	for i := range out.value {
		m, x := at(mask, i), at(xor, i)
		out.known[i] = b.known[i] | ^m
		out.value[i] = (b.value[i]&m ^ x) & out.known[i]
	}
	return out
}

// at is the byte at an index, 0 behind the end.
func at(b []byte, i int) byte {
	if i < len(b) {
		return b[i]
	}
	return 0
}

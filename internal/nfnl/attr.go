package nfnl

import (
	"bytes"
	"encoding/binary"
	"iter"

	"golang.org/x/sys/unix"
)

// Attrs walks the attributes in b: type, without the flags in its high bits, and payload. The walk ends
// at the first attribute that does not fit, so that malformed input yields what was well formed.
func Attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofNlAttr {
			size := int(binary.NativeEndian.Uint16(b))
			if size < unix.SizeofNlAttr || size > len(b) {
				return
			}
			typ := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if !yield(typ, b[unix.SizeofNlAttr:size]) {
				return
			}
			b = b[min(align(size), len(b)):]
		}
	}
}

// Attr is the payload of the first attribute of the type, nil when there is none.
func Attr(b []byte, typ uint16) []byte {
	for t, payload := range Attrs(b) {
		if t == typ {
			return payload
		}
	}
	return nil
}

// Uint16 reads a big-endian number; a payload of another length is 0.
func Uint16(b []byte) uint16 {
	if len(b) != 2 {
		return 0
	}
	return binary.BigEndian.Uint16(b)
}

// Uint32 reads a big-endian number; a payload of another length is 0.
func Uint32(b []byte) uint32 {
	if len(b) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

// Uint64 reads a big-endian number; a payload of another length is 0.
func Uint64(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// String reads a string that may end in zero bytes.
func String(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

package nat

import (
	"slices"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// decodeSet reads a set without its elements. One that has what natd never gives a set has no Key.
func decodeSet(attrs []byte) (s Set) {
	var keyType, keyLen, dataType, dataLen, setFlags uint32
	foreign := false
	for typ, b := range nfnl.Attrs(attrs) {
		switch typ {
		case unix.NFTA_SET_NAME:
			s.Name = nfnl.String(b)
		case unix.NFTA_SET_FLAGS:
			setFlags = nfnl.Uint32(b)
		case unix.NFTA_SET_KEY_TYPE:
			keyType = nfnl.Uint32(b)
		case unix.NFTA_SET_KEY_LEN:
			keyLen = nfnl.Uint32(b)
		case unix.NFTA_SET_DATA_TYPE:
			dataType = nfnl.Uint32(b)
		case unix.NFTA_SET_DATA_LEN:
			dataLen = nfnl.Uint32(b)
		case attrSetExpr:
			s.Counter = nfnl.String(nfnl.Attr(b, unix.NFTA_EXPR_NAME)) == "counter"
			foreign = foreign || !s.Counter
		case unix.NFTA_SET_DESC:
			foreign = foreign || nfnl.Attr(b, unix.NFTA_SET_DESC_SIZE) != nil
		case unix.NFTA_SET_POLICY, attrSetExpressions:
			foreign = true
		}
	}
	if setFlags&unix.NFT_SET_MAP != 0 {
		s.Data = fieldsOf(dataType, dataLen)
		foreign = foreign || s.Data == nil
	}
	// Other flags stand for intervals, time-outs and the like.
	if !foreign && setFlags&^unix.NFT_SET_MAP == 0 {
		s.Key = fieldsOf(keyType, keyLen)
	}
	return s
}

// fieldsOf turns nft's number of a concatenation back into data types: nil when one of them is none of natd's.
func fieldsOf(id, length uint32) []Field {
	var fields []Field
	for ; id != 0; id >>= 6 {
		known := []Field{addrField(), protoField(), portField()}
		i := slices.IndexFunc(known, func(f Field) bool { return f.id == id&0x3f })
		if i < 0 {
			return nil
		}
		fields = append(fields, known[i])
	}
	slices.Reverse(fields)
	if fieldsLen(fields) != int(length) {
		return nil
	}
	return fields
}

// decodeElement reads an element; names has one copy of each comment, however many elements have it.
func decodeElement(b []byte, names map[string]string) (e Element) {
	for typ, b := range nfnl.Attrs(b) {
		switch typ {
		case unix.NFTA_SET_ELEM_KEY:
			copy(e.Key[:], nfnl.Attr(b, unix.NFTA_DATA_VALUE))
		case unix.NFTA_SET_ELEM_DATA:
			copy(e.Value[:], nfnl.Attr(b, unix.NFTA_DATA_VALUE))
		case unix.NFTA_SET_ELEM_USERDATA:
			name := decodeComment(b)
			if known, ok := names[name]; ok {
				name = known
			} else {
				names[name] = name
			}
			e.Comment = name
		case unix.NFTA_SET_ELEM_EXPR:
			counter := nfnl.Attr(b, unix.NFTA_EXPR_DATA)
			e.Packets = nfnl.Uint64(nfnl.Attr(counter, unix.NFTA_COUNTER_PACKETS))
			e.Bytes = nfnl.Uint64(nfnl.Attr(counter, unix.NFTA_COUNTER_BYTES))
		}
	}
	return e
}

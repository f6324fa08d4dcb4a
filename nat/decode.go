package nat

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// setHeader is what the kernel says of a set, in its own terms.
type setHeader struct {
	flags, keyType, keyLen, dataType, dataLen uint32
	foreign                                   bool // it has what natd never gives a set
}

// decodeSet reads a set without its elements. One that has what natd never gives a set has no Key.
func decodeSet(attrs []byte) (s Set) {
	var h setHeader
	for typ, b := range nfnl.Attrs(attrs) {
		switch typ {
		case unix.NFTA_SET_NAME:
			s.Name = nfnl.String(b)
		case unix.NFTA_SET_FLAGS:
			h.flags = nfnl.Uint32(b)
		case unix.NFTA_SET_KEY_TYPE:
			h.keyType = nfnl.Uint32(b)
		case unix.NFTA_SET_KEY_LEN:
			h.keyLen = nfnl.Uint32(b)
		case unix.NFTA_SET_DATA_TYPE:
			h.dataType = nfnl.Uint32(b)
		case unix.NFTA_SET_DATA_LEN:
			h.dataLen = nfnl.Uint32(b)
		case attrSetExpr:
			s.Counter = nfnl.String(nfnl.Attr(b, unix.NFTA_EXPR_NAME)) == "counter"
			h.foreign = h.foreign || !s.Counter
		case unix.NFTA_SET_DESC:
			s.Size = nfnl.Uint32(nfnl.Attr(b, unix.NFTA_SET_DESC_SIZE))
		case unix.NFTA_SET_TIMEOUT:
			s.Timeout = time.Duration(nfnl.Uint64(b)) * time.Millisecond
		case unix.NFTA_SET_USERDATA:
			s.userdata = typeUserdata(b)
		case unix.NFTA_SET_POLICY, unix.NFTA_SET_GC_INTERVAL, attrSetExpressions:
			h.foreign = true
		}
	}
	s.typed(h)
	return s
}

// typed turns the header into types; a set that is none of natd's stays without.
func (s *Set) typed(h setHeader) {
	s.Interval = h.flags&unix.NFT_SET_INTERVAL != 0
	s.State = h.flags&unix.NFT_SET_EVAL != 0
	if h.flags&unix.NFT_SET_MAP != 0 {
		s.Data = fieldsOf(h.dataType, h.dataLen)
		length := uint32(fieldsLen(s.Data))
		s.Prefixes = len(s.Data) == 1 && length > 0 && h.dataLen == 2*length
		if s.Data == nil || !s.verdicts() && uint32(s.dataLen()) != h.dataLen {
			return
		}
	}
	key := fieldsOf(h.keyType, h.keyLen)
	// Other flags stand for constant sets, objects and the like; a set of intervals with one field has another form.
	if h.foreign || s.flags() != h.flags || uint32(fieldsLen(key)) != h.keyLen {
		return
	}
	s.Key = key
}

// typeUserdata is what of a set's user data is about its types. nft writes typeof in any case: a concatenation of nothing
// where the types have names.
func typeUserdata(b []byte) string {
	var kept []byte
	for typ, value := range userdataItems(b) {
		typeof := typ == udataKeyTypeof || typ == udataDataTypeof
		if typeof && len(value) > len(typeofFields(nil)) || typ == udataDataInterval && !allZero(value) {
			kept = udata(kept, typ, value)
		}
	}
	return string(kept)
}

// elementReader reads elements. It has one copy of each comment and value, however many elements of however many sets have it.
type elementReader struct {
	known map[string]string
	bytes arena
	last  string // the kernel often has the same again
}

func newElementReader() *elementReader { return &elementReader{known: make(map[string]string)} }

// once is the bytes as a string that is made the first time only.
func (r *elementReader) once(b []byte) string {
	if r.last == string(b) {
		return r.last
	}
	s, ok := r.known[string(b)]
	if !ok {
		s = r.bytes.keep(b)
		r.known[s] = s
	}
	r.last = s
	return s
}

func (r *elementReader) decode(b []byte) (e Element) {
	var first, last []byte
	for typ, b := range nfnl.Attrs(b) {
		switch typ {
		case unix.NFTA_SET_ELEM_KEY:
			first = nfnl.Attr(b, unix.NFTA_DATA_VALUE)
		case attrKeyEnd:
			last = nfnl.Attr(b, unix.NFTA_DATA_VALUE)
		case unix.NFTA_SET_ELEM_DATA:
			e.Value = Value(r.once(decodeValue(b)))
		case unix.NFTA_SET_ELEM_USERDATA:
			e.Comment = r.once(decodeComment(b))
		case unix.NFTA_SET_ELEM_EXPR:
			counter := nfnl.Attr(b, unix.NFTA_EXPR_DATA)
			if packets := nfnl.Uint64(nfnl.Attr(counter, unix.NFTA_COUNTER_PACKETS)); packets > 0 {
				e.Count = &Count{packets, nfnl.Uint64(nfnl.Attr(counter, unix.NFTA_COUNTER_BYTES))}
			}
		}
	}
	if last != nil {
		first = slices.Concat(first, last)
	}
	e.Key = Key(r.bytes.keep(first))
	return e
}

// decodeValue is the bytes of a value, or the name of the chain that a verdict goes to. Another verdict has no bytes.
func decodeValue(b []byte) []byte {
	verdict := nfnl.Attr(b, unix.NFTA_DATA_VERDICT)
	if verdict == nil {
		return nfnl.Attr(b, unix.NFTA_DATA_VALUE)
	}
	if nfnl.Uint32(nfnl.Attr(verdict, unix.NFTA_VERDICT_CODE)) != verdictGoto {
		return nil
	}
	chain := nfnl.Attr(verdict, unix.NFTA_VERDICT_CHAIN)
	if i := slices.Index(chain, 0); i >= 0 {
		chain = chain[:i]
	}
	return chain
}

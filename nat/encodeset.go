package nat

import (
	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// flags is the set's flags: enum nft_set_flags of linux/netfilter/nf_tables.h.
func (s *Set) flags() (flags uint32) {
	if s.Data != nil {
		flags |= unix.NFT_SET_MAP
	}
	if s.Interval {
		flags |= unix.NFT_SET_INTERVAL | flagConcat
	}
	if s.State {
		flags |= unix.NFT_SET_EVAL
	}
	if s.Timeout > 0 {
		flags |= unix.NFT_SET_TIMEOUT
	}
	return flags
}

func newSet(b *nfnl.Batch, s *Set, id uint32) {
	begin(b, unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE)
	b.String(unix.NFTA_SET_TABLE, TableName)
	b.String(unix.NFTA_SET_NAME, s.Name)
	b.Uint32(unix.NFTA_SET_ID, id)
	b.Uint32(unix.NFTA_SET_KEY_TYPE, fieldsID(s.Key))
	b.Uint32(unix.NFTA_SET_KEY_LEN, uint32(fieldsLen(s.Key)))
	if flags := s.flags(); flags != 0 {
		b.Uint32(unix.NFTA_SET_FLAGS, flags)
	}
	if s.Data != nil {
		b.Uint32(unix.NFTA_SET_DATA_TYPE, fieldsID(s.Data))
		b.Uint32(unix.NFTA_SET_DATA_LEN, uint32(s.dataLen()))
	}
	s.describe(b)
	if s.Timeout > 0 {
		b.Uint64(unix.NFTA_SET_TIMEOUT, uint64(s.Timeout.Milliseconds()))
	}
	if s.userdata != "" {
		b.Bytes(unix.NFTA_SET_USERDATA, []byte(s.userdata))
	}
	if s.Counter {
		counter := b.Nest(attrSetExpr)
		b.String(unix.NFTA_EXPR_NAME, "counter")
		b.Unnest(b.Nest(unix.NFTA_EXPR_DATA))
		b.Unnest(counter)
	}
	b.End()
}

// describe writes the size of a set, and where the fields of intervals are.
func (s *Set) describe(b *nfnl.Batch) {
	if s.Size == 0 && !s.Interval {
		return
	}
	desc := b.Nest(unix.NFTA_SET_DESC)
	if s.Size > 0 {
		b.Uint32(unix.NFTA_SET_DESC_SIZE, s.Size)
	}
	if s.Interval {
		concat := b.Nest(attrDescConcat)
		for _, f := range s.Key {
			field := b.Nest(unix.NFTA_LIST_ELEM)
			b.Uint32(attrFieldLen, uint32(f.padded()))
			b.Unnest(field)
		}
		b.Unnest(concat)
	}
	b.Unnest(desc)
}

// dataLen is the length of a value in bytes.
func (s *Set) dataLen() int {
	if s.Prefixes {
		return 2 * fieldsLen(s.Data)
	}
	return fieldsLen(s.Data)
}

// verdicts tells whether the values are chains to go to.
func (s *Set) verdicts() bool { return len(s.Data) == 1 && s.Data[0].same(chainField()) }

func deleteSet(b *nfnl.Batch, name string) {
	begin(b, unix.NFT_MSG_DELSET, 0)
	b.String(unix.NFTA_SET_TABLE, TableName)
	b.String(unix.NFTA_SET_NAME, name)
	b.End()
}

// changeElements adds or deletes elements, in as many messages as it takes.
func changeElements(b *nfnl.Batch, message uint8, s *Set, elements []Element) {
	for len(elements) > 0 {
		flags := uint16(0)
		if message == unix.NFT_MSG_NEWSETELEM {
			flags = unix.NLM_F_CREATE
		}
		begin(b, message, flags)
		b.String(unix.NFTA_SET_ELEM_LIST_TABLE, TableName)
		b.String(unix.NFTA_SET_ELEM_LIST_SET, s.Name)
		list := b.Nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		for len(elements) > 0 && b.Len()-list < elementsPerMessage {
			encodeElement(&b.Builder, s, &elements[0], message == unix.NFT_MSG_NEWSETELEM)
			elements = elements[1:]
		}
		b.Unnest(list)
		b.End()
	}
}

// encodeElement writes one element; to delete one, its key is all the kernel needs.
func encodeElement(b *nfnl.Builder, s *Set, e *Element, whole bool) {
	element := b.Nest(unix.NFTA_LIST_ELEM)
	first, last := e.Key, Key("")
	if s.Interval {
		first, last = e.Key[:len(e.Key)/2], e.Key[len(e.Key)/2:]
	}
	value(b, unix.NFTA_SET_ELEM_KEY, string(first))
	if last != "" {
		value(b, attrKeyEnd, string(last))
	}
	if whole {
		switch {
		case s.verdicts():
			encodeGoto(b, string(e.Value))
		case s.Data != nil:
			value(b, unix.NFTA_SET_ELEM_DATA, string(e.Value))
		}
		if e.Comment != "" {
			b.Bytes(unix.NFTA_SET_ELEM_USERDATA, encodeComment(e.Comment))
		}
		if s.Counter && e.Packets > 0 {
			encodeCounter(b, e)
		}
	}
	b.Unnest(element)
}

func value(b *nfnl.Builder, attr uint16, raw string) {
	nest := b.Nest(attr)
	b.Bytes(unix.NFTA_DATA_VALUE, []byte(raw))
	b.Unnest(nest)
}

func encodeGoto(b *nfnl.Builder, chain string) {
	data := b.Nest(unix.NFTA_SET_ELEM_DATA)
	verdict := b.Nest(unix.NFTA_DATA_VERDICT)
	b.Uint32(unix.NFTA_VERDICT_CODE, verdictGoto)
	b.String(unix.NFTA_VERDICT_CHAIN, chain)
	b.Unnest(verdict)
	b.Unnest(data)
}

// encodeCounter lets the element's counter begin where it stood.
func encodeCounter(b *nfnl.Builder, e *Element) {
	counter := b.Nest(unix.NFTA_SET_ELEM_EXPR)
	b.String(unix.NFTA_EXPR_NAME, "counter")
	data := b.Nest(unix.NFTA_EXPR_DATA)
	b.Uint64(unix.NFTA_COUNTER_BYTES, e.Bytes)
	b.Uint64(unix.NFTA_COUNTER_PACKETS, e.Packets)
	b.Unnest(data)
	b.Unnest(counter)
}

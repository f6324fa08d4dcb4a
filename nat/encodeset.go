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
	whole := message == unix.NFT_MSG_NEWSETELEM
	e := elementWriter{Builder: &b.Builder, set: s, whole: whole}
	for len(elements) > 0 {
		flags := uint16(0)
		if whole {
			flags = unix.NLM_F_CREATE
		}
		begin(b, message, flags)
		b.String(unix.NFTA_SET_ELEM_LIST_TABLE, TableName)
		b.String(unix.NFTA_SET_ELEM_LIST_SET, s.Name)
		list := b.Nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		for len(elements) > 0 && b.Len()-list < elementsPerMessage {
			e.write(&elements[0])
			elements = elements[1:]
		}
		b.Unnest(list)
		b.End()
	}
}

// elementsSize is how many bytes the elements take at most, so that a large transaction gets its memory once.
func elementsSize(s *Set, elements []Element, whole bool) (size int) {
	const (
		attr    = unix.SizeofNlAttr
		padding = unix.NLA_ALIGNTO
		value   = 2*attr + padding
		verdict = 5*attr + 8 + padding
		counter = 5*attr + 2*8 + 8
	)
	for i := range elements {
		e := &elements[i]
		size += attr + 2*value + len(e.Key)
		if whole {
			size += verdict + len(e.Value) + attr + padding + 3 + len(e.Comment)
		}
		if whole && s.Counter && e.Count != nil {
			size += counter
		}
	}
	const message = nfnl.HeaderLen + 3*attr + 2*padding
	return size + (1+size/elementsPerMessage)*(message+len(TableName)+len(s.Name)+2)
}

// elementWriter writes elements of one set, with one piece of memory for their comments.
type elementWriter struct {
	*nfnl.Builder
	set     *Set
	whole   bool // to delete an element, or to ask for it, its key is all the kernel needs
	comment []byte
}

func (w *elementWriter) write(e *Element) {
	element := w.Nest(unix.NFTA_LIST_ELEM)
	first, last := e.Key, Key("")
	if w.set.Interval {
		first, last = e.Key[:len(e.Key)/2], e.Key[len(e.Key)/2:]
	}
	w.value(unix.NFTA_SET_ELEM_KEY, string(first))
	if last != "" {
		w.value(attrKeyEnd, string(last))
	}
	if w.whole {
		switch {
		case w.set.verdicts():
			w.verdict(string(e.Value))
		case w.set.Data != nil:
			w.value(unix.NFTA_SET_ELEM_DATA, string(e.Value))
		}
		if e.Comment != "" {
			w.comment = appendComment(w.comment[:0], e.Comment)
			w.Bytes(unix.NFTA_SET_ELEM_USERDATA, w.comment)
		}
		if w.set.Counter && e.Count != nil {
			w.count(e.Count)
		}
	}
	w.Unnest(element)
}

func (w *elementWriter) value(attr uint16, raw string) {
	nest := w.Nest(attr)
	w.Text(unix.NFTA_DATA_VALUE, raw)
	w.Unnest(nest)
}

// verdict writes that the element goes to the chain.
func (w *elementWriter) verdict(chain string) {
	data := w.Nest(unix.NFTA_SET_ELEM_DATA)
	verdict := w.Nest(unix.NFTA_DATA_VERDICT)
	w.Uint32(unix.NFTA_VERDICT_CODE, verdictGoto)
	w.String(unix.NFTA_VERDICT_CHAIN, chain)
	w.Unnest(verdict)
	w.Unnest(data)
}

// count lets the element's counter begin where it stood.
func (w *elementWriter) count(c *Count) {
	counter := w.Nest(unix.NFTA_SET_ELEM_EXPR)
	w.String(unix.NFTA_EXPR_NAME, "counter")
	data := w.Nest(unix.NFTA_EXPR_DATA)
	w.Uint64(unix.NFTA_COUNTER_BYTES, c.Bytes)
	w.Uint64(unix.NFTA_COUNTER_PACKETS, c.Packets)
	w.Unnest(data)
	w.Unnest(counter)
}

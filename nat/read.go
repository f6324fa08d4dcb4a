package nat

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// reader reads one table from the kernel.
type reader struct {
	socket *nfnl.Socket
	table  *Table
}

func request(message uint8, attr uint16, name string) *nfnl.Builder {
	var b nfnl.Builder
	b.Begin(nfnl.Type(unix.NFNL_SUBSYS_NFTABLES, message), 0, unix.NFPROTO_INET, 0)
	if name != "" {
		b.String(attr, name)
	}
	b.End()
	return &b
}

// generation asks for the number that every change of any table counts up.
func generation(s *nfnl.Socket) (id uint32, err error) {
	err = s.Get(request(unix.NFT_MSG_GETGEN, 0, ""), func(m nfnl.Message) error {
		id = nfnl.Uint32(nfnl.Attr(m.Attrs(), unix.NFTA_GEN_ID))
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("read the generation of the ruleset: %w", err)
	}
	return id, nil
}

// header is what the kernel says of a table as such.
type header struct {
	exists       bool
	flags, owner uint32
	use          uint32 // how many chains, sets, objects and flowtables it has
}

func readHeader(s *nfnl.Socket, name string) (h header, err error) {
	err = s.Get(request(unix.NFT_MSG_GETTABLE, unix.NFTA_TABLE_NAME, name), func(m nfnl.Message) error {
		h = header{
			exists: true,
			flags:  nfnl.Uint32(nfnl.Attr(m.Attrs(), unix.NFTA_TABLE_FLAGS)),
			owner:  nfnl.Uint32(nfnl.Attr(m.Attrs(), attrTableOwner)),
			use:    nfnl.Uint32(nfnl.Attr(m.Attrs(), unix.NFTA_TABLE_USE)),
		}
		return nil
	})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return h, fmt.Errorf("read table inet %s: %w", name, err)
	}
	return h, nil
}

// read fills the table.
func (r *reader) read() error {
	t := r.table
	guard, err := readHeader(r.socket, guardName)
	if err != nil {
		return err
	}
	t.Guard, t.GuardOwner = guard.exists, guard.owner
	main, err := readHeader(r.socket, TableName)
	if err != nil || !main.exists {
		return err
	}
	t.Exists, t.Flags, t.Owner = true, main.flags, main.owner
	for _, part := range []struct {
		name string
		read func() error
	}{{"chains", r.chains}, {"rules", r.rules}, {"sets", r.sets}, {"elements", r.elements}} {
		if err := part.read(); err != nil {
			return fmt.Errorf("read the %s of table inet %s: %w", part.name, TableName, err)
		}
	}
	t.Others = int(main.use) - len(t.Chains) - len(t.Sets)
	return nil
}

func (r *reader) chains() error {
	return r.socket.Dump(request(unix.NFT_MSG_GETCHAIN, 0, ""), func(m nfnl.Message) error {
		var c Chain
		mine := false
		for typ, b := range nfnl.Attrs(m.Attrs()) {
			switch typ {
			case unix.NFTA_CHAIN_TABLE:
				mine = nfnl.String(b) == TableName
			case unix.NFTA_CHAIN_NAME:
				c.Name = nfnl.String(b)
			case unix.NFTA_CHAIN_TYPE:
				c.Type = nfnl.String(b)
			case unix.NFTA_CHAIN_POLICY:
				c.Drop = nfnl.Uint32(b) == policy(true)
			case unix.NFTA_CHAIN_HOOK:
				c.Hook = nfnl.Uint32(nfnl.Attr(b, unix.NFTA_HOOK_HOOKNUM))
				c.Priority = int32(nfnl.Uint32(nfnl.Attr(b, unix.NFTA_HOOK_PRIORITY)))
			}
		}
		if mine {
			r.table.Chains = append(r.table.Chains, c)
		}
		return nil
	})
}

func (r *reader) rules() error {
	return r.socket.Dump(request(unix.NFT_MSG_GETRULE, unix.NFTA_RULE_TABLE, TableName), func(m nfnl.Message) error {
		var rule Rule
		var chain, table string
		for typ, b := range nfnl.Attrs(m.Attrs()) {
			switch typ {
			case unix.NFTA_RULE_TABLE:
				table = nfnl.String(b)
			case unix.NFTA_RULE_CHAIN:
				chain = nfnl.String(b)
			case unix.NFTA_RULE_EXPRESSIONS:
				rule.canon = canonical(b)
			case unix.NFTA_RULE_USERDATA:
				rule.Comment = decodeComment(b)
			}
		}
		i := slices.IndexFunc(r.table.Chains, func(c Chain) bool { return c.Name == chain })
		if table == TableName && i >= 0 {
			r.table.Chains[i].Rules = append(r.table.Chains[i].Rules, rule)
		}
		return nil
	})
}

func (r *reader) sets() error {
	err := r.socket.Dump(request(unix.NFT_MSG_GETSET, unix.NFTA_SET_TABLE, TableName), func(m nfnl.Message) error {
		r.table.Sets = append(r.table.Sets, decodeSet(m.Attrs()))
		return nil
	})
	slices.SortFunc(r.table.Sets, func(a, b Set) int { return strings.Compare(a.Name, b.Name) })
	return err
}

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

func (r *reader) elements() error {
	for i := range r.table.Sets {
		s := &r.table.Sets[i]
		if s.Key == nil || fieldsLen(s.Key) > len(Key{}) || fieldsLen(s.Data) > len(Value{}) {
			continue // not natd's: the table is made anew, whatever is in it
		}
		if err := r.elementsOf(s); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) elementsOf(s *Set) error {
	b := request(unix.NFT_MSG_GETSETELEM, unix.NFTA_SET_ELEM_LIST_TABLE, TableName)
	b.String(unix.NFTA_SET_ELEM_LIST_SET, s.Name)
	b.End()
	names := make(map[string]string) // one copy of each comment, however many elements have it
	catchAll := false
	err := r.socket.Dump(b, func(m nfnl.Message) error {
		for _, b := range nfnl.Attrs(nfnl.Attr(m.Attrs(), unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
			catchAll = catchAll || nfnl.Attr(b, unix.NFTA_SET_ELEM_KEY) == nil
			s.Elements = append(s.Elements, decodeElement(b, names))
		}
		return nil
	})
	if catchAll {
		s.Key, s.Elements = nil, nil // an element for every key is nothing that natd makes
	}
	sortElements(s.Elements)
	return err
}

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

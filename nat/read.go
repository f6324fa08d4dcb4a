package nat

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// reader reads one table from the kernel.
type reader struct {
	socket   *nfnl.Socket
	dumps    []*nfnl.Socket // the first is socket
	table    *Table
	elements *elementReader
}

func newReader(dumps []*nfnl.Socket, generation uint32) *reader {
	return &reader{socket: dumps[0], dumps: dumps, table: &Table{Generation: generation}, elements: newElementReader()}
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
}

func readHeader(s *nfnl.Socket, name string) (h header, err error) {
	err = s.Get(request(unix.NFT_MSG_GETTABLE, unix.NFTA_TABLE_NAME, name), func(m nfnl.Message) error {
		h = header{
			exists: true,
			flags:  nfnl.Uint32(nfnl.Attr(m.Attrs(), unix.NFTA_TABLE_FLAGS)),
			owner:  nfnl.Uint32(nfnl.Attr(m.Attrs(), attrTableOwner)),
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
	return r.readWith((*reader).allElements)
}

// readWith fills the table but for the elements, which are left to the function.
func (r *reader) readWith(elements func(*reader) error) error {
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
		read func(*reader) error
	}{{"chains", (*reader).chains}, {"rules", (*reader).rules}, {"sets", (*reader).sets}, {"elements", elements}, {"objects", (*reader).others}} {
		if err := part.read(r); err != nil {
			return readError(part.name, err)
		}
	}
	return nil
}

func readError(what string, err error) error {
	return fmt.Errorf("read the %s of table inet %s: %w", what, TableName, err)
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

// rules reads the rules of all chains. The kernel finds the place where a dump goes on by counting, and counts also rules
// that somebody prepares and has not committed: it may dump a rule again that it dumped before.
func (r *reader) rules() error {
	seen := make(map[uint64]bool)
	return r.socket.Dump(request(unix.NFT_MSG_GETRULE, unix.NFTA_RULE_TABLE, TableName), func(m nfnl.Message) error {
		var rule Rule
		var chain, table string
		var handle uint64
		for typ, b := range nfnl.Attrs(m.Attrs()) {
			switch typ {
			case unix.NFTA_RULE_TABLE:
				table = nfnl.String(b)
			case unix.NFTA_RULE_CHAIN:
				chain = nfnl.String(b)
			case unix.NFTA_RULE_HANDLE:
				handle = nfnl.Uint64(b)
			case unix.NFTA_RULE_EXPRESSIONS:
				rule.canon = canonical(b)
			case unix.NFTA_RULE_USERDATA:
				rule.Comment = string(decodeComment(b))
			}
		}
		i := slices.IndexFunc(r.table.Chains, func(c Chain) bool { return c.Name == chain })
		if table == TableName && i >= 0 && !seen[handle] {
			seen[handle] = true
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
	r.table.Sets = slices.CompactFunc(r.table.Sets, func(a, b Set) bool { return a.Name == b.Name })
	return err
}

// others counts what else a table can have. The kernel's own count of everything in a table is of no use: it has also what
// a transaction that is still being prepared, and may fail, puts in or takes away.
func (r *reader) others() error {
	count := func(nfnl.Message) error {
		r.table.Others++
		return nil
	}
	return errors.Join(r.socket.Dump(request(unix.NFT_MSG_GETOBJ, unix.NFTA_OBJ_TABLE, TableName), count), r.flowtables())
}

func (r *reader) allElements() error {
	var large []*Set
	for i := range r.table.Sets {
		s := &r.table.Sets[i]
		switch {
		case s.Key == nil || s.State: // not natd's: the table is made anew, whatever is in it; or nothing that natd decides
		case s.Size > 0:
			large = append(large, s)
		default:
			if err := r.elementsOf(s); err != nil {
				return err
			}
		}
	}
	return r.largeSets(large)
}

// largeSets reads the elements of sets that have many, as many sets at a time as there are sockets. The kernel walks through a set from its
// beginning for every message of a dump, so that the time is the kernel's, and grows with the square.
func (r *reader) largeSets(sets []*Set) error {
	slices.SortStableFunc(sets, func(a, b *Set) int { return cmp.Compare(b.Size, a.Size) })
	var next atomic.Int64
	failed := make([]error, min(len(r.dumps), len(sets)))
	var all sync.WaitGroup
	for n := range failed {
		one := reader{socket: r.dumps[n], table: r.table, elements: newElementReader()}
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(sets)) && failed[n] == nil; i = next.Add(1) - 1 {
				failed[n] = one.elementsOf(sets[i])
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

func (r *reader) elementsOf(s *Set) error {
	b := request(unix.NFT_MSG_GETSETELEM, unix.NFTA_SET_ELEM_LIST_TABLE, TableName)
	b.String(unix.NFTA_SET_ELEM_LIST_SET, s.Name)
	b.End()
	var pieces [][]Element
	piece := make([]Element, 0, elementsPerPiece)
	catchAll := false
	err := r.socket.Dump(b, func(m nfnl.Message) error {
		for _, b := range nfnl.Attrs(nfnl.Attr(m.Attrs(), unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
			catchAll = catchAll || nfnl.Attr(b, unix.NFTA_SET_ELEM_KEY) == nil
			e := r.elements.decode(b)
			if s.Interval && nfnl.Attr(b, attrKeyEnd) == nil {
				e.Key += e.Key // the kernel takes a key without an end for one value
			}
			if len(piece) == cap(piece) {
				pieces = append(pieces, piece)
				piece = make([]Element, 0, min(2*cap(piece), elementsMostPerPiece))
			}
			piece = append(piece, e)
		}
		return nil
	})
	s.Elements = slices.Concat(append(pieces, piece)...) // without room to grow, as long as the table is held
	if catchAll {
		s.Key, s.Elements = nil, nil // an element for every key is nothing that natd makes
	}
	if err == nil && !unique(s.Elements) {
		return nfnl.ErrInterrupted
	}
	return err
}

// How many elements are read into one piece of memory before their number is known: the first, and most of the others.
const (
	elementsPerPiece     = 1 << 6
	elementsMostPerPiece = 1 << 13
)

// unique puts the elements in the order of their keys, and tells whether each is there once. The kernel grows and shrinks the hash
// table of a set behind the back of a dump, also after the change that was the reason, and goes on in the new table behind as
// many elements as it had dumped from the old one (nft_rhash_walk in net/netfilter/nft_set_hash.c): for each that is dumped
// again, another one is missing.
func unique(elements []Element) bool {
	sortElements(elements)
	for i := range len(elements) - 1 {
		if elements[i].Key == elements[i+1].Key {
			return false
		}
	}
	return true
}

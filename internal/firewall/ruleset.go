package firewall

import (
	"bytes"
	"slices"
)

// Ruleset is what Read found on the host.
type Ruleset struct {
	chains map[chainID]*chain
	bases  []*chain // in the order in which the kernel lists them
	sets   map[setID]*set
	host   host
	legacy []string // as LegacyTables says
	marks  bool     // some rule gives packets or connections a mark

	// member asks the kernel for the element of a set that was too large to be read. Nil answers nothing.
	member func(*set, []byte) (*element, error)
}

// tableID names a table.
type tableID struct {
	family uint8 // NFPROTO_*
	name   string
}

// familyName is nft's name of the table's family.
func (t tableID) familyName() string {
	name, ok := map[uint8]string{1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}[t.family]
	if !ok {
		return "unknown"
	}
	return name
}

// own tells natd's own tables.
func (t tableID) own() bool {
	return t.familyName() == "inet" && (t.name == "natd" || t.name == "natd_guard")
}

type chainID struct {
	table tableID
	name  string
}

// chain is a chain. A base chain has a hook.
type chain struct {
	chainID
	base     bool
	kind     string // filter, nat, route
	hook     Hook
	priority int
	devices  []string // of ingress and egress; one may end in "*"
	drop     bool     // the policy
	counter  *uint64  // of the policy
	partial  bool     // it has more rules than natd reads
	rules    []*rule
}

// rule is a rule, in the order of evaluation.
type rule struct {
	handle  uint64
	exprs   []expression
	comment string
	counter *uint64
}

// expression is a part of a rule.
type expression interface {
	// eval carries it out: whether the rule goes on behind it. Verdicts go to the machine.
	eval(m *machine) tri
	// text adds it to the rule's text.
	text(p *printer)
}

type setID struct {
	table tableID
	name  string
}

// set is a set or map. One that is large has no elements here: the kernel is asked.
type set struct {
	setID
	flags     uint32
	keyType   uint32 // nft's number of the type
	dataType  uint32
	keyLen    int
	fields    []int // lengths of a concatenation's fields
	elements  []element
	intervals bool // elements have ends
	large     bool // not read
	used      bool // a rule looks into it
	exact     map[string]int
	fallback  *element // of every other key
}

// element is an element of a set. With an end it stands for a range, ends included.
type element struct {
	key, end []byte
	data     []byte
	verdict  *verdict
	stateful bool // it has a limit or the like: it matches or not
	isEnd    bool // of a set of intervals, as the kernel lists it: the first value behind the one before
}

// count is how many elements are known.
func (s *set) count() int {
	if s == nil {
		return 0
	}
	return len(s.elements)
}

// index makes the elements ready for lookups.
func (s *set) index() {
	if s.intervals {
		s.elements = ranges(s.elements, s.keyLen)
	} else {
		slices.SortFunc(s.elements, func(a, b element) int { return bytes.Compare(a.key, b.key) })
	}
	s.exact = make(map[string]int, len(s.elements))
	for i, e := range s.elements {
		if e.end == nil {
			s.exact[string(e.key)] = i
		}
	}
}

// ranges turns a list of first values and of ends, which are not part of their ranges, into ranges with their last
// values. Elements that have their end with them stay as they are.
func ranges(list []element, keyLen int) (all []element) {
	slices.SortStableFunc(list, func(a, b element) int {
		if c := bytes.Compare(a.key, b.key); c != 0 {
			return c
		}
		return int(b2u(b.isEnd)) - int(b2u(a.isEnd))
	})
	open := -1
	for _, e := range list {
		if e.isEnd {
			if open >= 0 {
				all[open].end = before(e.key)
			}
			open = -1
			continue
		}
		all = append(all, e)
		if open = -1; e.end == nil {
			open = len(all) - 1
			all[open].end = bytes.Repeat([]byte{0xff}, keyLen) // until an end is found
		}
	}
	return all
}

// before is the number before that one.
func before(b []byte) []byte {
	b = bytes.Clone(b)
	for i := len(b) - 1; i >= 0; i-- {
		b[i]--
		if b[i] != 0xff {
			break
		}
	}
	return b
}

package nat

import (
	"slices"
	"strings"
	"time"
)

// TableName is the one table that natd owns, in the inet family.
const TableName = "natd"

// Ruleset is a table as it should be, or as it was read from the kernel.
type Ruleset struct {
	Chains []Chain
	Sets   []Set // sorted by name

	FastPath *FastPath // nil for none
}

// Chain is a chain and its rules, in order.
type Chain struct {
	Name     string
	Type     string // "nat" or "filter"; "" for a chain that hangs at no hook: rules and maps go to it
	Hook     uint32 // enum nf_inet_hooks
	Priority int32
	Drop     bool // the policy: drop or accept
	Rules    []Rule
}

// sameHook tells whether the chains are the same but for their policy, which can be changed in place, and their rules.
func (c *Chain) sameHook(o *Chain) bool {
	return c.Type == o.Type && c.Hook == o.Hook && c.Priority == o.Priority
}

// findChain is the chain of that name, nil when there is none.
func findChain(chains []Chain, name string) *Chain {
	i := slices.IndexFunc(chains, func(c Chain) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &chains[i]
}

// Rule is one rule. Two rules are the same when their comments and their canonical forms are.
type Rule struct {
	Comment string
	Text    string // in nft syntax, without the comment; "" for a rule that was read from the kernel
	exprs   []byte // NFTA_RULE_EXPRESSIONS as it is sent
	canon   string // the expressions in the form that does not depend on who wrote them
}

// Set is a set, or with Data a map.
type Set struct {
	Name     string
	Key      []Field
	Data     []Field
	Interval bool          // an element stands for the keys from a first to a last one
	Prefixes bool          // a value is a network, by its first and last address
	Counter  bool          // every element counts its lookups: for a nat chain, connections
	State    bool          // rules fill it: its elements are no configuration, and natd does not look at them
	Size     uint32        // the most elements, of a State set or a large one
	Timeout  time.Duration // how long an element of a State set stays unused; 0 = as long as it has connections
	Keep     bool          // elements that are not wanted any more stay until Kernel.Release removes them
	Elements []Element
	userdata string // what nft prints the type from, beside the number of the type
	room     int    // while it is built: how many elements it will have, where that is known
}

// newSetOf is a set of that shape. nft prints the names of the fields, if all have one, and typeof else.
func newSetOf(name string, key, data []Field) *Set {
	s := &Set{Name: name, Key: key, Data: data}
	if slices.ContainsFunc(slices.Concat(key, data), func(f Field) bool { return f.Name == "" }) {
		s.userdata = typeofSet(key, data)
	}
	return s
}

// sameShape tells whether the set is what is wanted, but for elements, and the room for them where they are natd's.
func (s *Set) sameShape(want *Set) bool {
	return slices.EqualFunc(s.Key, want.Key, Field.same) && slices.EqualFunc(s.Data, want.Data, Field.same) &&
		s.Interval == want.Interval && s.Prefixes == want.Prefixes && s.Counter == want.Counter &&
		s.State == want.State && (!s.State || s.Size == want.Size) && s.Timeout == want.Timeout && s.tells(want.userdata)
}

// tells whether all of the user data is there. What is there besides changes nothing that nft prints: nft 1.1 writes it also for
// fields that have names.
func (s *Set) tells(userdata string) bool {
	for typ, value := range userdataItems([]byte(userdata)) {
		found := false
		for t, v := range userdataItems([]byte(s.userdata)) {
			found = found || t == typ && string(v) == string(value)
		}
		if !found {
			return false
		}
	}
	return true
}

// find is the set of that name, nil when there is none.
func find(sets []Set, name string) *Set {
	i, ok := slices.BinarySearchFunc(sets, name, func(s Set, name string) int { return strings.Compare(s.Name, name) })
	if !ok {
		return nil
	}
	return &sets[i]
}

// setPrefixes makes the values networks. nft wants it in the set's user data besides.
func (s *Set) setPrefixes() {
	if !s.Prefixes {
		s.Prefixes = true
		s.userdata += string(udata(nil, udataDataInterval, word(1)))
	}
}

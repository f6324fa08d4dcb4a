package firewall

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// Bounds of what is read: a set with more elements is asked, not read; a host with more rules has chains that end in doubt. And
// how often a ruleset that changes meanwhile is read again.
const (
	maxRules    = 1 << 18
	maxElements = 1 << 16
	attempts    = 20
)

// errLarge ends the dump of a set.
var errLarge = errors.New("the set is too large to be read")

// reader reads the rulesets of one generation.
type reader struct {
	socket *nfnl.Socket
	rules  *Ruleset
	limit  int // of elements
}

// Read reads all nf_tables rulesets of the network namespace but natd's own. While somebody changes them it tries again.
// Walks of the result ask the kernel about sets too large to be read, so they belong into the same namespace. It needs
// CAP_NET_ADMIN.
func Read(ctx context.Context) (*Ruleset, error) {
	for attempt := 1; ; attempt++ {
		r, err := readOnce(ctx, maxElements)
		if err == nil || attempt == attempts || !errors.Is(err, nfnl.ErrInterrupted) {
			return r, err
		}
	}
}

// readOnce reads the rulesets, and sets of at most that many elements.
func readOnce(ctx context.Context, limit int) (*Ruleset, error) {
	s, err := nfnl.Dial(0)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	r := &reader{socket: s, limit: limit, rules: &Ruleset{chains: make(map[chainID]*chain), sets: make(map[setID]*set), member: member}}
	r.rules.legacy = LegacyTables()
	if r.rules.host, err = readHost(); err != nil {
		return nil, err
	}
	before, err := r.generation()
	for _, part := range []struct {
		name string
		read func() error
	}{{"chains", r.chains}, {"sets", r.sets}, {"rules", r.chainRules}, {"elements", r.elements}} {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("read the firewalls of the host: %w", err)
		}
		if err = part.read(); err != nil {
			return nil, fmt.Errorf("read the %s of the host's firewalls: %w", part.name, err)
		}
	}
	after, err := r.generation()
	if err == nil && before != after {
		err = fmt.Errorf("read the firewalls of the host: %w", nfnl.ErrInterrupted)
	}
	r.rules.marks = r.rules.marking()
	return r.rules, err
}

// request asks for everything of a kind, in all families.
func request(message uint8) *nfnl.Builder {
	var b nfnl.Builder
	b.Begin(nfnl.Type(unix.NFNL_SUBSYS_NFTABLES, message), 0, unix.AF_UNSPEC, 0)
	b.End()
	return &b
}

// family is the family in a message's struct nfgenmsg.
func family(m nfnl.Message) uint8 { return at(m.Payload, 0) }

func (r *reader) generation() (id uint32, err error) {
	err = r.socket.Get(request(unix.NFT_MSG_GETGEN), func(m nfnl.Message) error {
		id = nfnl.Uint32(nfnl.Attr(m.Attrs(), unix.NFTA_GEN_ID))
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("read the generation of the ruleset: %w", err)
	}
	return id, nil
}

func (r *reader) chains() error {
	dormant := make(map[tableID]bool)
	err := r.socket.Dump(request(unix.NFT_MSG_GETTABLE), func(m nfnl.Message) error {
		const tableDormant = 1 // NFT_TABLE_F_DORMANT
		id := tableID{family(m), nfnl.String(nfnl.Attr(m.Attrs(), unix.NFTA_TABLE_NAME))}
		dormant[id] = nfnl.Uint32(nfnl.Attr(m.Attrs(), unix.NFTA_TABLE_FLAGS))&tableDormant != 0
		return nil
	})
	if err != nil {
		return err
	}
	return r.socket.Dump(request(unix.NFT_MSG_GETCHAIN), func(m nfnl.Message) error {
		c := decodeChain(family(m), m.Attrs())
		if r.rules.chains[c.chainID] != nil || dormant[c.table] {
			return nil
		}
		r.rules.chains[c.chainID] = c
		if c.base {
			r.rules.bases = append(r.rules.bases, c)
		}
		return nil
	})
}

func (r *reader) sets() error {
	return r.socket.Dump(request(unix.NFT_MSG_GETSET), func(m nfnl.Message) error {
		if s := decodeSet(family(m), m.Attrs()); !s.table.own() {
			r.rules.sets[s.setID] = s
		}
		return nil
	})
}

// chainRules reads the rules of all chains. A dump may have a rule twice while another program prepares a change.
func (r *reader) chainRules() error {
	type ruleID struct {
		chain  chainID
		handle uint64
	}
	seen := make(map[ruleID]bool)
	return r.socket.Dump(request(unix.NFT_MSG_GETRULE), func(m nfnl.Message) error {
		attrs := bytes.Clone(m.Attrs()) // what is read from it lives on
		if (tableID{family(m), nfnl.String(nfnl.Attr(attrs, unix.NFTA_RULE_TABLE))}).own() {
			return nil
		}
		id, rule := decodeRule(family(m), attrs, func(id setID) *set { return r.rules.sets[id] })
		c := r.rules.chains[id]
		if c == nil || seen[ruleID{id, rule.handle}] {
			return nil
		}
		if len(seen) >= maxRules {
			c.partial = true
			return nil
		}
		seen[ruleID{id, rule.handle}] = true
		c.rules = append(c.rules, rule)
		return nil
	})
}

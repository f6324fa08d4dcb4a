package nat

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// FastPath is the kernel's flowtable: packets of connections that were put into it are translated and sent on where they come in, before
// any rule sees them.
type FastPath struct {
	Links []string // the interfaces whose packets are looked for in it; ascending, each once
}

// ErrFastPath says that the kernel refuses the fast path: everything else of the same change may be in order.
var ErrFastPath = errors.New("the kernel refuses the fast path")

// Names of the flowtable and of the set of its interfaces.
const (
	flowtableName = "fast"
	setFastLinks  = "fastlinks"
)

// Attribute numbers and flags of flowtables in linux/netfilter/nf_tables.h that golang.org/x/sys/unix lacks.
const (
	attrFlowtableTable = 1 // NFTA_FLOWTABLE_TABLE
	attrFlowtableName  = 2 // NFTA_FLOWTABLE_NAME
	attrFlowtableHook  = 3 // NFTA_FLOWTABLE_HOOK
	attrFlowtableFlags = 7 // NFTA_FLOWTABLE_FLAGS

	attrFlowHookNum      = 1 // NFTA_FLOWTABLE_HOOK_NUM
	attrFlowHookPriority = 2 // NFTA_FLOWTABLE_HOOK_PRIORITY
	attrFlowHookDevs     = 3 // NFTA_FLOWTABLE_HOOK_DEVS
	attrDeviceName       = 1 // NFTA_DEVICE_NAME

	flowtableCounter = 2 // NFT_FLOWTABLE_COUNTER: its packets count in connection tracking (Linux 5.7)
	hookIngress      = 0 // NF_NETDEV_INGRESS of linux/netfilter.h
)

// fast takes the interfaces of the fast path.
func (b *builder) fast(links []string) *FastPath {
	if len(links) == 0 {
		return nil
	}
	f := &FastPath{Links: slices.Compact(slices.Sorted(slices.Values(links)))}
	s := b.set(setFastLinks, []Field{linkField()}, nil)
	for _, link := range f.Links {
		s.add(Key(linkName(link)), "", "")
	}
	return f
}

// fastRules put connections into the flowtable once they are established, and every rule that has a say has had it. Both interfaces must be
// of the fast path: one that is not, a tunnel above all, would be sent to without having been asked for (since Linux 7.0 nothing then
// arrives behind an ip6tnl). A connection that the flowtable does not take goes on to the next rule.
//
// Connections that count towards a limit have to be seen when they close. Since Linux 6.15 (commit fdbaf5163331) the fast path sends FIN
// and RST on by itself, and connection tracking takes the connection for open until it has been idle for half a minute.
func (b *builder) fastRules() (rules []Rule) {
	for _, f := range b.families {
		for _, proto := range []Protocol{TCP, UDP} {
			rules = append(rules, b.ruleFor(f.name(setSlow), fmt.Sprintf("%s connections that have to be seen when they close", proto),
				f.named(), ctAssured(), ctTranslated(), l4protoIs(proto), join(key(f.tracked()...), in(f.name(setSlow))), accept())...)
		}
	}
	for _, proto := range []Protocol{TCP, UDP} {
		rules = append(rules, b.ruleFor(setFastLinks, fmt.Sprintf("established %s connections take the fast path", proto),
			l4protoIs(proto), ctAssured(), ctTranslated(), linkIn("iifname", expr.MetaKeyIIFNAME), linkIn("oifname", expr.MetaKeyOIFNAME), flowAdd())...)
	}
	return rules
}

// linkIn matches packets that come or leave by an interface of the fast path.
func linkIn(text string, which expr.MetaKey) part {
	return join(part{text, []expr.Any{&expr.Meta{Key: which, Register: firstReg}}}, in(setFastLinks))
}

// flowAdd puts the connection into the flowtable. The library leaves out the zero byte that the kernel ends names with.
func flowAdd() part {
	return part{"flow add @" + flowtableName, []expr.Any{&expr.FlowOffload{Name: flowtableName + "\x00"}}}
}

// fastChange is what a plan does to the flowtable.
type fastChange struct {
	make, drop bool
	add, del   []string // interfaces
}

func (c *fastChange) empty() bool { return !c.make && !c.drop && len(c.add)+len(c.del) == 0 }

// fastPath plans the flowtable; have is nil for a table that is made anew.
func (p *Plan) fastPath(want, have *FastPath) {
	missing := func(from []string) func(string) bool {
		return func(link string) bool { return slices.Contains(from, link) }
	}
	switch {
	case want == nil:
		p.fast.drop = have != nil
	case have == nil:
		p.fast.make, p.fast.add = true, want.Links
	default:
		p.fast.add = slices.DeleteFunc(slices.Clone(want.Links), missing(have.Links))
		p.fast.del = slices.DeleteFunc(slices.Clone(have.Links), missing(want.Links))
	}
}

func (c *fastChange) steps(s *steps) {
	switch {
	case c.make:
		s.addf("make flowtable %s on %s", flowtableName, strings.Join(c.add, ", "))
	case len(c.add) > 0:
		s.addf("hook flowtable %s to %s", flowtableName, strings.Join(c.add, ", "))
	}
	if len(c.del) > 0 {
		s.addf("unhook flowtable %s from %s", flowtableName, strings.Join(c.del, ", "))
	}
	if c.drop {
		s.addf("delete flowtable %s", flowtableName)
	}
}

// grow is the part that comes before the rules, shrink the one behind them: the kernel keeps a flowtable that a rule names.
func (c *fastChange) grow(b *nfnl.Batch) {
	if len(c.add) > 0 {
		flowtable(b, unix.NFT_MSG_NEWFLOWTABLE, unix.NLM_F_CREATE, c.add)
	}
}

func (c *fastChange) shrink(b *nfnl.Batch) {
	if c.drop || len(c.del) > 0 {
		flowtable(b, unix.NFT_MSG_DELFLOWTABLE, 0, c.del)
	}
}

// flowtable adds or removes interfaces, and with the first the flowtable itself. Deletion without any deletes it.
func flowtable(b *nfnl.Batch, message uint8, flags uint16, links []string) {
	begin(b, message, flags)
	b.String(attrFlowtableTable, TableName)
	b.String(attrFlowtableName, flowtableName)
	if message == unix.NFT_MSG_NEWFLOWTABLE || len(links) > 0 {
		hook := b.Nest(attrFlowtableHook)
		b.Uint32(attrFlowHookNum, hookIngress)
		b.Uint32(attrFlowHookPriority, priorityFilter)
		devices := b.Nest(attrFlowHookDevs)
		for _, link := range links {
			b.String(attrDeviceName, link)
		}
		b.Unnest(devices)
		b.Unnest(hook)
	}
	if message == unix.NFT_MSG_NEWFLOWTABLE {
		b.Uint32(attrFlowtableFlags, flowtableCounter)
	}
	b.End()
}

// decodeFlowtable reads a flowtable; nil when it is not as natd makes its own.
func decodeFlowtable(attrs []byte) *FastPath {
	f := &FastPath{}
	hook := nfnl.Attr(attrs, attrFlowtableHook)
	for typ, device := range nfnl.Attrs(nfnl.Attr(hook, attrFlowHookDevs)) {
		if typ != attrDeviceName {
			return nil // a pattern of names
		}
		f.Links = append(f.Links, nfnl.String(device))
	}
	slices.Sort(f.Links)
	own := nfnl.String(nfnl.Attr(attrs, attrFlowtableName)) == flowtableName && nfnl.Uint32(nfnl.Attr(attrs, attrFlowtableFlags)) == flowtableCounter &&
		nfnl.Uint32(nfnl.Attr(hook, attrFlowHookNum)) == hookIngress && nfnl.Uint32(nfnl.Attr(hook, attrFlowHookPriority)) == priorityFilter
	if !own {
		return nil
	}
	return f
}

// flowtables reads natd's own, and counts others.
func (r *reader) flowtables() error {
	return r.socket.Dump(request(unix.NFT_MSG_GETFLOWTABLE, attrFlowtableTable, TableName), func(m nfnl.Message) error {
		if f := decodeFlowtable(m.Attrs()); f != nil {
			r.table.FastPath = f
		} else {
			r.table.Others++
		}
		return nil
	})
}

// Refresh reads again the one part of a table that changes without a change of the ruleset, which its generation would tell: the kernel takes
// an interface that goes out of the flowtable, and does not put it back when it returns.
func (k *Kernel) Refresh(t *Table) error {
	if t.FastPath == nil {
		return nil
	}
	have, err := k.steady(func(r *reader) error {
		if err := r.flowtables(); err != nil {
			return readError("flowtable", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.FastPath = have.FastPath
	return nil
}

// refusesFastPath tells whether a message that the kernel refused is about the fast path alone.
func refusesFastPath(typ uint16, attrs []byte) bool {
	switch typ & 0xff {
	case unix.NFT_MSG_NEWFLOWTABLE, unix.NFT_MSG_DELFLOWTABLE:
		return true
	case unix.NFT_MSG_NEWRULE:
		return strings.Contains(string(nfnl.Attr(attrs, unix.NFTA_RULE_EXPRESSIONS)), "flow_offload\x00")
	}
	return false
}

// FastPath asks the kernel whether it has flowtables, by a transaction that always fails, as that of supports: it makes one and a rule that
// uses it, and deletes a table that does not exist. The error is ErrUnsupported when it has none.
func (k *Kernel) FastPath() error {
	const probe = "natd_probe"
	b := nfnl.NewBatch(0)
	newTable(b, probe, false)
	begin(b, unix.NFT_MSG_NEWFLOWTABLE, unix.NLM_F_CREATE)
	b.String(attrFlowtableTable, probe)
	b.String(attrFlowtableName, flowtableName)
	hook := b.Nest(attrFlowtableHook)
	b.Uint32(attrFlowHookNum, hookIngress)
	b.Uint32(attrFlowHookPriority, priorityFilter)
	b.Unnest(hook)
	b.Uint32(attrFlowtableFlags, flowtableCounter)
	b.End()
	newChain(b, probe, &Chain{Name: probe})
	uses := rule(probe, flowAdd())
	newRule(b, probe, probe, &uses)
	last := b.Count() - 1
	deleteTable(b, probe+"_absent")
	err := k.socket.Commit(b)
	var refusal *nfnl.Error
	switch {
	case !errors.As(err, &refusal) || refusal.Index < 0:
		return fmt.Errorf("ask the kernel for flowtables: %w", err)
	case refusal.Index < last:
		return fmt.Errorf("%w: it has no flowtables (Linux %s: %w)", ErrUnsupported, release(), refusal.Errno)
	}
	return nil
}

// flowtable prints the flowtable as nft does.
func (p *printer) flowtable(f *FastPath) {
	if f == nil {
		return
	}
	links := make([]string, len(f.Links))
	for i, link := range f.Links {
		links[i] = fmt.Sprintf("%q", link)
	}
	p.printf("\tflowtable %s {\n\t\thook ingress priority filter\n\t\tdevices = { %s }\n\t\tcounter\n\t}\n\n", flowtableName, strings.Join(links, ", "))
}

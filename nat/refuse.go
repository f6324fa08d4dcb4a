package nat

import (
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// RefusedGroup is the nflog group that packets are sent to which the rules refuse, where a Spec asks for it.
const RefusedGroup = LogGroup + 1

// RefusedBurst is how many packets each rule that reports refusals reports in a second, and at once: who floods a limit must not
// keep natd busy. All are refused, and counted where a limit refuses them.
const RefusedBurst = 1000

// Names of the chains that refuse and report it. What matches may count (a limit), so that one rule has to match for both.
const (
	chainRefuseTCP = "refuse_tcp"
	chainRefuse    = "refuse"
	chainDrop      = "refuse_silently"
)

// refuseProto refuses a packet of the protocol, with a report before it where that is asked for.
func (b *builder) refuseProto(f *familyUse, p Protocol) part {
	switch {
	case !b.reports:
		return f.reject(p)
	case p == TCP:
		return b.refuseIn(chainRefuseTCP)
	}
	return b.refuseIn(chainRefuse)
}

// refuseSilently is refuseProto, but for an answer.
func (b *builder) refuseSilently() part {
	if !b.reports {
		return drop()
	}
	return b.refuseIn(chainDrop)
}

// refuseIn goes to a chain that refuses.
func (b *builder) refuseIn(chain string) part {
	b.refusing[chain] = true
	return goTo(chain)
}

// refusingChains is the chains that rules go to which refuse. They are of no hook, and no packet meets them but one that is refused.
func (b *builder) refusingChains() (chains []Chain) {
	for _, c := range []struct {
		name   string
		refuse part
	}{
		{chainRefuse, part{"reject", []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH}}}},
		{chainDrop, drop()},
		{chainRefuseTCP, join(l4protoIs(TCP), rejectTCP())},
	} {
		if b.refusing[c.name] {
			chains = append(chains, Chain{Name: c.name, Rules: []Rule{reportRefused("reports what is refused"), rule("refuses it", c.refuse)}})
		}
	}
	return chains
}

// reportsPolicy makes the rule that reports what the policy of a chain refuses behind it.
func (b *builder) reportsPolicy() []Rule {
	if !b.reports {
		return nil
	}
	return []Rule{reportRefused("reports what the policy refuses")}
}

func reportRefused(comment string) Rule {
	return rule(comment, rateWithin(RefusedBurst), logTo(RefusedGroup))
}

// refuses tells whether a chain has the name of one that refuses.
func refuses(name string) bool {
	return slices.Contains([]string{chainRefuse, chainDrop, chainRefuseTCP}, name)
}

package config

import (
	"fmt"
	"strings"

	"natd/nat"
)

// maxElements bounds the memory of the kernel and the time of a transaction: twice all ports of two protocols. The kernel holds
// each of them in up to four sets.
const maxElements = 1 << 18

// The slots that one port's connections are dealt out to: among the backends, in proportion to the weights; and among the
// addresses of a pool, by a hash of the client.
const (
	maxSlots  = 256
	poolSlots = 256
)

// cost is how many elements the kernel holds for a relay: for each port and protocol of each address family, one for each source, and
// what choosing a backend and a source address takes.
type cost struct {
	ports, protocols, families int
	sources, shares, pool      int
}

func costOf(r *nat.Relay) cost {
	c := cost{
		ports: r.Listen.Ports.Width(), protocols: len(r.Protocols), families: served(r).count(),
		sources: max(1, len(r.From)),
	}
	if len(r.Backends) > 1 {
		c.shares = shares(r)
	}
	if len(r.SNAT.Addrs) > 1 {
		c.pool = poolSlots * len(r.Backends)
	}
	return c
}

func (c cost) total() int {
	return c.ports * c.protocols * c.families * (c.sources + c.shares + c.pool)
}

// String shows the parts of the total that count.
func (c cost) String() string {
	each := []string{fmt.Sprintf("%d for sources", c.sources)}
	if c.shares > 0 {
		each = append(each, fmt.Sprintf("%d for shares of backends", c.shares))
	}
	if c.pool > 0 {
		each = append(each, fmt.Sprintf("%d for the pool", c.pool))
	}
	return fmt.Sprintf("ports %d x protocols %d x families %d x (%s)", c.ports, c.protocols, c.families, strings.Join(each, " + "))
}

// shares is the number of slots in which the weights of the backends come out exactly, or the most that there are.
func shares(r *nat.Relay) int {
	if r.Balance == nat.Source {
		return maxSlots
	}
	sum, divisor := 0, 0
	for _, b := range r.Backends {
		sum += b.Weight
		divisor = gcd(divisor, b.Weight)
	}
	return min(sum/max(divisor, 1), maxSlots)
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// checkElements counts elements as the kernel will hold them.
func checkElements(spec *nat.Spec, in *written) bool {
	total := 0
	for i := range spec.Relays {
		r := &spec.Relays[i]
		if !isListening(r) {
			continue
		}
		c := costOf(r)
		if total += c.total(); total > maxElements {
			in.relays(i).fail("listen", fmt.Sprintf("the relay needs %d kernel elements (%s), all up to this one %d: the limit is %d",
				c.total(), c, total, maxElements))
			return false
		}
	}
	return checkNetworks(spec, in)
}

// maxNetworks bounds the pairs of networks of gateways and statics. The kernel looks them up in a set of another kind than ports, which it
// copies for each that it adds (pipapo_insert in net/netfilter/nft_set_pipapo.c): 8,000 take 2 s, and twice as many four times as
// long, in which nobody on the host can change a rule.
const maxNetworks = 1 << 13

// checkNetworks counts pairs of networks.
func checkNetworks(spec *nat.Spec, in *written) bool {
	total := 0
	for i := range spec.Gateways {
		g := &spec.Gateways[i]
		if total += len(g.From) * len(g.To); total > maxNetworks {
			in.gateways(i).fail("from", fmt.Sprintf("the gateway has %d pairs of networks (from %d x to %d), all up to this one %d: the limit is %d",
				len(g.From)*len(g.To), len(g.From), len(g.To), total, maxNetworks))
			return false
		}
	}
	for i := range spec.Statics {
		need := max(1, len(spec.Statics[i].From))
		if total += need; total > maxNetworks {
			in.statics(i).fail("from", fmt.Sprintf("the static has %d pairs of networks (external x from), all up to this one %d: the limit is %d",
				need, total, maxNetworks))
			return false
		}
	}
	return true
}

package daemon

import (
	"slices"

	"natd/nat"
)

// maxAnswered bounds the elements that the answers to names may add to those of the configuration, which is bounded in itself. An
// answer is another's word: it must not make one relay larger than the kernel, or the time of a pass, can hold.
const maxAnswered = 1 << 18

// maxAddresses bounds the addresses that a relay spreads over, as the configuration bounds its backends.
const maxAddresses = 256

// maxSpread bounds the elements that relays on every address may have because the host has several: the configuration counts one.
// A host with containers has hundreds, and one relay of many ports would be more than a transaction can hold for all relays. As
// many elements take the kernel some 400 MB.
const maxSpread = 1 << 21

// room is how many elements answers, or relays on every address, may still add.
type room int

// spread takes what the relay needs for the host's addresses but one, and tells whether there was room for it.
func (left *room) spread(r *nat.Relay, p *place) bool {
	if !r.Listen.Any() || len(p.Addrs) == 0 {
		return true
	}
	ports := endpoints(r, len(p.Addrs)-1)
	need := room(ports * (max(1, len(r.From)) + perPort(r, len(p.backends))))
	if need > *left {
		return false
	}
	*left -= need
	return true
}

// addresses is how many addresses the relay's backends may have together: each of them one, and more while there is room.
func (left room) addresses(r *nat.Relay, endpoints int) int {
	least := len(r.Backends)
	if !named(r) {
		return least
	}
	more := func(n int) bool { return room(endpoints*perPort(r, n)) > left }
	for n := maxAddresses; n > least; n-- {
		if !more(n) {
			return n
		}
	}
	return least
}

// take accounts for a relay that has so many addresses.
func (left *room) take(r *nat.Relay, endpoints, addresses int) {
	if addresses > len(r.Backends) {
		*left -= room(endpoints * perPort(r, addresses))
	}
}

// perPort is how many elements a port of the relay has at most to find one of so many addresses, and the source towards it.
func perPort(r *nat.Relay, addresses int) int {
	uneven := slices.ContainsFunc(r.Backends, func(b nat.Backend) bool { return b.Weight != r.Backends[0].Weight })
	if r.Balance == nat.Source || uneven {
		return maxAddresses + 2*addresses
	}
	return 2 * addresses
}

func named(r *nat.Relay) bool {
	return slices.ContainsFunc(r.Backends, func(b nat.Backend) bool { return b.Name != "" })
}

// endpoints is how many addresses and ports the relay listens on, on a host with so many addresses.
func endpoints(r *nat.Relay, local int) int {
	if !r.Listen.Any() {
		local = 1
	}
	return local * len(r.Protocols) * r.Listen.Ports.Width()
}

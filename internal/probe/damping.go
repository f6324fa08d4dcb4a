package probe

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// How answers that swing to and fro are damped. After a failover, Amazon RDS answers with the old and the new address in
// turn for 20 to 30 s (awslabs/aws-mysql-jdbc#377).
const (
	returnAfter = time.Minute      // an address left longer ago is like any other
	steadyAfter = 30 * time.Second // before that, it is taken again when the answers have been the same for so long
)

// following decides which answers to a name are followed. What was not in use before is followed at once, and what is no
// longer in an answer is left at once: only an address that was left a moment ago must prove itself.
type following struct {
	addrs []netip.Addr             // in use, ascending
	left  map[netip.Addr]time.Time // since when an address is not in use any more, of those that were
	last  []netip.Addr             // the last answer
	since time.Time                // since when the answers have been the same
}

// hear takes a good answer and tells whether the addresses in use changed. When part of the answer is not taken, again is
// when it may be; otherwise it is the zero time.
func (f *following) hear(answer []netip.Addr, now time.Time) (changed bool, again time.Time) {
	if !slices.Equal(answer, f.last) {
		f.last, f.since = answer, now
	}
	maps.DeleteFunc(f.left, func(_ netip.Addr, at time.Time) bool { return now.Sub(at) >= returnAfter })
	take := answer
	if now.Sub(f.since) < steadyAfter {
		take = slices.DeleteFunc(slices.Clone(answer), func(a netip.Addr) bool {
			_, recently := f.left[a]
			return recently
		})
	}
	if len(take) < len(answer) {
		again = f.since.Add(steadyAfter)
	}
	if len(take) == 0 || slices.Equal(take, f.addrs) {
		return false, again
	}
	f.switchTo(take, now)
	return true, again
}

func (f *following) switchTo(take []netip.Addr, now time.Time) {
	if f.left == nil {
		f.left = map[netip.Addr]time.Time{}
	}
	for _, a := range f.addrs {
		f.left[a] = now
	}
	for _, a := range take {
		delete(f.left, a)
	}
	f.addrs = take
}

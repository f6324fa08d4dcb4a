package probe

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// addrs reads a set such as "a b": each letter is an address of its own.
func addrs(text string) []netip.Addr {
	var set []netip.Addr
	for letter := range strings.FieldsSeq(text) {
		set = append(set, netip.AddrFrom4([4]byte{10, 3, 0, letter[0]}))
	}
	slices.SortFunc(set, netip.Addr.Compare)
	return set
}

// letters is the reverse of addrs.
func letters(set []netip.Addr) string {
	var all []string
	for _, a := range set {
		all = append(all, string(a.AsSlice()[3:]))
	}
	return strings.Join(all, " ")
}

// heard is an answer at a time, and what is in use then.
type heard struct {
	at           float64 // seconds
	answer, want string
}

func TestFollowing(t *testing.T) {
	t.Parallel()
	tests := map[string][]heard{
		"the first answer":             {{0, "a b", "a b"}},
		"a change, at once":            {{0, "a", "a"}, {1, "b", "b"}, {2, "c", "c"}},
		"an address more and one less": {{0, "a", "a"}, {1, "a b", "a b"}, {2, "b", "b"}},
		"back for good":                {{0, "a", "a"}, {10, "b", "b"}, {15, "a", "b"}, {30, "a", "b"}, {44, "a", "b"}, {45, "a", "a"}},
		"back after long":              {{0, "a", "a"}, {10, "b", "b"}, {69, "a", "b"}, {70, "a", "a"}},
		"back, but not without a stop": {{0, "a", "a"}, {10, "b", "b"}, {15, "a", "b"}, {35, "b", "b"}, {36, "a", "b"}, {46, "a", "b"}, {65, "a", "b"}, {66, "a", "a"}},
		"a host restarts":              {{0, "a b", "a b"}, {10, "b", "b"}, {15, "a b", "b"}, {45, "a b", "a b"}},
		"a new one among those that come back": {
			{0, "a", "a"}, {10, "b", "b"}, {15, "a c", "c"}, {45, "a c", "a c"},
		},
		"to a third while damped": {{0, "a", "a"}, {10, "b", "b"}, {15, "a", "b"}, {20, "c", "c"}, {25, "a", "c"}},
		"what left in the answer's favour stays left": {
			{0, "a", "a"}, {10, "b", "b"}, {11, "a b", "b"}, {12, "a b", "b"}, {41, "a b", "a b"},
		},
	}
	for name, steps := range tests {
		var f following
		before := ""
		for _, s := range steps {
			now := time.Unix(1000, 0).Add(time.Duration(s.at * float64(time.Second)))
			changed, again := f.hear(addrs(s.answer), now)
			got := letters(f.addrs)
			if got != s.want || changed != (got != before) {
				t.Errorf("%s: at %v s %q is answered: %q in use, changed = %v, want %q", name, s.at, s.answer, got, changed, s.want)
			}
			if waits := got != s.answer; waits == again.IsZero() || waits && !again.After(now) {
				t.Errorf("%s: at %v s %q is answered and %q in use: to be asked again at %v", name, s.at, s.answer, got, again)
			}
			before = got
		}
	}
}

// TestFailoverIsOneChange is a failover of Amazon RDS: for 30 s old and new answers alternate, however often they are
// asked for, and then the new one stays.
func TestFailoverIsOneChange(t *testing.T) {
	t.Parallel()
	for _, ttl := range []time.Duration{time.Second, 3 * time.Second, 5 * time.Second} {
		for _, pattern := range []string{"ba", "bba", "baa", "bbbbaaaa"} {
			var f following
			start := time.Unix(1000, 0)
			f.hear(addrs("a"), start)
			changes, at := 0, start
			for i := 0; at.Before(start.Add(5 * time.Minute)); i++ {
				at = at.Add(ttl)
				answer := "b"
				if at.Before(start.Add(30 * time.Second)) {
					answer = string(pattern[i%len(pattern)])
				}
				if changed, _ := f.hear(addrs(answer), at); changed {
					changes++
				}
			}
			if changes != 1 || letters(f.addrs) != "b" {
				t.Errorf("TTL %v, pattern %s: %d changes, %q in use at the end, want one change to b", ttl, pattern, changes, letters(f.addrs))
			}
		}
	}
}

// TestFollowingForgets has a name that has another address every second: what is remembered stays bounded.
func TestFollowingForgets(t *testing.T) {
	t.Parallel()
	var f following
	for i := range 1000 {
		answer := []netip.Addr{netip.AddrFrom4([4]byte{10, 3, byte(i >> 8), byte(i)})}
		if changed, _ := f.hear(answer, time.Unix(int64(i), 0)); !changed {
			t.Fatalf("answer %d was not followed", i)
		}
	}
	if n := len(f.left); n > 61 {
		t.Errorf("%d addresses are remembered, want those of a minute", n)
	}
}

package nat

import (
	"strings"
	"testing"
)

// A declared size has room for a quarter more, and few relays need none.
func TestSizeFor(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]uint32{
		0: 0, 1: 0, sizedFrom - 1: 0, sizedFrom: 24576, 19660: 24576, 19662: 49152, 78643: 98304, 100_000: 196_608, 150_000: 196_608, 1 << 30: 3 << 29,
	} {
		if got := sizeFor(n); got != want {
			t.Errorf("sizeFor(%d) = %d, want %d", n, got, want)
		}
	}
	for n := sizedFrom; n < 1<<20; n += 997 {
		if size := int(sizeFor(n)); size < n+n/5 {
			t.Fatalf("of %d there is room for no more than %d", n, size)
		}
	}
}

// A set that is large enough stays, whatever size a new one would have; one that is too small is made anew with its table, with room for
// the listens that still wait.
func TestDiffOfSizes(t *testing.T) {
	t.Parallel()
	const relays = 24576 // fill the smallest size
	for name, c := range map[string]struct {
		relays int
		edit   func(*Set)
		why    string
	}{
		"as declared":     {relays, func(*Set) {}, ""},
		"none":            {relays, func(s *Set) { s.Size = 0 }, ""},
		"just enough":     {relays, func(s *Set) { s.Size = 24576 }, ""},
		"more":            {relays, func(s *Set) { s.Size = 3 << 20 }, ""},
		"for few":         {1, func(s *Set) { s.Size = 24576 }, ""},
		"another's":       {1, func(s *Set) { s.Size = 1 }, "its set listens4 has size 1, which is not natd's or too small"},
		"another's large": {relays, func(s *Set) { s.Size = 1 << 20 }, "its set listens4 has size 1048576,"},
		"too little":      {relays + 1, func(s *Set) { s.Size = 24576 }, "its set listens4 has size 24576,"},
		"another listens": {relays, func(s *Set) { s.Size = 24576; s.Elements[0].Key = "\x00" + s.Elements[0].Key[1:] }, "its set listens4 has size 24576,"},
	} {
		want := manyRelays(c.relays).build()
		have := asTable(want)
		c.edit(have.set(t, "listens4"))
		p := Diff(want, have, Hold{Protect: ProtectOff})
		if (c.why == "") != p.Empty() || !strings.Contains(p.why, c.why) {
			t.Errorf("%s: %q, want %q", name, p.why, c.why)
		}
		if made := find(p.newSets, "listens4"); made != nil && made.Size > 0 && int(made.Size) < len(made.Elements) {
			t.Errorf("%s: %d elements do not go into %d", name, len(made.Elements), made.Size)
		}
	}
}

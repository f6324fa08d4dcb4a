package config

import "testing"

// TestIndexCollisions has keys of one hash: they are told apart by what they are.
func TestIndexCollisions(t *testing.T) {
	t.Parallel()
	keys := []string{"a", "b", "c", "a"}
	x := newIndex(len(keys))
	is := func(key string) func(int) bool { return func(i int) bool { return keys[i] == key } }
	for i, key := range keys {
		if first, found := x.put(1<<63, i, is(key)); found != (i == 3) || first != 0 {
			t.Errorf("put %d finds %d, %v", i, first, found)
		}
	}
	for i, key := range keys[:3] {
		if got, found := x.get(1<<63, is(key)); !found || got != i {
			t.Errorf("%q is %d, %v, want %d", key, got, found, i)
		}
	}
	if _, found := x.get(1<<63, is("d")); found {
		t.Error("what was never put is found")
	}
}

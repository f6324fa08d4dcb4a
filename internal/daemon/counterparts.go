package daemon

import "natd/nat"

// counterparts finds for each relay of a configuration, which has to be asked for in order, the position of the one with its name
// in the configuration before; -1 for none. Most relays stand where they stood, or a little further on: an index of the names is made
// only where one does not.
func counterparts(before, now *nat.Spec) func(i int) int {
	if before == nil {
		before = new(nat.Spec)
	}
	next := 0
	var byName map[string]int
	return func(i int) int {
		name := now.Relays[i].Name
		if next < len(before.Relays) && before.Relays[next].Name == name {
			next++
			return next - 1
		}
		if byName == nil {
			byName = make(map[string]int, len(before.Relays))
			for j := range before.Relays {
				byName[before.Relays[j].Name] = j
			}
		}
		j, ok := byName[name]
		if !ok {
			return -1
		}
		next = j + 1
		return j
	}
}

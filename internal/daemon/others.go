package daemon

import (
	"slices"
	"strings"
	"sync"

	"natd/nat"
)

// others is what other programs did to the ruleset.
type others struct {
	mu     sync.Mutex
	names  []string // of the processes, since the table was last as it should be
	first  uint32   // of the generations up to last, which all touched nothing of natd's; none while it is above last
	last   uint32
	newest uint32 // the last one that was heard of; 0 after a loss
	ours   uint32 // the last one that is known to have touched natd's tables
}

// maxWriters bounds the list: beyond a handful of culprits nobody reads on.
const maxWriters = 4

// note takes note of a change, and tells whether it calls for a look at the table.
func (o *others) note(c nat.Change) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.newest = c.Generation
	if c.Elsewhere {
		if c.Generation != o.last+1 {
			o.first = c.Generation
		}
		o.last = c.Generation
		return false
	}
	o.first, o.last = 1, 0
	if c.Touched {
		o.ours = c.Generation
	}
	if name := c.Writer.String(); name != "" && len(o.names) < maxWriters && !slices.Contains(o.names, name) {
		o.names = append(o.names, name)
	}
	return true
}

// heard tells whether the change that led to the generation was heard of.
func (o *others) heard(generation uint32) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.newest >= generation
}

// spared tells whether it is known that all the changes that led from one generation to another touched nothing of natd's.
func (o *others) spared(from, to uint32) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return from < to && o.first <= from+1 && to <= o.last // where the numbers begin anew, nothing is known
}

// touched tells whether it is known that one of natd's tables was touched after the generation.
func (o *others) touched(after uint32) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ours > after
}

func (o *others) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.names, ", ")
}

func (o *others) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.names = nil
}

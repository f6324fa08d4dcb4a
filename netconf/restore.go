package netconf

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Restore gives the settings that natd changed their old values back and empties the ledger. A setting that no longer
// has the value that natd gave it is somebody else's by now and stays; one whose interface went away is
// forgotten. It returns what it put back. What could not be put back stays in the ledger.
func (s *Sysctls) Restore() ([]Change, error) {
	var back []Change
	var failed []error
	kept := map[string]Change{}
	for _, g := range s.goals() {
		if waits(g.Change, kept) {
			kept[g.Key] = g.Change
			continue
		}
		if g.err == nil {
			g.err = s.reach(g)
		}
		switch {
		case g.err != nil:
			kept[g.Key] = g.Change
			failed = append(failed, g.err)
		case same(g.want, g.Old) && !same(g.now, g.Old):
			back = append(back, g.Change)
		}
	}
	if err := s.ledger.store(kept); err != nil {
		failed = append(failed, fmt.Errorf("empty the ledger of sysctls: %w", err))
	}
	slices.SortFunc(back, byKey)
	return back, errors.Join(failed...)
}

// waits tells whether the change cannot be taken back, because one that goes first could not.
func waits(c Change, kept map[string]Change) bool {
	_, mover := kept[c.Along]
	_, later := kept[c.Before]
	return mover || later
}

// Unrestored lists the settings that have the value that a natd gave them in another boot or network namespace, as far as the
// ledger remembered it when it was opened. They may be those of this host all the same: a container can be given a boot id
// that its services do not see. Nothing proves it, so Restore leaves them alone. What the kernel changed along is left out:
// it follows when the setting that moved it gets its old value.
func (s *Sysctls) Unrestored() []Change {
	var left []Change
	for _, c := range s.ledger.elsewhere {
		now, err := s.Get(c.Key)
		if err == nil && c.Along == "" && same(now, c.New) && !same(c.Old, c.New) {
			left = append(left, c)
		}
	}
	slices.SortFunc(left, byKey)
	return left
}

// goal is what Restore makes of one change: the value that the setting has, the one it shall have, and why
// that is not known.
type goal struct {
	Change
	now, want string
	err       error
}

// goals decides, before anything is written, what every setting shall be. Settings that natd wrote itself come
// first: writing them moves those that the kernel changes along. Those that prepared for such a write come last. Settings
// that are gone have no goal.
func (s *Sysctls) goals() []goal {
	var goals []goal
	for _, c := range s.ledger.sorted() {
		now, err := s.Get(c.Key)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		g := goal{Change: c, now: now, want: now, err: err}
		if same(now, c.New) || s.undone(c.Along) {
			g.want = c.Old
		}
		goals = append(goals, g)
	}
	slices.SortStableFunc(goals, func(a, b goal) int {
		return cmp.Or(strings.Compare(a.Before, b.Before), strings.Compare(a.Along, b.Along))
	})
	return goals
}

// undone tells whether the setting that moved others no longer has natd's value, because a restore
// was cut short or somebody else wrote it. The kernel moved the others to its defaults then, so that their values
// tell nothing about what anybody chose.
func (s *Sysctls) undone(key string) bool {
	mover, ok := s.ledger.changes[key]
	if !ok {
		return false
	}
	now, err := s.Get(key)
	return err == nil && !same(now, mover.New)
}

// reach writes the wanted value where the setting does not have it.
func (s *Sysctls) reach(g goal) error {
	k, err := parseKey(g.Key)
	if err != nil {
		return err
	}
	now, err := s.read(k)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the interface went away just now
	}
	if err != nil || same(now, g.want) {
		return err
	}
	return s.write(k, g.want)
}

package diagnose

import (
	"slices"
	"strings"

	"natd/nat"
)

// TableChanges is what of a plan says that natd's table is not as it should be. While natd does not run that is not all that a start
// would change: who owns the table, sysctls, and which backends of a relay are in turn, which only a natd that runs knows.
func TableChanges(steps []string, spec *nat.Spec) (changes []string) {
	moving := make(map[string]bool) // relays whose elements follow health checks and names
	for i := range spec.Relays {
		r := &spec.Relays[i]
		moving[r.Name] = r.Health.Checks() || slices.ContainsFunc(r.Backends, func(b nat.Backend) bool { return b.Name != "" })
	}
	anyMoves := false
	for _, moves := range moving {
		anyMoves = anyMoves || moves
	}
	for _, step := range steps {
		if counts(step, moving, anyMoves) {
			changes = append(changes, step)
		}
	}
	return changes
}

// counts tells whether a step of a plan is about the content of the table, and not about what moves by itself.
func counts(step string, moving map[string]bool, anyMoves bool) bool {
	switch {
	case strings.HasPrefix(step, "add to "), strings.HasPrefix(step, "delete from "):
		_, comment, _ := strings.Cut(step, `comment "`)
		name, _, _ := strings.Cut(comment, `"`)
		return !moving[name]
	case strings.HasPrefix(step, "write "), strings.HasPrefix(step, "set up "), strings.HasPrefix(step, "delete chain "):
		atHook := slices.ContainsFunc([]string{"prerouting", "postrouting", "forward", "input"}, func(chain string) bool {
			return strings.HasSuffix(step, "chain "+chain)
		})
		return atHook || !anyMoves
	case strings.HasPrefix(step, "set the policy "), strings.HasPrefix(step, "make set "), strings.HasPrefix(step, "delete set "):
		return !anyMoves || strings.HasPrefix(step, "set the policy ")
	}
	return strings.HasPrefix(step, "make table inet "+nat.TableName+" ") || step == "make table inet "+nat.TableName
}

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
	shaped := shapedChains(steps)
	for _, step := range steps {
		if counts(step, moving, anyMoves, shaped) {
			changes = append(changes, step)
		}
	}
	return changes
}

// counts tells whether a step of a plan is about the content of the table, and not about what moves by itself.
func counts(step string, moving map[string]bool, anyMoves bool, shaped []string) bool {
	switch {
	case strings.HasPrefix(step, "add to "), strings.HasPrefix(step, "delete from "):
		_, comment, _ := strings.Cut(step, `comment "`)
		name, _, _ := strings.Cut(comment, `"`)
		return !moving[name]
	case strings.HasPrefix(step, "write "), strings.HasPrefix(step, "set up "), strings.HasPrefix(step, "delete chain "):
		atHook := slices.ContainsFunc([]string{"prerouting", "postrouting", "forward", "input"}, func(chain string) bool {
			return strings.HasSuffix(step, "chain "+chain) && !slices.Contains(shaped, chain)
		})
		return atHook || !anyMoves
	case strings.HasPrefix(step, "set the policy "), strings.HasPrefix(step, "make set "), strings.HasPrefix(step, "delete set "):
		return !anyMoves || strings.HasPrefix(step, "set the policy ")
	}
	return strings.HasPrefix(step, "make table inet "+nat.TableName+" ") || step == "make table inet "+nat.TableName
}

// shapedChains is the chains at hooks that have other rules with the first choice between backends, or the first relay that has none left
// and refuses: those that a set for it comes or goes with.
func shapedChains(steps []string) (chains []string) {
	for _, step := range steps {
		words := strings.Fields(step)
		switch {
		case len(words) < 3 || words[1] != "set" || words[0] != "make" && words[0] != "delete":
		case strings.HasPrefix(words[2], "balance"):
			chains = append(chains, "prerouting")
		case strings.HasPrefix(words[2], "closed"):
			chains = append(chains, "prerouting", "forward", "input")
		}
	}
	return chains
}

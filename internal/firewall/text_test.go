package firewall

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"natd/internal/lab"
)

// read reads the rulesets of a host.
func read(t *testing.T, h *lab.Host) *Ruleset {
	t.Helper()
	var r *Ruleset
	lab.Check(t, h.Do(func() (err error) {
		r, err = Read(t.Context())
		return err
	}))
	return r
}

// listed is the rules of a host in nft's own words, with their handles.
func listed(t *testing.T, h *lab.Host) (rules []string) {
	t.Helper()
	own := false
	for line := range strings.Lines(h.Output(t, "nft", "-a", "list", "ruleset")) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "table ") {
			own = strings.HasPrefix(line, "table inet natd ")
		}
		if !own && !strings.HasSuffix(line, "{") && strings.Contains(line, "# handle") && !strings.HasPrefix(line, "table ") && !strings.Contains(line, "{ # handle") {
			rules = append(rules, line)
		}
	}
	return rules
}

// ours is the same in the words of this package, the chains in the order in which the kernel lists them.
func ours(r *Ruleset) (rules []string) {
	for _, c := range r.chains {
		for _, one := range c.rules {
			rules = append(rules, fmt.Sprintf("%s # handle %d", one.text(c.table.familyName()), one.handle))
		}
	}
	return rules
}

func checkText(t *testing.T, h *lab.Host) {
	t.Helper()
	got, want := ours(read(t, h)), listed(t, h)
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rules in other words than nft's (-nft +ours):\n%s", diff)
	}
}

// What a finding says of a rule is what nft says of it, so that a person finds it.
func TestText(t *testing.T) {
	t.Parallel()
	h := lab.NewHost(t)
	lab.Check(t, h.Nft(t.Context(), manyRules))
	checkText(t, h)
}

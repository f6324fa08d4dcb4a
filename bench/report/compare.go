package report

import (
	"fmt"
	"math"
	"strings"
)

// agreement is how far the ratios of two runs may lie apart.
const agreement = 0.05

// Compare says which ratios of two runs lie more than 5 % apart, and what their spreads make of that.
func Compare(before, after []Summary) string {
	type key struct{ measure, job, candidate string }
	was := make(map[key]Summary, len(before))
	for _, s := range before {
		was[key{s.Measure, s.Job, s.Candidate}] = s
	}
	var text strings.Builder
	both, apart := 0, 0
	for _, s := range after {
		b := was[key{s.Measure, s.Job, s.Candidate}]
		if b.Ratio == 0 || s.Ratio == 0 {
			continue
		}
		both++
		if off := math.Abs(s.Ratio/b.Ratio - 1); off > agreement {
			apart++
			fmt.Fprintf(&text, "- %s, %s, %s: ratio %.2f ±%.0f %%, was %.2f ±%.0f %%\n",
				s.Measure, s.Job, s.Candidate, s.Ratio, 100*s.RatioSpread, b.Ratio, 100*b.RatioSpread)
		}
	}
	return fmt.Sprintf("%d of %d ratios lie within %.0f %% of those of the earlier run.\n", both-apart, both, 100*agreement) + text.String()
}

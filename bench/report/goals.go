package report

import (
	"fmt"
	"strings"
)

// Of is a figure: that of a candidate, for a measure and a job.
type Of struct {
	Measure   string `json:"measure"`
	Job       string `json:"job"`
	Candidate string `json:"candidate"`
}

// Goal is what a figure should be, or its ratio to another.
type Goal struct {
	What  string // in words
	Of    Of
	To    Of // the zero value: none
	Limit float64
	Sense Sense
	Unit  string // of the limit; "" = none
}

// Sense is on which side of its limit a figure should be.
type Sense string

// The senses.
const (
	AtMost  Sense = "at most"
	AtLeast Sense = "at least"
	Below   Sense = "below"
)

// Verdict is what came of a goal.
type Verdict struct {
	What   string  `json:"what"`
	Of     Of      `json:"of"`
	To     *Of     `json:"to,omitempty"`
	Sense  Sense   `json:"sense"`
	Limit  float64 `json:"limit"`
	Unit   string  `json:"unit,omitempty"`
	Taken  bool    `json:"taken"` // whether this run has measured it
	Value  float64 `json:"value"`
	Spread float64 `json:"spread"`
	Met    bool    `json:"met"`
}

// Judge says which goals are met.
func Judge(goals []Goal, samples []Sample) []Verdict {
	groups := make(map[Of][]Sample)
	for _, s := range samples {
		k := Of{s.Measure, s.Job, s.Candidate}
		groups[k] = append(groups[k], s)
	}
	verdicts := make([]Verdict, len(goals))
	for i, g := range goals {
		verdicts[i] = g.judge(groups)
	}
	return verdicts
}

func (g *Goal) judge(groups map[Of][]Sample) Verdict {
	v := Verdict{What: g.What, Of: g.Of, Sense: g.Sense, Limit: g.Limit, Unit: g.Unit}
	// Figures that were taken in the same round have a ratio each; those of two jobs, which were not, one of their medians.
	s := summary(groups[g.Of], groups[g.To])
	switch to := summary(groups[g.To], nil); {
	case g.To == Of{}:
		v.Taken, v.Value, v.Spread = s.Rounds > 0, s.Median, s.Spread
	case g.To.Job == g.Of.Job:
		v.To, v.Taken, v.Value, v.Spread = &g.To, s.Ratio > 0, s.Ratio, s.RatioSpread
	case to.Median > 0:
		v.To, v.Taken, v.Value, v.Spread = &g.To, s.Rounds > 0, s.Median/to.Median, s.Spread+to.Spread
	}
	switch {
	case !v.Taken:
	case v.Sense == AtLeast:
		v.Met = v.Value >= v.Limit
	case v.Sense == AtMost:
		v.Met = v.Value <= v.Limit
	default:
		v.Met = v.Value < v.Limit
	}
	return v
}

// verdicts writes the goals that this run has measured.
func (r *Report) verdicts(text *strings.Builder) {
	left := 0
	head := "\n## Goals\n\n| what | goal | measured | met |\n|---|---|---:|---|\n"
	for _, v := range r.Verdicts {
		if !v.Taken {
			left++
			continue
		}
		met := "**no**"
		if v.Met {
			met = "yes"
		}
		fmt.Fprintf(text, "%s| %s | %s %s | %s ±%.0f %% | %s |\n", head, v.What, v.Sense, unit(v.Limit, v.Unit), unit(v.Value, v.Unit), 100*v.Spread, met)
		head = ""
	}
	if head == "" && left > 0 {
		fmt.Fprintf(text, "\nGoals that this run has not measured: %d.\n", left)
	}
}

func unit(v float64, of string) string { return strings.TrimSpace(number(v) + " " + of) }

package diagnose

import (
	"fmt"
	"slices"
	"strings"
)

// Sound tells whether there is nothing to mend: every path lets packets through, and natd looks after them.
func (r *Report) Sound() bool {
	nothing := func(all []Explanation) bool {
		return !slices.ContainsFunc(all, func(e Explanation) bool { return e.Confidence != Possible })
	}
	return nothing(r.Explanations) && !slices.ContainsFunc(r.Paths, func(p Path) bool { return !nothing(p.Explanations) })
}

// untold is the numbers of the steps that could not be told.
func untold(steps []step) (numbers []string) {
	for i := range steps {
		if steps[i].component(i+1).Verdict == Unknown {
			numbers = append(numbers, fmt.Sprint(i+1))
		}
	}
	return numbers
}

// stand says how the path stands, and no more than is known: what could not be told may be broken all the same.
func (p *Path) stand(untold []string) {
	alone := len(p.Explanations) > 0 && p.Explanations[0].Confidence != Possible
	var why []string
	if len(p.Explanations) > 0 {
		why = append(why, p.Explanations[0].inShort())
	}
	switch {
	case !p.NetworkPathFound:
		p.Standing = StandsBroken
	case len(untold) > 0:
		p.Standing = StandsOpen
		why = append([]string{"nothing broken was found, and " + steps(untold)}, why...)
	case alone:
		p.Standing = StandsAlone
	case len(why) > 0:
		p.Standing = StandsOpen
	default:
		p.Standing = StandsWhole
	}
	p.StatusMessage = strings.Join(why, "; ")
}

func steps(untold []string) string {
	if len(untold) == 1 {
		return fmt.Sprintf("1 step cannot be told (%s)", untold[0])
	}
	return fmt.Sprintf("%d steps cannot be told (%s)", len(untold), strings.Join(untold, ", "))
}

// inShort is the explanation in a line.
func (e *Explanation) inShort() string {
	if e.Confidence == Certain {
		return fmt.Sprintf("%s: %s", e.ExplanationCode, e.Summary)
	}
	return fmt.Sprintf("%s (%s): %s", e.ExplanationCode, e.Confidence, e.Summary)
}

// message is the report in a sentence.
func message(ev *Evidence, r *Report) string {
	text := "there is no relay to look at"
	switch {
	case len(r.Paths) == 1:
		text = map[Standing]string{
			StandsWhole: "the path is whole", StandsOpen: "nothing broken was found; not everything can be told from here",
			StandsAlone: "the path works, and natd does not look after it", StandsBroken: "the path is broken",
		}[r.Paths[0].Standing]
	case len(r.Paths) > 1:
		text = counted(r.Paths)
	case len(r.Explanations) > 0 && !passes(r.Explanations):
		text = "no path was found"
	case len(r.Explanations) > 0:
		text = "there is no relay to look at; " + r.Explanations[0].inShort()
	}
	for _, o := range ev.Omitted {
		text += "; " + o
	}
	return text
}

// counted is how many of the paths stand how.
func counted(paths []Path) string {
	of := make(map[Standing]int)
	for i := range paths {
		of[paths[i].Standing]++
	}
	if n := of[StandsWhole]; n == len(paths) {
		return fmt.Sprintf("%d of %d paths are whole", n, n)
	}
	var parts []string
	for _, s := range []struct {
		standing Standing
		text     string
	}{
		{StandsBroken, "broken"}, {StandsAlone, "working, without natd"}, {StandsOpen, "without a fault that can be seen"}, {StandsWhole, "whole"},
	} {
		if n := of[s.standing]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s.text))
		}
	}
	return fmt.Sprintf("of %d paths: %s", len(paths), strings.Join(parts, ", "))
}

package report

import (
	"math"
	"slices"
)

// Summary is what the rounds say together.
type Summary struct {
	Part      string  `json:"part"`
	Measure   string  `json:"measure"`
	Job       string  `json:"job"`
	Candidate string  `json:"candidate"`
	Rounds    int     `json:"rounds"`
	Median    float64 `json:"median"`
	Spread    float64 `json:"spread"` // see Spread
	// Ratio is the median of the ratios to the reference in the same round, and RatioSpread their spread; 0 without a reference.
	Ratio       float64 `json:"ratio"`
	RatioSpread float64 `json:"ratio_spread"`
	Note        string  `json:"note,omitempty"`
}

// Summarise puts the samples of each measure, job and candidate together, in the order in which they first come. Ratios are taken against
// the first of the references that took part.
func Summarise(samples []Sample, references ...string) []Summary {
	type key struct{ measure, job, candidate string }
	var order []key
	groups := make(map[key][]Sample)
	for _, s := range samples {
		k := key{s.Measure, s.Job, s.Candidate}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], s)
	}
	all := make([]Summary, 0, len(order))
	for _, k := range order {
		var reference []Sample
		for _, name := range references {
			if reference = groups[key{k.measure, k.job, name}]; reference != nil {
				break
			}
		}
		s := summary(groups[k], reference)
		s.Part = groups[k][0].Part
		s.Measure, s.Job, s.Candidate = k.measure, k.job, k.candidate
		all = append(all, s)
	}
	return all
}

// summary is that of one group, against the reference's.
func summary(samples, reference []Sample) (s Summary) {
	type when struct{ heat, round int }
	base := make(map[when]float64, len(reference))
	for _, r := range reference {
		if r.Note == "" {
			base[when{r.Heat, r.Round}] = r.Value
		}
	}
	values, ratios := make(map[int][]float64), make(map[int][]float64)
	for _, v := range samples {
		if v.Note != "" {
			s.Note = v.Note
			continue
		}
		s.Rounds++
		values[v.Heat] = append(values[v.Heat], v.Value)
		if b := base[when{v.Heat, v.Round}]; b != 0 {
			ratios[v.Heat] = append(ratios[v.Heat], v.Value/b)
		}
	}
	s.Median, s.Spread = overHeats(values)
	s.Ratio, s.RatioSpread = overHeats(ratios)
	return s
}

// overHeats is the median of the medians of all heats, and their spread. With one heat that of its rounds has to do.
func overHeats(heats map[int][]float64) (median, spread float64) {
	medians := make([]float64, 0, len(heats))
	for _, values := range heats {
		if len(heats) == 1 {
			return Median(values), Spread(values)
		}
		medians = append(medians, Median(values))
	}
	return Median(medians), Spread(medians)
}

// Median is the middle value; 0 of none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// Spread is how far a median of so many values may be off, as a share of it: the median distance from the median, scaled to a
// standard deviation as if the values were normal, by the standard error of a median.
func Spread(values []float64) float64 {
	m := Median(values)
	if m == 0 {
		return 0
	}
	distances := make([]float64, len(values))
	for i, v := range values {
		distances[i] = math.Abs(v - m)
	}
	const sigma, medianError = 1.4826, 1.2533
	return sigma * medianError * Median(distances) / math.Sqrt(float64(len(values))) / math.Abs(m)
}

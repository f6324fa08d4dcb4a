// Package report turns what was measured into tables: medians, spread, and ratios that are taken round by round.
package report

// Sample is one figure of one candidate in one round of one heat.
type Sample struct {
	Part      string  `json:"part"`    // of the report
	Measure   string  `json:"measure"` // such as "connections/s"; its unit is part of it
	Job       string  `json:"job"`     // in words, such as "1000 relays"
	Candidate string  `json:"candidate"`
	Heat      int     `json:"heat"` // the rounds of a heat share arenas, and what chance gave each of those
	Round     int     `json:"round"`
	Value     float64 `json:"value"`
	Note      string  `json:"note,omitempty"` // why there is no value
}

package report

import (
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	const measure, job = "new connections, 1/s", "10 relays"
	natd, reference := Of{measure, job, "natd"}, Of{measure, job, "map"}
	all := append(samples(), Sample{Measure: measure, Job: "1 relay", Candidate: "natd", Value: 10000})
	for _, tt := range []struct {
		name       string
		goal       Goal
		taken, met bool
		value      float64
	}{
		{"a figure", Goal{Of: natd, Limit: 9000, Sense: AtMost}, true, true, 9000},
		{"a figure that has to be less", Goal{Of: natd, Limit: 9000, Sense: Below}, true, false, 9000},
		{"a ratio of each round", Goal{Of: natd, To: reference, Limit: 0.9, Sense: AtLeast}, true, true, 0.9},
		{"a ratio that is too small", Goal{Of: natd, To: reference, Limit: 0.97, Sense: AtLeast}, true, false, 0.9},
		{"a ratio of two jobs", Goal{Of: natd, To: Of{measure, "1 relay", "natd"}, Limit: 0.97, Sense: AtLeast}, true, false, 0.9},
		{"who could not take part", Goal{Of: Of{measure, job, "slow"}, Limit: 1, Sense: AtMost}, false, false, 0},
		{"who was not there", Goal{Of: natd, To: Of{measure, job, "nobody"}, Limit: 1, Sense: AtMost}, false, false, 0},
		{"another job that was not there", Goal{Of: natd, To: Of{measure, "2 relays", "natd"}, Limit: 1, Sense: AtMost}, false, false, 0},
	} {
		v := Judge([]Goal{tt.goal}, all)[0]
		if v.Taken != tt.taken || v.Met != tt.met || v.Value != tt.value {
			t.Errorf("%s: %+v", tt.name, v)
		}
	}
}

func TestVerdictsInWords(t *testing.T) {
	t.Parallel()
	r := Report{Verdicts: []Verdict{
		{What: "memory", Sense: Below, Limit: 20, Unit: "MiB", Taken: true, Value: 15.12, Spread: 0.01, Met: true},
		{What: "connections", Sense: AtLeast, Limit: 0.97, Taken: true, Value: 0.9},
		{What: "something else"},
	}}
	var text strings.Builder
	r.verdicts(&text)
	const want = `## Goals

| what | goal | measured | met |
|---|---|---:|---|
| memory | below 20.0 MiB | 15.1 MiB ±1 % | yes |
| connections | at least 0.970 | 0.900 ±0 % | **no** |

Goals that this run has not measured: 1.
`
	if strings.TrimSpace(text.String()) != strings.TrimSpace(want) {
		t.Errorf("got\n%s", text.String())
	}
}

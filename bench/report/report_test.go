package report

import (
	"math"
	"strings"
	"testing"
)

func TestMedianAndSpread(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		values         []float64
		median, spread float64
	}{
		{nil, 0, 0},
		{[]float64{7}, 7, 0},
		{[]float64{3, 1}, 2, 1.4826 * 1.2533 / math.Sqrt2 / 2},
		{[]float64{10, 30, 20}, 20, 1.4826 * 1.2533 * 10 / math.Sqrt(3) / 20},
		{[]float64{10, 10, 10, 1000}, 10, 0},
	} {
		if m, s := Median(tt.values), Spread(tt.values); m != tt.median || math.Abs(s-tt.spread) > 1e-9 {
			t.Errorf("%v: median %v ±%v, want %v ±%v", tt.values, m, s, tt.median, tt.spread)
		}
	}
}

// samples are three rounds on a machine that gets slower: the figures fall, and the ratio stays.
func samples() []Sample {
	return []Sample{
		{Measure: "new connections, 1/s", Job: "10 relays", Candidate: "natd", Round: 1, Value: 18000},
		{Measure: "new connections, 1/s", Job: "10 relays", Candidate: "map", Round: 1, Value: 20000},
		{Measure: "new connections, 1/s", Job: "10 relays", Candidate: "map", Round: 2, Value: 10000},
		{Measure: "new connections, 1/s", Job: "10 relays", Candidate: "natd", Round: 2, Value: 9000},
		{Measure: "new connections, 1/s", Job: "10 relays", Candidate: "natd", Round: 3, Value: 4500},
		{Measure: "new connections, 1/s", Job: "10 relays", Candidate: "map", Round: 3, Value: 5000},
		{Measure: "new connections, 1/s", Job: "10 relays", Candidate: "slow", Note: "takes too long"},
		{Measure: "new connections, 1/s", Job: "10 relays", Candidate: "frail", Round: 1, Value: 2000},
		{Measure: "new connections, 1/s", Job: "10 relays", Candidate: "frail", Note: "some failed"},
	}
}

func TestSummarise(t *testing.T) {
	t.Parallel()
	got := Summarise(samples(), "map")
	if len(got) != 4 {
		t.Fatalf("got %d summaries, want 4", len(got))
	}
	natd, reference, slow := got[0], got[1], got[2]
	if natd.Median != 9000 || natd.Ratio != 0.9 || natd.RatioSpread != 0 || natd.Rounds != 3 {
		t.Errorf("natd is %+v, want a median of 9000 and a ratio of 0.9 in every round", natd)
	}
	if reference.Ratio != 1 {
		t.Errorf("the reference is %v of itself", reference.Ratio)
	}
	if slow.Rounds != 0 || slow.Note == "" {
		t.Errorf("who did not take part is %+v", slow)
	}
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	r := Report{Candidates: []string{"map", "absent", "natd", "slow", "frail"}, Summaries: Summarise(samples(), "map"), Method: []string{"As it should be."}}
	var text strings.Builder
	if err := r.Markdown(&text); err != nil {
		t.Fatal(err)
	}
	const want = `### new connections, 1/s

| | 10 relays |
|---|---:|
| map | 10,000 ±54 % (1.00 ±0 %) |
| natd | 9,000 ±54 % (0.90 ±0 %) |
| slow | beyond [1] |
| frail | 2,000 ±0 % (0.10 ±0 %) [2] |

- [1] slow: takes too long
- [2] frail: some failed
`
	if !strings.Contains(text.String(), want) {
		t.Errorf("got\n%s\nwant in it\n%s", text.String(), want)
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0", 1234567: "1,234,567", 999: "999", 12.345: "12.3", 0.04567: "0.0457", -1234: "-1,234", 1: "1.00"} {
		if got := number(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	before := []Summary{{Measure: "m", Candidate: "a", Ratio: 1}, {Measure: "m", Candidate: "b", Ratio: 0.5}, {Measure: "m", Candidate: "c"}}
	after := []Summary{{Measure: "m", Candidate: "a", Ratio: 1.04}, {Measure: "m", Candidate: "b", Ratio: 0.53}, {Measure: "m", Candidate: "c", Ratio: 1}}
	got := Compare(before, after)
	if !strings.HasPrefix(got, "1 of 2 ratios") || !strings.Contains(got, ", b: ratio 0.53") || strings.Contains(got, ", a:") {
		t.Errorf("got %s", got)
	}
}

package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Report is all that a run says.
type Report struct {
	Machine   Machine  `json:"machine"`
	Method    []string `json:"method"` // how it was measured, in sentences
	Reference string   `json:"reference"`
	// Candidates are the lines of the tables, in order.
	Candidates []string  `json:"candidates"`
	Verdicts   []Verdict `json:"goals"`
	Summaries  []Summary `json:"summaries"`
	Samples    []Sample  `json:"samples"`
	// Unfinished says why the run ended before it was done; "" when it was done.
	Unfinished string `json:"unfinished,omitempty"`
}

// Markdown writes one table for each measure, with a line for each candidate and a column for each job.
func (r *Report) Markdown(w io.Writer) error {
	var text strings.Builder
	if r.Unfinished != "" {
		text.WriteString("**This is a part of a run, which ended early:** " + r.Unfinished + "\n\n")
	}
	text.WriteString(r.Machine.String() + "\n\n")
	for _, m := range r.Method {
		text.WriteString("- " + m + "\n")
	}
	r.verdicts(&text)
	for _, part := range distinct(r.Summaries, func(s Summary) string { return s.Part }) {
		of := slices.DeleteFunc(slices.Clone(r.Summaries), func(s Summary) bool { return s.Part != part })
		fmt.Fprintf(&text, "\n## %s\n", part)
		for _, measure := range distinct(of, func(s Summary) string { return s.Measure }) {
			rows := slices.DeleteFunc(slices.Clone(of), func(s Summary) bool { return s.Measure != measure })
			fmt.Fprintf(&text, "\n### %s\n\n", measure)
			r.table(&text, rows)
		}
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// table writes the table of one measure, and below it why some are out of it.
func (r *Report) table(text *strings.Builder, rows []Summary) {
	jobs := distinct(rows, func(s Summary) string { return s.Job })
	var notes []string // in the order in which they are read
	fmt.Fprintf(text, "| | %s |\n|---|%s\n", strings.Join(jobs, " | "), strings.Repeat("---:|", len(jobs)))
	for _, candidate := range r.Candidates {
		if !slices.ContainsFunc(rows, func(s Summary) bool { return s.Candidate == candidate }) {
			continue
		}
		text.WriteString("| " + candidate + " |")
		for _, job := range jobs {
			i := slices.IndexFunc(rows, func(s Summary) bool { return s.Candidate == candidate && s.Job == job })
			cell := ""
			if i >= 0 {
				cell = rows[i].cell(&notes)
			}
			text.WriteString(" " + cell + " |")
		}
		text.WriteString("\n")
	}
	for i, note := range notes {
		fmt.Fprintf(text, "%s- [%d] %s\n", strings.Repeat("\n", 1-min(i, 1)), i+1, note)
	}
}

// cell is a summary in a table: the median, and the ratio to the reference with its spread. Who was out of it, perhaps in some heats only,
// has the number of the reason among the notes.
func (s *Summary) cell(notes *[]string) string {
	text := "beyond"
	if s.Rounds > 0 {
		text = fmt.Sprintf("%s ±%.0f %%", number(s.Median), 100*s.Spread)
	}
	if s.Ratio != 0 {
		text += fmt.Sprintf(" (%.2f ±%.0f %%)", s.Ratio, 100*s.RatioSpread)
	}
	if s.Note == "" {
		return text
	}
	reason := s.Candidate + ": " + s.Note
	if !slices.Contains(*notes, reason) {
		*notes = append(*notes, reason)
	}
	return fmt.Sprintf("%s [%d]", text, slices.Index(*notes, reason)+1)
}

// number writes a figure with three digits that count, or all before the point, in groups.
func number(v float64) string {
	decimals := 0
	if v != 0 {
		decimals = min(max(2-int(math.Floor(math.Log10(math.Abs(v)))), 0), 6)
	}
	text := strconv.FormatFloat(v, 'f', decimals, 64)
	whole, fraction, hasFraction := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if hasFraction {
		return whole + "." + fraction
	}
	return whole
}

// distinct are the different values of a field, in order.
func distinct(rows []Summary, field func(Summary) string) (values []string) {
	for _, r := range rows {
		if v := field(r); !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	return values
}

package page

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// maxFilter is the longest text that is looked for, in bytes: longer ones are cut.
	maxFilter = 100
	// maxOpen is how many can be open at the same time. Each has two pictures and up to a hundred backends.
	maxOpen = 20
)

// choice is what the reader chose to see.
type choice struct {
	Filter string
	Unwell bool     // only what is not ready
	open   []string // names
	chosen bool     // whether open was chosen at all
	part   bool
}

// choiceOf reads the query. What is not understood is as if it were not there.
func choiceOf(q url.Values) choice {
	c := choice{
		Filter: strings.TrimSpace(strings.ToValidUTF8(q.Get("q"), "")),
		Unwell: q.Get("show") == "unwell",
		chosen: q.Has("open"),
		part:   q.Get("part") == "main",
	}
	for len(c.Filter) > maxFilter {
		_, last := utf8.DecodeLastRuneInString(c.Filter)
		c.Filter = c.Filter[:len(c.Filter)-last]
	}
	for name := range strings.SplitSeq(q.Get("open"), ",") {
		if name != "" && len(c.open) < maxOpen && !slices.Contains(c.open, name) {
			c.open = append(c.open, name)
		}
	}
	return c
}

// Filtered tells whether something may be left out.
func (c *choice) Filtered() bool { return c.Filter != "" || c.Unwell }

// Open is what a form has to send along; "" when nothing was chosen.
func (c *choice) Open() string { return strings.Join(c.open, ",") }

// Chosen tells whether the reader has opened or closed something.
func (c *choice) Chosen() bool { return c.chosen }

// admits tells whether something with these texts is to be shown.
func (c *choice) admits(state string, texts func() []string) bool {
	if c.Unwell && level(state) != levelWarn && level(state) != levelBad {
		return false
	}
	if c.Filter == "" {
		return true
	}
	want := strings.ToLower(c.Filter)
	return slices.ContainsFunc(texts(), func(text string) bool { return strings.Contains(strings.ToLower(text), want) })
}

// toggle is the address of the page with one more open, or one less, of those that are.
func (c *choice) toggle(open []string, name string) string {
	var next []string
	if i := slices.Index(open, name); i >= 0 {
		next = slices.Delete(slices.Clone(open), i, i+1)
	} else {
		next = append(slices.Clone(open), name)
		next = next[max(0, len(next)-maxOpen):]
	}
	return c.address(&next)
}

// Everything is the address of the page without a filter.
func (c *choice) Everything() string {
	all := *c
	all.Filter, all.Unwell = "", false
	if !c.chosen {
		return all.address(nil)
	}
	return all.address(&all.open)
}

// address is that of the page with these open; nil = nothing chosen.
func (c *choice) address(open *[]string) string {
	var parts []string
	if c.Filter != "" {
		parts = append(parts, "q="+url.QueryEscape(c.Filter))
	}
	if c.Unwell {
		parts = append(parts, "show=unwell")
	}
	if open != nil {
		names := make([]string, len(*open))
		for i, name := range *open {
			names[i] = url.QueryEscape(name)
		}
		parts = append(parts, "open="+strings.Join(names, ","))
	}
	return "?" + strings.Join(parts, "&")
}

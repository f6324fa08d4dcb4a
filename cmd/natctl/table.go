package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// column is one column of a table.
type column struct {
	title string
	right bool // aligned, for numbers
	state bool // coloured
	spare int  // on a narrow terminal the columns with the highest go first; 0 stays
}

// table is text in columns. Without a title it has no head, and then no column that is empty all the way down.
type table struct {
	columns []column
	rows    []row

	least    []int // widths that columns have at least, for a table that goes on another one
	headless bool  // the titles have been printed
}

// row is one line of a table, and what stands below it.
type row struct {
	cells []string
	notes []string // each of one or more lines
	parts *table   // what it consists of; nil = nothing to say of that
	rest  string   // what parts leaves out
}

// gap separates two columns.
const gap = "  "

// add appends a row. Under a title an empty cell becomes a dash, so that every row has as many words as the head.
func (t *table) add(r row) {
	for i, cell := range r.cells {
		if cell == "" && t.columns[i].title != "" {
			cell = "-"
		}
		r.cells[i] = printable(cell)
	}
	t.rows = append(t.rows, r)
}

// write prints the table as wide as the screen allows.
func (t *table) write(b *strings.Builder, s screen) {
	widths := t.widths()
	kept := t.fit(widths, s.width)
	titles := make([]string, len(t.columns))
	for i, c := range t.columns {
		titles[i] = c.title
	}
	if strings.Join(titles, "") != "" && !t.headless {
		t.writeCells(b, titles, widths, kept, screen{})
	}
	for i := range t.rows {
		t.writeCells(b, t.rows[i].cells, widths, kept, s)
		t.rows[i].writeBelow(b, s)
	}
}

func (t *table) writeCells(b *strings.Builder, cells []string, widths, kept []int, s screen) {
	var line strings.Builder
	for n, i := range kept {
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cells[i]))
		cell := cells[i]
		if t.columns[i].state {
			cell = s.paint(cell)
		}
		if t.columns[i].right {
			cell = pad + cell
		} else {
			cell += pad
		}
		if n > 0 {
			line.WriteString(gap)
		}
		line.WriteString(cell)
	}
	b.WriteString(strings.TrimRight(line.String(), " "))
	b.WriteByte('\n')
}

func (r *row) writeBelow(b *strings.Builder, s screen) {
	const mark, indent = "  └ ", "    "
	below := func(text string) {
		fmt.Fprintf(b, "%s%s\n", mark, strings.ReplaceAll(text, "\n", "\n"+indent))
	}
	for _, note := range r.notes {
		below(printable(note))
	}
	if r.parts == nil {
		return
	}
	var parts strings.Builder
	r.parts.write(&parts, s)
	parts.WriteString(r.rest)
	below(strings.TrimSuffix(parts.String(), "\n"))
}

func (t *table) widths() []int {
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = utf8.RuneCountInString(c.title)
		if t.least != nil {
			widths[i] = max(widths[i], t.least[i])
		}
		for _, r := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(r.cells[i]))
		}
	}
	return widths
}

// fit chooses the columns that have room side by side, of those that hold anything. Limit 0 is room for all.
func (t *table) fit(widths []int, limit int) (kept []int) {
	total := -len(gap)
	for i, w := range widths {
		if w > 0 {
			kept = append(kept, i)
			total += w + len(gap)
		}
	}
	for limit > 0 && total > limit {
		most := slices.MaxFunc(kept, func(a, b int) int { return t.columns[a].spare - t.columns[b].spare })
		if t.columns[most].spare == 0 {
			break
		}
		kept = slices.DeleteFunc(kept, func(i int) bool { return i == most })
		total -= widths[most] + len(gap)
	}
	return kept
}

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

// table is text in columns. A row may have a note, a line of its own below.
type table struct {
	columns []column
	rows    [][]string
	notes   []string
}

// gap separates two columns.
const gap = "  "

// add appends a row. An empty cell becomes a dash, so that every row has as many words as the head.
func (t *table) add(note string, cells ...string) {
	for i, cell := range cells {
		if cell == "" {
			cell = "-"
		}
		cells[i] = printable(cell)
	}
	t.rows = append(t.rows, cells)
	t.notes = append(t.notes, note)
}

// write prints the table as wide as the screen allows.
func (t *table) write(b *strings.Builder, s screen) {
	widths := t.widths()
	kept := t.fit(widths, s.width)
	titles := make([]string, len(t.columns))
	for i, c := range t.columns {
		titles[i] = c.title
	}
	t.writeRow(b, titles, widths, kept, screen{})
	for i, row := range t.rows {
		t.writeRow(b, row, widths, kept, s)
		if t.notes[i] != "" {
			fmt.Fprintf(b, "  └ %s\n", strings.ReplaceAll(printable(t.notes[i]), "\n", "\n    "))
		}
	}
}

func (t *table) writeRow(b *strings.Builder, cells []string, widths, kept []int, s screen) {
	for n, i := range kept {
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cells[i]))
		cell := cells[i]
		if t.columns[i].state {
			cell = s.paint(cell)
		}
		switch {
		case t.columns[i].right:
			cell = pad + cell
		case n < len(kept)-1:
			cell += pad
		}
		if n > 0 {
			b.WriteString(gap)
		}
		b.WriteString(cell)
	}
	b.WriteByte('\n')
}

func (t *table) widths() []int {
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = utf8.RuneCountInString(c.title)
		for _, row := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	return widths
}

// fit chooses the columns that have room side by side. Limit 0 is room for all.
func (t *table) fit(widths []int, limit int) (kept []int) {
	total := -len(gap)
	for i, w := range widths {
		kept = append(kept, i)
		total += w + len(gap)
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

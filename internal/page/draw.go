package page

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// scene is a way as a drawing: boxes and lines in the units of its view box, which are pixels at full size.
type scene struct {
	Class         string
	Width, Height int
	Boxes         []box
	Wires         []wire
	Breaks        []point // where nothing goes on
}

// point is where the sign of a break is.
type point struct{ X, Y int }

// join draws the link between two boxes.
func (s *scene) join(w wire, broken bool) {
	if !broken {
		s.Wires = append(s.Wires, w)
		return
	}
	s.Wires = slices.Insert(s.Wires, 0, w) // below those that are whole, with which it may share a piece
	s.Breaks = append(s.Breaks, w.middle)
}

// host draws the box of the host. What breaks there is marked in its upper right corner.
func (s *scene) host(b box, broken bool) {
	s.Boxes = append(s.Boxes, b)
	if broken {
		s.Breaks = append(s.Breaks, point{b.X + b.Width - 2, b.Y + 2})
	}
}

type box struct {
	X, Y, Width, Height int
	Level               string
	Texts               []text
}

type text struct {
	X, Y  int // of its base line
	Class string
	Text  string
}

type wire struct {
	Path   string // of SVG
	Head   string // the arrow
	Level  string
	middle point
}

// Sizes of boxes. A character of 12 pixels is 7.25 wide in the widest of the usual fixed-width fonts.
const (
	padding    = 12
	titleLine  = 24
	textLine   = 17
	underLine  = 9
	tenLetters = 73
	between    = 10 // boxes below each other
)

func heightOf(s *stop) int { return titleLine + textLine*len(s.Lines) + underLine }

func newBox(s *stop, x, y, width int) box {
	b := box{X: x, Y: y, Width: width, Height: heightOf(s), Level: s.Level}
	b.Texts = append(b.Texts, text{x + padding, y + titleLine - 4, "title", s.Title})
	for i, line := range s.Lines {
		b.Texts = append(b.Texts, text{x + padding, y + titleLine + textLine*(i+1) - 5, "line", line})
	}
	return b
}

// maxLines is how many lines one text of a box takes at most.
const maxLines = 3

// fitted is a stop whose texts have room in a box of that width.
func fitted(s stop, width int) stop {
	room := (width - 2*padding) * 10 / tenLetters
	s.Title = fit(s.Title, room)
	var lines []string
	for _, line := range s.Lines {
		lines = append(lines, wrap(line, room)...)
	}
	s.Lines = lines
	return s
}

// wrap breaks a text between words.
func wrap(s string, room int) (lines []string) {
	for word := range strings.FieldsSeq(s) {
		last := len(lines) - 1
		switch {
		case last >= 0 && utf8.RuneCountInString(lines[last])+1+utf8.RuneCountInString(word) <= room:
			lines[last] += " " + word
		case len(lines) == maxLines:
			lines[last] = fit(lines[last]+" "+word, room)
			return lines
		default:
			lines = append(lines, fit(word, room))
		}
	}
	return lines
}

// fit cuts a text that is too long for its line; all of it stands below the picture.
func fit(s string, room int) string {
	if utf8.RuneCountInString(s) <= room {
		return s
	}
	return string([]rune(s)[:max(0, room-1)]) + "…"
}

// withMore is the targets in boxes of that width, and a last one for those that are left out.
func (w *way) withMore(width int) []stop {
	targets := make([]stop, 0, len(w.Targets)+1)
	for _, t := range w.Targets {
		targets = append(targets, fitted(t, width))
	}
	if w.More > 0 {
		targets = append(targets, stop{Title: fmt.Sprintf("and %d more", w.More), Level: levelOff})
	}
	return targets
}

// wide draws the way from left to right.
func wide(w *way) scene {
	const column, gap = 204, 84
	const host, target = column + gap, 2 * (column + gap)
	s := scene{Class: "wide", Width: target + column + 10} // 10: for the signs in corners
	from, here, targets := fitted(w.Client, column), fitted(w.Host, column), w.withMore(column)
	s.Height = max(columnHeight(targets), heightOf(&from), heightOf(&here)) + 2*between

	middle := s.Height / 2
	centred := func(st *stop, x int) box { return newBox(st, x, middle-heightOf(st)/2, column) }
	s.Boxes = append(s.Boxes, centred(&from, 1))
	s.host(centred(&here, host), w.Host.Broken)
	s.join(across(column+1, middle, host, middle, w.Client.Level), false)

	y := middle - columnHeight(targets)/2
	for i := range targets {
		b := newBox(&targets[i], target, y, column)
		s.Boxes = append(s.Boxes, b)
		s.join(across(host+column, middle, target, y+b.Height/2, targets[i].Level), targets[i].Broken)
		y += b.Height + between
	}
	return s
}

// columnHeight is that of boxes below each other.
func columnHeight(stops []stop) int {
	height := -between
	for i := range stops {
		height += heightOf(&stops[i]) + between
	}
	return max(0, height)
}

// across is a line from left to right that leaves and arrives level.
func across(x1, y1, x2, y2 int, level string) wire {
	const head = 8
	middle := (x1 + x2) / 2
	return wire{
		Path:  fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, middle, y1, middle, y2, x2-head, y2),
		Head:  fmt.Sprintf("M%d %dl-%d -5v10z", x2, y2, head+1),
		Level: level, middle: point{middle, (y1 + y2) / 2},
	}
}

// tall draws the way from top to bottom, the targets as branches below the host.
func tall(w *way) scene {
	const width, gap, trunk, branch = 312, 32, 16, 46
	s := scene{Class: "tall", Width: width + 10}
	from, here := fitted(w.Client, width), fitted(w.Host, width)
	client := newBox(&from, 1, between, width)
	host := newBox(&here, 1, client.Y+client.Height+gap, width)
	s.Boxes = append(s.Boxes, client)
	s.host(host, w.Host.Broken)
	s.join(down(trunk, client.Y+client.Height, host.Y, w.Client.Level), false)

	foot := host.Y + host.Height
	y := foot + between + between/2
	for _, t := range w.withMore(width - branch) {
		b := newBox(&t, branch, y, width-branch)
		s.Boxes = append(s.Boxes, b)
		s.join(wire{
			Path:  fmt.Sprintf("M%d %dV%dH%d", trunk, foot, b.Y+b.Height/2, branch-8),
			Head:  fmt.Sprintf("M%d %dl-9 -5v10z", branch, b.Y+b.Height/2),
			Level: t.Level, middle: point{trunk, b.Y + b.Height/2},
		}, t.Broken)
		y += b.Height + between
	}
	s.Height = y
	return s
}

// down is a line from top to bottom.
func down(x, y1, y2 int, level string) wire {
	return wire{
		Path: fmt.Sprintf("M%d %dV%d", x, y1, y2-8), Head: fmt.Sprintf("M%d %dl-5 -9h10z", x, y2),
		Level: level, middle: point{x, (y1 + y2) / 2},
	}
}

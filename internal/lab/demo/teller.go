package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// teller prints the story and keeps the facts that were not as they should be.
type teller struct {
	out    io.Writer
	color  bool
	failed []string
}

func newTeller(out io.Writer) *teller {
	f, ok := out.(*os.File)
	return &teller{out: out, color: ok && isTerminal(f) && os.Getenv("NO_COLOR") == ""}
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// The colours, as the attributes of ECMA-48 8.3.117 (SGR).
const (
	bold  = "1"
	red   = "31"
	green = "32"
	faint = "2"
)

func (t *teller) paint(attribute, text string) string {
	if !t.color {
		return text
	}
	return "\x1b[" + attribute + "m" + text + "\x1b[0m"
}

// title begins a step of the story.
func (t *teller) title(text string) {
	fmt.Fprintf(t.out, "\n%s\n", t.paint(bold, "== "+text))
}

// show prints text of others: a file, the output of a program. It is shortened to the lines given.
func (t *teller) show(text string, most int) {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for _, line := range all[:min(most, len(all))] {
		fmt.Fprintf(t.out, "   %s %s\n", t.paint(faint, "|"), line)
	}
	if more := len(all) - most; more > 0 {
		fmt.Fprintf(t.out, "   %s\n", t.paint(faint, fmt.Sprintf("| ... and %d more lines", more)))
	}
}

// check prints a fact and whether it holds. What was found instead is told when it does not.
func (t *teller) check(holds bool, fact, found string) bool {
	if holds {
		fmt.Fprintf(t.out, "   %s %s\n", t.paint(green, "ok  "), fact)
		return true
	}
	t.failed = append(t.failed, fact)
	fmt.Fprintf(t.out, "   %s %s\n", t.paint(red, "FAIL"), fact)
	if found != "" {
		t.show(found, 20)
	}
	return false
}

// err is an error that names the facts that did not hold, or nil.
func (t *teller) err() error {
	if len(t.failed) == 0 {
		return nil
	}
	return fmt.Errorf("not as it should be: %s", strings.Join(t.failed, "; "))
}

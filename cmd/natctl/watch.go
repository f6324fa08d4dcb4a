package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"natd/internal/control"
)

// watch shows the status every interval until ctx ends. It goes on when natd is away for a moment; only a user who
// may not ask need not wait.
func (a *app) watch(ctx context.Context, interval time.Duration) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var last error
	for {
		s, err := a.status(ctx)
		if ctx.Err() != nil {
			return last
		}
		if err == nil {
			err = judge(s)
			a.drawStatus(s)
			last = err
		} else {
			e := control.AsError(err)
			if e.Code == control.CodeNotPermitted {
				return err
			}
			a.drawFailure(e)
			last = verdict(e.Code)
		}
		select {
		case <-ctx.Done():
			return last
		case <-ticker.C:
		}
	}
}

func (a *app) drawStatus(s *control.Status) {
	if a.json {
		a.writeJSON(s, "")
		return
	}
	a.draw(a.statusText(s))
}

func (a *app) drawFailure(e *control.Error) {
	if a.json {
		a.writeJSON(failure{control.SchemaVersion, e}, "")
		return
	}
	a.draw("natctl: " + printable(e.Message) + "\n")
}

// The sequences of ECMA-48 that redraw a screen without the flicker of clearing it first.
const (
	cursorHome  = "\x1b[H"
	eraseToEOL  = "\x1b[K"
	eraseToEnd  = "\x1b[J"
	lineRedrawn = eraseToEOL + "\n"
)

// draw replaces what the terminal shows, or appends a round to what is no terminal.
func (a *app) draw(text string) {
	screen := a.screen()
	if !screen.terminal {
		fmt.Fprintf(a.stdout, "--- %s\n%s", a.now().Format(time.RFC3339), text)
		return
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if room := screen.height - 2; room > 0 && len(lines) > room {
		lines = append(lines[:room], fmt.Sprintf("… %d more lines", len(lines)-room))
	}
	fmt.Fprint(a.stdout, cursorHome+strings.Join(lines, lineRedrawn)+lineRedrawn+eraseToEnd)
}

package main

import (
	"io"
	"os"

	"golang.org/x/sys/unix"

	"natd/internal/control"
)

// screen is what standard output can show. The zero screen is a file or pipe: as wide as it takes, without colour.
type screen struct {
	terminal      bool
	steered       bool // it takes the sequences that move the cursor and colour
	colour        bool
	width, height int // in characters, 0 = no limit
}

// screen looks anew each time, because a window may have been resized. See https://no-color.org for NO_COLOR.
func (a *app) screen() screen {
	size, ok := terminal(a.stdout)
	if !ok {
		return screen{}
	}
	steered := a.env("TERM") != "dumb"
	return screen{terminal: true, steered: steered, colour: steered && a.env("NO_COLOR") == "", width: int(size.Col), height: int(size.Row)}
}

// terminal tells whether w is a terminal, and how large.
func terminal(w io.Writer) (*unix.Winsize, bool) {
	f, ok := w.(*os.File)
	if !ok {
		return nil, false
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return size, err == nil
}

// paint colours a state.
func (s screen) paint(state string) string {
	const green, yellow, red, grey, reset = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[90m", "\x1b[0m"
	if !s.colour {
		return state
	}
	switch state {
	case control.StateReady, control.BackendUp: // ready is the word of RelayReady, too
		return green + state + reset
	case control.StateDegraded, control.BackendDraining:
		return yellow + state + reset
	case control.StateFailed, control.RelayDown: // down is the word of BackendDown, too
		return red + state + reset
	case control.RelayDisabled:
		return grey + state + reset
	}
	return state
}

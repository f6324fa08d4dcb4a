package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// stage is where a view that refreshes is shown: the screen of a terminal, taken over until close, or else one round after another.
type stage struct {
	a        *app
	title    string // of the rounds on a terminal
	interval time.Duration
	terminal bool
	keys     bool // q quits

	quit   context.CancelFunc
	pokes  chan struct{} // somebody wants the next round now
	undo   []func()
	last   string // what was shown
	ticker *time.Ticker
}

// openStage takes over the terminal, if there is one that can be steered. The context ends with ctx, or when the user quits by a key.
func (a *app) openStage(ctx context.Context, title string, interval time.Duration) (context.Context, *stage) {
	ctx, quit := context.WithCancel(ctx)
	s := &stage{a: a, title: title, interval: interval, quit: quit, pokes: make(chan struct{}, 1), ticker: time.NewTicker(interval)}
	if a.json || !a.screen().steered {
		return ctx, s
	}
	s.terminal = true
	s.watchSize()
	s.watchKeys()
	fmt.Fprint(a.stdout, otherScreen+hideCursor)
	return ctx, s
}

// close gives the terminal back as it was, and leaves the last round on it.
func (s *stage) close() {
	s.quit()
	s.ticker.Stop()
	if !s.terminal {
		return
	}
	for _, undo := range s.undo {
		undo()
	}
	fmt.Fprint(s.a.stdout, showCursor+firstScreen+s.last)
}

// wait waits for the next round; false when there is none.
func (s *stage) wait(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-s.pokes:
	case <-s.ticker.C:
	}
	return ctx.Err() == nil
}

func (s *stage) poke() {
	select {
	case s.pokes <- struct{}{}:
	default:
	}
}

// watchSize draws anew in a window that was resized.
func (s *stage) watchSize() {
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-resized:
				s.poke()
			case <-done:
				return
			}
		}
	}()
	s.undo = append(s.undo, func() { signal.Stop(resized); close(done) })
}

// watchKeys makes q quit and any other key draw anew. A process in the background does not touch the terminal's input: it would be stopped.
func (s *stage) watchKeys() {
	in := s.a.stdin
	if in == nil {
		return
	}
	fd := int(in.Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if front, e := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err != nil || e != nil || front != unix.Getpgrp() {
		return
	}
	// Keys come one by one and unseen; Ctrl-C still interrupts, Ctrl-Z would leave the shell with such a terminal.
	keys := *old
	keys.Lflag &^= unix.ICANON | unix.ECHO
	keys.Cc[unix.VMIN], keys.Cc[unix.VTIME], keys.Cc[unix.VSUSP] = 1, 0, 0
	if unix.IoctlSetTermios(fd, unix.TCSETS, &keys) != nil {
		return
	}
	s.keys = true
	s.undo = append(s.undo, func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, old) })
	go s.readKeys(in) // a read of a terminal cannot be interrupted: it ends with natctl
}

func (s *stage) readKeys(in *os.File) {
	const endOfTransmission = 4 // Ctrl-D
	key := make([]byte, 1)
	for {
		if n, err := in.Read(key); n == 0 || err != nil {
			return
		}
		switch key[0] {
		case 'q', 'Q', endOfTransmission:
			s.quit()
			return
		}
		s.poke()
	}
}

// The sequences of ECMA-48, and of xterm for the second screen and the cursor, that redraw a screen without the flicker
// of clearing it first. See https://invisible-island.net/xterm/ctlseqs/ctlseqs.html.
const (
	cursorHome  = "\x1b[H"
	eraseToEOL  = "\x1b[K"
	eraseToEnd  = "\x1b[J"
	lineRedrawn = eraseToEOL + "\n"
	otherScreen = "\x1b[?1049h"
	firstScreen = "\x1b[?1049l"
	hideCursor  = "\x1b[?25l"
	showCursor  = "\x1b[?25h"
)

// draw replaces what the terminal shows, or appends a round to what is no terminal. Lines that are too long go on in the next one.
func (s *stage) draw(text string) {
	now := s.a.now()
	if !s.terminal {
		fmt.Fprintf(s.a.stdout, "--- %s\n%s", now.Format(time.RFC3339), text)
		return
	}
	s.last = text
	screen := s.a.screen()
	head := fmt.Sprintf("Every %s, %s quits: %s", s.interval, s.quitKey(), s.title)
	s.show(screen, append([]string{spread(head, now.Format(time.TimeOnly), screen.width), ""}, fold(text, screen.width)...))
}

// quitKey is what a user presses to end it.
func (s *stage) quitKey() string {
	if s.keys {
		return "q"
	}
	return "Ctrl-C"
}

// drawRows is draw for a table with its own headline: lines that are too long are cut, so that there is one for each row.
func (s *stage) drawRows(text string) {
	s.last = text
	screen := s.a.screen()
	head := fmt.Sprintf("%s, every %s, %s quits", s.title, s.interval, s.quitKey())
	lines := []string{spread(head, s.a.now().Format(time.TimeOnly), screen.width)}
	for line := range strings.Lines(text) {
		line, _ = cut(strings.TrimSuffix(line, "\n"), screen.width)
		lines = append(lines, line)
	}
	s.show(screen, lines)
}

// show fills the screen with lines, as far as they have room.
func (s *stage) show(screen screen, lines []string) {
	if room := screen.height - 1; room > 0 && len(lines) > room {
		lines = append(lines[:room-1:room-1], fmt.Sprintf("… %d more lines", len(lines)-room+1))
	}
	fmt.Fprint(s.a.stdout, cursorHome+strings.Join(lines, lineRedrawn)+lineRedrawn+eraseToEnd)
}

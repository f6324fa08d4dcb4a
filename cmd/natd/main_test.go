package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// TestTell wants the alarm "journalctl -u natd -p warning" to see why natd ended.
func TestTell(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	tell(slog.New(slog.NewTextHandler(&out, nil)), true, fmt.Errorf("%w\nb.toml:4: wrong too", errors.New("b.toml:3: wrong")))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], `level=ERROR msg="b.toml:3: wrong"`) || !strings.Contains(lines[1], `level=ERROR msg="b.toml:4: wrong too"`) {
		t.Errorf("the journal gets:\n%s", &out)
	}
}

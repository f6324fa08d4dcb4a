package daemon

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"natd/internal/flow"
)

// What was noted is there for the next natd, until it is done with; a file that nobody understands is in nobody's way.
func TestLeaving(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), leavingName)
	load := func(wrong bool) *leaving {
		t.Helper()
		l, err := loadLeaving(path)
		if (err != nil) != wrong {
			t.Fatal(err)
		}
		return l
	}
	prefix := netip.MustParsePrefix
	gateway := flow.Box{Src: prefix("10.100.20.0/24"), Dst: prefix("0.0.0.0/0")}
	static := flow.Box{Src: prefix("::/0"), Dst: prefix("fd00:1::/64"), To: prefix("fd00:2::/64")}
	l := load(false)
	for _, box := range []flow.Box{gateway, static} {
		if err := l.note([]flow.Box{box}); err != nil {
			t.Fatal(err)
		}
		l.boxes = append(l.boxes, box)
	}
	if got := load(false); !slices.Equal(got.boxes, []flow.Box{gateway, static}) {
		t.Errorf("the next natd finds %v", got.boxes)
	}
	if err := load(false).done(); err != nil {
		t.Error(err)
	}
	if got := load(false); len(got.boxes) > 0 {
		t.Errorf("after it was done with there is %v", got.boxes)
	}
	if err := os.WriteFile(path, []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := load(true).done(); err != nil || len(load(false).boxes) > 0 {
		t.Errorf("a damaged file stays: %v", err)
	}
}

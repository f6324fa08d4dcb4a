package daemon

import (
	"os"
	"path/filepath"
	"testing"
)

// TestDrainsOfNothing loads a file that is valid and has nothing in it.
func TestDrainsOfNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), drainsName)
	if err := os.WriteFile(path, []byte("null"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := loadDrains(path)
	if err != nil {
		t.Fatal(err)
	}
	if changed := d.set("web", []string{"10.3.0.100:80"}, true); len(changed) != 1 {
		t.Errorf("drained %v, want one backend", changed)
	}
}

package docs_test

import (
	"os"
	"strings"
	"testing"

	"natd/internal/diagnose"
)

// TestCodes wants a row for every code, once.
func TestCodes(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("diagnose.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range diagnose.Codes() {
		if n := strings.Count(string(page), "\n| `"+string(code)+"`"); n != 1 {
			t.Errorf("diagnose.md has %d rows for %s", n, code)
		}
	}
}

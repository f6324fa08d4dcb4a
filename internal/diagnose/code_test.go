package diagnose

import (
	"os"
	"regexp"
	"testing"
)

// TestCodesListsAll compares the list with the constants.
func TestCodesListsAll(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("code.go")
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(` Code = "[A-Z_]+"`).FindAll(source, -1)
	if len(all) != len(Codes()) {
		t.Errorf("Codes lists %d of %d", len(Codes()), len(all))
	}
}

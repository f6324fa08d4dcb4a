package docs_test

import (
	"os"
	"strings"
	"testing"
)

// TestTable wants the table that how-it-works.md shows to be the one that natd makes for the relay of the README, as package nat
// keeps it.
func TestTable(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("how-it-works.md")
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile("../nat/testdata/one.nft")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "```\n"+string(table)+"```\n") {
		t.Errorf("how-it-works.md does not show the table as it is:\n%s", table)
	}
}

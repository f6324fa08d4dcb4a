package page_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain knows the flag -update, which can be no package variable.
func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files of testdata and the pictures of docs/images anew")
	flag.Parse()
	os.Exit(m.Run())
}

func updating() bool { return flag.Lookup("update").Value.String() == "true" }

package nat

import (
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files of testdata anew")
	flag.Parse()
	os.Exit(m.Run())
}

func updating() bool { return flag.Lookup("update").Value.String() == "true" }

// text is the ruleset in nft syntax.
func text(t *testing.T, r *Ruleset) string {
	t.Helper()
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestBuildText(t *testing.T) {
	t.Parallel()
	for name, s := range scenarios() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := text(t, s.build())
			golden := filepath.Join("testdata", name+".nft")
			if updating() {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatalf("%v (go test ./nat -run BuildText -update makes it)", err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("the text differs from %s (-want +got):\n%s", golden, diff)
			}
		})
	}
}

// Every golden file is one that a scenario makes: a leftover would be believed and prove nothing.
func TestGoldenFilesAreUsed(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.nft")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".nft"))
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(scenarios())), names); diff != "" {
		t.Errorf("scenarios and golden files (-want +got):\n%s", diff)
	}
}

// full is a writer with room for some bytes.
type full struct{ room int }

var errFull = errors.New("no room left")

func (f *full) Write(b []byte) (int, error) {
	if f.room -= len(b); f.room < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestWriteTextReportsTheWriter(t *testing.T) {
	t.Parallel()
	for _, room := range []int{0, 100, 1000} {
		if err := build(relayOf("web", 80, "10.3.0.100")).WriteText(&full{room}); !errors.Is(err, errFull) {
			t.Errorf("with room for %d bytes: %v, want %v", room, err, errFull)
		}
	}
}

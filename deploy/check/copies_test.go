package check

import (
	"flag"
	"os"
	"strings"
	"testing"
)

// TestUserDataCopies holds the copies of user-data.sh to it, word for word: neither a template nor a cloud-config can
// include a file. With -update it copies the script anew.
func TestUserDataCopies(t *testing.T) {
	script := read(t, deploy("user-data.sh"))
	for _, path := range []string{
		deploy("cloud-config.yaml"),
		deploy("cloudformation", "transitive-peering.yaml"),
	} {
		t.Run(path, func(t *testing.T) {
			text := read(t, path)
			before, block, after := splitScript(t, text, script)
			want := before + indent(script, block) + after
			if text == want {
				return
			}
			if !updating() {
				t.Fatalf("%s is not deploy/user-data.sh any more: run make deploy-update", path)
			}
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatalf("update: %v", err)
			}
		})
	}
}

// TestUserDataFits knows the limit of EC2: 16 KB of user-data before base64 ("Run commands when you launch an EC2
// instance with user data input", EC2 user guide). The settings before the script need a part of it.
func TestUserDataFits(t *testing.T) {
	for path, limit := range map[string]int{
		deploy("user-data.sh"):      16384 - 2048,
		deploy("cloud-config.yaml"): 16384,
	} {
		if size := len(read(t, path)); size > limit {
			t.Errorf("%s has %d bytes, more than %d", path, size, limit)
		}
	}
}

// splitScript cuts out the block of a YAML text that begins with the first line of the script, and returns the block's
// indentation.
func splitScript(t *testing.T, text, script string) (before, indentation, after string) {
	t.Helper()
	first, _, _ := strings.Cut(script, "\n")
	start := strings.Index(text, " "+first+"\n")
	if start < 0 {
		t.Fatalf("no line says %q", first)
	}
	start = strings.LastIndexByte(text[:start], '\n') + 1
	indentation = text[start : start+strings.Index(text[start:], first)]
	end := start
	for line := range strings.Lines(text[start:]) {
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, indentation) {
			break
		}
		end += len(line)
	}
	// Empty lines that follow belong to the layout of the file.
	block := strings.TrimRight(text[start:end], "\n") + "\n"
	return text[:start], indentation, text[start+len(block):]
}

// indent puts the indentation before every line that is not empty.
func indent(text, indentation string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if line != "\n" {
			out.WriteString(indentation)
		}
		out.WriteString(line)
	}
	return out.String()
}

// updating reports whether -update was given. The flag is made by TestMain, for it can be no package variable.
func updating() bool {
	update := flag.Lookup("update")
	return update != nil && update.Value.String() == "true"
}

// TestMain knows the flag -update.
func TestMain(m *testing.M) {
	flag.Bool("update", false, "copy user-data.sh anew into the files that hold it")
	flag.Parse()
	os.Exit(m.Run())
}

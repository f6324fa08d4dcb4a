package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// deploy returns the path of a file or folder in deploy/.
func deploy(parts ...string) string {
	return filepath.Join(append([]string{".."}, parts...)...)
}

// read returns what the file holds.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return string(text)
}

// write makes the file, and the folders above it.
func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatalf("write: %v", err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatalf("write: %v", err)
	}
}

// need skips the test where a program is missing; CI has them all, and there it fails.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			lack(t, program+" is missing: make deploy-check installs it")
		}
	}
}

// needRoot skips the test, or fails in CI, when it does not run as root.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		lack(t, "this test needs root")
	}
}

func lack(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

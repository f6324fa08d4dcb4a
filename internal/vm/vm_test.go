package vm

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCount(t *testing.T) {
	t.Parallel()
	var c Count
	for _, line := range []string{
		"=== RUN   TestA", "--- PASS: TestA (0.00s)", "    --- PASS: TestA/b (0.00s)", "--- FAIL: TestB (1.00s)", "--- SKIP: TestC (0.00s)",
		"PASS", "FAIL", "    x_test.go:1: --- it is not a verdict", "##VM verdict ok",
	} {
		c.Add(line)
	}
	if want := (Count{Passed: 2, Failed: 1, Skipped: 1}); c != want {
		t.Errorf("counted %v, want %v", c, want)
	}
}

// An image is built once for the same inputs, anew for others, and one whose build failed is not there.
func TestCacheImage(t *testing.T) {
	t.Parallel()
	c, err := OpenCache(filepath.Join(t.TempDir(), "cache"), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	builds := 0
	image := func(fail error, inputs ...string) (string, error) {
		return c.image("x", inputs, func(dir string) error {
			builds++
			return errors.Join(os.WriteFile(filepath.Join(dir, "content"), []byte(inputs[0]), 0o600), fail)
		})
	}
	for i, step := range []struct {
		inputs []string
		fail   error
		builds int
	}{
		{[]string{"a", "b"}, nil, 1},
		{[]string{"a", "b"}, nil, 1},
		{[]string{"ab", ""}, nil, 2},
		{[]string{"c"}, errors.New("disk full"), 3},
		{[]string{"c"}, nil, 4},
	} {
		dir, err := image(step.fail, step.inputs...)
		if !errors.Is(err, step.fail) || builds != step.builds {
			t.Fatalf("step %d: %v after %d builds, want %v after %d", i, err, builds, step.fail, step.builds)
		}
		if step.fail != nil {
			continue
		}
		if text, err := os.ReadFile(filepath.Join(dir, "content")); err != nil || string(text) != step.inputs[0] {
			t.Errorf("step %d: the image has %q (%v)", i, text, err)
		}
	}
	left, err := filepath.Glob(filepath.Join(c.dir, "*.next"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestSources(t *testing.T) {
	t.Parallel()
	for suite, want := range map[string][]string{
		"bookworm":         {"debian bookworm main", "debian-security bookworm-security main"},
		"trixie-backports": {"debian trixie main", "debian trixie-backports main", "debian-security trixie-security main"},
		"sid":              {"debian sid main"},
	} {
		lines := sources("https://mirror.example", suite)
		if len(lines) != len(want) {
			t.Fatalf("%s: %q", suite, lines)
		}
		for i, line := range lines {
			if !strings.HasPrefix(line, "deb [signed-by=/usr/share/keyrings/") || !strings.HasSuffix(line, " https://mirror.example/"+want[i]) {
				t.Errorf("%s: line %d is %q, want it to end in %q", suite, i, line, want[i])
			}
		}
	}
}

func TestMirror(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"one line":       {"deb http://deb.debian.org/debian bookworm main\n", "http://deb.debian.org"},
		"options":        {"deb [arch=amd64] https://a.example/mirror/debian/ trixie main\n", "https://a.example/mirror"},
		"deb822":         {"Types: deb\n# http://old.example/debian\nURIs: https://b.example/debian\nSuites: x\n", "https://b.example"},
		"only security":  {"deb http://c.example/debian-security x main\n", ""},
		"something else": {"deb https://d.example/apt stable main\n", ""},
	} {
		if got := mirrorIn([]byte(c.text)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// Without a seed cloud-init must not run, and there must be no disk for it.
func TestArguments(t *testing.T) {
	t.Parallel()
	m := &Machine{Root: "/root.img", Kernel: &Kernel{dir: "/kernel"}, Cmdline: "ipv6.disable=1", Out: "/out"}
	args := m.arguments("/scratch")
	line := args[slices.Index(args, "-append")+1]
	if !strings.Contains(line, "cloud-init=disabled") || !strings.HasSuffix(line, " ipv6.disable=1") {
		t.Errorf("the kernel's command line is %q", line)
	}
	if !slices.Contains(args, "if=virtio,format=raw,file=/root.img,snapshot=on") || strings.Contains(strings.Join(args, " "), "seed.img") {
		t.Errorf("the disks are wrong: %q", args)
	}
	m.Seed = map[string][]byte{"user-data": nil}
	if all := strings.Join(m.arguments("/scratch"), " "); strings.Contains(all, "cloud-init=disabled") || !strings.Contains(all, "file=/scratch/seed.img,readonly=on") {
		t.Errorf("with a seed: %q", all)
	}
}

func TestCrashedByEmulator(t *testing.T) {
	t.Parallel()
	m := &Machine{Out: t.TempDir()}
	for text, want := range map[string]bool{
		"[  207.674051] Oops: int3: 0000 [#1] SMP NOPTI\nKernel panic - not syncing: Fatal exception in interrupt\n": true,
		"[   31.252055] reboot: Power down\n":                      false,
		"Oops: general protection fault, probably for something\n": false,
	} {
		if err := os.WriteFile(m.console(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := m.crashedByEmulator(); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"natd/internal/vm"
)

// fill puts into a directory what the stages run: static programs, because a machine has no compiler. It must be called in
// the root of the source.
func fill(ctx context.Context, dir, packages string) error {
	for _, sub := range []string{"cmd/natd", "bin", "hang"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	for _, build := range [][]string{
		{"build", "-trimpath", "-o", filepath.Join(dir, "bin") + "/", "./cmd/natd", "./cmd/natctl", "./internal/lab/imds/standin"},
		{"test", "-c", "-o", filepath.Join(dir, "cmd/natd/natd.test"), "./cmd/natd"},
		{"test", "-c", "-o", filepath.Join(dir, "nat.test"), "./nat"},
		{"test", "-c", "-tags", "vm", "-o", filepath.Join(dir, "checks.test"), "./internal/vm/checks"},
	} {
		if err := goTool(ctx, build...); err != nil {
			return err
		}
	}
	return errors.Join(
		hanging(ctx, filepath.Join(dir, "hang", "natd")),
		os.CopyFS(filepath.Join(dir, "packages"), os.DirFS(packages)),
		os.CopyFS(filepath.Join(dir, "deploy"), os.DirFS("deploy")),
		os.Link("config.example.toml", filepath.Join(dir, "config.example.toml")),
	)
}

// prepare gives the machine what is its own besides what all have: files that go over its own, and user-data.
func (r *result) prepare(m *vm.Machine, payload string) error {
	m.Payload = []string{payload, filepath.Join(here, "host")}
	if r.overlay != "" {
		m.Payload = append(m.Payload, filepath.Join(here, r.overlay))
	}
	if r.userData == "" {
		return nil
	}
	text, err := os.ReadFile(r.userData)
	if err != nil {
		return fmt.Errorf("read the user-data: %w", err)
	}
	m.Seed = map[string][]byte{
		"user-data": bytes.Replace(text, []byte("\npackage_url=''"), []byte("\npackage_url='"+newPackage+"'"), 1),
		"meta-data": []byte("instance-id: i-0123456789abcdef0\nlocal-hostname: natd-vm\n"),
	}
	return nil
}

// here is the folder of this file, seen from the root of the source.
const here = "internal/vm/scenarios"

// newPackage is where a machine has the package that user-data installs.
const newPackage = "file:///var/lib/vm/in/packages/new/natd_0.0.2_{arch}.deb"

// Where the bug is planted, and the bug: natd's loop hangs once, at its next heartbeat, when the file is there.
const (
	patient = "internal/daemon/loop.go"
	spot    = "case <-beat.C:\n"
	bug     = spot + "if os.Remove(\"/var/lib/natd/hang\") == nil { select {} }\n"
)

// hanging builds a natd with a planted bug. The source stays as it is: the compiler reads a changed copy of one file in place
// of it.
func hanging(ctx context.Context, program string) (err error) {
	text, err := os.ReadFile(patient)
	if err != nil {
		return err
	}
	if strings.Count(string(text), spot) != 1 {
		return fmt.Errorf("%s does not have %q just once: plant the bug elsewhere", patient, spot)
	}
	work, err := os.MkdirTemp("", "natd-vm-hang-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	original, err := filepath.Abs(patient)
	if err != nil {
		return err
	}
	copied, overlay := filepath.Join(work, "loop.go"), filepath.Join(work, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {original: copied}})
	if err != nil {
		return err
	}
	if err := errors.Join(
		os.WriteFile(copied, []byte(strings.Replace(string(text), spot, bug, 1)), 0o644),
		os.WriteFile(overlay, replace, 0o644),
	); err != nil {
		return err
	}
	return goTool(ctx, "build", "-trimpath", "-overlay", overlay, "-o", program, "./cmd/natd")
}

// goTool runs the go command, without the C library.
func goTool(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

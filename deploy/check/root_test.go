package check

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"
)

// debianRoot returns a folder with a Debian that has cloud-init and the dnf of Amazon Linux 2023 (4.14), made once and kept in the user's cache. Nobody may
// change it: a test works on a machine.
func debianRoot(t *testing.T) string {
	t.Helper()
	needRoot(t)
	need(t, "mmdebstrap")
	arguments := []string{"--variant=apt", "--include=cloud-init,dnf,rpm", "bookworm"}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	path := filepath.Join(cache, "natd-deploy-check", fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(arguments, " ")))))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatalf("make the cache: %v", err)
	}
	half, err := os.MkdirTemp(filepath.Dir(path), "half-")
	if err != nil {
		t.Fatalf("make the cache: %v", err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(half); err != nil {
			t.Errorf("remove what is left of a root: %v", err)
		}
	})
	if out, err := exec.Command("mmdebstrap", append(arguments, half)...).CombinedOutput(); err != nil {
		t.Fatalf("mmdebstrap: %v\n%s", err, out)
	}
	// A second test run that made it meanwhile is as good.
	if err := os.Rename(half, path); err != nil && !os.IsExist(err) {
		t.Fatalf("keep the root: %v", err)
	}
	return path
}

// machine is a Debian of one test's own: the root of debianRoot below, what the test writes in memory above it, and no
// network.
type machine struct{ root string }

// newMachine makes it in a mount namespace of this goroutine's thread. The thread is never unlocked, so it ends with the
// test, and the mounts with it.
func newMachine(t *testing.T) machine {
	t.Helper()
	lower, memory := debianRoot(t), t.TempDir()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS | unix.CLONE_NEWNET); err != nil {
		t.Fatalf("leave the host's namespaces: %v", err)
	}
	root, upper, work := filepath.Join(memory, "root"), filepath.Join(memory, "upper"), filepath.Join(memory, "work")
	mount := func(source, target, kind string, flags uintptr, data string) {
		if err := unix.Mount(source, target, kind, flags, data); err != nil {
			t.Fatalf("mount %s on %s: %v", kind, target, err)
		}
	}
	mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	mount("tmpfs", memory, "tmpfs", 0, "")
	t.Cleanup(func() {
		if err := unix.Unmount(memory, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	for _, folder := range []string{root, upper, work} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatalf("make the machine: %v", err)
		}
	}
	mount("overlay", root, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work))
	mount("proc", filepath.Join(root, "proc"), "proc", 0, "")
	mount("/dev", filepath.Join(root, "dev"), "", unix.MS_BIND, "")
	return machine{root}
}

// path returns where a path of the machine is on the host.
func (m machine) path(path string) string { return filepath.Join(m.root, path) }

// command prepares a program on the machine; more of the environment goes as NAME=value.
func (m machine) command(environment []string, program string, arguments ...string) *exec.Cmd {
	command := exec.Command("/usr/bin/env", append(append([]string{"--ignore-environment"}, environment...), append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", program,
	}, arguments...)...)...)
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{Chroot: m.root}
	return command
}

// run runs a program on the machine and returns its exit code and what it said.
func (m machine) run(t *testing.T, environment []string, program string, arguments ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	command := m.command(environment, program, arguments...)
	command.Stdout, command.Stderr = &out, &out
	if err := command.Run(); err != nil && command.ProcessState == nil {
		t.Fatalf("run %s: %v", program, err)
	}
	return command.ProcessState.ExitCode(), out.String()
}

// TestCloudConfigIsValid asks cloud-init itself.
func TestCloudConfigIsValid(t *testing.T) {
	host := newMachine(t)
	write(t, host.path("/cloud-config.yaml"), read(t, deploy("cloud-config.yaml")), 0o644)
	if code, out := host.run(t, nil, "cloud-init", "schema", "--config-file", "/cloud-config.yaml"); code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// TestCloudConfigFails runs the commands as cloud-init does, in one shell script, with another one behind: it must not hide
// that there is no relay.
func TestCloudConfigFails(t *testing.T) {
	var parsed struct {
		Files []struct{ Path, Content string } `yaml:"write_files"`
		Run   []string                         `yaml:"runcmd"`
	}
	if err := yaml.Unmarshal([]byte(read(t, deploy("cloud-config.yaml"))), &parsed); err != nil {
		t.Fatalf("parse: %v", err)
	}
	host := newMachine(t)
	for _, file := range parsed.Files {
		write(t, host.path(file.Path), file.Content, 0o755)
	}
	code, out := host.run(t, nil, "sh", "-c", strings.Join(append(parsed.Run, "echo more"), "\n"))
	mustSay(t, 1, "FAILED: PACKAGE_URL")(code, out)
	if strings.Contains(out, "more\n") {
		t.Errorf("the commands behind ran:\n%s", out)
	}
}

package check

import (
	"bufio"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	relay  = "NATD_CONFIG=[[relay]]\nname = \"web\""
	config = "/etc/natd/natd.toml"
)

// TestUserDataTwice runs the script on a fresh machine, and again.
func TestUserDataTwice(t *testing.T) {
	host := newMachine(t)
	host.prepare(t)
	path, sum := host.addPackage(t, "1.0.0")
	settings := []string{"PACKAGE_URL=file://" + path, "PACKAGE_SHA256=" + sum, relay}

	mustSay(t, 0, "natd ready")(host.setup(t, settings...))
	if got, want := read(t, host.path(config)), "[[relay]]\nname = \"web\"\n"; got != want {
		t.Errorf("the configuration is %q, want %q", got, want)
	}
	mustSay(t, 0, "640 root natd")(host.run(t, nil, "stat", "--format=%a %U %G", config))
	if calls := host.calls(t); !strings.Contains(calls, "systemctl enable --quiet --now --no-block natd.service") {
		t.Errorf("natd was not started and enabled:\n%s", calls)
	}

	before := modified(t, host.path(config))
	code, out := host.setup(t, settings...)
	mustSay(t, 0, "natd 1.0.0 is installed")(code, out)
	if strings.Contains(out, "edited") {
		t.Errorf("the second run takes the first for an administrator:\n%s", out)
	}
	if calls := host.calls(t); strings.Contains(calls, "reload") {
		t.Errorf("the second run did something:\n%s", calls)
	}
	if modified(t, host.path(config)) != before {
		t.Error("the second run wrote the configuration")
	}
	mustSay(t, 0, "")(host.run(t, nil, "sh", "-c", "test -z \"$(ls -A /tmp)\""))
}

// TestUserDataDefaults runs the script with nothing but a package: the configuration is that of the file itself. The
// image keeps no documentation, so there is no example to compare with.
func TestUserDataDefaults(t *testing.T) {
	host := newMachine(t)
	host.prepare(t)
	path, _ := host.addPackage(t, "1.0.0")
	write(t, host.path("/etc/dpkg/dpkg.cfg.d/nodocs"), "path-exclude=/usr/share/doc/*\n", 0o644)
	mustSay(t, 0, "ready")(host.setup(t, "PACKAGE_URL="+path))
	if text := read(t, host.path(config)); !strings.Contains(text, `listen = "10.2.0.100:80"`) {
		t.Errorf("the configuration is not the script's:\n%s", text)
	}
}

// TestUserDataKeepsConfiguration gives way to an administrator, whether the file is older than the package or not.
func TestUserDataKeepsConfiguration(t *testing.T) {
	host := newMachine(t)
	host.prepare(t)
	path, _ := host.addPackage(t, "1.0.0")
	write(t, host.path(config), "# mine\n", 0o640)
	mustSay(t, 0, "ready, but "+config+" has been edited by somebody else")(host.setup(t, "PACKAGE_URL="+path, relay))
	if text := read(t, host.path(config)); text != "# mine\n" {
		t.Errorf("the administrator's configuration is now %q", text)
	}

	newer, _ := host.addPackage(t, "1.1.0")
	mustSay(t, 0, "has been edited")(host.setup(t, "PACKAGE_URL="+newer, relay))
	mustSay(t, 0, "1.1.0")(host.run(t, nil, "dpkg-query", "--show", "natd"))
	if text := read(t, host.path(config)); text != "# mine\n" {
		t.Errorf("after the upgrade the administrator's configuration is %q", text)
	}
	mustSay(t, 0, "natd 1.1.0 is installed")(host.setup(t, "PACKAGE_URL="+path, relay))
	mustSay(t, 1, "NATD_CONFIG is not valid")(host.setup(t, "PACKAGE_URL="+path, "NATD_CONFIG=nonsense = 1"))
}

// TestUserDataReplacesExample: natd is in the image already, runs, and nobody has edited its
// example. The image has no documentation.
func TestUserDataReplacesExample(t *testing.T) {
	host := newMachine(t)
	host.prepare(t)
	path, _ := host.addPackage(t, "1.0.0")
	mustSay(t, 0, "")(host.run(t, nil, "dpkg", "--install", path))
	write(t, host.path("/started"), "", 0o644)
	mustSay(t, 0, "natd ready")(host.run(t, nil, "natctl", "status"))
	if err := os.RemoveAll(host.path("/usr/share/doc/natd")); err != nil {
		t.Fatalf("remove the documentation: %v", err)
	}
	mustSay(t, 0, "ready\n")(host.setup(t, "PACKAGE_URL="+path, relay))
	if text := read(t, host.path(config)); text == example {
		t.Error("the example still stands")
	}
	if calls := host.calls(t); !strings.Contains(calls, "natctl reload") {
		t.Errorf("the running natd was not told:\n%s", calls)
	}
}

// TestUserDataChanges runs the script with other settings, as an instance does that comes from the image of another.
func TestUserDataChanges(t *testing.T) {
	host := newMachine(t)
	host.prepare(t)
	path, _ := host.addPackage(t, "1.0.0")
	for _, name := range []string{"one", "two", "one"} {
		code, out := host.setup(t, "PACKAGE_URL="+path, "NATD_CONFIG=name = \""+name+"\"")
		mustSay(t, 0, "natd setup: ready\n")(code, out)
		if text := read(t, host.path(config)); !strings.Contains(text, name) {
			t.Errorf("with %s the configuration is\n%s\n%s", name, text, out)
		}
		mustSay(t, 0, strings.TrimSpace(read(t, host.path("/running"))))(host.run(t, nil, "sha256sum", config))
	}
	mustSay(t, 0, "600 root")(host.run(t, nil, "stat", "--format=%a %U", "/etc/natd/.user-data.sha256"))
}

// TestUserDataRefusedReload fails as often as it is tried, and leaves the configuration that runs.
func TestUserDataRefusedReload(t *testing.T) {
	host := newMachine(t)
	host.prepare(t)
	path, _ := host.addPackage(t, "1.0.0")
	mustSay(t, 0, "ready")(host.setup(t, "PACKAGE_URL="+path, relay))
	before := read(t, host.path(config))
	for range 2 {
		code, out := host.setup(t, "PACKAGE_URL="+path, "NATD_CONFIG=conflict = 1")
		mustSay(t, 1, "a local service listens on 10.2.0.100:80")(code, out)
		mustSay(t, 1, "FAILED: natd refuses NATD_CONFIG")(code, out)
		if text := read(t, host.path(config)); text != before {
			t.Errorf("the configuration is %q, want %q", text, before)
		}
		mustSay(t, 0, "640 root natd")(host.run(t, nil, "stat", "--format=%a %U %G", config))
	}

	// An administrator's mistake is no success either, and is the administrator's to correct.
	write(t, host.path(config), "conflict = 2\n", 0o640)
	mustSay(t, 1, "FAILED: natd refuses "+config)(host.setup(t, "PACKAGE_URL="+path, relay))
	if text := read(t, host.path(config)); text != "conflict = 2\n" {
		t.Errorf("the administrator's configuration is now %q", text)
	}
}

// TestUserDataRefuses wants one clear line and nothing installed.
func TestUserDataRefuses(t *testing.T) {
	host := newMachine(t)
	host.prepare(t)
	path, sum := host.addPackage(t, "1.0.0")
	write(t, host.path("/page.deb"), "<html>not found</html>", 0o644)
	tests := []struct {
		name     string
		settings []string
		want     string
	}{
		{"no package", nil, `PACKAGE_URL="" does not end in .deb or .rpm`},
		{"package that is not there", []string{"PACKAGE_URL=/nowhere.deb"}, "cannot read the package /nowhere.deb"},
		{"relative path", []string{"PACKAGE_URL=natd.deb"}, "does not begin with https://"},
		{"wrong sum", []string{"PACKAGE_URL=" + path, "PACKAGE_SHA256=" + strings.Repeat("0", 64)}, "the package has the SHA-256 " + sum},
		{"https without sum", []string{"PACKAGE_URL=https://example.com/natd.deb"}, "PACKAGE_SHA256 is empty"},
		{"presigned without sum", []string{"PACKAGE_URL=https://example.com/natd.deb?X-Amz-Expires=60&a=b.c"}, "PACKAGE_SHA256 is empty"},
		{"s3 without aws", []string{"PACKAGE_URL=s3://bucket/natd.deb"}, "s3:// needs the aws command"},
		{"no Debian package", []string{"PACKAGE_URL=/page.deb"}, "is not a Debian package"},
	}
	for _, test := range tests {
		code, out := host.setup(t, append(test.settings, relay)...)
		if code != 1 || !strings.Contains(out, "natd setup: FAILED: ") || !strings.Contains(out, test.want) {
			t.Errorf("%s: exit code %d, want 1 and %q:\n%s", test.name, code, test.want, out)
		}
	}
	if _, err := os.Stat(host.path(config)); err == nil {
		t.Error("something was installed")
	}
}

// TestUserDataBadConfiguration leaves the file of the package, and does not start natd.
func TestUserDataBadConfiguration(t *testing.T) {
	host := newMachine(t)
	host.prepare(t)
	path, _ := host.addPackage(t, "1.0.0")
	mustSay(t, 1, "NATD_CONFIG is not valid")(host.setup(t, "PACKAGE_URL="+path, "NATD_CONFIG=nonsense = 1"))
	if text := read(t, host.path(config)); text != example {
		t.Errorf("the configuration is %q", text)
	}
	if calls := host.calls(t); strings.Contains(calls, "systemctl enable") {
		t.Errorf("natd was started:\n%s", calls)
	}
	mustSay(t, 0, "ready")(host.setup(t, "PACKAGE_URL="+path, relay))
}

// TestUserDataNotReady ends in time, and says what natd says.
func TestUserDataNotReady(t *testing.T) {
	host := newMachine(t)
	host.prepare(t)
	path, _ := host.addPackage(t, "1.0.0")
	write(t, host.path("/stuck"), "", 0o644)
	code, out := host.setup(t, "PACKAGE_URL="+path, "READY_TIMEOUT=1", relay)
	mustSay(t, 1, "natd not reachable")(code, out)
	mustSay(t, 1, "FAILED: natd is not ready after 1 s")(code, out)
}

// TestUserDataWaitsForLock holds dpkg's lock, as an installation at boot does, first for longer than the script waits.
func TestUserDataWaitsForLock(t *testing.T) {
	host := newMachine(t)
	host.prepare(t)
	path, _ := host.addPackage(t, "1.0.0")
	lock, err := os.OpenFile(host.path("/var/lib/dpkg/lock-frontend"), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		t.Fatalf("open the lock: %v", err)
	}
	defer lock.Close()
	if err := unix.FcntlFlock(lock.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Fatalf("take the lock: %v", err)
	}
	mustSay(t, 1, "apt-get could not install natd")(host.setup(t, "PACKAGE_URL="+path, "LOCK_TIMEOUT=1", relay))

	command := host.command([]string{"PACKAGE_URL=" + path, "LOCK_TIMEOUT=60", relay}, "/user-data.sh")
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatalf("pipe: %v", err)
	}
	command.Stderr = command.Stdout
	command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := command.Start(); err != nil {
		t.Fatalf("start: %v", err)
	}
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = append(said, lines.Text())
		if strings.Contains(lines.Text(), "Waiting for cache lock") {
			if err := unix.FcntlFlock(lock.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_UNLCK}); err != nil {
				t.Errorf("release the lock: %v", err)
			}
		}
	}
	if err := command.Wait(); err != nil || !strings.Contains(strings.Join(said, "\n"), "Waiting for cache lock") {
		t.Errorf("%v, want a wait and success:\n%s", err, strings.Join(said, "\n"))
	}
}

// TestUserDataRPM takes the other way, with the architecture in the name and one sum of several. It upgrades, never
// downgrades, and knows the example of the package and an edited one apart.
func TestUserDataRPM(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the packages of this test are for x86_64")
	}
	host := newMachine(t)
	host.prepare(t)
	oldest, _ := host.addRPM(t, "1.0.9")
	middle, sum := host.addRPM(t, "1.0.10")
	newest, _ := host.addRPM(t, "1.1.0")
	mustSay(t, 0, "natd setup: ready\n")(host.setup(t, "PACKAGE_URL=file:///natd-1.0.10-1.{arch}.rpm",
		"PACKAGE_SHA256="+strings.Repeat("0", 64)+" "+strings.ToUpper(sum), relay))
	if text := read(t, host.path(config)); !strings.Contains(text, "web") {
		t.Errorf("the configuration is %q", text)
	}
	for _, step := range []struct{ path, want string }{
		{middle, "natd 1.0.10-1 is installed"},
		{oldest, "natd 1.0.10-1 is installed"},
		{newest, "natd setup: ready"},
		{middle, "natd 1.1.0-1 is installed"},
	} {
		mustSay(t, 0, step.want)(host.setup(t, "PACKAGE_URL="+step.path, relay))
	}
	mustSay(t, 0, "natd-1.1.0-1.")(host.run(t, nil, "rpm", "--query", "natd"))

	write(t, host.path(config), example, 0o640)
	mustSay(t, 0, "natd setup: ready\n")(host.setup(t, "PACKAGE_URL="+newest, relay))
	write(t, host.path(config), "# mine\n", 0o640)
	mustSay(t, 0, "has been edited")(host.setup(t, "PACKAGE_URL="+newest, relay))
}

// mustSay wants an exit code and a text.
func mustSay(t *testing.T, wantCode int, want string) func(int, string) {
	t.Helper()
	return func(code int, out string) {
		t.Helper()
		if code != wantCode || !strings.Contains(out, want) {
			t.Errorf("exit code %d, want %d and %q:\n%s", code, wantCode, want, out)
		}
	}
}

func modified(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatalf("stat: %v", err)
	}
	return info.ModTime().UnixNano()
}

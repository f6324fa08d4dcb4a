package check

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The stand-ins say what they were asked for in /calls. natctl is part of the package, as in the real one.
const (
	natctl = `#!/bin/sh
echo "natctl $*" >>/calls
case $1 in
check) if grep -q nonsense "$2"; then echo "$2:1: unknown key" >&2; exit 3; fi ;;
status) if [ -e /started ] && [ ! -e /stuck ]; then echo "natd ready"; else echo "natd not reachable" >&2; exit 4; fi ;;
esac
`
	systemctl = `#!/bin/sh
echo "systemctl $*" >>/calls
case $1 in
is-active) [ -e /started ] ;;
enable) touch /started ;;
esac
`
	dnf = `#!/bin/sh
echo "dnf $*" >>/calls
for package; do :; done
groupadd --force --system natd && dpkg-deb --extract "$package" /
`
	postinst = `#!/bin/sh
groupadd --force --system natd && chgrp natd /etc/natd/natd.toml && chmod 0640 /etc/natd/natd.toml
`
	example = "# the example of the package\n"
)

// addPackage builds a natd package of this version, as the real one is laid out, puts it on the machine, and returns its
// path there and its sum.
func (m machine) addPackage(t *testing.T, version string) (path, sum string) {
	t.Helper()
	need(t, "dpkg-deb")
	tree := t.TempDir()
	write(t, filepath.Join(tree, "usr/sbin/natctl"), natctl, 0o755)
	write(t, filepath.Join(tree, "usr/share/doc/natd/config.example.toml"), example, 0o644)
	write(t, filepath.Join(tree, "etc/natd/natd.toml"), example, 0o644)
	write(t, filepath.Join(tree, "DEBIAN/conffiles"), "/etc/natd/natd.toml\n", 0o644)
	write(t, filepath.Join(tree, "DEBIAN/postinst"), postinst, 0o755)
	write(t, filepath.Join(tree, "DEBIAN/control"), "Package: natd\nVersion: "+version+
		"\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\nDescription: stand-in\n", 0o644)
	path = "/natd_" + version + "_all.deb"
	if out, err := exec.Command("dpkg-deb", "--root-owner-group", "--build", tree, m.path(path)).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb: %v\n%s", err, out)
	}
	return path, fmt.Sprintf("%x", sha256.Sum256([]byte(read(t, m.path(path)))))
}

// prepare puts the script and the stand-ins of systemd and dnf on the machine.
func (m machine) prepare(t *testing.T) {
	t.Helper()
	write(t, m.path("/user-data.sh"), read(t, deploy("user-data.sh")), 0o755)
	write(t, m.path("/usr/local/bin/systemctl"), systemctl, 0o755)
	write(t, m.path("/usr/local/bin/dnf"), dnf, 0o755)
}

// setup runs the script with these settings.
func (m machine) setup(t *testing.T, settings ...string) (int, string) {
	t.Helper()
	return m.run(t, settings, "/user-data.sh")
}

// calls returns what the stand-ins were asked for since the last time.
func (m machine) calls(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(m.path("/calls"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatalf("read the calls: %v", err)
	}
	if err := os.Truncate(m.path("/calls"), 0); err != nil && !os.IsNotExist(err) {
		t.Fatalf("forget the calls: %v", err)
	}
	return string(text)
}

package check

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The stand-ins say what they were asked for in /calls. natctl is part of the package, as in the real one. It also plays
// natd: /started makes it run, /running is the sum of the configuration that it runs, /refused is there when its last reload
// failed, as a reload does when the file says "conflict".
const (
	natctl = `#!/bin/sh
echo "natctl $*" >>/calls
config=/etc/natd/natd.toml
load() { sha256sum <$config | cut -d ' ' -f 1 >/running; rm -f /refused; }
case $1 in
check) if grep -q nonsense "$2"; then echo "$2:1: unknown key" >&2; exit 3; fi ;;
reload)
	if grep -q conflict $config; then touch /refused; echo "a local service listens on 10.2.0.100:80" >&2; exit 3; fi
	load
	;;
status)
	if [ ! -e /started ] || [ -e /stuck ]; then echo "natd not reachable" >&2; exit 4; fi
	[ -e /running ] || load
	if [ "$2" != --json ]; then echo "natd ready"; exit; fi
	printf '{\n  "host": {\n    "error": "metadata"\n  },\n  "config": {\n    "sha256": "%s",\n    "error": "%s"\n  }\n}\n' \
		"$(cat /running)" "$(if [ -e /refused ]; then echo '/etc/natd/natd.toml:2: \"conflict\"'; fi)"
	;;
esac
`
	systemctl = `#!/bin/sh
echo "systemctl $*" >>/calls
if [ "$1" = enable ]; then touch /started; fi
`
	// spec describes the same package as rpm has it. Nothing else on a Debian has a shell for rpm.
	spec = `
Name: natd
Version: %{version}
Release: 1
Summary: stand-in
License: none
BuildArch: noarch
Provides: /bin/sh
%description
%install
cp -r /build/. %{buildroot}
%pre
groupadd --force --system natd
%files
/usr/sbin/natctl
%attr(0640, root, natd) %config(noreplace) /etc/natd/natd.toml
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

// addRPM does the same in the form of Amazon Linux, with rpmbuild on the machine.
func (m machine) addRPM(t *testing.T, version string) (path, sum string) {
	t.Helper()
	write(t, m.path("/build/usr/sbin/natctl"), natctl, 0o755)
	write(t, m.path("/build/etc/natd/natd.toml"), example, 0o644)
	write(t, m.path("/natd.spec"), spec, 0o644)
	write(t, m.path("/etc/rpm/macros"), "%_dbpath /var/lib/rpm\n", 0o644) // Debian's rpm has it in the home directory
	mustSay(t, 0, "natd-"+version)(m.run(t, nil, "rpmbuild", "-bb", "--define=version "+version,
		"--define=_rpmdir /", "--define=_rpmfilename natd-%{version}-1.x86_64.rpm", "/natd.spec"))
	path = "/natd-" + version + "-1.x86_64.rpm"
	return path, fmt.Sprintf("%x", sha256.Sum256([]byte(read(t, m.path(path)))))
}

// prepare puts the script and the stand-in of systemd on the machine.
func (m machine) prepare(t *testing.T) {
	t.Helper()
	write(t, m.path("/user-data.sh"), read(t, deploy("user-data.sh")), 0o755)
	write(t, m.path("/usr/local/bin/systemctl"), systemctl, 0o755)
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

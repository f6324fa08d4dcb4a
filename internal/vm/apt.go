package vm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// keyring is what Debian signs its releases with. Package debian-archive-keyring.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// mirror is where this machine gets its Debian packages, without the /debian at the end.
func mirror() (string, error) {
	files, err := filepath.Glob("/etc/apt/sources.list.d/*")
	if err != nil {
		return "", err
	}
	for _, file := range append([]string{"/etc/apt/sources.list"}, files...) {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a Debian of today has only one of the two
		}
		if found := mirrorIn(text); found != "" {
			return found, nil
		}
	}
	return "", fmt.Errorf("no Debian mirror in /etc/apt/sources.list and /etc/apt/sources.list.d: this needs a Debian machine")
}

// mirrorIn finds the mirror in a file of either format, see sources.list(5).
func mirrorIn(text []byte) string {
	uri := regexp.MustCompile(`(?m)^[^#\n]*?(https?://[^/\s]+(?:/[^/\s]+)*)/debian/?(?:\s|$)`)
	if m := uri.FindSubmatch(text); m != nil {
		return string(m[1])
	}
	return ""
}

// sources are the lines of sources.list for a release, its security updates, and backports when it is named so.
func sources(mirror, suite string) []string {
	line := func(archive, suite string) string {
		return fmt.Sprintf("deb [signed-by=%s] %s/%s %s main", keyring, mirror, archive, suite)
	}
	base := strings.TrimSuffix(suite, "-backports")
	lines := []string{line("debian", base)}
	if base != suite {
		lines = append(lines, line("debian", suite))
	}
	if base != "sid" {
		lines = append(lines, line("debian-security", base+"-security"))
	}
	return lines
}

// apt is an apt of its own in a directory: it neither reads nor changes what this machine's apt knows.
type apt struct {
	dir, suite string
	env        []string
}

func newApt(ctx context.Context, dir, suite string) (*apt, error) {
	a := &apt{dir: dir, suite: suite, env: []string{"APT_CONFIG=" + filepath.Join(dir, "apt.conf")}}
	for _, sub := range []string{"etc/preferences.d", "etc/apt.conf.d", "etc/sources.list.d", "lists/partial", "archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	host, err := mirror()
	if err != nil {
		return nil, err
	}
	conf := strings.ReplaceAll(`
Dir::Etc "DIR/etc"; Dir::State "DIR"; Dir::State::lists "DIR/lists"; Dir::State::status "DIR/status"; Dir::Cache "DIR";
Dir::Etc::trusted "/nonexistent"; Dir::Etc::trustedparts "/nonexistent"; APT::Architecture "amd64"; APT::Architectures "amd64";
APT::Sandbox::User "root"; Acquire::Languages "none"; Acquire::Check-Valid-Until "false";
`, "DIR", dir)
	for name, content := range map[string]string{"apt.conf": conf, "status": "", "etc/sources.list": strings.Join(sources(host, suite), "\n") + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	_, err = output(ctx, a.env, "apt-get", "-qq", "update")
	return a, err
}

// target makes apt take backports, which it otherwise leaves for those who ask.
func (a *apt) target() []string {
	if strings.HasSuffix(a.suite, "-backports") {
		return []string{"-t", a.suite}
	}
	return nil
}

// download gets a kernel's packages: the image, and the packages with modules that newer kernels are split into. It walks
// the dependencies by itself, because nothing is to be installed.
func (a *apt) download(ctx context.Context, meta string) error {
	depends := regexp.MustCompile(`(?m)^ *Depends: (linux-(?:image|modules|binary)\S*)$`)
	versioned := regexp.MustCompile(`-[0-9]+\.[0-9]+\.[0-9]+`)
	names, wanted := []string{meta}, []string(nil)
	for i := 0; i < len(names); i++ {
		if versioned.MatchString(names[i]) {
			wanted = append(wanted, names[i])
		}
		text, err := output(ctx, a.env, "apt-cache", append(a.target(), "depends", names[i])...)
		if err != nil {
			return err
		}
		for _, m := range depends.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(names, m[1]) {
				names = append(names, m[1])
			}
		}
	}
	if len(wanted) == 0 {
		return fmt.Errorf("%s of %s depends on no kernel", meta, a.suite)
	}
	args := append([]string{"-c", `cd "$0" && apt-get -qq "$@"`, a.dir}, a.target()...)
	_, err := output(ctx, a.env, "sh", append(append(args, "download"), wanted...)...)
	return err
}

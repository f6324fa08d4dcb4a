package systemd

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/unit"
)

// options is natd.service, option by option.
func options(t *testing.T) []*unit.UnitOption {
	t.Helper()
	file, err := os.Open("natd.service")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	parsed, err := unit.DeserializeOptions(file)
	if err != nil {
		t.Fatalf("parse natd.service: %v", err)
	}
	return parsed
}

// service is natd.service: the values of each option, in order.
func service(t *testing.T) map[string][]string {
	t.Helper()
	values := map[string][]string{}
	for _, o := range options(t) {
		values[o.Name] = append(values[o.Name], o.Value)
	}
	return values
}

// TestUnitHolds asserts the lines that a promise of natd, or its sandbox, hangs on.
func TestUnitHolds(t *testing.T) {
	t.Parallel()
	values := service(t)
	for option, want := range map[string]string{
		// Ready means proven, hung means restarted, stopped means that the rules stay.
		"Type":                     "notify",
		"NotifyAccess":             "main",
		"ExecStart":                "/usr/sbin/natd",
		"ExecReload":               "+/usr/sbin/natctl reload",
		"Restart":                  "always",
		"RestartPreventExitStatus": "3",
		"StartLimitIntervalSec":    "0",
		"WatchdogSec":              "60s",
		"WatchdogSignal":           "SIGABRT",

		// The paths of the Contract, and who may write them.
		"User":                     "natd",
		"Group":                    "natd",
		"RuntimeDirectory":         "natd",
		"RuntimeDirectoryMode":     "0755",
		"RuntimeDirectoryPreserve": "restart",
		"StateDirectory":           "natd",
		"StateDirectoryMode":       "0750",
		"LogsDirectory":            "natd",
		"ConfigurationDirectory":   "natd",

		// The sandbox, and the holes that natd's work needs in it.
		"AmbientCapabilities":     "CAP_NET_ADMIN CAP_NET_BIND_SERVICE",
		"CapabilityBoundingSet":   "CAP_NET_ADMIN CAP_NET_BIND_SERVICE",
		"NoNewPrivileges":         "yes",
		"ProtectSystem":           "strict",
		"ProtectHome":             "yes",
		"PrivateDevices":          "yes",
		"ProtectKernelTunables":   "yes",
		"ReadWritePaths":          "/proc/sys/net",
		"ProtectKernelModules":    "yes",
		"RestrictAddressFamilies": "AF_UNIX AF_NETLINK AF_INET AF_INET6",
		"RestrictNamespaces":      "yes",
		"MemoryDenyWriteExecute":  "yes",
		"SystemCallArchitectures": "native",
		"WantedBy":                "multi-user.target",
	} {
		if got := values[option]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s is %q, want %q once", option, got, want)
		}
	}
}

// TestUnitAvoids asserts that nobody adds, with the best intentions, what was measured to break natd.
func TestUnitAvoids(t *testing.T) {
	t.Parallel()
	values := service(t)
	for option, why := range map[string]string{
		"DynamicUser":         "hides /run/natd in /run/private, where the group cannot reach the socket",
		"PrivateUsers":        "netlink answers EPERM to everything",
		"PrivateNetwork":      "natd would program a network of its own",
		"ProcSubset":          "takes /proc/sys away",
		"IPAddressDeny":       "stops name resolution and probes",
		"RestrictFileSystems": "fails with EPERM on systemd 257",
		"LimitNPROC":          "counts the user's threads on the whole host",
		"InaccessiblePaths":   "natd reads interface data in /sys",
		"TemporaryFileSystem": "hides the configuration",
		"ExecStop":            "SIGTERM is enough",
		"ExecStopPost":        "the rules outlive natd; natctl flush removes them",
		"Requires":            "no other service may take natd down with it",
		"BindsTo":             "no other service may take natd down with it",
		"RemainAfterExit":     "a dead natd must not look alive",
		"StartLimitBurst":     "natd is never given up",
		"StartLimitAction":    "natd is never a reason to reboot",
	} {
		if got, ok := values[option]; ok {
			t.Errorf("%s=%s: %s", option, strings.Join(got, " "), why)
		}
	}
}

func TestUnitOrder(t *testing.T) {
	t.Parallel()
	after := strings.Fields(strings.Join(service(t)["After"], " "))
	for _, want := range []string{
		"network-pre.target",
		"nftables.service", "firewalld.service", // they flush or fill the ruleset when they start
		"ssh.service", "sshd.service", // natd leaves alone the ports that they already listen on
	} {
		if !slices.Contains(after, want) {
			t.Errorf("After= has no %s", want)
		}
	}
	for _, wait := range []string{"network-online.target", "docker.service"} { // docker.service waits for the former
		if slices.Contains(after, wait) {
			t.Errorf("After= has %s: natd does not wait for the network, it follows it", wait)
		}
	}
}

// TestBootDoesNotWait: multi-user.target, which wants natd, would come after it by default, and natd may start for ever.
func TestBootDoesNotWait(t *testing.T) {
	t.Parallel()
	values := service(t)
	for option, want := range map[string]string{
		"DefaultDependencies": "no",
		"Conflicts":           "shutdown.target", // natd is stopped in order,
	} {
		if got := values[option]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s is %q, want %q once", option, got, want)
		}
	}
	if before := values["Before"]; !slices.Contains(before, "shutdown.target") { // while there is still somebody to wait for it
		t.Errorf("Before= is %q, and has no shutdown.target", before)
	}
	after := strings.Fields(strings.Join(values["After"], " "))
	for _, want := range []string{"sysinit.target", "basic.target"} { // file systems, users, settings of sysctl.d
		if !slices.Contains(after, want) {
			t.Errorf("After= has no %s, and without the default dependencies nothing else says it", want)
		}
	}
}

// TestSystemCalls: the Go runtime and natd's state files need calls that look dispensable.
func TestSystemCalls(t *testing.T) {
	t.Parallel()
	filters := service(t)["SystemCallFilter"]
	if len(filters) != 3 || filters[0] != "@system-service" || !strings.HasPrefix(filters[1], "~") {
		t.Fatalf("SystemCallFilter is %q, want @system-service less some, and then some of these again", filters)
	}
	// @privileged took it away, and the socket could not be given to the group: natd would not even start.
	if filters[2] != "@chown" {
		t.Errorf("after %q comes %q, want @chown", filters[1], filters[2])
	}
	denied := strings.Fields(strings.TrimPrefix(filters[1], "~"))
	for _, group := range []string{"@sync", "@network-io", "@io-event", "@timer", "@signal", "@process", "@file-system"} {
		if slices.Contains(denied, group) {
			t.Errorf("%s is denied, natd needs it", group)
		}
	}
	for _, group := range []string{"@privileged", "@mount", "@module", "@raw-io", "@debug"} {
		if !slices.Contains(denied, group) {
			t.Errorf("%s is allowed, natd does not need it", group)
		}
	}
}

func TestUserOfTheUnitIsMade(t *testing.T) {
	t.Parallel()
	sysusers, err := os.ReadFile("natd.sysusers")
	if err != nil {
		t.Fatal(err)
	}
	values := service(t)
	for option, line := range map[string]string{
		"User":  `(?m)^u ` + values["User"][0] + ` -:` + values["Group"][0] + ` "[^"]+" / /usr/sbin/nologin$`,
		"Group": `(?m)^g ` + values["Group"][0] + ` -$`,
	} {
		if !regexp.MustCompile(line).Match(sysusers) {
			t.Errorf("%s=%s: natd.sysusers has no line %s", option, values[option][0], line)
		}
	}
}

// analyzer finds systemd-analyze, or skips where it may be missing: continuous integration has it.
func analyzer(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		const why = "systemd-analyze is not installed: make deps installs it"
		if os.Getenv("CI") != "" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	return program
}

// installed is a copy of the unit whose programs exist on this machine.
func installed(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("natd.service")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`/usr/sbin/nat(d|ctl)`).ReplaceAll(text, []byte(self))
	path := filepath.Join(t.TempDir(), "natd.service")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestVerify(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), analyzer(t), "verify", "--man=no", installed(t)).CombinedOutput()
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func TestExposure(t *testing.T) {
	t.Parallel()
	// The scale goes from 0, safe, to 10; of what is left, CAP_NET_ADMIN, the host's network and the sockets are natd's work.
	const limit = 2.0
	out, err := exec.CommandContext(t.Context(), analyzer(t), "security", "--offline=yes", "--no-pager", installed(t)).CombinedOutput()
	if err != nil {
		if bytes.Contains(out, []byte("unrecognized option")) {
			t.Skip("systemd-analyze knows no --offline: it came with systemd 250")
		}
		t.Fatalf("systemd-analyze security: %v\n%s", err, out)
	}
	match := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindSubmatch(out)
	if match == nil {
		t.Fatalf("systemd-analyze security gives no level:\n%s", out)
	}
	level, err := strconv.ParseFloat(string(match[1]), 64)
	if err != nil || level > limit {
		t.Errorf("exposure level %s (%v), want at most %v:\n%s", match[1], err, limit, out)
	}
}

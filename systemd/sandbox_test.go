package systemd

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// running are the options of [Service] that say how natd is started, watched and ended. All others are its sandbox.
func running() []string {
	return []string{
		"Type", "NotifyAccess", "ExecStart", "ExecReload", "Restart", "RestartSec", "RestartPreventExitStatus",
		"WatchdogSec", "WatchdogSignal", "TimeoutStartSec", "TimeoutStopSec", "KillMode",
	}
}

// sandbox is the directives of natd.service that docs/security.md has to explain.
func sandbox(t *testing.T) (directives []string) {
	t.Helper()
	for _, o := range options(t) {
		if o.Section == "Service" && !slices.Contains(running(), o.Name) {
			directives = append(directives, o.Name+"="+o.Value)
		}
	}
	return directives
}

// explained is the first column of the table in docs/security.md.
func explained(t *testing.T) (directives []string) {
	t.Helper()
	text, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begins := strings.Cut(string(text), "<!-- sandbox:")
	table, _, ends := strings.Cut(rest, "<!-- end of sandbox -->")
	if !begins || !ends {
		t.Fatal("docs/security.md has lost the marks around the table of the sandbox")
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(table, -1) {
		directives = append(directives, row[1])
	}
	return directives
}

// TestSandboxIsExplained: a directive that nobody explains is one that nobody dares to touch.
func TestSandboxIsExplained(t *testing.T) {
	t.Parallel()
	unit, manual := sandbox(t), explained(t)
	for _, d := range unit {
		if !slices.Contains(manual, d) {
			t.Errorf("docs/security.md does not explain %s", d)
		}
	}
	for _, d := range manual {
		if !slices.Contains(unit, d) {
			t.Errorf("docs/security.md explains %s, which natd.service does not have", d)
		}
	}
	if len(unit) == 0 {
		t.Error("natd.service has no sandbox")
	}
}

package main

import "time"

// scenario is a machine and what runs in it.
type scenario struct {
	name   string
	what   string // in a few words
	suite  string // the Debian release: its systemd, its nft
	kernel string // see vm.Cache.Kernel
	stages []string
	seed   bool // cloud-init runs, with deploy/user-data.sh as user-data
}

// patience bounds a scenario.
const patience = 15 * time.Minute

// check is a stage: those of the checks that the pattern selects.
func check(pattern string) string {
	return "./checks.test -test.v -test.failfast -test.timeout=10m -test.run='" + pattern + "'"
}

// dataPath is a stage: the end-to-end tests of natd, on the machine's kernel. The load of ten thousand relays measures the
// emulator.
const dataPath = "cd cmd/natd && ulimit -n 65536 && NATD_TEST_PROGRAMS=../../bin ./natd.test -test.v -test.timeout=10m -test.skip=TenThousand"

// scenarios are all machines, in the order in which they start: the longest first.
func scenarios() []scenario {
	return []scenario{
		{
			name: "debian12", what: "packages and unit on systemd 252, boot, watchdog, upgrade, removal", suite: "bookworm", kernel: "bookworm",
			stages: []string{check("^TestInstall$"), "reboot", check("^TestBooted$"), check("^TestUnit$"), check("^TestUpgrade$"), check("^TestRemove$")},
		},
	}
}

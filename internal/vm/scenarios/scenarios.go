package main

import "time"

// scenario is a machine and what runs in it.
type scenario struct {
	name     string
	what     string // in a few words
	suite    string // the Debian release: its systemd, its nft
	kernel   string // see vm.Cache.Kernel
	overlay  string // a folder beside this file whose files go over the machine's; none = only those of host
	userData string // a file for cloud-init; none = cloud-init stays off
	stages   []string
}

// patience bounds a scenario.
const patience = 30 * time.Minute

// check is a stage: those of the checks that the pattern selects.
func check(pattern string) string {
	return "./checks.test -test.v -test.failfast -test.timeout=10m -test.run='" + pattern + "'"
}

// table is a stage: those of the tests of package nat that bring every kind of ruleset into the machine's kernel, by netlink and
// by nft.
const table = "./nat.test -test.v -test.timeout=10m -test.run='^Test(KernelHoldsTheText|ApplyTwice|ProtectionChanges|KernelFastPath|FlowtableIsGuarded|FastPathCost)$'"

// dataPath is a stage: those of natd's end-to-end tests that show what the machine's kernel does. Those that measure time are left
// out: the processor is emulated.
const dataPath = endToEnd +
	"^Test(Relay|RelayOfARange|ListenEverywhere|KeepsTheClient|Heal|Follow|Owned|FlushUnderConnection|RestartUnderConnection|KillDuringReload|" +
	"OnStop|FlushCommand|RemovedRelay|NarrowedRelay|ChangedBackend|ChangedBackendUDP|EarlyDatagrams|Log|Counts|ForwardsNothingElse|" +
	"SourcesOutsideFrom|OutOfWindow|ForgottenConnection|HostSettings|ConntrackMax|ReversePath|RulesAreNft|StartBeforeTheNetwork|" +
	"SourceSticks|AllBackendsDie|Backup|DatagramsFollow|Drain|Limits|NameOutage|" +
	"Gateway|GatewayPool|Static|StaticInside|SegmentSizes|" +
	"CountsAreExact|RepeatedPackets|FlowRecords|FlowRejects|AccountingIsGivenBack|Diagnose|DiagnoseWatch|FaultsOfTheKernel|" +
	"FastPath|FastPathOff|FastPathClose|FastPathTTL|FastPathFollows|FastPathSurvives|FastPathTunnel|" +
	"DualStack|IPv6Off|Forwarding6|TentativeAddress|NoRedirects6|Dig|SCTP|SCTPSockets|Ports)$'"

// endToEnd begins a stage of natd's end-to-end tests: what selects them comes behind it, and a quote.
const endToEnd = "cd cmd/natd && ulimit -n 65536 && NATD_TEST_PROGRAMS=../../bin NATD_TEST_OWN_MACHINE=1 ./natd.test -test.v -test.timeout=20m -test.run='"

// fastPath is a stage: those of the tests of the data path that established connections have a part in, on the kernel's fast path. The tests that
// begin with FastPath show that it is taken.
const fastPath = "export NATD_TEST_FLOWTABLE=auto; " + endToEnd +
	"^Test(Follow|FlushUnderConnection|RestartUnderConnection|KillDuringReload|RemovedRelay|NarrowedRelay|ChangedBackend|ChangedBackendUDP|" +
	"CloseOnChange|DrainOnChange|OutOfWindow|ForgottenConnection|CountsAreExact|FlowRecords|Drain|Limits|" +
	"Gateway|GatewayPool|Static|StaticInside|SegmentSizes|DiagnoseWatch)$'"

// scenarios are all machines, in the order in which they start.
func scenarios() []scenario {
	return []scenario{
		{
			name: "debian12", what: "package and unit on systemd 252: boot, watchdog, upgrade, removal", suite: "bookworm", kernel: "bookworm",
			stages: []string{check("^TestInstall$"), check("^TestObserve$"), "reboot", check("^TestBooted$"), check("^TestObserved$"), check("^TestUnit$"), check("^TestUpgrade$"), check("^TestRemove$")},
		},
		{
			name: "debian12-data", what: "the data path on Amazon Linux 2023's series of kernels", suite: "bookworm", kernel: "bookworm",
			stages: []string{table, dataPath, fastPath},
		},
		{
			name: "oldest-data", what: "the data path on the kernel of Debian 11, seen with an nft that prints all of it", suite: "bookworm", kernel: "bullseye",
			stages: []string{table, dataPath},
		},
		{
			name: "debian11", what: "package on systemd 247: boot and removal", suite: "bullseye", kernel: "bullseye",
			stages: []string{check("^TestInstall$"), check("^TestObserve$"), "reboot", check("^TestBooted$"), check("^TestObserved$"), check("^TestRemove$")},
		},
		{
			name: "debian13", what: "package and unit on systemd 257, with a table that natd owns", suite: "trixie", kernel: "trixie",
			stages: []string{check("^TestInstall$"), check("^TestObserve$"), "reboot", check("^TestBooted$"), check("^TestObserved$"), check("^TestUnit$")},
		},
		{
			name: "newest-data", what: "the data path on the newest kernel", suite: "trixie", kernel: "trixie-backports",
			stages: []string{table, dataPath, fastPath},
		},
		{
			name: "cloud-init", what: "deploy/user-data.sh, the instance metadata service, and a reboot", suite: "bookworm", kernel: "bookworm",
			userData: "deploy/user-data.sh", stages: []string{check("^TestUserData$"), "reboot", check("^TestRelaysAfterReboot$")},
		},
		{
			name: "first-seed", what: "the user-data that natd is to replace forgets its NAT at a reboot", suite: "bookworm", kernel: "bookworm",
			overlay: "seed", userData: "internal/vm/scenarios/seed-user-data.sh", stages: []string{check("^TestSeed$"), "reboot", check("^TestSeedForgot$")},
		},
	}
}

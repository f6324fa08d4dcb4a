package main

import (
	"fmt"
	"os"
	"testing"

	"natd/internal/diagnose"
)

// ownMachine tells that the machine is the test's own, so that settings of its whole kernel may change: a virtual machine.
const ownMachine = "NATD_TEST_OWN_MACHINE"

// conntrackMax is the limit of the connection tracking table, of every network namespace: the first one can write it only (kernel,
// net/netfilter/nf_conntrack_standalone.c).
const conntrackMax = "/proc/sys/net/netfilter/nf_conntrack_max"

// TestFaultsOfTheKernel has what breaks all network namespaces of a machine.
func TestFaultsOfTheKernel(t *testing.T) { //nolint:paralleltest // no other test gets through meanwhile
	if os.Getenv(ownMachine) == "" {
		t.Skipf("this test changes settings of the whole kernel: the virtual machines of make test-vm run it (%s)", ownMachine)
	}
	newFaultLab(t).suffer(t, kernelFaults())
}

func kernelFaults() []fault {
	const full = 1 // a connection that is closed is tracked for two minutes more
	old := ""
	return []fault{{
		name: "the connection tracking table is full", harms: []harm{{
			act: func(*faultLab) error {
				was, err := os.ReadFile(conntrackMax)
				if err != nil {
					return err
				}
				old = string(was)
				return os.WriteFile(conntrackMax, fmt.Append(nil, full), 0o644)
			},
			cure: func(*faultLab) error { return os.WriteFile(conntrackMax, []byte(old), 0o644) },
		}},
		want: diagnose.ConntrackFull, leg: diagnose.LegHost, direction: diagnose.Ingress, shows: "nf_conntrack_max = 1",
	}}
}

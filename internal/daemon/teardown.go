package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"natd/internal/control"
	"natd/internal/flow"
	"natd/nat"
	"natd/netconf"
)

// Flush removes everything that a natd made that runs no more, as the request does for one that runs.
func Flush(ctx context.Context, stateDir string) (*control.Outcome, error) {
	release, err := lock(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w, or ask it to flush: natctl --socket PATH flush", err)
	}
	defer release() //nolint:errcheck // the process ends, and the lock with it
	kernel, err := nat.Open()
	if err != nil {
		return nil, err
	}
	defer kernel.Close()
	conntrack, err := flow.Open()
	if err != nil {
		return nil, err
	}
	defer conntrack.Close()
	ledger := filepath.Join(stateDir, ledgerName)
	sysctls, err := netconf.OpenSysctls(ledger)
	if err != nil {
		return nil, err
	}
	_, unknown := os.Stat(ledger)
	changes, err := teardown(kernel, conntrack, sysctls)
	if err != nil {
		return nil, err
	}
	notes := []string{}
	if len(changes) > 0 && errors.Is(unknown, os.ErrNotExist) {
		notes = append(notes, "there is no record of changed sysctls in "+stateDir+": if natd ran with --state, name the same directory here")
	}
	return &control.Outcome{SchemaVersion: control.SchemaVersion, Changes: changes, Notes: append(notes, unrestoredNotes(sysctls)...)}, nil
}

// unrestored names the sysctls that a natd changed elsewhere, as far as the ledger tells, and that teardown left alone; "" when
// there are none.
func unrestored(sysctls *netconf.Sysctls) string {
	left := sysctls.Unrestored()
	was := make([]string, len(left))
	for i, c := range left {
		was[i] = fmt.Sprintf("%s was %s", c.Key, c.Old)
	}
	return strings.Join(was, "; ")
}

// unrestoredNotes tells the user of them.
func unrestoredNotes(sysctls *netconf.Sysctls) (notes []string) {
	if left := unrestored(sysctls); left != "" {
		notes = append(notes, "these sysctls were changed in another boot or network namespace and are not restored: "+left)
	}
	return notes
}

// teardown takes everything back. Forwarding goes first, while the strict policy still stands: without the rules
// nothing would hold back what others send through.
func teardown(kernel *nat.Kernel, conntrack *flow.Conntrack, sysctls *netconf.Sysctls) ([]string, error) {
	changes := []string{}
	restored, err := sysctls.Restore()
	for _, c := range restored {
		changes = append(changes, fmt.Sprintf("sysctl %s = %s again", c.Key, c.Old))
	}
	if err != nil {
		return changes, err
	}
	for range syncTries {
		var removed []string
		if removed, err = removeTables(kernel, conntrack); !errors.Is(err, nat.ErrStale) {
			return append(changes, removed...), err
		}
	}
	return changes, fmt.Errorf("remove natd's tables: another program keeps changing the ruleset: %w", err)
}

// removeTables removes natd's tables, and then the connections that were made through them. The error is nat.ErrStale,
// and nothing is changed, when another program changed the ruleset meanwhile.
func removeTables(kernel *nat.Kernel, conntrack *flow.Conntrack) (changes []string, err error) {
	have, err := kernel.Read()
	if err != nil {
		return nil, err
	}
	hold := nat.Hold{Protect: nat.ProtectOff, Port: kernel.Port()}
	plan := nat.Diff(nil, have, hold)
	if plan.Empty() {
		return nil, nil
	}
	if err := kernel.Apply(plan, have.Generation, hold); err != nil {
		return nil, err
	}
	dropped, err := dropConnections(conntrack, have)
	if dropped > 0 {
		changes = append(changes, fmt.Sprintf("remove %d connections", dropped))
	}
	return append(changes, plan.Steps(stepsShown)...), err
}

// dropConnections ends the connections that were made through the table.
func dropConnections(conntrack *flow.Conntrack, have *nat.Table) (int, error) {
	none, listens := &nat.Spec{}, make(map[nat.Endpoint]bool)
	for _, e := range have.Listens() {
		listens[e] = true
	}
	judge := &flow.Judge{Spec: none, Index: nat.NewIndex(none, nil), Retired: listens, Gone: flow.Removed(have.Passages(), none)}
	var condemned []flow.Entry
	err := conntrack.Entries(func(e *flow.Entry) {
		if judge.Condemned(e) != "" {
			condemned = append(condemned, e.Clone())
		}
	})
	if err != nil {
		return 0, err
	}
	return conntrack.Delete(condemned)
}

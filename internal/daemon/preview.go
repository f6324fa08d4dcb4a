package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"natd/internal/config"
	"natd/internal/control"
	"natd/internal/flow"
	"natd/nat"
	"natd/netconf"
)

// Rules is the ruleset that the configuration becomes on this host now, in nft syntax. known is what the natd that runs says of
// backends, nil without one. It needs no rights.
func Rules(ctx context.Context, cfg *config.Config, known *control.Known) (string, error) {
	want, err := preview(ctx, cfg, known)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	if err := want.WriteText(&text); err != nil {
		return "", err
	}
	return text.String(), nil
}

// planShown is how many steps a plan names one by one.
const planShown = 1000

// Plan is what would change in the kernel if natd ran with the configuration now, and what would not be as configured. It is loaded while the
// kernel is read: of many relays either takes half a second. The error is that of load, or
// that of a reload when natd is at work and would refuse the configuration. known is what that natd says of backends, nil without
// one. It needs CAP_NET_ADMIN, because the kernel shows its rules to nobody else.
func Plan(ctx context.Context, load func() (*config.Config, error), known *control.Known) (outcome *control.Outcome, err error) {
	host, err := netconf.Open()
	if err != nil {
		return nil, err
	}
	defer host.Close()
	kernel, err := nat.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, kernel.Close()) }()
	cfg, have, err := loadAndRead(load, kernel)
	if err != nil {
		return nil, err
	}
	protect, err := protection(kernel, cfg)
	if err != nil {
		return nil, err
	}
	sysctls, err := netconf.OpenSysctls("") // nothing is changed, so nothing is remembered
	if err != nil {
		return nil, err
	}
	l, err := knowing(ctx, host, cfg, known)
	if err != nil {
		return nil, err
	}
	l.slow = (&fastPath{kernel: kernel, sysctls: sysctls}).slow
	next, err := foresee(ctx, host, sysctls, cfg, l, have)
	if err != nil {
		return nil, err
	}
	return prospect(cfg, have, protect, next, sysctls), nil
}

// prospect is what it takes to bring the kernel, which has that table, to what a configuration becomes.
func prospect(cfg *config.Config, have *nat.Table, protect nat.Protect, next *placed, sysctls *netconf.Sysctls) *control.Outcome {
	plan := nat.Diff(nat.Build(&cfg.NAT, next.all()), have, nat.HeldAs(have, protect))
	steps := append(plan.Steps(planShown), endings(plan.Retired, next)...)
	for _, b := range flow.Removed(have.Passages(), &cfg.NAT) {
		steps = append(steps, fmt.Sprintf("end the connections from %s to %s", b.Src, b.Dst))
	}
	return &control.Outcome{
		SchemaVersion: control.SchemaVersion,
		Changes:       append(steps, settingSteps(sysctls, cfg, next)...), Notes: append(disabledNotes(&cfg.NAT), shortfalls(next)...),
	}
}

// loadAndRead does both at the same time. Of two errors it is that of the file.
func loadAndRead(load func() (*config.Config, error), kernel *nat.Kernel) (*config.Config, *nat.Table, error) {
	var have *nat.Table
	var unread error
	var reading sync.WaitGroup
	reading.Go(func() { have, unread = kernel.Read() })
	cfg, err := load()
	reading.Wait()
	if err == nil {
		err = unread
	}
	return cfg, have, err
}

// foresee places the relays as a natd that starts now would, or as the one that is at work would at a reload. A start holds
// back relays that would take a port from a local service, a reload refuses the file.
func foresee(ctx context.Context, host *netconf.Host, sysctls *netconf.Sysctls, cfg *config.Config, l live, have *nat.Table) (*placed, error) {
	f, err := gather(host, sysctls, &cfg.NAT, l)
	if err != nil {
		return nil, err
	}
	listeners, err := host.Listeners()
	if err != nil {
		return nil, fmt.Errorf("find the ports of local services: %w", err)
	}
	next := placeOn(f, &cfg.NAT, nil)
	taken := conflicts(&cfg.NAT, next, listeners, standing(&cfg.NAT, have, f.local()))
	if len(taken) == 0 {
		return next, nil
	}
	if atWork(ctx) {
		if err := refusal(cfg, taken); err != nil {
			return nil, err
		}
	}
	return next.anew(f, &cfg.NAT, taken), nil
}

// endings names the listens whose connections would be ended: those that no relay claims any more.
func endings(retired []nat.Element, next *placed) (steps []string) {
	if len(retired) == 0 {
		return nil // as it mostly is: an index of many relays takes its time
	}
	index := nat.NewIndex(next.spec, next.facts.local())
	for i := range retired {
		listen := retired[i].Listen()
		if _, claimed := index.Relay(listen); !claimed && !index.Anywhere(listen) {
			steps = append(steps, "end the connections through "+retired[i].Text())
		}
	}
	return steps
}

// settingSteps is the kernel settings that the relays need and that are not so yet.
func settingSteps(sysctls *netconf.Sysctls, cfg *config.Config, next *placed) (steps []string) {
	for _, want := range neededSettings(cfg, next) {
		now, err := sysctls.Get(want.key)
		if err == nil && now != want.value {
			steps = append(steps, fmt.Sprintf("set sysctl %s = %s (now %s)", strings.ReplaceAll(want.key, "/", "."), want.value, now))
		}
	}
	return steps
}

// preview is the ruleset for this host now, whatever local services have the ports.
func preview(ctx context.Context, cfg *config.Config, known *control.Known) (want *nat.Ruleset, err error) {
	host, err := netconf.Open()
	if err != nil {
		return nil, err
	}
	defer host.Close()
	sysctls, err := netconf.OpenSysctls("")
	if err != nil {
		return nil, err
	}
	l, err := knowing(ctx, host, cfg, known)
	if err != nil {
		return nil, err
	}
	kernel, err := nat.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, kernel.Close()) }()
	l.slow = (&fastPath{kernel: kernel, sysctls: sysctls}).slow
	f, err := gather(host, sysctls, &cfg.NAT, l)
	if err != nil {
		return nil, err
	}
	return nat.Build(&cfg.NAT, placeOn(f, &cfg.NAT, nil).all()), nil
}

package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"natd/internal/config"
	"natd/internal/control"
	"natd/nat"
	"natd/netconf"
)

// Rules is the ruleset that the configuration becomes on this host now, in nft syntax. It needs no rights.
func Rules(cfg *config.Config) (string, error) {
	want, err := preview(cfg)
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

// Plan is what would change in the kernel if natd ran with the configuration now, and what would not be as configured. The error is
// that of a reload when natd is at work and would refuse the configuration. It needs CAP_NET_ADMIN, because the kernel
// shows its rules to nobody else.
func Plan(ctx context.Context, cfg *config.Config) (outcome *control.Outcome, err error) {
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
	protect, err := protection(kernel, cfg)
	if err != nil {
		return nil, err
	}
	have, err := kernel.Read()
	if err != nil {
		return nil, err
	}
	places, f, err := foresee(ctx, host, cfg, have)
	if err != nil {
		return nil, err
	}
	plan := nat.Diff(nat.Build(&cfg.NAT, placements(places)), have, nat.HeldAs(have, protect))
	steps := append(plan.Steps(planShown), endings(plan.Retired, nat.NewIndex(&cfg.NAT, f.local()))...)
	settings, err := settingSteps(cfg, places)
	if err != nil {
		return nil, err
	}
	return &control.Outcome{
		SchemaVersion: control.SchemaVersion,
		Changes:       append(steps, settings...), Notes: append(disabledNotes(&cfg.NAT), shortfalls(&cfg.NAT, places)...),
	}, nil
}

// foresee places the relays as a natd that starts now would, or as the one that is at work would at a reload. A start holds
// back relays that would take a port from a local service, a reload refuses the file.
func foresee(ctx context.Context, host *netconf.Host, cfg *config.Config, have *nat.Table) ([]place, *facts, error) {
	f, err := gather(host, &cfg.NAT)
	if err != nil {
		return nil, nil, err
	}
	listeners, err := host.Listeners()
	if err != nil {
		return nil, nil, fmt.Errorf("find the ports of local services: %w", err)
	}
	places := f.place(&cfg.NAT, nil)
	taken := conflicts(&cfg.NAT, places, f.local(), listeners, standing(&cfg.NAT, have, f.local()))
	if atWork(ctx) {
		if err := refusal(cfg, taken); err != nil {
			return nil, nil, err
		}
	}
	return f.place(&cfg.NAT, taken), f, nil
}

// endings names the listens whose connections would be ended: those that no relay claims any more.
func endings(retired []nat.Element, index *nat.Index) (steps []string) {
	for i := range retired {
		listen := retired[i].Listen()
		if _, claimed := index.Relay(listen); !claimed && !index.Anywhere(listen) {
			steps = append(steps, "end the connections through "+retired[i].Text())
		}
	}
	return steps
}

// settingSteps is the kernel settings that the relays need and that are not so yet.
func settingSteps(cfg *config.Config, places []place) (steps []string, err error) {
	sysctls, err := netconf.OpenSysctls("") // nothing is changed, so nothing is remembered
	if err != nil {
		return nil, err
	}
	for _, want := range neededSettings(cfg, places) {
		now, err := sysctls.Get(want.key)
		if err == nil && now != want.value {
			steps = append(steps, fmt.Sprintf("set sysctl %s = %s (now %s)", strings.ReplaceAll(want.key, "/", "."), want.value, now))
		}
	}
	return steps, nil
}

// preview is the ruleset for this host now, whatever local services have the ports.
func preview(cfg *config.Config) (*nat.Ruleset, error) {
	host, err := netconf.Open()
	if err != nil {
		return nil, err
	}
	defer host.Close()
	f, err := gather(host, &cfg.NAT)
	if err != nil {
		return nil, err
	}
	return nat.Build(&cfg.NAT, placements(f.place(&cfg.NAT, nil))), nil
}

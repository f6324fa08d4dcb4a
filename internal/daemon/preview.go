package daemon

import (
	"errors"
	"strings"

	"natd/internal/config"
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

// Plan is what would change in the kernel if natd ran with the configuration now, a line for each step. It needs
// CAP_NET_ADMIN, because the kernel shows its rules to nobody else.
func Plan(cfg *config.Config) (steps []string, err error) {
	want, err := preview(cfg)
	if err != nil {
		return nil, err
	}
	kernel, err := nat.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, kernel.Close()) }()
	protect, err := kernel.Protection(cfg.Daemon.Protect)
	if err != nil {
		return nil, err
	}
	have, err := kernel.Read()
	if err != nil {
		return nil, err
	}
	plan := nat.Diff(want, have, nat.HeldAs(have, protect))
	steps = plan.Steps(planShown)
	for i := range plan.Retired {
		steps = append(steps, "end the connections through "+plan.Retired[i].Text())
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

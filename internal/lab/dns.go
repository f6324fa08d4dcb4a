package lab

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// DNS is a running name server, dnsmasq.
type DNS struct {
	*Process
	hosts string // the file with its records
}

// StartDNS starts a name server in the host. It knows the records given and nothing else, and answers with a time to
// live of a second. The arguments are more of dnsmasq's: "--local=/lab/" lets it answer NXDOMAIN for what it does not
// know below lab, instead of REFUSED.
func (h *Host) StartDNS(ctx context.Context, listen netip.AddrPort, records map[string][]netip.Addr, args ...string) (*DNS, error) {
	dir, err := h.lab.TempDir("dnsmasq")
	if err != nil {
		return nil, err
	}
	d := &DNS{hosts: filepath.Join(dir, "hosts")}
	if err := d.write(records); err != nil {
		return nil, err
	}
	// It keeps the user root for the same reason as nginx does.
	d.Process, err = h.Start("dnsmasq", append([]string{
		"--keep-in-foreground", "--conf-file=/dev/null", "--pid-file", "--user=root",
		"--log-facility=-", "--no-resolv", "--no-hosts", "--local-ttl=1", "--bind-interfaces", "--addn-hosts=" + d.hosts,
		fmt.Sprintf("--port=%d", listen.Port()), "--listen-address=" + listen.Addr().String(),
	}, args...)...)
	if err != nil {
		return nil, err
	}
	return d, d.AwaitLog(ctx, serverPatience, "read "+d.hosts)
}

// Set replaces the records. The server reads them a moment later.
func (d *DNS) Set(records map[string][]netip.Addr) error {
	if err := d.write(records); err != nil {
		return err
	}
	return d.Signal(syscall.SIGHUP)
}

func (d *DNS) write(records map[string][]netip.Addr) error {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(records)) {
		for _, a := range records[name] {
			fmt.Fprintf(&b, "%s %s\n", a, name)
		}
	}
	if err := os.WriteFile(d.hosts, []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("writing the records of the name server: %w", err)
	}
	return nil
}

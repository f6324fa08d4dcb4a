package netconf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	ipForward       = "net.ipv4.ip_forward"
	acceptRedirects = "net.ipv4.conf.all.accept_redirects"
	ipv4Conf        = "net/ipv4/conf/" // all, default, and one directory for each interface
)

// Forwarding tells whether the host forwards IPv4.
func (s *Sysctls) Forwarding() (bool, error) {
	value, err := s.Get(ipForward)
	return value == "1", err
}

// EnableForwarding makes the host forward IPv4. Writing ip_forward makes the kernel set more: forwarding of every
// interface and of those to come, and accept_redirects of all, both ways (inet_forward_change in
// net/ipv4/devinet.c). Those are others' settings, so the ledger gets them all, and Restore puts them back after it
// has turned forwarding off. The kernel also turns off large receive offload for good where a device has it.
func (s *Sysctls) EnableForwarding() (changed bool, err error) {
	on, err := s.Forwarding()
	if on || err != nil {
		return false, err
	}
	along, err := s.forwardingMoves(ipv4Conf, ipForward)
	if err != nil {
		return false, err
	}
	redirects, err := s.Get(acceptRedirects)
	if err != nil {
		return false, err
	}
	along = append(along, Change{Key: acceptRedirects, Old: redirects, New: "0", Along: ipForward})
	return s.change(Change{Key: ipForward, New: "1"}, along...)
}

// forwardingMoves lists the interfaces' settings that the kernel will make when the mover turns forwarding on. It lists
// also what has that value already, because turning forwarding off will not leave it alone.
func (s *Sysctls) forwardingMoves(conf, mover string) ([]Change, error) {
	names, err := s.interfaces(conf)
	if err != nil {
		return nil, err
	}
	var moves []Change
	for _, name := range names {
		key := swapSeparators(conf + name + "/forwarding")
		old, err := s.Get(key)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the interface went away just now
		}
		if err != nil {
			return nil, err
		}
		moves = append(moves, Change{Key: key, Old: old, New: "1", Along: mover})
	}
	return moves, nil
}

// interfaces lists those that have settings of a family, and default. That of all is forwarding of the host under
// another name.
func (s *Sysctls) interfaces(conf string) ([]string, error) {
	directories, err := os.ReadDir(filepath.Join(s.root, conf))
	if err != nil {
		return nil, fmt.Errorf("list the interfaces below %s: %w", conf, err)
	}
	var names []string
	for _, d := range directories {
		if d.Name() != "all" {
			names = append(names, d.Name())
		}
	}
	return names, nil
}

// RedirectKeys is the settings that must be 0 to keep the host from telling clients on the interface to go straight to their
// destination, which a relay that receives and sends by one interface does otherwise. The kernel sends redirects when
// either of them says so (IN_DEV_TX_REDIRECTS in linux/inetdevice.h). IPv6 has no such setting.
func RedirectKeys(link string) []string {
	return []string{ipv4Conf + "all/send_redirects", ipv4Conf + link + "/send_redirects"}
}

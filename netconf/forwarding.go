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
	k, err := parseKey(ipForward)
	if err != nil {
		return false, err
	}
	along, err := s.forwardingMoves()
	if err != nil {
		return false, err
	}
	return s.change(k, "1", along...)
}

// forwardingMoves lists what the kernel will set when forwarding is turned on. It lists also what has that
// value already, because turning forwarding off will not leave it alone.
func (s *Sysctls) forwardingMoves() ([]Change, error) {
	directories, err := os.ReadDir(filepath.Join(s.root, ipv4Conf))
	if err != nil {
		return nil, fmt.Errorf("list the interfaces with IPv4 settings: %w", err)
	}
	to := map[string]string{acceptRedirects: "0"}
	for _, d := range directories {
		if d.Name() != "all" { // conf.all.forwarding is ip_forward under another name
			to[swapSeparators(ipv4Conf+d.Name()+"/forwarding")] = "1"
		}
	}
	var moves []Change
	for key, value := range to {
		old, err := s.Get(key)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the interface went away just now
		}
		if err != nil {
			return nil, err
		}
		moves = append(moves, Change{Key: key, Old: old, New: value, Along: ipForward})
	}
	return moves, nil
}

// RedirectKeys is the settings that must be 0 to keep the host from telling clients on the interface to go straight to their
// destination, which a relay that receives and sends by one interface does otherwise. The kernel sends redirects when
// either of them says so (IN_DEV_TX_REDIRECTS in linux/inetdevice.h).
func RedirectKeys(link string) []string {
	return []string{ipv4Conf + "all/send_redirects", ipv4Conf + link + "/send_redirects"}
}

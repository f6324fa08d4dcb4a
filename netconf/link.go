package netconf

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/vishvananda/netlink"
)

// Link is an interface of the host.
type Link struct {
	Name  string
	Index int
	MAC   string // in lower case with colons; "" when it has none
	Own   bool   // no network behind it: loopback or dummy
}

// Links lists the interfaces of the host, the oldest first.
func (h *Host) Links() ([]Link, error) {
	held, err := h.dumpLinks()
	if err != nil {
		return nil, fmt.Errorf("list the interfaces of the host: %w", err)
	}
	links := make([]Link, 0, len(held))
	for _, l := range held {
		a := l.Attrs()
		own := a.Flags&net.FlagLoopback != 0 || l.Type() == "dummy"
		links = append(links, Link{Name: a.Name, Index: a.Index, MAC: a.HardwareAddr.String(), Own: own})
	}
	slices.SortFunc(links, func(a, b Link) int { return cmp.Compare(a.Index, b.Index) })
	return links, nil
}

// dumpLinks returns a whole list only, as dumpAddresses does.
func (h *Host) dumpLinks() (held []netlink.Link, err error) {
	for range dumpTries {
		held, err = h.rtnl.LinkList()
		if err == nil {
			return held, nil
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("they changed %d times while being read: %w", dumpTries, err)
}

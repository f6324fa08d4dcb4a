package flowlog

import (
	"net/netip"
	"slices"
	"sync"
)

// Host is what the records say of the machine that natd runs on. What is not known is zero. It is made by NewHost, and does not
// change: whoever learns more makes another.
type Host struct {
	Facts

	held map[netip.Addr]*Interface

	mu   sync.Mutex
	ways map[netip.Addr]*Interface // what Way has said
}

// maxWays bounds what is remembered of Way, so that clients cannot fill the memory.
const maxWays = 1 << 14

// Facts is what a Host is made of.
type Facts struct {
	Account    string
	InstanceID string
	Region     string
	ZoneID     string
	Interfaces []Interface
	Own        []netip.Addr // addresses of the host on no interface that leads anywhere

	// Way is the index of the interface that the host would use towards an address, 0 when there is none; nil when nobody can tell.
	Way func(netip.Addr) int
}

// Interface is one that traffic goes by.
type Interface struct {
	ID     string // eni-..., or the name of the device where AWS is not known
	Index  int    // of the device
	VPC    string
	Subnet string
	Addrs  []netip.Addr
	VPCs   []netip.Prefix // the blocks of its VPC
	Minor  bool           // none of AWS's where AWS is known: that it has no traffic is no news
}

// NewHost makes a Host.
func NewHost(f Facts) *Host {
	h := &Host{Facts: f, held: make(map[netip.Addr]*Interface), ways: make(map[netip.Addr]*Interface)}
	for _, a := range f.Own {
		h.held[a] = nil
	}
	for i := range f.Interfaces {
		for _, a := range f.Interfaces[i].Addrs {
			h.held[a] = &f.Interfaces[i]
		}
	}
	return h
}

// owns tells whether the address is one of the host's.
func (h *Host) owns(a netip.Addr) bool {
	_, held := h.held[a]
	return held || a.IsLoopback()
}

// between is the interface that packets between an address here and another host go by: the one that has the address; where that is
// none of this host's, as with gateways and statics, the one towards the other. nil when neither is known.
func (h *Host) between(here, other netip.Addr) *Interface {
	if i := h.held[here]; i != nil {
		return i
	}
	if len(h.Interfaces) == 1 {
		return &h.Interfaces[0]
	}
	return h.towards(other)
}

func (h *Host) towards(other netip.Addr) *Interface {
	if h.Way == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	i, known := h.ways[other]
	if !known {
		if len(h.ways) >= maxWays {
			clear(h.ways)
		}
		i = h.at(h.Way(other))
		h.ways[other] = i
	}
	return i
}

// at is the interface of a device.
func (h *Host) at(index int) *Interface {
	return h.find(func(i *Interface) bool { return i.Index == index })
}

func (h *Host) find(match func(*Interface) bool) *Interface {
	for i := range h.Interfaces {
		if match(&h.Interfaces[i]) {
			return &h.Interfaces[i]
		}
	}
	return nil
}

// withinVPC is the traffic-path of what stays in the VPC of the interface (Amazon VPC User Guide, "Flow log records"). Which way
// anything else takes is decided by route tables that natd does not see.
const withinVPC = 1

func (i *Interface) path(dst netip.Addr) uint8 {
	if i != nil && slices.ContainsFunc(i.VPCs, func(p netip.Prefix) bool { return p.Contains(dst) }) {
		return withinVPC
	}
	return 0
}

package netconf

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Sizes and numbers of socket diagnosis: linux/inet_diag.h, linux/sock_diag.h.
const (
	sockDiagByFamily = 20
	diagRequestSize  = 56 // struct inet_diag_req_v2
	diagMessageSize  = 72 // struct inet_diag_msg
	diagAttrIPv6Only = 11 // INET_DIAG_SKV6ONLY
	diagAttrLocals   = 12 // INET_DIAG_LOCALS: struct sockaddr_storage for each address of an SCTP socket
	sockaddrSize     = 128
	stateClose       = 7  // TCP_CLOSE in net/tcp_states.h
	stateListen      = 10 // TCP_LISTEN
)

// Listener is a port that a local service waits on.
type Listener struct {
	Protocol uint8      // IP protocol number: 6 TCP, 17 UDP, 132 SCTP
	Addr     netip.Addr // unspecified: every address of its family
	Port     uint16
	UID      uint32 // the user that the service runs as
}

// diagQuery is one kind of socket that waits for strangers. UDP sockets that are bound but not connected are in state
// close (udp_diag_dump in net/ipv4/udp_diag.c filters by that).
type diagQuery struct {
	name     string
	protocol uint8
	state    uint8
	optional bool // a kernel that cannot list such sockets may well have none
}

// Listeners lists the ports that local services wait on, each once and in order: TCP and SCTP sockets that listen and UDP
// sockets that are bound and not connected. The kernel does the filtering, so established connections cost nothing. A
// socket on the IPv6 wildcard that takes IPv4 too stands there twice, as :: and as 0.0.0.0. Sockets on loopback
// addresses are left out: no packet from outside is for them.
func (h *Host) Listeners() ([]Listener, error) {
	var found []Listener
	for _, query := range []diagQuery{
		{"tcp", unix.IPPROTO_TCP, stateListen, false},
		{"udp", unix.IPPROTO_UDP, stateClose, false},
		// Asking loads sctp_diag where SCTP is in use, and never SCTP itself (sock_load_diag_module in net/core/sock.c).
		{"sctp", unix.IPPROTO_SCTP, stateListen, true},
	} {
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			listeners, err := h.diagnose(query, family)
			if query.optional && errors.Is(err, unix.ENOENT) {
				continue
			}
			if errors.Is(err, unix.ENOENT) {
				return nil, fmt.Errorf("list the local %s sockets: the kernel cannot; load its module %s_diag: %w",
					query.name, query.name, err)
			}
			if err != nil {
				return nil, fmt.Errorf("list the local %s sockets: %w", query.name, err)
			}
			found = append(found, listeners...)
		}
	}
	slices.SortFunc(found, compareListeners)
	return slices.Compact(found), nil // services with SO_REUSEPORT hold a port many times
}

func compareListeners(a, b Listener) int {
	return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port), a.Addr.Compare(b.Addr),
		cmp.Compare(a.UID, b.UID))
}

// diagnose is one dump of the sockets of one protocol and family in one state.
func (h *Host) diagnose(query diagQuery, family uint8) ([]Listener, error) {
	request := nl.NetlinkRequest{
		NlMsghdr: unix.NlMsghdr{
			Len:   unix.SizeofNlMsghdr,
			Type:  sockDiagByFamily,
			Flags: unix.NLM_F_REQUEST | unix.NLM_F_DUMP,
		},
		Sockets: map[int]*nl.SocketHandle{unix.NETLINK_SOCK_DIAG: h.diag},
	}
	request.AddRawData(diagRequest(query, family))
	messages, err := request.Execute(unix.NETLINK_SOCK_DIAG, sockDiagByFamily)
	if err != nil {
		return nil, err
	}
	var found []Listener
	for _, message := range messages {
		listeners, err := parseListener(query, message)
		if err != nil {
			return nil, err
		}
		found = append(found, listeners...)
	}
	return found, nil
}

// diagRequest is a struct inet_diag_req_v2 that asks for the sockets in one state and for no extra information.
func diagRequest(query diagQuery, family uint8) []byte {
	request := make([]byte, diagRequestSize)
	request[0], request[1] = family, query.protocol
	binary.NativeEndian.PutUint32(request[4:], 1<<query.state)
	return request
}

// parseListener reads a struct inet_diag_msg and the attributes behind it. The result is empty for a socket
// that nobody outside can reach, and has two entries for one that serves both families. SCTP describes sockets in other
// states too (sctp_ep_dump in net/sctp/diag.c), which are left out.
func parseListener(query diagQuery, message []byte) ([]Listener, error) {
	if len(message) < diagMessageSize {
		return nil, fmt.Errorf("the kernel describes a socket in %d bytes instead of %d", len(message), diagMessageSize)
	}
	if message[1] != query.state {
		return nil, nil
	}
	attributes, err := nl.ParseRouteAttrAsMap(message[diagMessageSize:])
	if err != nil {
		return nil, fmt.Errorf("read the attributes of a socket: %w", err)
	}
	width := 4
	if message[0] == unix.AF_INET6 {
		width = 16
	}
	first, _ := netip.AddrFromSlice(message[8 : 8+width])
	addrs := append(localAddrs(attributes[diagAttrLocals].Value), first)
	if only := attributes[diagAttrIPv6Only].Value; slices.Contains(addrs, netip.IPv6Unspecified()) && (len(only) == 0 || only[0] == 0) {
		addrs = append(addrs, netip.IPv4Unspecified()) // IPV6_V6ONLY in ipv6(7)
	}
	var found []Listener
	for _, addr := range addrs {
		if addr = addr.Unmap(); !addr.IsLoopback() {
			found = append(found, Listener{
				Protocol: query.protocol,
				Addr:     addr,
				Port:     binary.BigEndian.Uint16(message[4:]),
				UID:      binary.NativeEndian.Uint32(message[64:]),
			})
		}
	}
	return found, nil
}

// localAddrs reads the addresses of an SCTP socket, which can have several.
func localAddrs(b []byte) (addrs []netip.Addr) {
	for ; len(b) >= sockaddrSize; b = b[sockaddrSize:] {
		switch binary.NativeEndian.Uint16(b) {
		case unix.AF_INET: // struct sockaddr_in
			addrs = append(addrs, netip.AddrFrom4([4]byte(b[4:8])))
		case unix.AF_INET6: // struct sockaddr_in6
			addrs = append(addrs, netip.AddrFrom16([16]byte(b[8:24])))
		}
	}
	return addrs
}

package netconf

import (
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// patience is how long the kernel may take to answer. It answers these requests at once, so whoever waits longer
// waits for a lock that somebody else holds.
const patience = 10 * time.Second

// Host reads the network of the namespace that it was opened in. It may be used by several goroutines, but
// not after Close.
type Host struct {
	rtnl *netlink.Handle
	diag *nl.SocketHandle
}

// Open opens the sockets that a Host asks through. They last until Close: a lookup costs no socket.
func Open() (*Host, error) {
	rtnl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a route netlink socket: %w", err)
	}
	if err := rtnl.SetSocketTimeout(patience); err != nil {
		rtnl.Close()
		return nil, fmt.Errorf("limit how long a route netlink socket waits: %w", err)
	}
	diag, err := openDiag()
	if err != nil {
		rtnl.Close()
		return nil, err
	}
	return &Host{rtnl: rtnl, diag: diag}, nil
}

func openDiag() (*nl.SocketHandle, error) {
	socket, err := nl.Subscribe(unix.NETLINK_SOCK_DIAG) // to no group: a plain socket
	if err != nil {
		return nil, fmt.Errorf("open a socket diagnosis netlink socket: %w", err)
	}
	tv := unix.NsecToTimeval(patience.Nanoseconds())
	if err := socket.SetReceiveTimeout(&tv); err != nil {
		socket.Close()
		return nil, fmt.Errorf("limit how long a socket diagnosis netlink socket waits: %w", err)
	}
	return &nl.SocketHandle{Socket: socket}, nil
}

// Close gives the sockets back.
func (h *Host) Close() {
	h.rtnl.Close()
	h.diag.Close()
}

// linkName is the present name of an interface. It asks by ioctl, which any socket answers (netdevice(7)): the
// netlink answer carries two kilobytes of statistics that nobody reads, and a host with many
// relays asks often.
func (h *Host) linkName(index int) (string, error) {
	request, err := unix.NewIfreq("")
	if err != nil {
		return "", fmt.Errorf("ask for the name of interface %d: %w", index, err)
	}
	request.SetUint32(uint32(index))
	if err := unix.IoctlIfreq(h.diag.Socket.GetFd(), unix.SIOCGIFNAME, request); err != nil {
		return "", fmt.Errorf("ask for the name of interface %d: %w", index, err)
	}
	return request.Name(), nil
}

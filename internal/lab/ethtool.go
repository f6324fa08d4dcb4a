package lab

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtoolValue is struct ethtool_value of linux/ethtool.h.
type ethtoolValue struct {
	cmd, data uint32
}

// ethtoolRequest is struct ifreq of linux/if.h with a pointer in it, which SIOCETHTOOL wants.
type ethtoolRequest struct {
	name [unix.IFNAMSIZ]byte
	data *ethtoolValue
	_    [16]byte // the rest of the union
}

// setEthtool changes one feature of an interface, in the host that the calling thread is in.
func setEthtool(fd int, dev string, cmd, value uint32) error {
	request := ethtoolRequest{data: &ethtoolValue{cmd: cmd, data: value}}
	copy(request.name[:len(request.name)-1], dev)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return errno
	}
	return nil
}

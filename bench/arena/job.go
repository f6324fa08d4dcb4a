package arena

import (
	"encoding/binary"
	"net/netip"
)

const (
	// ports is how many ports of one address the relays take, from firstPort on.
	ports     = 50000
	firstPort = 10000
	// EchoPort is where the server answers.
	EchoPort = 8080
	// subnets and hosts are how the targets that nobody dials spread over 10.3.0.0/16.
	subnets = 200
	hosts   = 250
	// MaxRelays is how many relays a job can have.
	MaxRelays = relayAddrs * ports
)

// Job is what a candidate is asked to do. Its relays are numbered from 0, and traffic goes to the last one.
type Job struct {
	Relays   int  `json:"relays"`
	Prefixes int  `json:"prefixes"` // sources that each relay serves, the client's the last of them; 0 = everybody
	UDP      bool `json:"udp"`      // the relays carry UDP instead of TCP
	Moved    bool `json:"moved"`    // the relay that is hit goes to the server's other address: the change among many
}

// Hit is the relay that traffic goes to.
func (j Job) Hit() int { return j.Relays - 1 }

// Protocol is the protocol of the relays.
func (j Job) Protocol() string {
	if j.UDP {
		return "udp"
	}
	return "tcp"
}

// Listen is what clients of a relay dial: an address of B.
func (Job) Listen(i int) netip.AddrPort {
	return netip.AddrPortFrom(ten(2, 0, byte(100+i/ports)), uint16(firstPort+i%ports))
}

// Target is where a relay goes.
func (j Job) Target(i int) netip.AddrPort {
	switch {
	case i == j.Hit() && j.Moved:
		return netip.AddrPortFrom(ten(3, 0, 101), EchoPort)
	case i == j.Hit():
		return netip.AddrPortFrom(ten(3, 0, 100), EchoPort)
	}
	return netip.AddrPortFrom(ten(3, byte(1+i/hosts%subnets), byte(1+i%hosts)), EchoPort)
}

// Sources are the networks that a relay serves: every relay others, of two lengths, and the clients' last. None means everybody.
func (j Job) Sources(i int) []netip.Prefix {
	if j.Prefixes == 0 {
		return nil
	}
	const networks = 1 << 14 // of 256 addresses, in 100.64.0.0/10
	all := make([]netip.Prefix, 0, j.Prefixes)
	for k := range j.Prefixes - 1 {
		n := uint32((i*(j.Prefixes-1) + k) % networks)
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], 100<<24|64<<16+n<<8)
		all = append(all, netip.PrefixFrom(netip.AddrFrom4(b), 24+4*(k%2)))
	}
	return append(all, Clients())
}

// Clients is the network of the clients: A answers for all of it.
func Clients() netip.Prefix { return netip.PrefixFrom(ten(1, 0, 0), 16) }

// Servers is the network of the targets.
func Servers() netip.Prefix { return netip.PrefixFrom(ten(3, 0, 0), 16) }

// ten is an address of 10.0.0.0/8, in which all are.
func ten(b, c, d byte) netip.Addr { return netip.AddrFrom4([4]byte{10, b, c, d}) }

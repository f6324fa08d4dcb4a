package netconf

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestListeners(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	ip(t, "addr add 10.9.9.9/32 dev lo")
	ip(t, "-6 addr add 2001:db8::9/128 dev lo nodad")
	h := openHost(t)
	for _, test := range []struct {
		name, network, address string
		options                map[int]int // of level IPPROTO_IPV6
		want                   string
	}{
		{"tcp on every IPv4 address", "tcp4", "0.0.0.0:80", nil, "6 0.0.0.0:80"},
		{"tcp on one address", "tcp4", "10.9.9.9:80", nil, "6 10.9.9.9:80"},
		{"tcp on both families", "tcp6", "[::]:80", map[int]int{unix.IPV6_V6ONLY: 0}, "6 0.0.0.0:80, 6 [::]:80"},
		{"tcp on IPv6 only", "tcp6", "[::]:80", map[int]int{unix.IPV6_V6ONLY: 1}, "6 [::]:80"},
		{"tcp on one IPv6 address", "tcp6", "[2001:db8::9]:80", nil, "6 [2001:db8::9]:80"},
		{"tcp on loopback", "tcp4", "127.0.0.1:80", nil, ""},
		{"tcp on IPv6 loopback", "tcp6", "[::1]:80", nil, ""},
		{"udp on every IPv4 address", "udp4", "0.0.0.0:53", nil, "17 0.0.0.0:53"},
		{"udp on both families", "udp6", "[::]:53", map[int]int{unix.IPV6_V6ONLY: 0}, "17 0.0.0.0:53, 17 [::]:53"},
		{"udp on IPv6 only", "udp6", "[::]:53", map[int]int{unix.IPV6_V6ONLY: 1}, "17 [::]:53"},
		{"udp on loopback", "udp4", "127.0.0.53:53", nil, ""},
	} {
		socket := bind(t, test.network, test.address, test.options)
		if got := listListeners(t, h); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
		if err := socket(); err != nil {
			t.Fatal(err)
		}
		// A program that another test is starting may hold a copy of the socket until it is there.
		eventually(t, "no listener is left: "+test.name, func() bool { return listListeners(t, h) == "" })
	}
}

// bind opens a service's socket and returns what closes it.
func bind(t *testing.T, network, address string, options map[int]int) (closeSocket func() error) {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			for option, value := range options {
				if err := unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, option, value); err != nil {
					t.Error(err)
				}
			}
		})
	}}
	if strings.HasPrefix(network, "udp") {
		socket, err := config.ListenPacket(context.Background(), network, address)
		if err != nil {
			t.Fatal(err)
		}
		return socket.Close
	}
	socket, err := config.Listen(context.Background(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	return socket.Close
}

func listListeners(t *testing.T, h *Host) string {
	t.Helper()
	listeners, err := h.Listeners()
	if err != nil {
		t.Fatal(err)
	}
	words := make([]string, 0, len(listeners))
	for _, l := range listeners {
		words = append(words, fmt.Sprintf("%d %s", l.Protocol, netip.AddrPortFrom(l.Addr, l.Port)))
	}
	return strings.Join(words, ", ")
}

// TestListenersAlone checks that connected sockets, which a relay takes nothing from, are left out.
func TestListenersAlone(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	ip(t, "addr add 10.9.9.9/32 dev lo")
	h := openHost(t)
	server, err := net.Listen("tcp4", "10.9.9.9:80")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		client, err := net.Dial("tcp4", "10.9.9.9:80")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		accepted, err := server.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = accepted.Close() }()
	}
	connected, err := net.Dial("udp4", "10.9.9.9:53")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connected.Close() }()
	if got, want := listListeners(t, h), "6 10.9.9.9:80"; got != want {
		t.Errorf("with connections: got %q, want %q", got, want)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	// A program that another test is starting may hold a copy of the socket until it is there.
	eventually(t, "no listener is left when only its connections are", func() bool { return listListeners(t, h) == "" })
}

// TestListenersOnce checks that a service with many sockets on a port stands there once.
func TestListenersOnce(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	h := openHost(t)
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
				t.Error(err)
			}
		})
	}}
	for range 4 {
		socket, err := config.Listen(context.Background(), "tcp4", "0.0.0.0:443")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = socket.Close() }()
	}
	if got, want := listListeners(t, h), "6 0.0.0.0:443"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// diagMessage is a struct inet_diag_msg as the kernel writes it, of a listener on port 22.
func diagMessage(family byte, addr netip.Addr, uid uint32, attributes ...byte) []byte {
	message := make([]byte, diagMessageSize, diagMessageSize+len(attributes))
	message[0], message[1] = family, stateListen
	binary.BigEndian.PutUint16(message[4:], 22)
	copy(message[8:], addr.AsSlice())
	binary.NativeEndian.PutUint32(message[64:], uid)
	return append(message, attributes...)
}

func TestParseListener(t *testing.T) {
	t.Parallel()
	at := func(addr string, port uint16, uid uint32) Listener {
		return Listener{Protocol: 6, Addr: netip.MustParseAddr(addr), Port: port, UID: uid}
	}
	only := []byte{5, 0, diagAttrIPv6Only, 0, 1, 0, 0, 0}
	if v := binary.NativeEndian.Uint16(only); v != 5 {
		t.Skip("the attributes of this test are little-endian")
	}
	both := slices.Clone(only)
	both[4] = 0
	v6, v4 := netip.IPv6Unspecified(), netip.MustParseAddr("10.0.0.1")
	mapped := netip.AddrFrom16(v4.As16())
	locals := make([]byte, 4+4*sockaddrSize)
	binary.NativeEndian.PutUint16(locals, uint16(len(locals)))
	binary.NativeEndian.PutUint16(locals[2:], diagAttrLocals)
	for i, addr := range []string{"10.0.0.2", "2001:db8::1", "127.0.0.1", "0.0.0.0"} {
		sockaddr, a := locals[4+i*sockaddrSize:], netip.MustParseAddr(addr)
		switch {
		case a.IsUnspecified(): // of a family that is not known
		case a.Is4():
			binary.NativeEndian.PutUint16(sockaddr, unix.AF_INET)
			copy(sockaddr[4:], a.AsSlice())
		default:
			binary.NativeEndian.PutUint16(sockaddr, unix.AF_INET6)
			copy(sockaddr[8:], a.AsSlice())
		}
	}
	multihomed := diagMessage(unix.AF_INET, v4, 0, locals...)
	closed := diagMessage(unix.AF_INET, v4, 0)
	closed[1] = stateClose
	for _, test := range []struct {
		name    string
		message []byte
		want    []Listener
		fails   bool
	}{
		{"IPv4", diagMessage(unix.AF_INET, v4, 1000), []Listener{at("10.0.0.1", 22, 1000)}, false},
		{"mapped IPv4", diagMessage(unix.AF_INET6, mapped, 0), []Listener{at("10.0.0.1", 22, 0)}, false},
		{"both", diagMessage(unix.AF_INET6, v6, 7, both...), []Listener{at("::", 22, 7), at("0.0.0.0", 22, 7)}, false},
		{"IPv6 only", diagMessage(unix.AF_INET6, v6, 7, only...), []Listener{at("::", 22, 7)}, false},
		{"SCTP that does not listen", closed, nil, false},
		{"SCTP on three addresses", multihomed, []Listener{at("10.0.0.2", 22, 0), at("2001:db8::1", 22, 0), at("10.0.0.1", 22, 0)}, false},
		{"cut short", diagMessage(unix.AF_INET, v4, 0)[:60], nil, true},
		{"broken attribute", diagMessage(unix.AF_INET6, v6, 0, 200, 0, diagAttrIPv6Only, 0), nil, true},
	} {
		got, err := parseListener(diagQuery{"tcp", 6, stateListen, false}, test.message)
		if (err != nil) != test.fails || !test.fails && !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, %v, want %v", test.name, got, err, test.want)
		}
	}
}

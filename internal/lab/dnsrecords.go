package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Answer is what a Zone says about a name. The zero Answer is an empty one: the name exists, without addresses.
type Answer struct {
	Addrs []netip.Addr // A and AAAA
	Fail  bool         // SERVFAIL, over UDP
}

// Zone is a running name server, dnsmasq, that answers as told. What it is told may change while it runs. A name that
// it was not told of does not exist: NXDOMAIN. With Stop nobody listens any more, and between SIGSTOP and SIGCONT nobody
// answers.
type Zone struct {
	*Process
	host    *Host
	listen  netip.AddrPort
	ttl     time.Duration
	hosts   string         // the file with its addresses
	servers string         // the file with the names that it asks another server for
	failing netip.AddrPort // that server
}

// StartZone starts a name server in the host. Addresses are given out with the time to live, in whole seconds.
func (h *Host) StartZone(ctx context.Context, listen netip.AddrPort, ttl time.Duration, answers map[string]Answer) (*Zone, error) {
	dir, err := h.lab.TempDir("zone")
	if err != nil {
		return nil, err
	}
	z := &Zone{host: h, listen: listen, ttl: ttl, hosts: filepath.Join(dir, "hosts"), servers: filepath.Join(dir, "servers")}
	if z.failing, err = h.failDNS(); err != nil {
		return nil, err
	}
	if err := z.write(answers); err != nil {
		return nil, err
	}
	return z, z.Restart(ctx)
}

// Restart starts the name server again after it was stopped or killed, and waits until it answers.
func (z *Zone) Restart(ctx context.Context) (err error) {
	// It keeps the user root for the same reason as nginx does.
	z.Process, err = z.host.Start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file", "--user=root",
		"--log-facility=-", "--no-resolv", "--no-hosts", "--bind-interfaces", "--cache-size=0", "--local=/#/", "--log-queries",
		"--addn-hosts="+z.hosts, "--servers-file="+z.servers, fmt.Sprintf("--local-ttl=%d", int(z.ttl.Seconds())),
		fmt.Sprintf("--port=%d", z.listen.Port()), "--listen-address="+z.listen.Addr().String())
	if err != nil {
		return err
	}
	return z.awaitRead(ctx, 1)
}

// Set replaces all answers, and waits until the server gives the new ones.
func (z *Zone) Set(ctx context.Context, answers map[string]Answer) error {
	if err := z.write(answers); err != nil {
		return err
	}
	times := z.read()
	if err := z.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	return z.awaitRead(ctx, times+1)
}

// Queries is how often somebody has asked for a record of the name since the server was started.
func (z *Zone) Queries(name string) int {
	n := 0
	for _, line := range lines(z.Log()) {
		if _, query, ok := strings.Cut(line, " query["); ok && strings.Contains(query, "] "+name+" from ") {
			n++
		}
	}
	return n
}

// read is how often the server has read its addresses. It answers nobody until it has read the other file, too.
func (z *Zone) read() int { return strings.Count(z.Log(), "read "+z.hosts) }

func (z *Zone) awaitRead(ctx context.Context, times int) error {
	return z.Await(ctx, serverPatience, func() error {
		if z.read() < times {
			return errors.New("the records are not read yet")
		}
		return nil
	})
}

// write writes both files. An empty answer comes from a name below: where a.example exists, example exists too, and
// has nothing itself (RFC 8020, section 2).
func (z *Zone) write(answers map[string]Answer) error {
	var hosts, servers strings.Builder
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		a := answers[name]
		switch {
		case a.Fail:
			fmt.Fprintf(&servers, "server=/%s/%s#%d\n", name, z.failing.Addr(), z.failing.Port())
		case len(a.Addrs) == 0:
			fmt.Fprintf(&hosts, "192.0.2.1 below.%s\n", name)
		}
		for _, addr := range a.Addrs {
			fmt.Fprintf(&hosts, "%s %s\n", addr, name)
		}
	}
	for path, text := range map[string]string{z.hosts: hosts.String(), z.servers: servers.String()} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("writing the records of the name server: %w", err)
		}
	}
	return nil
}

// failDNS starts a name server in the host that fails always. dnsmasq by itself never answers SERVFAIL, and passes on that
// of the server it asks.
func (h *Host) failDNS() (netip.AddrPort, error) {
	c, err := h.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	go func() {
		for buf := make([]byte, 1<<16); ; {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if n < 4 {
				continue
			}
			// The question comes back as the answer, with the bit QR and the code 2 (RFC 1035, section 4.1.1).
			buf[2], buf[3] = buf[2]|0x80, buf[3]&0xf0|2
			_, _ = c.WriteTo(buf[:n], from) // a datagram may get lost
		}
	}()
	return addrPort(c.LocalAddr()), nil
}

package probe

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"natd/internal/lab"
)

// dnsHost is a host with dnsmasq, and Names that follow db.lab there by what a resolv.conf says.
type dnsHost struct {
	*lab.Host
	names *Names
	calls *atomic.Int64
}

func loopback53() netip.AddrPort { return netip.MustParseAddrPort("127.0.0.1:53") }

// startDNS starts a name server that knows the name db.lab with these addresses.
func (h *dnsHost) startDNS(t *testing.T, set string) *lab.DNS {
	t.Helper()
	server, err := h.StartDNS(t.Context(), loopback53(), zoneOf(set), "--local=/lab/", "--log-queries")
	lab.Check(t, err)
	return server
}

func zoneOf(set string) map[string][]netip.Addr {
	return map[string][]netip.Addr{"db.lab": addrs(set)}
}

func newDNSHost(t *testing.T) *dnsHost {
	t.Helper()
	lab.Require(t, "dnsmasq")
	h := &dnsHost{Host: lab.NewHost(t), calls: new(atomic.Int64)}
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	lab.Check(t, os.WriteFile(conf, []byte("nameserver 127.0.0.1\noptions timeout:1\n"), 0o600))
	h.names = NewNames(Options{
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), ResolvConf: conf,
		Changed: func() { h.calls.Add(1) },
	})
	h.names.resolver.dial = h.Dial
	return h
}

// await waits for the addresses and returns how long it took.
func (h *dnsHost) await(t *testing.T, set string, answered bool) time.Duration {
	t.Helper()
	began := time.Now()
	lab.Eventually(t, patience, func() error {
		if a := h.names.Answer(dbLab()); letters(a.Addrs) != set || (a.Error == "") != answered {
			return fmt.Errorf("%q in use, error %q, want %q, answered: %v", letters(a.Addrs), a.Error, set, answered)
		}
		return nil
	})
	return time.Since(began)
}

// ttlAndOne is how long a change may take: the time to live of dnsmasq's answers and a second.
const ttlAndOne = 2 * time.Second

func TestKernelNameChanges(t *testing.T) {
	t.Parallel()
	h := newDNSHost(t)
	server := h.startDNS(t, "a")
	h.names.Set([]Name{dbLab()})
	runNames(t, h.names)
	h.await(t, "a", true)
	for i, set := range []string{"b", "c d", "d", "d e"} {
		lab.Check(t, server.Set(zoneOf(set)))
		if took := h.await(t, set, true); took > ttlAndOne {
			t.Errorf("followed to %q after %v, want %v", set, took, ttlAndOne)
		}
		if got := h.calls.Load(); got != int64(i+2) {
			t.Errorf("%d calls after %d changes", got, i+2)
		}
	}
	// To and fro, and each answer heard: one change.
	for i := range 10 {
		set := []string{"f", "d e"}[i%2]
		lab.Check(t, server.Set(zoneOf(set)))
		awaitHeard(t, server, set)
		if got := letters(h.names.Answer(dbLab()).Addrs); i > 0 && got != "f" {
			t.Errorf("%q in use after flip %d, want f", got, i)
		}
	}
	lab.Check(t, server.Set(zoneOf("f")))
	awaitHeard(t, server, "f")
	h.await(t, "f", true)
	if got := h.calls.Load(); got != 6 {
		t.Errorf("%d calls, want one for the whole failover: 6", got)
	}
}

// awaitHeard waits until the server has given this answer once more.
func awaitHeard(t *testing.T, server *lab.DNS, set string) {
	t.Helper()
	before := len(server.Log())
	answer := "db.lab is " + texts(addrs(set)[:1])
	lab.Eventually(t, patience, func() error {
		if !strings.Contains(server.Log()[before:], answer) {
			return fmt.Errorf("no answer %s yet", answer)
		}
		return nil
	})
}

// TestKernelNameFails takes the answer away in each way that dnsmasq can.
func TestKernelNameFails(t *testing.T) {
	t.Parallel()
	six := map[string][]netip.Addr{"db.lab": {netip.MustParseAddr("fd00::1")}}
	tests := map[string]struct {
		fail func(*testing.T, *lab.DNS)
		want string
	}{
		"NXDOMAIN": {func(t *testing.T, d *lab.DNS) { lab.Check(t, d.Set(nil)) }, "127.0.0.1:53: there is no such name (NXDOMAIN)"},
		"empty":    {func(t *testing.T, d *lab.DNS) { lab.Check(t, d.Set(six)) }, "127.0.0.1:53: the name has no address (ipv4)"},
		"stopped":  {func(t *testing.T, d *lab.DNS) { lab.Check(t, d.Stop()) }, "127.0.0.1:53: read: connection refused"},
		"loopback": {func(t *testing.T, d *lab.DNS) {
			lab.Check(t, d.Set(map[string][]netip.Addr{"db.lab": {netip.MustParseAddr("127.0.0.7")}}))
		}, "127.0.0.1:53: the name has no address but 127.0.0.7, which is not the address of another host"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newDNSHost(t)
			server := h.startDNS(t, "a b")
			h.names.Set([]Name{dbLab()})
			runNames(t, h.names)
			h.await(t, "a b", true)
			tt.fail(t, server)
			h.await(t, "a b", false)
			if a := h.names.Answer(dbLab()); a.Error != tt.want {
				t.Errorf("the error is %q, want %q", a.Error, tt.want)
			}
			lab.Check(t, server.Stop())
			h.startDNS(t, "c")
			h.await(t, "c", true)
			if got := h.calls.Load(); got != 3 {
				t.Errorf("%d calls, want 3: answered, failing, changed", got)
			}
		})
	}
}

// TestKernelLongAnswer is more than fits in a datagram.
func TestKernelLongAnswer(t *testing.T) {
	t.Parallel()
	lab.Require(t, "tcpdump")
	h := newDNSHost(t)
	var many []netip.Addr
	for i := range 150 {
		many = append(many, netip.AddrFrom4([4]byte{10, 3, 0, byte(i + 1)}))
	}
	_, err := h.StartDNS(t.Context(), loopback53(), map[string][]netip.Addr{"db.lab": many})
	lab.Check(t, err)
	capture, err := h.Capture(t.Context(), "lo", "dst port 53")
	lab.Check(t, err)
	h.names.Set([]Name{dbLab()})
	runNames(t, h.names)
	lab.Eventually(t, patience, func() error {
		if a := h.names.Answer(dbLab()); len(a.Addrs) != len(many) {
			return fmt.Errorf("%d addresses, error %q, want %d", len(a.Addrs), a.Error, len(many))
		}
		return nil
	})
	lab.Check(t, capture.Await(t.Context(), patience, func(packets []lab.Packet) error {
		seen := map[string]bool{}
		for _, packet := range packets {
			seen[packet.Proto] = true
		}
		if !seen["udp"] || !seen["tcp"] {
			return fmt.Errorf("asked by %v, want udp and then tcp", seen)
		}
		return nil
	}))
}

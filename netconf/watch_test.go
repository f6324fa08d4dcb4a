package netconf

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// startWatch runs Watch in the namespace until the test ends, and returns the number of calls so far.
func startWatch(t *testing.T, ns namespace) *atomic.Int64 {
	t.Helper()
	var calls atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ns.run(func() error { return Watch(ctx, func() { calls.Add(1) }) }) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Watch returned %v at the end of its context", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Watch goes on 10 s after the end of its context")
		}
	})
	eventually(t, "Watch calls once it is subscribed", func() bool { return calls.Load() > 0 })
	return &calls
}

// settle waits until no call has come for a while, so that a later one is due to what comes later.
func settle(t *testing.T, calls *atomic.Int64) int64 {
	t.Helper()
	last, since := calls.Load(), time.Now()
	eventually(t, "Watch is quiet when nothing changes", func() bool {
		if now := calls.Load(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 100*time.Millisecond
	})
	return last
}

func TestWatch(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	// Without link-local addresses, whose checks for duplicates end whenever they like.
	writeSysctl(t, "net/ipv6/conf/default/addr_gen_mode", "1")
	calls := startWatch(t, ns)
	for _, change := range []string{
		"ip link add eth0 type veth peer name peer0",
		"ip link set eth0 up",
		"ip link set peer0 up",
		"ip link set eth0 name ens5",
		"ip addr add 10.2.0.100/24 dev ens5",
		"ip addr change 10.2.0.100/24 dev ens5 valid_lft 3600 preferred_lft 1800",
		"ip route add default via 10.2.0.1",
		"ip route replace default via 10.2.0.2",
		"ip rule add from 10.2.0.100 lookup 100",
		"ip rule del from 10.2.0.100 lookup 100",
		"ip -6 addr add 2001:db8::1/64 dev ens5 nodad noprefixroute",
		"ip -6 addr change 2001:db8::1/64 dev ens5 valid_lft 3600 preferred_lft 1800 noprefixroute",
		"ip -6 route add default dev ens5",
		"ip -6 rule add from 2001:db8::1 lookup 100",
		"sysctl ipv4/ip_forward=1",
		"sysctl ipv4/ip_forward=0",
		"sysctl ipv4/conf/ens5/rp_filter=1",
		"sysctl ipv4/conf/all/rp_filter=2",
		"sysctl ipv6/conf/default/forwarding=1",
		"sysctl ipv6/conf/all/forwarding=1",
		"sysctl ipv6/conf/ens5/disable_ipv6=1",
		"sysctl ipv6/conf/ens5/disable_ipv6=0",
		"ip addr del 10.2.0.100/24 dev ens5",
		"ip link del ens5",
	} {
		before := settle(t, calls)
		makeChange(t, change)
		eventually(t, "called after "+change, func() bool { return calls.Load() > before })
	}
}

// makeChange runs "ip ..." or writes "sysctl KEY=VALUE" below /proc/sys/net.
func makeChange(t *testing.T, change string) {
	t.Helper()
	if setting, ok := strings.CutPrefix(change, "sysctl "); ok {
		key, value, _ := strings.Cut(setting, "=")
		writeSysctl(t, "net/"+key, value)
		return
	}
	ip(t, strings.TrimPrefix(change, "ip "))
}

// TestWatchCoalesces checks that changes that come while changed runs make one call, and that it is not missing.
func TestWatchCoalesces(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	ip(t, "link add eth0 type veth peer name peer0")
	w, err := subscribe(watchBuffer)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.file.Close() }()
	for i := range 50 {
		ip(t, fmt.Sprintf("addr add 10.0.0.%d/32 dev eth0", i+1))
	}
	ctx, cancel := context.WithCancel(context.Background())
	var calls atomic.Int64
	done := make(chan error, 1)
	go func() { done <- w.run(ctx, func() { calls.Add(1) }) }()
	eventually(t, "the changes are reported", func() bool { return calls.Load() >= 2 })
	settle(t, &calls)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := calls.Load(); got != 2 { // the first call of all, and one for 100 notifications
		t.Errorf("50 pending changes made %d calls, want 2", got)
	}
}

// TestWatchOverrun fills a receive buffer until the kernel drops notifications.
func TestWatchOverrun(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	ip(t, "link add eth0 type veth peer name peer0")
	w, err := subscribe(1) // the kernel makes it the least it allows
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.file.Close() }()
	if err := w.file.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		ip(t, fmt.Sprintf("addr add 10.0.0.%d/32 dev eth0", i+1))
	}
	if overrun, err := w.drain(); !overrun || err != nil {
		t.Fatalf("drain: overrun %t, %v; want an overrun and no error", overrun, err)
	}
	ip(t, "addr del 10.0.0.1/32 dev eth0")
	if _, err := w.drain(); err != nil {
		t.Errorf("the change after the overrun is not seen: %v", err)
	}
}

// TestWatchEnds checks that a Watch which waits ends with its context, and one that starts late returns at once.
func TestWatchEnds(t *testing.T) {
	t.Parallel()
	newNamespace(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Watch(ctx, func() {}); err != nil {
		t.Errorf("Watch with a context that has ended: %v", err)
	}
	w, err := subscribe(watchBuffer)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.run(context.Background(), func() {}); err == nil || os.IsTimeout(err) {
		t.Errorf("a socket that fails: got %v, want an error", err)
	}
}

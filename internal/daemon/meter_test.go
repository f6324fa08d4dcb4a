package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"natd/internal/flow"
	"natd/internal/lab"
	"natd/nat"
)

// metered is a meter at work on a host with a relay and a gateway.
type metered struct {
	*meter
	host *lab.Host
	stop func()
}

func startMeter(t *testing.T, host *lab.Host, dir string, sinks ...flow.Sink) *metered {
	t.Helper()
	lab.Require(t, "conntrack")
	for _, key := range []string{"events", "timestamp", "acct"} {
		lab.Check(t, host.SetSysctl("net.netfilter.nf_conntrack_"+key, "1"))
	}
	spec := &nat.Spec{
		Relays: []nat.Relay{relay("web", "10.2.0.100:80", func(r *nat.Relay) { r.Protocols = []nat.Protocol{nat.UDP} })},
		Gateways: []nat.Gateway{{
			Name: "private", From: []netip.Prefix{netip.MustParsePrefix("10.100.0.0/16")},
			To: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}, Enabled: true,
		}},
	}
	places := &nat.Placements{Relays: make([]nat.Placement, 1)}
	judge := &flow.Judge{Spec: spec, Places: places, Index: nat.NewIndex(spec, []netip.Addr{netip.MustParseAddr("10.2.0.100")})}
	m := &metered{host: host, meter: &meter{
		log: slog.New(slog.DiscardHandler), judge: func() *flow.Judge { return judge },
		timeout: func(string) time.Duration { return time.Minute }, sinks: sinks,
		file: newCountersFile(filepath.Join(dir, countersName), slog.New(slog.DiscardHandler)),
	}}
	m.enable(metering{on: true, window: time.Hour, keep: func(flow.Owner) bool { return true }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- host.Do(func() error { return m.run(ctx) }) }()
	m.stop = func() {
		t.Helper()
		if cancel(); done != nil {
			lab.Check(t, <-done)
			done = nil
		}
	}
	t.Cleanup(m.stop)
	return m
}

// track makes a connection of the relay, and one of the gateway.
func (m *metered) track(t *testing.T, port string) {
	t.Helper()
	m.host.Output(t, "conntrack", "-I", "-p", "udp", "-t", "600", "-s", "10.1.0.5", "-d", "10.2.0.100", "--sport", port, "--dport", "80",
		"--dst-nat", "10.3.0.100:80", "--src-nat", "10.2.0.100:"+port)
	m.host.Output(t, "conntrack", "-I", "-p", "udp", "-t", "600", "-s", "10.100.0.5", "-d", "10.9.0.9", "--sport", port, "--dport", "53",
		"--src-nat", "10.2.0.100:"+port)
}

// begun is how many connections each owner has had.
func begun(t *testing.T, tallies []flow.Tally) map[string]uint64 {
	t.Helper()
	sums := make(map[string]uint64)
	for i := range tallies {
		sums[tallies[i].Owner.Kind+" "+tallies[i].Owner.Name] += tallies[i].Begun
	}
	return sums
}

func (m *metered) want(t *testing.T, count uint64) {
	t.Helper()
	tracked := 0
	c := m.look(func(*flow.Entry) { tracked++ })
	if c == nil {
		t.Fatal("the meter does not answer")
	}
	if got := begun(t, c.tallies); got["gateway private"] != count || got["relay web"] != count || len(got) != 2 || tracked < 2 {
		t.Errorf("%v connections are counted, want %d of each; %d are tracked", got, count, tracked)
	}
}

// What was shown is on disk when secure returns, and what a meter has counted the next one goes on from.
func TestMeterSecures(t *testing.T) {
	t.Parallel()
	host, dir := lab.NewHost(t), t.TempDir()
	m := startMeter(t, host, dir)
	for i, port := range []string{"1001", "1002", "1003"} {
		m.track(t, port)
		m.want(t, uint64(i+1))
		lab.Check(t, m.secure(t.Context()))
		saved, err := m.file.load()
		lab.Check(t, err)
		if got := begun(t, saved.Tallies)["gateway private"]; got != uint64(i+1) {
			t.Errorf("%d connections are on disk, want %d", got, i+1)
		}
	}
	lab.Check(t, m.secure(t.Context())) // nothing is new
	m.stop()
	host.Output(t, "conntrack", "-D", "-p", "udp", "--sport", "1001")
	next := startMeter(t, host, dir)
	next.track(t, "1004")
	next.want(t, 4)
}

// A disk that does not take anything keeps nobody from counting.
func TestMeterWithoutADisk(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "gone")
	m := startMeter(t, lab.NewHost(t), dir)
	m.track(t, "1001")
	m.want(t, 1)
	for range 2 {
		if err := m.secure(t.Context()); err == nil {
			t.Error("what was counted is said to be on a disk that is not there")
		}
	}
	m.want(t, 1)
	lab.Check(t, os.Mkdir(dir, 0o700))
	lab.Check(t, m.secure(t.Context()))
	m.file.writing.Lock() // a disk that hangs
	m.track(t, "1002")
	m.want(t, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := m.secure(ctx); err == nil {
		t.Error("what was counted is said to be on a disk that hangs")
	}
	m.want(t, 2)
	m.file.writing.Unlock()
}

// A meter that is turned off says so at once, and goes on when it is turned on again.
func TestMeterOff(t *testing.T) {
	t.Parallel()
	m := startMeter(t, lab.NewHost(t), t.TempDir())
	m.track(t, "1001")
	m.want(t, 1)
	on := m.wants()
	m.enable(metering{})
	if c := m.look(func(*flow.Entry) {}); c != nil {
		t.Errorf("a meter that is off has counted %v", c)
	}
	lab.Check(t, m.secure(t.Context()))
	m.track(t, "1002")
	m.enable(on)
	m.want(t, 2)
}

// Who asks a meter that was turned on again a moment ago is not told that it is off.
func TestMeterDeclinesOnlyWhileOff(t *testing.T) {
	t.Parallel()
	for range 3000 {
		m := new(meter)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for !m.wants().on {
				m.decline()
			}
		}()
		m.enable(metering{on: true})
		a := &question{each: func(*flow.Entry) {}}
		m.put(a)
		if <-done; len(a.done) > 0 {
			t.Fatal("it was told so")
		}
	}
}

// windows is a sink that hears of windows.
type windows chan time.Duration

func (windows) Sample(*flow.Sample) {}

func (w windows) Window(from, until time.Time, _ bool) {
	select {
	case w <- until.Sub(from):
	default:
	}
}

// A window that is made shorter does not wait for the end of the long one.
func TestMeterWindowShortens(t *testing.T) {
	t.Parallel()
	heard := make(windows, 1)
	m := startMeter(t, lab.NewHost(t), t.TempDir(), heard)
	m.track(t, "1001")
	m.want(t, 1)
	plan := m.wants()
	plan.window = 10 * time.Millisecond
	m.enable(plan)
	select {
	case <-heard:
	case <-time.After(10 * time.Second):
		t.Error("no window ends")
	}
}

// A meter that is turned off and on while nothing can be written goes on from what it had, not from what is on disk.
func TestMeterOffWithoutADisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := startMeter(t, lab.NewHost(t), dir)
	m.track(t, "1001")
	m.want(t, 1)
	lab.Check(t, m.secure(t.Context()))
	path := filepath.Join(dir, countersName)
	lab.Check(t, errors.Join(os.Remove(path), os.Mkdir(path, 0o700)))
	m.track(t, "1002")
	m.want(t, 2)
	m.host.Output(t, "conntrack", "-D", "-p", "udp", "--sport", "1002")
	on := m.wants()
	m.enable(metering{})
	lab.Eventually(t, 10*time.Second, func() error {
		m.file.mu.Lock()
		defer m.file.mu.Unlock()
		if !m.file.anew {
			return errors.New("nothing has failed to be written")
		}
		return nil
	})
	m.enable(on)
	m.want(t, 2)
}

// A disk that hangs does not keep natd from stopping.
func TestMeterStopsWithoutADisk(t *testing.T) {
	t.Parallel()
	m := startMeter(t, lab.NewHost(t), t.TempDir())
	m.track(t, "1001")
	m.want(t, 1)
	m.file.writing.Lock()
	late := time.AfterFunc(closePatience+10*time.Second, m.file.writing.Unlock)
	m.stop()
	if !late.Stop() {
		t.Fatal("it waits for the disk")
	}
	m.file.writing.Unlock()
	lab.Eventually(t, 10*time.Second, func() error {
		m.file.mu.Lock()
		defer m.file.mu.Unlock()
		if m.file.next != nil {
			return errors.New("it is not written")
		}
		return nil
	})
	m.file.flush() // waits for who writes
}

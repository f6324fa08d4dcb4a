package daemon

import (
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"natd/internal/config"
	"natd/internal/flow"
	"natd/internal/flowlog"
	"natd/internal/lab"
	"natd/internal/record"
	"natd/nat"
)

// sampleOf is a connection of a packet each way.
func sampleOf(port uint16) *flow.Sample {
	end := func(addr string, port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr(addr), port)
	}
	return &flow.Sample{
		Entry: &flow.Entry{
			Proto: nat.UDP, Orig: flow.Tuple{Src: end("10.1.0.5", port), Dst: end("10.2.0.100", 80)},
			Reply: flow.Tuple{Src: end("10.3.0.100", 80), Dst: end("10.2.0.100", port)},
		},
		Owner:    flow.Owner{Kind: flow.KindRelay, Name: "web"},
		ToTarget: flow.Volume{Packets: 1, Bytes: 100}, ToClient: flow.Volume{Packets: 1, Bytes: 100},
		First: time.Now(), Last: time.Now(),
	}
}

func planOf(path, format string) flowLogPlan {
	return flowLogPlan{FlowLog: config.FlowLog{Path: path, Format: format, Interval: time.Minute, MaxSize: 1000, MaxFiles: 1}, group: "nobody"}
}

// What is sampled while one log takes the place of another is in one of them, however long it takes to close one file and to open the
// other, and whoever samples at that instant.
func TestFlowLogChange(t *testing.T) {
	t.Parallel()
	const goesOn = 50
	dir := t.TempDir()
	f := newFlowLog(slog.New(slog.DiscardHandler), io.Discard, func() {})
	f.change(planOf(filepath.Join(dir, "0.log"), record.V2))
	var stop atomic.Bool
	made := make(chan int)
	go func() {
		n := 0
		for ; !stop.Load(); n++ {
			f.Sample(sampleOf(uint16(n%60000 + 1)))
		}
		made <- n
	}()
	for i := range goesOn {
		f.change(planOf(filepath.Join(dir, []string{"0.log", "1.log"}[i%2]), record.V2))
		f.drain()
	}
	stop.Store(true)
	want := <-made
	f.change(flowLogPlan{})
	got := 0
	names, err := filepath.Glob(filepath.Join(dir, "*.log*"))
	lab.Check(t, err)
	for _, name := range names {
		text, err := os.ReadFile(name)
		lab.Check(t, err)
		got += strings.Count(string(text), "ACCEPT")
	}
	if missing := int(f.dropped()); got+missing != 4*want {
		t.Errorf("of %d connections there are %d records, and %d are said to be missing", want, got, missing)
	}
}

// slowDisk is one that takes long enough for a look at what was dropped.
type slowDisk struct{ look func() }

func (s slowDisk) Write([]byte) error { s.look(); return nil }
func (slowDisk) Reopen() error        { return nil }
func (slowDisk) Close() error         { return nil }

// What was dropped never becomes less, also while a log ends that has dropped records.
func TestFlowLogDroppedStays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := newFlowLog(slog.New(slog.DiscardHandler), io.Discard, func() {})
	f.change(planOf(filepath.Join(dir, "0.log"), record.V5))
	for f.dropped() < 100 {
		f.Sample(sampleOf(1000))
	}
	before, looks := f.dropped(), 0
	f.to = slowDisk{func() {
		if looks++; f.dropped() < before {
			t.Fatalf("%d records were dropped, and then %d", before, f.dropped())
		}
	}}
	f.change(planOf(filepath.Join(dir, "1.log"), record.V5))
	if after := f.dropped(); after != before || looks == 0 {
		t.Errorf("%d records were dropped, and then %d; %d looks", before, after, looks)
	}
	f.change(flowLogPlan{})
}

// The interface that had traffic before the log changed had it in the window.
func TestFlowLogChangeKeepsTheWindow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := newFlowLog(slog.New(slog.DiscardHandler), io.Discard, func() {})
	f.host.Store(flowlog.NewHost(flowlog.Facts{Interfaces: []flowlog.Interface{{ID: "ens5"}}}))
	f.change(planOf(filepath.Join(dir, "0.log"), record.V2))
	f.Sample(sampleOf(1000))
	f.change(planOf(filepath.Join(dir, "1.log"), record.V2))
	now := time.Now()
	f.Window(now.Add(-time.Minute), now, false)
	f.change(flowLogPlan{})
	text, err := os.ReadFile(filepath.Join(dir, "1.log"))
	lab.Check(t, err)
	if strings.Contains(string(text), string(record.NoData)) {
		t.Errorf("an interface with traffic had none:\n%s", text)
	}
}

package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"natd/internal/record"
)

// FlowLog is the [flow_log] table: records of what was relayed.
type FlowLog struct {
	Path     string // a file, absolute; or Stdout; "" = no records
	Format   string // of the lines, which record.ParseFormat understands
	Interval time.Duration
	MaxSize  int // MiB of one file, then it is rotated
	MaxFiles int // rotated files that are kept
}

// Stdout is the path of a flow log that goes where natd's standard output goes.
const Stdout = "stdout"

// On tells whether there is a flow log.
func (f FlowLog) On() bool { return f.Path != "" }

// Metrics is the [metrics] table: where metrics and the status page are served.
type Metrics struct {
	Listen netip.AddrPort // the zero value = nowhere
}

// On tells whether metrics are served.
func (m Metrics) On() bool { return m.Listen.IsValid() }

// Counts tells whether something shows what connections have carried also when they have ended.
func (c *Config) Counts() bool { return c.Metrics.On() || c.FlowLog.On() }

// flowLogOf reads the [flow_log] table. Without it there is no flow log.
func flowLogOf(t *table) FlowLog {
	if t.values == nil {
		return FlowLog{}
	}
	return FlowLog{
		Path:     t.logPath(),
		Format:   t.logFormat(),
		Interval: t.duration("interval", time.Minute, time.Second, 10*time.Minute),
		MaxSize:  t.number("max_size", 100, 1, 1<<20),
		MaxFiles: t.number("max_files", 10, 0, 10_000),
	}
}

func (t *table) logPath() string {
	const key = "path"
	s, ok := t.text(key)
	switch {
	case !ok:
		if _, wrong := t.values[key]; wrong {
			return ""
		}
		return "/var/log/natd/flow.log"
	case s != Stdout && !filepath.IsAbs(s):
		t.fail(key, `must be a file with its whole path, such as "/var/log/natd/flow.log", or "stdout"`)
	case strings.HasSuffix(s, "/"):
		t.fail(key, "must be a file, not a directory")
	}
	return strings.Clone(s) // see table.name
}

// metricsOf reads the [metrics] table. Without it nothing listens.
func metricsOf(t *table) Metrics {
	const key = "listen"
	if t.values == nil {
		return Metrics{}
	}
	s, ok := t.text(key)
	if !ok {
		return Metrics{Listen: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 9469)}
	}
	if s == "" {
		return Metrics{}
	}
	listen, err := netip.ParseAddrPort(s)
	if err != nil || listen.Port() == 0 {
		t.fail(key, fmt.Sprintf(`must be ADDR:PORT or [V6]:PORT, such as %q, or "" for nowhere`, "127.0.0.1:9469"))
	}
	return Metrics{Listen: listen}
}

// logFormat reads the format of the records.
func (t *table) logFormat() string {
	const key = "format"
	s, ok := t.text(key)
	if !ok {
		return record.V5
	}
	if _, err := record.ParseFormat(s); err != nil {
		t.fail(key, err.Error())
	}
	return strings.Clone(s) // see table.name
}

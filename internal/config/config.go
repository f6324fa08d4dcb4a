// Package config owns the configuration file. It is the only reader of the TOML text and the only package that
// blames the user: what leaves it is checked and typed, and every error in it names file, line, table, key, value
// and rule.
//
// A file passes through five steps, a file of code each:
//
//	load.go      bytes of a regular file that did not change meanwhile
//	parser.go    which of it is new: cut.go cuts the relays into pieces, pieces.go reads those that changed
//	document.go  TOML -> values; locate.go finds the lines, which the TOML library does not tell
//	table.go     values -> checked values of one table, settings.go, relay.go, gateway.go and static.go; address.go reads the addresses
//	conflicts.go rules between tables; fresh.go those of what is new; claims.go, overlap.go and prefixes.go find what takes the same
//
// Errors are collected, not returned at the first: a file shows all of them at once.
package config

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"natd/nat"
)

// Config is a configuration file that is free of errors.
type Config struct {
	Path   string // as given, made absolute by Load
	SHA256 string // of the bytes read, in hex
	Daemon Daemon
	Host   Host
	NAT    nat.Spec // each kind in file order, disabled ones included

	FlowLog FlowLog
	Metrics Metrics

	lines map[Kind][]tableLines // the n-th of a kind is of the n-th in NAT, for Blame
}

// Daemon is the [daemon] table: how natd itself behaves.
type Daemon struct {
	LogLevel    slog.Level
	Resync      time.Duration // a full check at least this often
	OnStop      OnStop
	Protect     nat.Protect
	SocketGroup string         // may read status; "" = root only
	Resolver    netip.AddrPort // the DNS server for the names of backends; the zero value = those of resolv.conf
}

// Host is the [host] table: what natd may set on the host, and ask about it.
type Host struct {
	IPForward    bool // natd turns forwarding on
	ConntrackMax int  // 0 = leave alone
	Metadata     bool // natd asks the instance metadata service of EC2; an addition of ours to the contract's [host]
}

// OnStop is what happens to the rules when natd stops.
type OnStop uint8

// The answers to a stop. A crash always keeps the rules.
const (
	Keep OnStop = iota
	Remove
)

// String is the word the configuration uses.
func (o OnStop) String() string {
	return [...]string{"keep", "remove"}[o]
}

// Parse checks the text of a configuration file. Its error is of type Errors.
func Parse(path string, data []byte) (*Config, error) { return new(Parser).Parse(path, data) }

// parseWhole is for a file of any notation, and for one with errors.
func parseWhole(path string, data []byte) (*Config, error) {
	doc, err := decode(path, data)
	if err != nil {
		return nil, Errors{err}
	}
	c, in := doc.settings()
	relays := doc.tables(string(Relay), relayKeys)
	c.NAT.Relays, c.lines[Relay] = readAll(relays, relayOf), linesOf(relays)
	in.relays = listed(relays)
	checkConflicts(&c.NAT, in)
	if len(doc.errs) > 0 {
		return nil, doc.errs.sorted()
	}
	return c, nil
}

// settings reads everything but the relays.
func (d *document) settings() (*Config, *written) {
	c := &Config{Path: d.file}
	c.Daemon = daemonOf(d.table("daemon", daemonKeys))
	c.Host = hostOf(d.table("host", hostKeys), &c.NAT)
	c.FlowLog = flowLogOf(d.table("flow_log", flowLogKeys))
	c.NAT.ReportRefused = c.FlowLog.On()
	c.Metrics = metricsOf(d.table("metrics", metricsKeys))
	c.NAT.ReportRepeated = c.Counts()
	gateways, statics := d.tables(string(Gateway), gatewayKeys), d.tables(string(Static), staticKeys)
	c.NAT.Gateways, c.NAT.Statics = readAll(gateways, gatewayOf), readAll(statics, staticOf)
	c.lines = map[Kind][]tableLines{Gateway: linesOf(gateways), Static: linesOf(statics)}
	d.checkNames()
	return c, &written{gateways: listed(gateways), statics: listed(statics)}
}

// readAll reads the tables of one kind; nil when there are none.
func readAll[T any](tables []table, read func(*table) T) []T {
	all := slices.Grow([]T(nil), len(tables))
	for i := range tables {
		all = append(all, read(&tables[i]))
	}
	return all
}

// tables returns the tables of a kind without their values, to see whether any is to blame.
func (c *Config) tables(doc *document, kind Kind) tables {
	return func(i int) *table { return &table{doc: doc, kind: string(kind), index: i + 1, lines: c.lines[kind][i]} }
}

func linesOf(tables []table) []tableLines {
	all := make([]tableLines, len(tables))
	for i := range tables {
		all[i] = tables[i].lines
	}
	return all
}

// Package config owns the configuration file. It is the only reader of the TOML text and the only package that
// blames the user: what leaves it is checked and typed, and every error in it names file, line, table, key, value
// and rule.
//
// A file passes through four steps, a file of code each:
//
//	load.go      bytes of a regular file that did not change meanwhile
//	document.go  TOML -> values; locate.go finds the lines, which the TOML library does not tell
//	table.go     values -> checked values of one table, settings.go, relay.go, gateway.go and static.go; address.go reads the addresses
//	conflicts.go rules between tables
//
// Errors are collected, not returned at the first: a file shows all of them at once.
package config

import (
	"crypto/sha256"
	"encoding/hex"
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
func Parse(path string, data []byte) (*Config, error) {
	doc, err := decode(path, data)
	if err != nil {
		return nil, Errors{err}
	}
	sum := sha256.Sum256(data)
	c := &Config{Path: path, SHA256: hex.EncodeToString(sum[:])}
	c.Daemon = daemonOf(doc.table("daemon", daemonKeys))
	c.Host = hostOf(doc.table("host", hostKeys), &c.NAT)
	c.FlowLog = flowLogOf(doc.table("flow_log", flowLogKeys))
	c.NAT.ReportRefused = c.FlowLog.On()
	c.Metrics = metricsOf(doc.table("metrics", metricsKeys))
	c.NAT.ReportRepeated = c.Counts()
	in := &written{
		relays:   doc.tables(string(Relay), relayKeys),
		gateways: doc.tables(string(Gateway), gatewayKeys),
		statics:  doc.tables(string(Static), staticKeys),
	}
	c.NAT.Relays = readAll(in.relays, relayOf)
	c.NAT.Gateways = readAll(in.gateways, gatewayOf)
	c.NAT.Statics = readAll(in.statics, staticOf)
	c.lines = map[Kind][]tableLines{Relay: linesOf(in.relays), Gateway: linesOf(in.gateways), Static: linesOf(in.statics)}
	doc.checkNames()
	checkConflicts(&c.NAT, in)
	if len(doc.errs) > 0 {
		return nil, doc.errs.sorted()
	}
	return c, nil
}

// readAll reads the tables of one kind; nil when there are none.
func readAll[T any](tables []table, read func(*table) T) []T {
	all := slices.Grow([]T(nil), len(tables))
	for i := range tables {
		all = append(all, read(&tables[i]))
	}
	return all
}

func linesOf(tables []table) []tableLines {
	all := make([]tableLines, len(tables))
	for i := range tables {
		all[i] = tables[i].lines
	}
	return all
}

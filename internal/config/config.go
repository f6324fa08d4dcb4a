// Package config owns the configuration file. It is the only reader of the TOML text and the only package that
// blames the user: what leaves it is checked and typed, and every error in it names file, line, table, key, value
// and rule.
//
// A file passes through four steps, a file of code each:
//
//	load.go      bytes of a regular file that did not change meanwhile
//	document.go  TOML -> values; locate.go finds the lines, which the TOML library does not tell
//	table.go     values -> checked values of one table, settings.go and relay.go; address.go reads the addresses
//	conflicts.go rules between relays
//
// Errors are collected, not returned at the first: a file shows all of them at once.
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
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
	NAT    nat.Spec // relays in file order, disabled ones included

	lines []tableLines // of NAT.Relays, for Blame
}

// Daemon is the [daemon] table: how natd itself behaves.
type Daemon struct {
	LogLevel    slog.Level
	Resync      time.Duration // a full check at least this often
	OnStop      OnStop
	Protect     nat.Protect
	SocketGroup string // may read status; "" = root only
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
	c.Host, c.NAT.Forwarding = hostOf(doc.table("host", hostKeys))
	tables := doc.tables("relay", relayKeys, relayKeysLater)
	c.NAT.Relays, c.lines = slices.Grow(c.NAT.Relays, len(tables)), slices.Grow(c.lines, len(tables))
	for i := range tables {
		c.NAT.Relays = append(c.NAT.Relays, relayOf(&tables[i]))
		c.lines = append(c.lines, tables[i].lines)
	}
	doc.checkNames()
	checkConflicts(c.NAT.Relays, tables)
	if len(doc.errs) > 0 {
		return nil, doc.errs.sorted()
	}
	return c, nil
}

// Blame returns an error at the place of a relay's key, for a rule that only the running host can check. A key that
// the file leaves out is blamed at the relay's header.
func (c *Config) Blame(relay, key, rule string) *Error {
	e := &Error{File: c.Path, Table: fmt.Sprintf("relay %q", relay), Key: key, Rule: rule}
	for i := range c.NAT.Relays {
		if c.NAT.Relays[i].Name != relay {
			continue
		}
		line, written := c.lines[i].find(key)
		if e.Line = line; written {
			e.Value = relayValue(&c.NAT.Relays[i], key)
		}
		break
	}
	return e
}

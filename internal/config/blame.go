package config

import (
	"fmt"
	"slices"

	"natd/nat"
)

// Kind is the tables that make up the NAT, by the name they have in the file.
type Kind string

// The kinds of NAT.
const (
	Relay   Kind = "relay"
	Gateway Kind = "gateway"
	Static  Kind = "static"
)

// Blame returns an error at the place of a key, for a rule that only the running host can check. A key that the file leaves out is
// blamed at the header of its table.
func (c *Config) Blame(kind Kind, name, key, rule string) *Error {
	e := &Error{File: c.Path, Table: fmt.Sprintf("%s %q", kind, name), Key: key, Rule: rule}
	i, value := c.find(kind, name, key)
	if i < 0 {
		return e
	}
	line, written := c.lines[kind][i].find(key)
	if e.Line = line; written {
		e.Value = value
	}
	return e
}

// find returns which table of its kind has the name, -1 for none, and the value of its key.
func (c *Config) find(kind Kind, name, key string) (i int, value string) {
	switch kind {
	case Relay:
		all := c.NAT.Relays
		if i = slices.IndexFunc(all, func(r nat.Relay) bool { return r.Name == name }); i >= 0 {
			value = relayValue(&all[i], key)
		}
	case Gateway:
		all := c.NAT.Gateways
		if i = slices.IndexFunc(all, func(g nat.Gateway) bool { return g.Name == name }); i >= 0 {
			value = exitValue(all[i].SNAT, all[i].Egress, key)
		}
	case Static:
		all := c.NAT.Statics
		if i = slices.IndexFunc(all, func(s nat.Static) bool { return s.Name == name }); i >= 0 {
			value = staticValue(&all[i], key)
		}
	default:
		return -1, ""
	}
	return i, value
}

// relayValue writes a key that the host has a say in as the file could have written it; "" for any other.
func relayValue(r *nat.Relay, key string) string {
	switch key {
	case "listen":
		return show(r.Listen.String())
	case "to":
		list := make([]any, len(r.Backends))
		for i, b := range r.Backends {
			list[i] = b.String()
		}
		return show(list)
	}
	return exitValue(r.SNAT, r.Egress, key)
}

func staticValue(s *nat.Static, key string) string {
	switch key {
	case "external":
		return show(s.External.String())
	case "internal":
		return show(s.Internal.String())
	}
	return exitValue(s.SNAT, "", key)
}

// exitValue is for the keys that say how packets leave.
func exitValue(snat nat.SNAT, egress, key string) string {
	switch {
	case key == "snat" && snat.Mode == nat.SNATFixed:
		return snatText(snat)
	case key == "egress" && egress != "":
		return show(egress)
	}
	return ""
}

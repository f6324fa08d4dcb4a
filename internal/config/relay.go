package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"natd/nat"
)

// relayOf reads a [[relay]] table. What is wrong stays the zero value, which conflicts.go leaves alone.
func relayOf(t *table) nat.Relay {
	name, listen := t.name("web"), t.listen()
	r := nat.Relay{
		Name:      name,
		Listen:    listen,
		Protocols: t.protocols(),
		From:      t.sources(),
		Backends:  t.backends(listen.Ports),
		SNAT:      t.snat(),
		Egress:    t.egress(),
		Balance: choose(t, "balance", nat.RoundRobin, choice[nat.Balance]{"round-robin", nat.RoundRobin},
			choice[nat.Balance]{"random", nat.Random}, choice[nat.Balance]{"source", nat.Source}),
		OnChange: choose(t, "on_change", nat.Drain,
			choice[nat.OnChange]{"drain", nat.Drain}, choice[nat.OnChange]{"close", nat.Close}),
		Fail: choose(t, "fail", nat.FailOpen,
			choice[nat.Fail]{"open", nat.FailOpen}, choice[nat.Fail]{"closed", nat.FailClosed}),
		Log:            t.flag("log", false),
		Enabled:        t.flag("enabled", true),
		OverrideLocal:  t.flag("override_local", false),
		MaxConnections: t.limit("max_connections"),
		MaxPerSource:   t.limit("max_per_source"),
		Rate:           t.rate(),
	}
	r.Health = t.health(&r)
	r.MSS = t.mss(&r)
	t.checkFamilies(&r)
	t.checkLimits(&r)
	return r
}

// maxName leaves room beside the name in the comments of rules: NFTNL_UDATA_COMMENT_MAXLEN is 128 in libnftnl.
const maxName = 48

// isName tells whether a relay, gateway or static can have the name: it stands in log lines, rule comments and commands.
func isName(s string) bool {
	if s == "" || len(s) > maxName || s[0] == '-' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	})
}

func (t *table) name(example string) string {
	const key = "name"
	s, ok := t.text(key)
	switch {
	case ok && isName(s):
		return strings.Clone(s) // the string of the library would keep the whole file in memory
	case ok:
		t.fail(key, fmt.Sprintf(`must be 1-%d characters of a-z, 0-9 and "-", the first not "-"`, maxName))
	default:
		t.failMissing(key, fmt.Sprintf("a unique name, such as name = %q", example))
	}
	return ""
}

func (t *table) listen() nat.Listen {
	const key = "listen"
	s, ok := t.text(key)
	if !ok {
		t.failMissing(key, `what clients dial, such as listen = "10.2.0.100:80"`)
		return nat.Listen{}
	}
	l, err := parseListen(s)
	if err != nil {
		t.fail(key, err.Error())
		return nat.Listen{}
	}
	return l
}

// protocols reads a name or a list of names.
func (t *table) protocols() []nat.Protocol {
	const key = "protocol"
	names := []string{"tcp"}
	switch v := t.values[key].(type) {
	case nil:
	case string:
		names = []string{v}
	default:
		var ok bool
		if names, ok = t.list(key, "tcp"); !ok {
			return nil
		}
		if len(names) == 0 {
			t.fail(key, `an empty list would carry nothing; leave the key out for "tcp"`)
		}
	}
	var all []nat.Protocol
	for _, name := range names {
		p, err := parseProtocol(name)
		if err == nil && slices.Contains(all, p) {
			err = fmt.Errorf("%q is listed twice", name)
		}
		if err != nil {
			t.fail(key, err.Error())
			return nil
		}
		all = append(all, p)
	}
	slices.Sort(all)
	return t.doc.protocols.share(all)
}

func parseProtocol(name string) (nat.Protocol, error) {
	words := make([]string, 0, 3)
	for _, p := range []nat.Protocol{nat.TCP, nat.UDP, nat.SCTP} {
		if p.String() == name {
			return p, nil
		}
		words = append(words, p.String())
	}
	return 0, fmt.Errorf(`must be %s, or a list of them%s`, alternatives(words), suggest(name, words))
}

// sources reads the clients that may use something; none are everyone.
func (t *table) sources() []netip.Prefix {
	return t.networks("from", "10.1.0.0/16", "an empty list would admit nobody; leave the key out to admit everyone")
}

// networks reads a list of networks, each of them once.
func (t *table) networks(key, example, whyNotEmpty string) []netip.Prefix {
	list, ok := t.list(key, example)
	if !ok {
		return nil
	}
	if len(list) == 0 {
		t.fail(key, whyNotEmpty)
	}
	all := make([]netip.Prefix, 0, len(list))
	seen := make(map[netip.Prefix]bool)
	for _, s := range list {
		p, err := parseNetwork(s)
		if err == nil && seen[p] {
			err = fmt.Errorf("%q is listed twice", s)
		}
		if err != nil {
			t.fail(key, err.Error())
			continue
		}
		seen[p] = true
		all = append(all, p)
	}
	return t.doc.networks.share(all)
}

// egress returns the interface name, or "" for auto.
func (t *table) egress() string {
	const key = "egress"
	s, ok := t.text(key)
	if !ok || s == "auto" {
		return ""
	}
	if !isInterface(s) {
		t.fail(key, `must be "auto" or the name of an interface: 1-15 printable characters without blanks, "/", ":", "*" and quotes`)
		return ""
	}
	return strings.Clone(s) // see name
}

// isInterface tells whether an interface can have the name: dev_valid_name in net/core/dev.c, IFNAMSIZ is 16 with the
// closing NUL; "all" and "default" are settings (sysctl_dev_name_is_allowed in net/ipv4/devinet.c). Not everything the
// kernel takes can be said in nft syntax: a star there is a wildcard, and a quote ends the name.
func isInterface(s string) bool {
	if s == "" || len(s) > 15 || slices.Contains([]string{".", "..", "all", "default"}, s) {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsGraphic(r) || r == unicode.ReplacementChar || strings.ContainsRune(`/:*"`, r)
	})
}

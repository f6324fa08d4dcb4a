package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"natd/nat"
)

// relayOf reads a [[relay]] table. What is wrong stays the zero value, which conflicts.go leaves alone.
func relayOf(t *table) nat.Relay {
	name, listen := t.relayName(), t.listen()
	return nat.Relay{
		Name:      name,
		Listen:    listen,
		Protocols: t.protocols(),
		From:      t.from(),
		Backend:   t.backend(listen.Ports),
		SNAT:      t.snat(),
		Egress:    t.egress(),
		OnChange: choose(t, "on_change", nat.Drain,
			choice[nat.OnChange]{"drain", nat.Drain}, choice[nat.OnChange]{"close", nat.Close}),
		Log:           t.flag("log", false),
		Enabled:       t.flag("enabled", true),
		OverrideLocal: t.flag("override_local", false),
	}
}

// relayValue writes a key that the host has a say in as the file could have written it; "" for any other.
func relayValue(r *nat.Relay, key string) string {
	switch {
	case key == "listen":
		return show(r.Listen.String())
	case key == "to":
		return show([]any{r.Backend.String()})
	case key == "snat" && r.SNAT.Mode == nat.SNATFixed:
		return show(r.SNAT.Addr.String())
	case key == "egress" && r.Egress != "":
		return show(r.Egress)
	}
	return ""
}

// maxName leaves room beside the name in the comments of rules: NFTNL_UDATA_COMMENT_MAXLEN is 128 in libnftnl.
const maxName = 48

// isName tells whether a relay can have the name: it stands in log lines, rule comments and commands.
func isName(s string) bool {
	if s == "" || len(s) > maxName || s[0] == '-' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	})
}

func (t *table) relayName() string {
	const key = "name"
	s, ok := t.text(key)
	switch {
	case ok && isName(s):
		return strings.Clone(s) // the string of the library would keep the whole file in memory
	case ok:
		t.fail(key, fmt.Sprintf(`must be 1-%d characters of a-z, 0-9 and "-", the first not "-"`, maxName))
	default:
		t.failMissing(key, `a unique name, such as name = "web"`)
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
	return all
}

func parseProtocol(name string) (nat.Protocol, error) {
	switch name {
	case "tcp":
		return nat.TCP, nil
	case "udp":
		return nat.UDP, nil
	case "sctp":
		return 0, errors.New("sctp is " + later)
	}
	return 0, errors.New(`must be "tcp", "udp" or a list of both` + suggest(name, []string{"tcp", "udp"}))
}

func (t *table) from() []netip.Prefix {
	const key = "from"
	list, ok := t.list(key, "10.1.0.0/16")
	if !ok {
		return nil
	}
	if len(list) == 0 {
		t.fail(key, "an empty list would admit nobody; leave the key out to admit everyone")
	}
	sources := make([]netip.Prefix, 0, len(list))
	seen := make(map[netip.Prefix]bool, len(list))
	for _, s := range list {
		p, err := parseSource(s)
		if err == nil && seen[p] {
			err = fmt.Errorf("%q is listed twice", s)
		}
		if err != nil {
			t.fail(key, err.Error())
			continue
		}
		seen[p] = true
		sources = append(sources, p)
	}
	return sources
}

func (t *table) backend(listen nat.PortRange) nat.Backend {
	const key, example = "to", "10.3.0.100:80"
	if err := t.checkTo(key); err != nil {
		t.fail(key, err.Error())
		return nat.Backend{}
	}
	if _, ok := t.values[key]; !ok {
		t.failMissing(key, fmt.Sprintf("where connections go, such as %s = [%q]", key, example))
		return nat.Backend{}
	}
	list, ok := t.list(key, example)
	if !ok {
		return nat.Backend{}
	}
	b, err := parseBackend(list[0], listen)
	if err != nil {
		t.fail(key, err.Error())
		return nat.Backend{}
	}
	return b
}

// checkTo refuses lists that name no backend, and those that a later natd will understand.
func (t *table) checkTo(key string) error {
	switch v := t.values[key].(type) {
	case []map[string]any:
		return errors.New("a backend as a table is " + later)
	case []any:
		for _, item := range v {
			if _, ok := item.(map[string]any); ok {
				return errors.New("a backend as a table is " + later)
			}
		}
		if len(v) == 0 {
			return errors.New("an empty list would lead nowhere: name a backend")
		}
		if len(v) > 1 {
			return errors.New("more than one backend is " + later)
		}
	}
	return nil
}

func (t *table) snat() nat.SNAT {
	const key = "snat"
	if _, isList := t.values[key].([]any); isList {
		t.fail(key, "a list of addresses is "+later)
		return nat.SNAT{}
	}
	s, ok := t.text(key)
	switch {
	case !ok || s == "auto":
		return nat.SNAT{}
	case s == "off":
		return nat.SNAT{Mode: nat.SNATOff}
	}
	a, err := parseAddr(s)
	switch first, _, isRange := strings.Cut(s, "-"); {
	case err == nil:
		return nat.SNAT{Mode: nat.SNATFixed, Addr: a}
	case isRange && !isHostname(first):
		err = errors.New("a range of addresses is " + later)
	case !a.IsValid() && !isIPv6(s):
		err = errors.New(`must be "auto", "off" or an IPv4 address` + suggest(s, []string{"auto", "off"}))
	}
	t.fail(key, err.Error())
	return nat.SNAT{}
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
	return strings.Clone(s) // see relayName
}

// isInterface tells whether an interface can have the name: dev_valid_name in net/core/dev.c, IFNAMSIZ is 16 with the
// closing NUL. Not everything the kernel takes can be said in nft syntax: a star there is a wildcard, and a quote ends
// the name.
func isInterface(s string) bool {
	if s == "" || len(s) > 15 || s == "." || s == ".." {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsGraphic(r) || r == unicode.ReplacementChar || strings.ContainsRune(`/:*"`, r)
	})
}

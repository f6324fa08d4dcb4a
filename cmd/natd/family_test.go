package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"testing"
)

// family is the address family that a test is run in.
type family string

const (
	ipv4 family = "IPv4"
	ipv6 family = "IPv6"
)

// inFamilies runs a test in both families. It is written in IPv4, and what it says goes through box.say.
func inFamilies(t *testing.T, test func(t *testing.T, f family)) {
	t.Helper()
	for _, f := range []family{ipv4, ipv6} {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			test(t, f)
		})
	}
}

// inFamiliesWith is inFamilies for each of several cases, by their names.
func inFamiliesWith[T any](t *testing.T, cases map[string]T, test func(t *testing.T, f family, c T)) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inFamilies(t, func(t *testing.T, f family) { test(t, f, cases[name]) })
		})
	}
}

// said are the words that differ in IPv6: addresses of the three VPCs, which a port may follow, their networks, and natd's
// sets. The group names are those of say.
var said = regexp.MustCompile(`\b10\.(?P<vpc>[123])\.0\.(?P<host>\d+)(?P<bits>/\d+)?(?P<colon>:)?|` +
	`\b(?P<set>relays|snat|listens|targets)4(?P<from>_from16)?\b`)

// say is the text in the box's family. The lab has an IPv6 address for each IPv4 address: fd00:10:2::100 for 10.2.0.100.
func (b *box) say(text string) string {
	if b.family != ipv6 {
		return text
	}
	return said.ReplaceAllStringFunc(text, func(word string) string {
		groups := said.FindStringSubmatch(word)
		group := func(name string) string { return groups[said.SubexpIndex(name)] }
		if set := group("set"); set != "" {
			return set + "6" + map[string]string{"_from16": "_from48"}[group("from")]
		}
		addr := fmt.Sprintf("fd00:10:%s::%s", group("vpc"), group("host"))
		if group("host") == "0" {
			addr = fmt.Sprintf("fd00:10:%s::", group("vpc"))
		}
		if group("colon") != "" {
			addr = "[" + addr + "]:"
		}
		return addr + map[string]string{"/16": "/48", "/24": "/64", "/32": "/128"}[group("bits")]
	})
}

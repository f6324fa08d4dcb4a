package config

import (
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"natd/nat"
)

// daemonOf reads the [daemon] table.
func daemonOf(t *table) Daemon {
	return Daemon{
		LogLevel: choose(t, "log_level", slog.LevelInfo,
			choice[slog.Level]{"debug", slog.LevelDebug}, choice[slog.Level]{"info", slog.LevelInfo},
			choice[slog.Level]{"warn", slog.LevelWarn}, choice[slog.Level]{"error", slog.LevelError}),
		Resync: t.duration("resync", 30*time.Second, time.Second, 24*time.Hour),
		OnStop: choose(t, "on_stop", Keep, choice[OnStop]{"keep", Keep}, choice[OnStop]{"remove", Remove}),
		Protect: choose(t, "protect", nat.ProtectAuto,
			choice[nat.Protect]{"auto", nat.ProtectAuto}, choice[nat.Protect]{"own", nat.ProtectOwn},
			choice[nat.Protect]{"guard", nat.ProtectGuard}, choice[nat.Protect]{"off", nat.ProtectOff}),
		SocketGroup: t.group("socket_group", "natd"),
		Resolver:    t.resolver(),
	}
}

// resolver returns the DNS server, or the zero value for what resolv.conf says.
func (t *table) resolver() netip.AddrPort {
	const key = "resolver"
	s, ok := t.text(key)
	if !ok || s == "" {
		return netip.AddrPort{}
	}
	server, err := parseResolver(s)
	if err != nil {
		t.fail(key, err.Error())
	}
	return server
}

// group returns the group name under the key; it may be empty.
func (t *table) group(key, unset string) string {
	s, ok := t.text(key)
	if !ok {
		return unset
	}
	// useradd(8), groupadd(8): at most 32 characters; Debian admits capitals and dots.
	if s != "" && !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,31}$`).MatchString(s) {
		t.fail(key, `must be the name of a group, or "" for root only`)
	}
	return strings.Clone(s) // see table.name
}

// hostOf reads the [host] table. What is said there of the NAT goes into the spec.
func hostOf(t *table, spec *nat.Spec) Host {
	spec.Forwarding = choose(t, "forward", nat.ForwardStrict,
		choice[nat.Forwarding]{"strict", nat.ForwardStrict}, choice[nat.Forwarding]{"open", nat.ForwardOpen})
	spec.FastPath = choose(t, "flowtable", false, choice[bool]{"auto", true}, choice[bool]{"off", false})
	return Host{
		IPForward:    t.flag("ip_forward", true),
		ConntrackMax: t.conntrackMax(),
		Metadata:     choose(t, "metadata", true, choice[bool]{"auto", true}, choice[bool]{"off", false}),
	}
}

// minConntrack keeps a host reachable: nf_conntrack_max counts every connection of the host, ssh included.
const minConntrack = 1024

func (t *table) conntrackMax() int {
	const key = "conntrack_max"
	v, ok := t.values[key]
	if !ok {
		return 0
	}
	n, ok := v.(int64)
	if !ok || n != 0 && (n < minConntrack || n > math.MaxInt32) { // a C int: net/netfilter/nf_conntrack_standalone.c
		t.fail(key, fmt.Sprintf("must be 0 (leave alone) or a number in %d-%d", minConntrack, math.MaxInt32))
	}
	return int(n)
}

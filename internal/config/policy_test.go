package config

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"natd/nat"
)

// TestParsePolicy holds the keys that say how connections are dealt out, checked and limited.
func TestParsePolicy(t *testing.T) {
	t.Parallel()
	checked := func(change func(*nat.Health)) func(*nat.Relay) {
		return func(r *nat.Relay) {
			r.Health = nat.Health{Interval: 2 * time.Second, Timeout: time.Second, Rise: 2, Fall: 3}
			if change != nil {
				change(&r.Health)
			}
		}
	}
	tests := []struct {
		keys string // below minimal
		want func(*nat.Relay)
	}{
		{`protocol = "sctp"`, func(r *nat.Relay) { r.Protocols = []nat.Protocol{nat.SCTP} }},
		{`protocol = ["sctp", "udp", "tcp"]`, func(r *nat.Relay) { r.Protocols = []nat.Protocol{nat.TCP, nat.UDP, nat.SCTP} }},
		{`balance = "round-robin"`, nil},
		{`balance = "random"`, func(r *nat.Relay) { r.Balance = nat.Random }},
		{`balance = "source"`, func(r *nat.Relay) { r.Balance = nat.Source }},
		{`fail = "open"`, nil},
		{`fail = "closed"`, func(r *nat.Relay) { r.Fail = nat.FailClosed }},
		{`health = "off"`, nil},
		{`health = "tcp"`, checked(nil)},
		{`health = {}`, checked(nil)},
		{`health = {type = "tcp", interval = "2s", timeout = "1s", rise = 2, fall = 3}`, checked(nil)},
		{"[relay.health]\ninterval = \"500ms\"", checked(func(h *nat.Health) { h.Interval, h.Timeout = 500*time.Millisecond, 500*time.Millisecond })},
		{`health = {interval = "1h", timeout = "1h", rise = 100, fall = 1, port = 65535}`, checked(func(h *nat.Health) {
			*h = nat.Health{Interval: time.Hour, Timeout: time.Hour, Rise: 100, Fall: 1, Port: 65535}
		})},
		{"protocol = \"udp\"\nhealth = {port = 53}", func(r *nat.Relay) {
			r.Protocols = []nat.Protocol{nat.UDP}
			checked(func(h *nat.Health) { h.Port = 53 })(r)
		}},
		{`mss = "auto"`, nil},
		{`mss = "off"`, func(r *nat.Relay) { r.MSS.Off = true }},
		{`mss = 536`, func(r *nat.Relay) { r.MSS.Size = 536 }},
		{`mss = 8961`, func(r *nat.Relay) { r.MSS.Size = 8961 }},
		{"max_connections = 0\nmax_per_source = 0\nrate = 0", nil},
		{"max_connections = 1_000_000\nmax_per_source = 1_000_000", func(r *nat.Relay) { r.MaxConnections, r.MaxPerSource = 1e6, 1e6 }},
		{"max_per_source = 5", func(r *nat.Relay) { r.MaxPerSource = 5 }},
		{`rate = "100/s"`, func(r *nat.Relay) { r.Rate = nat.Rate{Count: 100, Per: time.Second} }},
		{`rate = "1/m"`, func(r *nat.Relay) { r.Rate = nat.Rate{Count: 1, Per: time.Minute} }},
		{`rate = "1000000/h"`, func(r *nat.Relay) { r.Rate = nat.Rate{Count: 1e6, Per: time.Hour} }},
	}
	for _, tt := range tests {
		t.Run(tt.keys, func(t *testing.T) {
			t.Parallel()
			want := nat.Spec{Relays: []nat.Relay{minimalRelay(tt.want)}}
			if diff := cmp.Diff(want, mustParse(t, minimal+tt.keys).NAT, compareAddresses()); diff != "" {
				t.Errorf("Spec (-want +got):\n%s", diff)
			}
		})
	}
}

// policyError is keys, wrong in the last line, and what the error has behind `relay "web": `.
type policyError struct{ keys, rest string }

func checkPolicyErrors(t *testing.T, tests []policyError) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.keys, func(t *testing.T) {
			t.Parallel()
			checkErrors(t, minimal+tt.keys, fmt.Sprintf(`%d: relay "web": %s`, 5+strings.Count(tt.keys, "\n"), tt.rest))
		})
	}
}

func TestHealthErrors(t *testing.T) {
	t.Parallel()
	const health = `must be "off", "tcp" or a table such as {type = "tcp", interval = "2s"}`
	const inARow = `must be a number in 1-100, without quotes`
	checkPolicyErrors(t, []policyError{
		{`health = "http"`, `health = "http": ` + health},
		{`health = "tpc"`, `health = "tpc": ` + health + `; did you mean "tcp"?`},
		{`health = true`, `health = true: ` + health},
		{`health = [{type = "tcp"}]`, `health = [{…}]: ` + health},
		{`health = {type = "icmp"}`, `health.type = "icmp": must be "tcp"`},
		{`health = {intervall = "2s"}`, `health.intervall = "2s": unknown key; did you mean "interval"?`},
		{`health = {interval = 2}`, `health.interval = 2: must be a duration in quotes, such as "2s"`},
		{`health = {interval = "99ms"}`, `health.interval = "99ms": must be between "100ms" and "1h"`},
		{`health = {interval = "61m"}`, `health.interval = "61m": must be between "100ms" and "1h"`},
		{`health = {timeout = "soon"}`, `health.timeout = "soon": must be a duration in quotes, such as "1s"`},
		{`health = {timeout = "0s"}`, `health.timeout = "0s": must be between "100ms" and "1h"`},
		{`health = {timeout = "3s"}`, `health.timeout = "3s": must be at most the interval, "2s": one check ends before the next begins`},
		{`health = {interval = "90s", timeout = "91s"}`, `health.timeout = "91s": must be at most the interval, "1m30s": one check ends before the next begins`},
		{`health = {rise = 0}`, `health.rise = 0: ` + inARow},
		{`health = {fall = 101}`, `health.fall = 101: ` + inARow},
		{`health = {fall = "3"}`, `health.fall = "3": ` + inARow},
		{`health = {port = 0}`, `health.port = 0: must be a number in 1-65535, without quotes`},
		{`health = {port = 65536}`, `health.port = 65536: must be a number in 1-65535, without quotes`},
		{"protocol = \"udp\"\nhealth = \"tcp\"", `health = "tcp": the check is a TCP connection, and the relay carries no tcp: ` +
			`name a TCP port of the backends, as in {type = "tcp", port = 80}`},
		{"protocol = [\"udp\", \"sctp\"]\nhealth = {rise = 1}", `health = {…}: the check is a TCP connection, and the relay carries no tcp: ` +
			`name a TCP port of the backends, as in {type = "tcp", port = 80}`},
	})
	checkErrors(t, minimal+"[relay.health]\nfall = 3\nraise = 2", `5: relay "web": health.raise = 2: unknown key; did you mean "rise"?`)
}

func TestLimitErrors(t *testing.T) {
	t.Parallel()
	const mss = `must be "auto", "off" or a number in 536-8961, without quotes`
	const limit = `must be a number in 0-1000000, without quotes`
	const rate = `must be 0 (no limit) or "COUNT/UNIT", a count in 1-1000000 and the unit s, m or h, such as "100/s"`
	checkPolicyErrors(t, []policyError{
		{`mss = "of"`, `mss = "of": ` + mss + `; did you mean "off"?`},
		{`mss = "1400"`, `mss = "1400": ` + mss},
		{`mss = 535`, `mss = 535: ` + mss},
		{`mss = 8962`, `mss = 8962: ` + mss},
		{`mss = true`, `mss = true: ` + mss},
		{"protocol = \"udp\"\nmss = 1400", `mss = 1400: only TCP has a segment size, and the relay carries no tcp: leave the key out`},
		{`max_connections = -1`, `max_connections = -1: ` + limit},
		{`max_connections = 1000001`, `max_connections = 1000001: ` + limit},
		{`max_per_source = "5"`, `max_per_source = "5": ` + limit},
		{`max_per_source = 1.5`, `max_per_source = 1.5: ` + limit},
		{"max_connections = 10\nmax_per_source = 11", `max_per_source = 11: above max_connections (10), which all sources together have: no source could ever reach it`},
		{`rate = 100`, `rate = 100: ` + rate},
		{`rate = ""`, `rate = "": ` + rate},
		{`rate = "100"`, `rate = "100": ` + rate},
		{`rate = "0/s"`, `rate = "0/s": ` + rate},
		{`rate = "-1/s"`, `rate = "-1/s": ` + rate},
		{`rate = "1000001/s"`, `rate = "1000001/s": ` + rate},
		{`rate = "1.5/s"`, `rate = "1.5/s": ` + rate},
		{`rate = "100/d"`, `rate = "100/d": ` + rate},
		{`rate = "100/s/s"`, `rate = "100/s/s": ` + rate},
		{`rate = "100/second"`, `rate = "100/second": ` + rate + `; did you mean "100/s"?`},
		{`rate = "60/min"`, `rate = "60/min": ` + rate + `; did you mean "60/m"?`},
	})
	checkErrors(t, "[[relay]]\nname = \"six\"\nlisten = \"[fd00:2::100]:80\"\nto = [\"fd00:3::100\"]\nmss = 1219",
		`5: relay "six": mss = 1219: IPv6 carries at least 1220 everywhere: write a number in 1220-8961`)
	checkErrors(t, "[[relay]]\nname = \"both\"\nlisten = \":80\"\nto = [\"10.3.0.100\", \"fd00:3::100\"]\nmss = 1219",
		`5: relay "both": mss = 1219: IPv6 carries at least 1220 everywhere: write a number in 1220-8961`)
	mustParse(t, "[[relay]]\nname = \"six\"\nlisten = \"[fd00:2::100]:80\"\nto = [\"fd00:3::100\"]\nmss = 1220")
	mustParse(t, "[[relay]]\nname = \"name\"\nlisten = \":80\"\nto = [\"web.example\"]\nmss = 536")
}

// TestManyValues: limits of one value share a set and a rule in the kernel.
func TestManyValues(t *testing.T) {
	t.Parallel()
	limits := func(n int, value func(i int) string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "[[relay]]\nlisten = \":%d\"\nname = \"r%d\"\nto = [\"10.3.0.100\"]\n%s\n", i+1, i, value(i))
		}
		return b.String()
	}
	perSource := func(i int) string { return fmt.Sprintf("max_per_source = %d", 1+i/2) }
	connections := func(i int) string { return fmt.Sprintf("max_connections = %d", 1+i/2) }
	rate := func(i int) string { return fmt.Sprintf(`rate = "%d/s"`, 1+i/2) }
	const rule = `: the relays have 32 other values of it already, which is the limit: use one of those`
	checkErrors(t, limits(65, connections), `325: relay "r64": max_connections = 33`+rule)
	checkErrors(t, limits(65, perSource), `325: relay "r64": max_per_source = 33`+rule)
	checkErrors(t, limits(65, rate), `325: relay "r64": rate = "33/s"`+rule)
	mustParse(t, limits(64, perSource))
	mustParse(t, limits(64, rate))
	mustParse(t, limits(64, connections))
}

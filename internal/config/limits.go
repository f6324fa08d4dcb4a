package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"natd/nat"
)

// maxLimit bounds limits of connections: more than a host tracks as it comes.
const maxLimit = 1_000_000

// limit reads a number of connections, 0 for no limit.
func (t *table) limit(key string) int { return t.number(key, 0, 0, maxLimit) }

// checkLimits looks for limits that contradict each other.
func (t *table) checkLimits(r *nat.Relay) {
	if r.MaxConnections > 0 && r.MaxPerSource > r.MaxConnections {
		t.fail("max_per_source", fmt.Sprintf("above max_connections (%d), which all sources together have: no source could ever reach it", r.MaxConnections))
	}
}

func (t *table) rate() nat.Rate {
	const key = "rate"
	v, ok := t.values[key]
	if !ok || v == int64(0) {
		return nat.Rate{}
	}
	s, _ := v.(string)
	r, err := parseRate(s)
	if err != nil {
		t.fail(key, err.Error())
	}
	return r
}

// parseRate reads COUNT/UNIT.
func parseRate(s string) (nat.Rate, error) {
	wrong := fmt.Errorf(`must be 0 (no limit) or "COUNT/UNIT", a count in 1-%d and the unit s, m or h, such as "100/s"`, maxLimit)
	countText, unit, _ := strings.Cut(s, "/")
	count, err := strconv.ParseUint(countText, 10, 32)
	if err != nil || count < 1 || count > maxLimit {
		return nat.Rate{}, wrong
	}
	r := nat.Rate{Count: int(count)}
	switch unit {
	case "s":
		r.Per = time.Second
	case "m":
		r.Per = time.Minute
	case "h":
		r.Per = time.Hour
	case "second", "seconds", "sec", "minute", "minutes", "min", "hour", "hours":
		return nat.Rate{}, fmt.Errorf("%w; did you mean %q?", wrong, countText+"/"+unit[:1])
	default:
		return nat.Rate{}, wrong
	}
	return r, nil
}

// The bounds of a segment size, in bytes. The least is what every host must take, less the headers: 536 and 1220 (RFC 9293, 3.7.1).
// The most is what fits the jumbo frames of EC2, 9001 bytes.
const (
	minMSS4 = 536
	minMSS6 = 1220
	maxMSS  = 8961
)

// mss reads auto, off or a number.
func (t *table) mss(r *nat.Relay) nat.MSS {
	const key = "mss"
	v, ok := t.values[key]
	if !ok || v == "auto" {
		return nat.MSS{}
	}
	if v == "off" {
		return nat.MSS{Off: true}
	}
	size, err := mssSize(v, r)
	if err != nil {
		t.fail(key, err.Error())
	}
	return nat.MSS{Size: size}
}

func mssSize(v any, r *nat.Relay) (uint16, error) {
	n, ok := v.(int64)
	switch {
	case !ok || n < minMSS4 || n > maxMSS:
		s, _ := v.(string)
		return 0, fmt.Errorf(`must be "auto", "off" or a number in %d-%d, without quotes%s`, minMSS4, maxMSS, suggest(s, []string{"auto", "off"}))
	case len(r.Protocols) > 0 && !r.Carries(nat.TCP):
		return 0, errors.New("only TCP has a segment size, and the relay carries no tcp: leave the key out")
	case n < minMSS6 && servesKnownIPv6(r):
		return 0, fmt.Errorf("IPv6 carries at least %d everywhere: write a number in %d-%d", minMSS6, minMSS6, maxMSS)
	}
	return uint16(n), nil
}

// servesKnownIPv6 tells whether the relay serves IPv6 whatever names stand for.
func servesKnownIPv6(r *nat.Relay) bool {
	if r.Listen.Addr.IsValid() {
		return r.Listen.Addr.Is6()
	}
	for _, b := range r.Backends {
		if b.Addr.Is6() {
			return true
		}
	}
	return false
}

package config

import (
	"fmt"
	"time"

	"natd/nat"
)

// The bounds of a check. Ten a second are the most that a backend should be asked for.
const (
	minInterval = 100 * time.Millisecond
	maxInterval = time.Hour
	maxInARow   = 100
)

// health reads off, "tcp" or a table.
func (t *table) health(r *nat.Relay) nat.Health {
	const key = "health"
	line, _ := t.lines.find(key)
	var h nat.Health
	switch v := t.values[key].(type) {
	case nil:
		return nat.Health{}
	case map[string]any:
		h = t.below(key, line, v, healthKeys).check()
	case string:
		switch v {
		case "off":
			return nat.Health{}
		case "tcp":
			h = (&table{}).check()
		default:
			t.failHealth(suggest(v, []string{"off", "tcp"}))
			return nat.Health{}
		}
	default:
		t.failHealth("")
		return nat.Health{}
	}
	if h.Port == 0 && len(r.Protocols) > 0 && !r.Carries(nat.TCP) {
		t.fail(key, `the check is a TCP connection, and the relay carries no tcp: name a TCP port of the backends, as in {type = "tcp", port = 80}`)
	}
	return h
}

func (t *table) failHealth(suggestion string) {
	t.fail("health", `must be "off", "tcp" or a table such as {type = "tcp", interval = "2s"}`+suggestion)
}

// check reads the table of a check; without keys it is what "tcp" means.
func (t *table) check() nat.Health {
	choose(t, "type", "tcp", choice[string]{"tcp", "tcp"})
	interval := t.duration("interval", 2*time.Second, minInterval, maxInterval)
	h := nat.Health{
		Interval: interval,
		Timeout:  t.duration("timeout", min(time.Second, interval), minInterval, maxInterval),
		Rise:     t.number("rise", 2, 1, maxInARow),
		Fall:     t.number("fall", 3, 1, maxInARow),
		Port:     uint16(t.number("port", 0, 1, 65535)),
	}
	if h.Timeout > h.Interval {
		t.fail("timeout", fmt.Sprintf("must be at most the interval, %q: one check ends before the next begins", durationText(h.Interval)))
	}
	return h
}

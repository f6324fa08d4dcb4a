package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// moment is a time as somebody gave it, who may not have meant it to the second: both ends are included.
type moment struct{ from, until time.Time }

// timesHint says how times may be written.
const timesHint = `write it like 07:49, 07:49:10, "2026-11-21 07:49:10", 2026-11-21T07:49:10Z, [21/Nov/2026:07:49:10 +0000], 1795247350 or, for how long ago, 10m`

// parseMoment reads a time in the forms that people and logs write. Those without a zone are of the zone of now. A time of day is today's, or
// yesterday's if it has not come yet today.
func parseMoment(s string, now time.Time) (moment, error) {
	s = strings.Trim(strings.TrimSpace(s), "[]")
	for _, form := range []struct {
		layout string
		exact  time.Duration
	}{
		{"15:04", time.Minute},
		{"15:04:05", time.Second},
	} {
		t, err := time.ParseInLocation(form.layout, s, now.Location())
		if err != nil {
			continue
		}
		year, month, day := now.Date()
		t = time.Date(year, month, day, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), now.Location())
		if t.After(now) {
			t = time.Date(year, month, day-1, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), now.Location())
		}
		return moment{t, t.Add(form.exact - 1)}, nil
	}
	for _, form := range []struct {
		layout string
		exact  time.Duration
	}{
		{time.RFC3339Nano, time.Second},
		{"2006-01-02T15:04:05Z0700", time.Second}, // nginx's $time_iso8601, and ISO 8601's short form
		{time.DateTime, time.Second},
		{"2006-01-02T15:04:05", time.Second},
		{"2006-01-02 15:04", time.Minute},
		{"2006-01-02T15:04", time.Minute},
		{"02/Jan/2006:15:04:05 -0700", time.Second}, // nginx's $time_local, and Apache's
	} {
		if t, err := time.ParseInLocation(form.layout, s, now.Location()); err == nil {
			return moment{t, t.Add(form.exact - 1)}, nil
		}
	}
	if d, err := time.ParseDuration(strings.TrimPrefix(s, "-")); err == nil && d >= 0 && strings.Trim(s, "-0") != "" {
		return moment{now.Add(-d), now.Add(-d)}, nil
	}
	return parseUnix(s)
}

// parseUnix reads Unix seconds, with a fraction as nginx's $msec has it.
func parseUnix(s string) (moment, error) {
	const latest = 1 << 33 // beyond, it is something else: milliseconds, or a typing error
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(n) || n < 0 || n > latest || strings.ContainsAny(s, "xXeEpP_") {
		return moment{}, fmt.Errorf("%q is no time that is understood; %s", s, timesHint)
	}
	t := time.Unix(int64(n), 0)
	return moment{t, t.Add(time.Second - 1)}, nil
}

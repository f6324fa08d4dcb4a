package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// moment is a time as somebody gave it, who may not have meant it to the second: both ends are included.
type moment struct{ from, until time.Time }

// timesHint says how times may be written.
const timesHint = `write it like 07:49, 07:49:10, "2026-11-21 07:49:10", 2026-11-21T07:49:10Z, [21/Nov/2026:07:49:10 +0000], 1795247350 or, for how long ago, 10m`

// ahead is how far the clock of the server whose log has a time may be ahead of this one.
const ahead = time.Minute

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
		t, err := time.Parse(form.layout, s)
		if err != nil {
			continue
		}
		day := now
		if t.AddDate(now.Year(), int(now.Month())-1, now.Day()-1).After(wall(now).Add(ahead)) {
			day = now.AddDate(0, 0, -1)
		}
		return onWall(s, t.AddDate(day.Year(), int(day.Month())-1, day.Day()-1), now.Location(), form.exact)
	}
	for _, form := range []struct {
		layout string
		exact  time.Duration
		zoned  bool
	}{
		{time.RFC3339Nano, time.Second, true},
		{"2006-01-02T15:04:05Z0700", time.Second, true}, // nginx's $time_iso8601, and ISO 8601's short form
		{time.DateTime, time.Second, false},
		{"2006-01-02T15:04:05", time.Second, false},
		{"2006-01-02 15:04", time.Minute, false},
		{"2006-01-02T15:04", time.Minute, false},
		{"02/Jan/2006:15:04:05 -0700", time.Second, true}, // nginx's $time_local, and Apache's
	} {
		t, err := time.Parse(form.layout, s)
		switch {
		case err != nil:
		case form.zoned:
			return moment{t, t.Add(form.exact - 1)}, nil
		default:
			return onWall(s, t, now.Location(), form.exact)
		}
	}
	if d, err := time.ParseDuration(strings.TrimPrefix(s, "-")); err == nil && d >= 0 && strings.Trim(s, "-0") != "" {
		return moment{now.Add(-d), now.Add(-d)}, nil
	}
	return parseUnix(s)
}

// wall is what a clock on the wall shows, as a time in UTC.
func wall(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// onWall is when a clock in the zone showed a time, which is given in UTC. In the nights in which clocks are set back or forward some times
// are there twice, or not at all: what is meant then only who asks knows.
func onWall(s string, shown time.Time, zone *time.Location, exact time.Duration) (moment, error) {
	var times []time.Time
	for _, near := range []time.Duration{-24 * time.Hour, 24 * time.Hour} { // the offsets before and after
		_, offset := shown.Add(near).In(zone).Zone()
		t := shown.Add(-time.Duration(offset) * time.Second).In(zone)
		if wall(t).Equal(shown) && !slices.ContainsFunc(times, t.Equal) {
			times = append(times, t)
		}
	}
	switch len(times) {
	case 0:
		return moment{}, fmt.Errorf("%q never was: clocks were set forward over it; %s", s, timesHint)
	case 1:
		return moment{times[0], times[0].Add(exact - 1)}, nil
	}
	return moment{}, fmt.Errorf("%q was twice, since clocks were set back: say which one is meant, %s or %s", s,
		times[0].Format(time.RFC3339), times[1].Format(time.RFC3339))
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

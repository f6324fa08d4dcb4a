package main

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // a bare machine has no zones
)

func TestParseMoment(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("here", 2*3600)
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, zone)
	const second, minute = time.Second - 1, time.Minute - 1
	tests := map[string]struct {
		from  time.Time
		exact time.Duration
	}{
		"07:49":                        {time.Date(2026, 11, 21, 7, 49, 0, 0, zone), minute},
		"07:49:10":                     {time.Date(2026, 11, 21, 7, 49, 10, 0, zone), second},
		"23:59:59":                     {time.Date(2026, 11, 20, 23, 59, 59, 0, zone), second}, // still to come today
		"12:00:40":                     {time.Date(2026, 11, 21, 12, 0, 40, 0, zone), second},  // by a clock that is ahead
		"12:02":                        {time.Date(2026, 11, 20, 12, 2, 0, 0, zone), minute},
		"2026-11-21 07:49:10":          {time.Date(2026, 11, 21, 7, 49, 10, 0, zone), second},
		"2026-11-21 07:49":             {time.Date(2026, 11, 21, 7, 49, 0, 0, zone), minute},
		"2026-11-21T07:49:10Z":         {time.Date(2026, 11, 21, 7, 49, 10, 0, time.UTC), second},
		"2026-11-21T07:49:10.5+01:00":  {time.Date(2026, 11, 21, 6, 49, 10, 5e8, time.UTC), second},
		"2026-11-21T07:49:10":          {time.Date(2026, 11, 21, 7, 49, 10, 0, zone), second},
		"[21/Nov/2026:07:49:10 +0000]": {time.Date(2026, 11, 21, 7, 49, 10, 0, time.UTC), second},
		"21/Nov/2026:07:49:10 -0500":   {time.Date(2026, 11, 21, 12, 49, 10, 0, time.UTC), second},
		"1795247350":                   {time.Unix(1795247350, 0), second},
		"1795247350.123":               {time.Unix(1795247350, 0), second},
		"10m":                          {now.Add(-10 * time.Minute), 0},
		"-1h":                          {now.Add(-time.Hour), 0},
	}
	for text, want := range tests {
		got, err := parseMoment(text, now)
		if err != nil || !got.from.Equal(want.from) || got.until.Sub(got.from) != want.exact {
			t.Errorf("%q is from %v to %v (%v), want from %v for %v", text, got.from, got.until, err, want.from, want.exact)
		}
	}
	for _, text := range []string{"", "yesterday", "25:00", "07:60", "2026-13-01 00:00:00", "1795247350000", "NaN", "0x10", "1e9", "-5", "31/Feb/2026:07:49:10 +0000"} {
		if got, err := parseMoment(text, now); err == nil || !strings.Contains(err.Error(), "write it like") {
			t.Errorf("%q is taken for %v: %v", text, got, err)
		}
	}
}

// In the night in which clocks are set back or forward, a time of day is still one of today.
func TestParseMomentSummerTime(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseMoment("23:30", time.Date(2026, 3, 29, 12, 0, 0, 0, zone))
	if err != nil || got.from.Format(time.RFC3339) != "2026-03-28T23:30:00+01:00" {
		t.Errorf("got %v, %v", got.from, err)
	}
	// What there was twice, or never, is no answer to which client it was.
	now := time.Date(2026, 10, 25, 12, 0, 0, 0, zone)
	for text, want := range map[string]string{
		"02:30": "was twice", "2026-10-25 02:00:00": "was twice", "2026-10-25T02:59:59": "was twice",
		"2026-03-29 02:30": "never was",
		"01:59:59":         "", "03:00": "", "2026-10-25T02:30:00+01:00": "", "2026-03-29 03:00": "", "2026-03-29 01:59:59": "",
	} {
		got, err := parseMoment(text, now)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %v: %v, want it to be said that it %q", text, got.from, err, want)
		}
	}
}

package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"natd/internal/control"
	"natd/internal/words"
)

// sift takes those apart that fit: all that lived at the time or, when none did, the nearest that may be meant.
func sift(all []candidate) (fits, others []candidate) {
	away := func(c candidate) int64 { return max(c.gap, -c.gap) }
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(away(a), away(b)) })
	n := 0
	for n < len(all) && all[n].gap == 0 {
		n++
	}
	if n == 0 && len(all) > 0 && all[0].gap >= -patienceAfter && all[0].gap <= patienceBefore {
		n = 1
	}
	return all[:n], all[n:min(n+candidatesShown, len(all))]
}

// sure says how far a connection fits.
func (c *candidate) sure() string {
	switch {
	case c.gap == 0 && c.Windows == 0:
		return "likely: connection tracking has it, and it has no record yet"
	case c.gap == 0:
		return "exact"
	case c.gap < 0:
		return fmt.Sprintf("the nearest: ended %s before", secondsText(-c.gap))
	}
	return fmt.Sprintf("the nearest: began %s after", secondsText(c.gap))
}

// secondsText is exact up to some minutes, which is what people compare by.
func secondsText(n int64) string {
	if n < 600 {
		return fmt.Sprintf("%d s", n)
	}
	return words.Span(time.Duration(n) * time.Second)
}

func (c *candidate) beganText() string {
	if c.Windows == 0 {
		return "not known: it has no record yet"
	}
	return unixText(c.Start)
}

func (c *candidate) endedText() string {
	if c.open {
		return "still open"
	}
	if c.Windows == 0 {
		return "a moment ago: it has no record yet"
	}
	return unixText(c.End)
}

// whoText is the answer for people.
func whoText(filter *flowFilter, fits, others []candidate, missing bool) string {
	var b strings.Builder
	asked := fmt.Sprintf("%s at %s", placeText(filter.snat), filter.at.from.Format(time.DateTime))
	switch {
	case len(fits) == 0:
		fmt.Fprintf(&b, "no client was %s\n", asked)
	case len(fits) > 1:
		fmt.Fprintf(&b, "%d clients were %s; --target tells them apart\n", len(fits), asked)
	}
	if missing {
		b.WriteString("records of that time are missing (SKIPDATA): it may have been another one\n")
	}
	for i := range fits {
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		fits[i].writeText(&b, asked)
	}
	if len(fits) == 0 && len(others) > 0 {
		b.WriteString("the nearest:\n")
		candidateTable(others).write(&b, screen{})
	}
	return b.String()
}

func (c *candidate) writeText(b *strings.Builder, asked string) {
	fmt.Fprintf(b, "%s was %s\n", asked, endText(c.Client))
	relay := cmp.Or(c.Relay, "not known")
	if c.Kind != "" && c.Kind != control.KindRelay {
		relay = c.Kind + " " + relay
	}
	field(b, "relay", fmt.Sprintf("%s, dialled as %s", relay, endText(c.Listen)))
	field(b, "target", endText(c.Target)+" "+protocolName(c.Protocol))
	field(b, "began", c.beganText())
	field(b, "ended", c.endedText())
	field(b, "carried", fmt.Sprintf("%s, %s to the target; %s, %s to the client",
		words.Count(int(c.ToTarget.Packets), "packet"), words.Size(c.ToTarget.Bytes), words.Count(int(c.ToClient.Packets), "packet"), words.Size(c.ToClient.Bytes)))
	field(b, "sure", c.sure())
}

func candidateTable(all []candidate) *table {
	t := &table{columns: []column{{title: "CLIENT"}, {title: "RELAY"}, {title: "TARGET"}, {title: "PROTO"}, {title: "BEGAN"}, {title: "ENDED"}, {title: "DISTANCE"}}}
	for i := range all {
		c := &all[i]
		distance := "ended " + secondsText(-c.gap) + " before"
		if c.gap > 0 {
			distance = "began " + secondsText(c.gap) + " after"
		}
		t.add(row{cells: []string{endText(c.Client), c.Relay, endText(c.Target), protocolName(c.Protocol), c.beganText(), c.endedText(), distance}})
	}
	return t
}

// whoAnswer is the answer as JSON.
type whoAnswer struct {
	SchemaVersion int             `json:"schema_version"`
	SNAT          string          `json:"snat"`
	From          time.Time       `json:"from"`
	Until         time.Time       `json:"until"`
	Incomplete    bool            `json:"incomplete"` // records of that time are missing
	Flows         []jsonCandidate `json:"flows"`      // that fit
	Nearest       []jsonCandidate `json:"nearest"`    // the next ones
}

type jsonCandidate struct {
	*jsonFlow
	Windows  int    `json:"windows"`
	Open     bool   `json:"open"`
	Distance int64  `json:"distance_seconds"` // negative: it ended before the time
	Sure     string `json:"sure"`
}

func whoDocument(filter *flowFilter, fits, others []candidate, missing bool) *whoAnswer {
	list := func(all []candidate) []jsonCandidate {
		out := make([]jsonCandidate, len(all))
		for i := range all {
			c := &all[i]
			out[i] = jsonCandidate{jsonOf(&c.Flow), c.Windows, c.open, c.gap, c.sure()}
		}
		return out
	}
	return &whoAnswer{
		SchemaVersion: control.SchemaVersion, SNAT: placeText(filter.snat), From: filter.at.from, Until: filter.at.until,
		Incomplete: missing, Flows: list(fits), Nearest: list(others),
	}
}

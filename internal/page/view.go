package page

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"

	"natd/internal/control"
	"natd/internal/words"
)

// The levels that states have in common; the style sheet has a colour for each, the templates a sign.
const (
	levelOK   = "ok"
	levelWarn = "warn"
	levelBad  = "bad"
	levelOff  = "off" // nothing is known, or nothing is wanted
)

// level is how bad a state is, of whatever it is the state.
func level(state string) string {
	switch state {
	case control.StateReady, control.BackendUp: // ready is the word of RelayReady, too
		return levelOK
	case control.StateDegraded, control.BackendDraining:
		return levelWarn
	case control.StateFailed, control.RelayDown: // down is the word of BackendDown, too
		return levelBad
	}
	return levelOff
}

// view is what the page shows: a status in words.
type view struct {
	State, Level string
	About        string   // version, time up, process
	Reasons      []string // of the host; what is wrong with a relay stands with the relay
	Refused      string   // why the last reload was
	Facts        []fact
	Conntrack    *bar
	Sections     []section
	Nothing      string // why there is no section
	At           time.Time
}

// fact is one thing about the host.
type fact struct {
	Label, Text string
	More        []string // further lines
	Level       string   // "" = neither good nor bad
}

// bar is a share of something, from 0 to 100.
type bar struct {
	Percent int
	Level   string
	Text    string
}

func newView(a *answer, c choice) *view {
	s := a.status
	v := &view{
		State: s.State, Level: level(s.State), At: a.at.UTC(), Refused: s.Config.Error,
		About: fmt.Sprintf("version %s, up %s, pid %d", s.Version, words.Span(a.at.Sub(s.StartedAt)), s.PID),
		Facts: []fact{rulesetFact(&s.Ruleset, a.at), configFact(&s.Config, a.at), hostFact(&s.Host), accountingFact(&s.Accounting, a.at)},
	}
	if s.FlowLog != nil {
		v.Facts = append(v.Facts, flowLogFact(s.FlowLog, a.at))
	}
	for _, reason := range s.Reasons {
		if !words.HasRow(reason) {
			v.Reasons = append(v.Reasons, reason)
		}
	}
	if i := s.Host.Instance; i != nil {
		v.Facts = append(v.Facts, instanceFact(i, a.at))
	}
	v.Conntrack = conntrackBar(s.Host.Conntrack)
	v.Sections = sections(a, &c)
	if len(v.Sections) == 0 {
		v.Nothing = "No relay, gateway or static is configured."
	}
	return v
}

func rulesetFact(r *control.Ruleset, now time.Time) fact {
	f := fact{Label: "Ruleset", Text: "in sync", Level: levelOK}
	if !r.InSync {
		f.Text, f.Level = "not in sync", levelBad
	}
	f.More = append(f.More, "read "+words.Ago(now, r.LastSync)+", protect "+r.Protect)
	repairs := words.Count(r.DriftRepairs, "drift repair")
	if d := r.LastDrift; d != nil {
		repairs += ", last " + words.Ago(now, d.At)
		if d.By != "" {
			repairs += " after " + d.By
		}
		repairs += ": " + d.What
	}
	f.More = append(f.More, repairs)
	if r.LastError != "" {
		f.More = append(f.More, "last error: "+r.LastError)
	}
	return f
}

func configFact(c *control.Config, now time.Time) fact {
	f := fact{Label: "Configuration", Text: c.Path, More: []string{"loaded " + words.Ago(now, c.LoadedAt)}}
	if c.Error != "" {
		f.Level = levelWarn
		f.More = append(f.More, "the last reload was refused")
	}
	return f
}

func hostFact(h *control.Host) fact {
	f := fact{Label: "Forwarding", Text: "on", Level: levelOK}
	switch {
	case !h.IPForward && !h.Forward6:
		f.Text, f.Level = "off", levelBad
	case !h.IPForward:
		f.Text = "IPv6 on, IPv4 off"
	case h.Forward6:
		f.Text = "IPv4 and IPv6 on"
	default:
		f.Text = "IPv4 on"
	}
	if n := len(h.Sysctls); n > 0 {
		f.More = append(f.More, words.Count(n, "sysctl")+" changed by natd")
	}
	return f
}

// accountingFact says what the counts of connections and bytes are worth.
func accountingFact(c *control.Accounting, now time.Time) fact {
	f := fact{Label: "Counts", Text: "of the connections tracked now"}
	if c.Exact {
		f.Text = "of all connections"
	}
	if !c.Since.IsZero() {
		f.More = append(f.More, "for "+words.Span(now.Sub(c.Since)))
	}
	if c.Lost > 0 {
		f.Level = levelWarn
		f.More = append(f.More, fmt.Sprintf("not exact: the kernel dropped events %d times", c.Lost))
	}
	return f
}

func flowLogFact(l *control.FlowLog, now time.Time) fact {
	f := fact{Label: "Flow log", Text: l.Path, More: []string{
		words.FlowLog(l),
		fmt.Sprintf("%s, last %s", words.Count(int(l.Records), "record"), words.Ago(now, l.LastWrite)),
	}}
	if l.Dropped > 0 {
		f.Level = levelWarn
		f.More = append(f.More, fmt.Sprintf("%d dropped", l.Dropped))
	}
	if l.Error != "" {
		f.Level = levelBad
		f.More = append(f.More, l.Error)
	}
	return f
}

// The shares of the connection tracking table, in percent, from which on it deserves a look, and is about to drop connections.
const (
	conntrackHigh = 75
	conntrackFull = 95
)

// conntrackBar is nil while connection tracking is not loaded.
func conntrackBar(c control.Conntrack) *bar {
	if c.Max <= 0 {
		return nil
	}
	share := min(100, max(0, 100*float64(c.Entries)/float64(c.Max)))
	b := &bar{Level: levelOK, Percent: int(math.Ceil(share))} // a bar of nothing would look like no connection at all
	switch {
	case b.Percent >= conntrackFull:
		b.Level = levelBad
	case b.Percent >= conntrackHigh:
		b.Level = levelWarn
	}
	b.Text = fmt.Sprintf("%d of %d (%s\u00a0%%)", c.Entries, c.Max, number(share))
	return b
}

// interfacesShown is how many network interfaces of an instance have a line.
const interfacesShown = 2

func instanceFact(i *control.Instance, now time.Time) fact {
	f := fact{Label: "Instance", Text: strings.TrimSpace(i.ID + " " + i.Type)}
	if i.Zone != "" {
		f.More = append(f.More, "in "+i.Zone)
	}
	for _, eni := range i.Interfaces[:min(len(i.Interfaces), interfacesShown)] {
		f.More = append(f.More, cmp.Or(eni.Device, eni.MAC)+" = "+eni.ID)
		f.More = append(f.More, nonempty(eni.VPC, eni.Subnet)...)
	}
	if more := len(i.Interfaces) - interfacesShown; more > 0 {
		f.More = append(f.More, fmt.Sprintf("and %d more", more))
	}
	if i.Error != "" {
		f.More = append(f.More, fmt.Sprintf("as of %s, since then: %s", words.Ago(now, i.AsOf), i.Error))
	}
	return f
}

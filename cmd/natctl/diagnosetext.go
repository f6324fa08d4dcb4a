package main

import (
	"fmt"
	"strings"

	"natd/internal/diagnose"
)

// reportText is the report for people: each path with its steps, what follows, and what cannot be seen. Of many paths only those that
// are broken are walked, unless somebody asked for them.
func (a *app) reportText(r *diagnose.Report, asked bool) string {
	s := a.screen()
	var b strings.Builder
	for i := range r.Paths {
		p := &r.Paths[i]
		pathTitle(&b, p, s)
		if asked || len(r.Paths) == 1 || !p.NetworkPathFound {
			walkText(&b, p, s)
		}
	}
	shared := make(map[string]bool)
	for i := range r.Paths {
		for j := range r.Paths[i].Explanations {
			explanationText(&b, &r.Paths[i].Explanations[j], s, shared)
		}
	}
	for i := range r.Explanations {
		explanationText(&b, &r.Explanations[i], s, shared)
	}
	notSeenText(&b, r)
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	return strings.TrimPrefix(b.String(), "\n") + printable(r.StatusMessage) + "\n"
}

func pathTitle(b *strings.Builder, p *diagnose.Path, s screen) {
	mark := map[diagnose.Standing]string{diagnose.StandsWhole: "✓", diagnose.StandsBroken: "✗"}[p.Standing]
	state := s.mark(mark, string(p.Standing))
	from := p.Source
	if from == "" {
		from = "client"
	}
	fmt.Fprintf(b, "%s  %s %s  %s -> %s -> %s\n", state, p.Relay, p.Protocol, printable(from), p.Listen, printable(p.Target))
	if p.StatusMessage != "" {
		fmt.Fprintf(b, "   %s\n", oneLine(p.StatusMessage))
	}
}

// walkText is the steps of the way, numbered from the client to the target and back.
func walkText(b *strings.Builder, p *diagnose.Path, s screen) {
	titles := map[diagnose.Leg]string{
		diagnose.LegClient: "client -> host", diagnose.LegHost: "host", diagnose.LegTarget: "host -> target", diagnose.LegReturn: "target -> host -> client",
	}
	last := ""
	for _, c := range append(append([]diagnose.Component{}, p.ForwardPathComponents...), p.ReturnPathComponents...) {
		if title := titles[c.Leg]; title != last {
			fmt.Fprintf(b, "   %s\n", title)
			last = title
		}
		mark := map[diagnose.Verdict]string{diagnose.Fine: "✓", diagnose.Broken: "✗", diagnose.Suspect: "!", diagnose.Unknown: "?"}[c.Verdict]
		fmt.Fprintf(b, "   %3d %s %s: %s\n", c.SequenceNumber, s.mark(mark, mark), printable(c.Looked), oneLine(c.Found))
	}
}

// explanationText is one cause. What was said of another path already is not said again.
func explanationText(b *strings.Builder, e *diagnose.Explanation, s screen, said map[string]bool) {
	key := string(e.ExplanationCode) + e.Summary
	if said[key] {
		return
	}
	said[key] = true
	mark := "✗"
	if e.Confidence == diagnose.Possible || e.ExplanationCode == diagnose.DaemonNotRunning {
		mark = "!" // packets get through all the same
	}
	fmt.Fprintf(b, "\n%s  %s, %s -> %s\n", s.mark(mark, string(e.ExplanationCode)), e.Confidence, e.Leg, e.Direction)
	fmt.Fprintf(b, "  %s\n", oneLine(e.Summary))
	for _, line := range e.Evidence {
		fmt.Fprintf(b, "  seen: %s\n", oneLine(line))
	}
	for _, line := range e.Remedy {
		fmt.Fprintf(b, "      %s\n", oneLine(line))
	}
}

func notSeenText(b *strings.Builder, r *diagnose.Report) {
	said := make(map[string]bool)
	for i := range r.Paths {
		for _, line := range r.Paths[i].NotSeen {
			if len(said) == 0 {
				b.WriteString("\ncannot be seen from here\n")
			}
			if !said[line] {
				fmt.Fprintf(b, "  %s\n", oneLine(line))
			}
			said[line] = true
		}
		if len(said) >= mostNotSeen {
			break
		}
	}
}

// mostNotSeen keeps a report on many relays short.
const mostNotSeen = 6

// oneLine keeps what others wrote, such as rules, from breaking the page.
func oneLine(text string) string { return strings.ReplaceAll(printable(text), "\n", " ") }

// mark colours a text by the mark that it stands for.
func (s screen) mark(mark, text string) string {
	const green, yellow, red, reset = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[0m"
	if !s.colour {
		return text
	}
	switch mark {
	case "✓":
		return green + text + reset
	case "✗":
		return red + text + reset
	}
	return yellow + text + reset
}

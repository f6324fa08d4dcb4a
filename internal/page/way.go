package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"natd/internal/control"
	"natd/internal/words"
)

// way is the way of a connection: client, host, target. It is what a picture shows, before anybody thinks of pixels.
type way struct {
	Client, Host stop
	Targets      []stop
	More         int  // targets that are left out
	Ends         bool // new connections go no further than the host, although nothing is broken: no target takes them
}

// stop is a place on the way. The state of a client or target is that of the link between it and the host.
type stop struct {
	Title  string
	Lines  []string
	Level  string
	Broken bool // nothing goes on here
}

// targetsShown is how many targets a picture has.
const targetsShown = 6

// relayWay is the way of a relay. Each of its backends says what is wrong with the link to it.
func relayWay(r *control.Relay) *way {
	w := newWay(r.State, r.Faults.Host, r.Connections, r.From)
	w.Host.Lines = append(nonempty(labelled("listen ", r.Listen), labelled("source ", r.SNAT)), w.Host.Lines...)
	backends := slices.Clone(r.Backends)
	if len(backends) > targetsShown {
		slices.SortStableFunc(backends, func(x, y control.Backend) int { return cmp.Compare(words.Wellness(&x), words.Wellness(&y)) })
		w.More = len(backends) - (targetsShown - 1)
		backends = backends[:targetsShown-1]
	}
	for i := range backends {
		w.add(r, &backends[i])
	}
	w.Ends = r.State == control.RelayDown && !slices.ContainsFunc(r.Backends, func(b control.Backend) bool { return b.InUse })
	return w
}

// add adds a backend, and what is wrong with the link to it.
func (w *way) add(r *control.Relay, b *control.Backend) {
	t := stop{Title: cmp.Or(b.Address, b.Name), Level: linkLevel(r, b)}
	t.Broken = t.Level == levelBad
	state := b.State
	switch {
	case r.State == control.RelayDisabled:
		state = "disabled"
	case b.State == control.BackendUnknown && b.Reason == "":
		state = "not checked"
	case b.State == control.BackendUnknown:
		state = "unknown"
	}
	line := append(nonempty(state, words.Role(b)), fmt.Sprintf("%d open", b.Active))
	t.Lines = append(t.Lines, strings.Join(line, ", "))
	if b.Reason != "" && r.State != control.RelayDisabled {
		t.Lines = append(t.Lines, b.Reason)
	}
	if b.Unreplied > 0 && b.Active == 0 {
		t.Lines = append(t.Lines, fmt.Sprintf("%d without an answer", b.Unreplied))
	}
	w.Targets = append(w.Targets, t)
}

// linkLevel is how the link to a backend is. What nobody checks is green only while connections use it.
func linkLevel(r *control.Relay, b *control.Backend) string {
	switch {
	case r.State == control.RelayDisabled:
		return levelOff
	case b.State == control.BackendDown, b.Address == "":
		return levelBad
	case b.State == control.BackendDraining, b.Reason != "", b.Unreplied > 0 && b.Active == 0:
		return levelWarn
	case b.State == control.BackendUp, b.Active > 0:
		return levelOK
	}
	return levelOff
}

func gatewayWay(g *control.Gateway) *way {
	return behindWay(g.State, g.Faults, g.Connections, g.From,
		nonempty(labelled("source ", g.SNAT), labelled("by ", []string{g.Egress})), words.List(g.To))
}

func staticWay(s *control.Static) *way {
	return behindWay(s.State, s.Faults, s.Connections, s.From,
		nonempty(labelled("external ", []string{s.External}), labelled("source ", s.SNAT)), s.Internal)
}

// behindWay is the way of a gateway or static, which has one target that nobody checks.
func behindWay(state string, faults control.Faults, c control.Connections, from, host []string, to string) *way {
	w := newWay(state, faults.Host, c, from)
	w.Host.Lines = append(host, w.Host.Lines...)
	t := stop{Title: to, Level: levelOff, Lines: []string{fmt.Sprintf("%d open", c.Active)}}
	switch {
	case faults.Target != "":
		t.Level, t.Broken = levelBad, true
		t.Lines = append(t.Lines, faults.Target)
	case c.Active > 0:
		t.Level = levelOK
	}
	w.Targets = []stop{t}
	return w
}

// newWay is a way without targets: what the client and the host show does not depend on the kind.
func newWay(state, fault string, c control.Connections, from []string) *way {
	w := &way{
		Client: stop{Title: "Clients", Lines: []string{cmp.Or(words.List(from), "anyone"), clientText(c)}, Level: levelOff},
		Host:   stop{Title: "This host", Level: levelOK},
	}
	switch {
	case state == control.RelayDisabled:
		w.Host.Level = levelOff
		w.Host.Lines = []string{"disabled"}
	case fault != "":
		w.Host.Level, w.Host.Broken = levelBad, true
		w.Host.Lines = []string{fault}
	case c.Total+c.Active > 0:
		w.Client.Level = levelOK
	}
	return w
}

func clientText(c control.Connections) string {
	switch {
	case c.Active > 0:
		return fmt.Sprintf("%d open, %d in all", c.Active, c.Total)
	case c.Total > 0:
		return fmt.Sprintf("none open, %d in all", c.Total)
	}
	return "no connection yet"
}

func labelled(label string, texts []string) string {
	if text := words.List(texts); text != "" {
		return label + text
	}
	return ""
}

// Break says where the way is broken; "" when it is not.
func (w *way) Break() string {
	if w.Host.Broken {
		return "It breaks on this host."
	}
	var broken []string
	for _, t := range w.Targets {
		if t.Broken {
			broken = append(broken, t.Title)
		}
	}
	switch {
	case len(broken) > 0:
	case w.Ends:
		return "New connections end at this host: no target takes them."
	default:
		return ""
	}
	return "It breaks between this host and " + strings.Join(broken, ", ") + "."
}

// Alt is the picture in words, for those who cannot see it.
func (w *way) Alt() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s. %s%s: %s.", w.Client.Title, strings.Join(w.Client.Lines, ", "), w.Host.Title, mark(w.Host), strings.Join(w.Host.Lines, ", "))
	for _, t := range w.Targets {
		fmt.Fprintf(&b, " Target %s%s: %s.", t.Title, mark(t), strings.Join(t.Lines, ", "))
	}
	if w.More > 0 {
		fmt.Fprintf(&b, " And %d more.", w.More)
	}
	return b.String()
}

func mark(s stop) string {
	if s.Broken {
		return " (broken)"
	}
	return ""
}

package page

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"natd/internal/control"
	"natd/internal/words"
)

// rowsShown is how many relays have a row, and how many gateways and statics: as many as somebody looks through. A browser takes
// tenths of a second for 1,000 at each refresh; the filter finds the others.
const rowsShown = 200

// section is one kind of what natd relays.
type section struct {
	Kind, Title string
	Heads       [3]string // of the cells that the kinds do not share
	Summary     string
	Rows        []row
	Rest        int // how many are not shown, for want of room
	Found, All  int
}

// row is one relay, gateway or static.
type row struct {
	Name, State, Level string
	Cells              [3]cell
	Active, Total      string
	Rates              rates
	Notes              []string
	Open               bool
	Toggle             string // the address that opens or closes it
	Detail             *detail
}

// cell has its column's name with it: on a narrow screen there are no columns.
type cell struct{ Label, Text string }

// item is a relay, gateway or static before anybody knows whether it will be shown.
type item struct {
	kind, name, state string
	index             int // among its kind
	connections       control.Connections
	bytes             control.Volume
	thing
}

// thing is what is made of an item only when somebody looks at it.
type thing interface {
	texts() []string // what the filter looks at
	cells() [3]string
	notes() []string
	detail(a *answer) *detail
}

func sections(a *answer, c *choice) (all []section) {
	s := a.status
	relays, gateways, statics := relayItems(s), gatewayItems(s), staticItems(s)
	open := opened(c, relays, gateways, statics)
	for _, kind := range []struct {
		section
		items []item
	}{
		{section{Kind: control.KindRelay, Title: "Relays", Heads: [3]string{"Listen", "Protocol", "Backends"}}, relays},
		{section{Kind: control.KindGateway, Title: "Gateways", Heads: [3]string{"From", "To", "Source"}}, gateways},
		{section{Kind: control.KindStatic, Title: "Statics", Heads: [3]string{"External", "Internal", "From"}}, statics},
	} {
		if len(kind.items) > 0 {
			kind.fill(a, c, kind.items, open)
			all = append(all, kind.section)
		}
	}
	return all
}

// openByItself is how many relays that are not well are open when the reader has chosen nothing: the worst is in view at once.
const openByItself = 2

// opened is the names of what is open.
func opened(c *choice, kinds ...[]item) []string {
	if c.chosen {
		return c.open
	}
	var unwell []item
	var first string
	for _, items := range kinds {
		for i := range items {
			if l := level(items[i].state); l == levelWarn || l == levelBad {
				unwell = append(unwell, items[i])
			}
			first = cmp.Or(first, items[i].name)
		}
	}
	slices.SortStableFunc(unwell, func(x, y item) int { return cmp.Compare(urgency(x.state), urgency(y.state)) })
	var names []string
	for i := range unwell[:min(len(unwell), openByItself)] {
		names = append(names, unwell[i].name)
	}
	if len(names) == 0 && first != "" {
		names = []string{first}
	}
	return names
}

// urgency orders states by how much they need a look.
func urgency(state string) int {
	return slices.Index([]string{levelBad, levelWarn, levelOK, levelOff}, level(state))
}

// fill makes the rows of what the reader wants to see. Of too many, those that are not well come first.
func (s *section) fill(a *answer, c *choice, items []item, open []string) {
	s.All, s.Summary = len(items), summary(items)
	items = slices.DeleteFunc(items, func(it item) bool { return !c.admits(it.state, it.texts) })
	s.Found = len(items)
	if s.Rest = len(items) - rowsShown; s.Rest > 0 {
		slices.SortStableFunc(items, func(x, y item) int { return cmp.Compare(urgency(x.state), urgency(y.state)) })
		items = items[:rowsShown]
	}
	s.Rest = max(0, s.Rest)
	s.Rows = make([]row, len(items))
	for i := range items {
		it := &items[i]
		r := &s.Rows[i]
		*r = row{
			Name: it.name, State: it.state, Level: level(it.state), Notes: it.notes(),
			Active: strconv.FormatUint(it.connections.Active, 10), Total: strconv.FormatUint(it.connections.Total, 10),
			Rates: a.rates(it.kind, it.index, it.connections, it.bytes),
			Open:  slices.Contains(open, it.name), Toggle: c.toggle(open, it.name),
		}
		for j, text := range it.cells() {
			r.Cells[j] = cell{s.Heads[j], text}
		}
		if r.Open {
			r.Detail = it.detail(a)
		}
	}
}

// summary counts the states, the worst first.
func summary(items []item) string {
	count := make(map[string]int)
	var active uint64
	for i := range items {
		count[items[i].state]++
		active += items[i].connections.Active
	}
	states := make([]string, 0, len(count))
	for state := range count {
		states = append(states, state)
	}
	slices.SortFunc(states, func(x, y string) int { return cmp.Or(cmp.Compare(urgency(x), urgency(y)), cmp.Compare(x, y)) })
	parts := make([]string, 0, len(states)+1)
	for _, state := range states {
		parts = append(parts, fmt.Sprintf("%d %s", count[state], state))
	}
	return strings.Join(append(parts, fmt.Sprintf("%d open", active)), ", ")
}

func relayItems(s *control.Status) []item {
	items := make([]item, len(s.Relays))
	for i := range s.Relays {
		r := &s.Relays[i]
		items[i] = item{control.KindRelay, r.Name, r.State, i, r.Connections, r.Bytes, relay{r}}
	}
	return items
}

func gatewayItems(s *control.Status) []item {
	items := make([]item, len(s.Gateways))
	for i := range s.Gateways {
		g := &s.Gateways[i]
		items[i] = item{control.KindGateway, g.Name, g.State, i, g.Connections, g.Bytes, gateway{g}}
	}
	return items
}

func staticItems(s *control.Status) []item {
	items := make([]item, len(s.Statics))
	for i := range s.Statics {
		st := &s.Statics[i]
		items[i] = item{control.KindStatic, st.Name, st.State, i, st.Connections, st.Bytes, static{st}}
	}
	return items
}

type relay struct{ *control.Relay }

func (r relay) texts() []string {
	texts := append([]string{r.Name, r.State, r.Reason}, r.Listen...)
	for i := range r.Backends {
		texts = append(texts, r.Backends[i].Address, r.Backends[i].Name)
	}
	return texts
}

func (r relay) cells() [3]string {
	return [3]string{words.List(r.Listen), strings.Join(r.Protocol, ", "), words.Backends(r.Backends)}
}

func (r relay) notes() []string { return words.RelayNotes(r.Relay) }

func (r relay) detail(a *answer) *detail { return relayDetail(r.Relay, a.at) }

type gateway struct{ *control.Gateway }

func (g gateway) texts() []string {
	return slices.Concat([]string{g.Name, g.State, g.Reason}, g.From, g.To, g.SNAT)
}

func (g gateway) cells() [3]string {
	return [3]string{words.List(g.From), words.List(g.To), words.List(g.SNAT)}
}

func (g gateway) notes() []string { return words.Notes(g.Name, g.Reason, g.Connections) }

func (g gateway) detail(*answer) *detail { return gatewayDetail(g.Gateway) }

type static struct{ *control.Static }

func (s static) texts() []string {
	return slices.Concat([]string{s.Name, s.State, s.Reason, s.External, s.Internal}, s.From)
}

func (s static) cells() [3]string { return [3]string{s.External, s.Internal, anyone(s.From)} }

func (s static) notes() []string { return words.Notes(s.Name, s.Reason, s.Connections) }

func (s static) detail(*answer) *detail { return staticDetail(s.Static) }

// anyone is who may use something, in the width of about one network.
func anyone(from []string) string { return cmp.Or(words.List(from), "any") }

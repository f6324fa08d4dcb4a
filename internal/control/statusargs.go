package control

import (
	"path"
	"slices"
	"strings"
)

// StatusArgs are the arguments of [OpStatus]: which relays, and how many. None at all ask for the whole.
type StatusArgs struct {
	Relay string   `json:"relay,omitempty"` // a pattern of names as a shell has it: * and ? stand for any characters, [a-c] for some
	State []string `json:"state,omitempty"` // of relays; none = every state
	Most  int      `json:"most,omitempty"`  // of more relays than that only some are told, those that are not as configured; 0 = all
}

// Check tells what cannot be asked for.
func (a *StatusArgs) Check() error {
	if _, err := path.Match(a.Relay, ""); err != nil {
		return Errorf(CodeUsage, "%q is no pattern of names: write it like web-* or [ab]?", a.Relay)
	}
	states := []string{RelayReady, RelayDegraded, RelayDown, RelayDisabled}
	for _, s := range a.State {
		if !slices.Contains(states, s) {
			return Errorf(CodeUsage, "a relay has no state %q: it is one of %s", s, strings.Join(states, ", "))
		}
	}
	if a.Most < 0 {
		return Errorf(CodeUsage, "most is %d: it cannot be less than 0", a.Most)
	}
	return nil
}

// Matches tells whether a relay is asked for.
func (a *StatusArgs) Matches(name, state string) bool {
	if len(a.State) > 0 && !slices.Contains(a.State, state) {
		return false
	}
	if a.Relay == "" {
		return true
	}
	match, err := path.Match(a.Relay, name)
	return err == nil && match
}

// Summary counts the relays that there are, whichever of them a [Status] tells.
type Summary struct {
	Total  int            `json:"total"`
	States map[string]int `json:"states"` // how many relays have each state
	Left   int            `json:"left"`   // how many were asked for and are not told, see [StatusArgs]
}

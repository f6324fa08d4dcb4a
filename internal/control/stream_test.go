package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWriteJSON wants the text that encoding/json makes, also of a status that has texts like its keys.
func TestWriteJSON(t *testing.T) {
	t.Parallel()
	const evil = `"relays":null,"relays": null,<&>` + "\x1b\u2028"
	for name, s := range map[string]*Status{
		"nothing": {},
		"empty":   {Relays: []Relay{}, Gateways: []Gateway{}, Statics: []Static{}, Names: []Name{}, Reasons: []string{}},
		"full": {
			Reasons: []string{evil}, Config: Config{Error: evil}, Ruleset: Ruleset{LastDrift: &Drift{By: evil}},
			Relays:   []Relay{{Name: "a", Reason: evil, Backends: []Backend{{Name: evil}, {}}}, {Name: "b", From: []string{}}},
			Gateways: []Gateway{{Name: "c"}}, Statics: []Static{{Name: "d"}, {Reason: evil}}, Names: []Name{{Name: evil}},
			FlowLog: &FlowLog{Error: evil},
		},
	} {
		for _, indent := range []string{"", "  "} {
			var want, got bytes.Buffer
			e := json.NewEncoder(&want)
			e.SetEscapeHTML(false)
			e.SetIndent("", indent)
			if err := errors.Join(e.Encode(s), s.WriteJSON(&got, indent)); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(want.String(), got.String()+"\n"); diff != "" {
				t.Errorf("%s, indented by %q:\n%s", name, indent, diff)
			}
		}
	}
}

// manyRelays is the status of so many relays.
func manyRelays(n int) *Status {
	s := &Status{Relays: make([]Relay, n)}
	for i := range s.Relays {
		s.Relays[i] = Relay{Name: "relay", Listen: []string{"10.2.0.100:80"}, Backends: []Backend{{Address: "10.3.0.100:80"}, {Address: "10.3.0.101:80"}}}
	}
	return s
}

// heaviest remembers the largest piece.
type heaviest struct{ written, piece int }

func (h *heaviest) Write(p []byte) (int, error) {
	h.written, h.piece = h.written+len(p), max(h.piece, len(p))
	return len(p), nil
}

// TestWriteJSONInPieces wants a status of many relays to take little more memory than that of one.
func TestWriteJSONInPieces(t *testing.T) {
	s := manyRelays(20_000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var h heaviest
	if err := s.WriteJSON(&h, "  "); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; h.written < 20<<20 || h.piece > 1<<20 || took > 40<<20 {
		t.Errorf("%d bytes in pieces of at most %d took %d bytes of memory", h.written, h.piece, took)
	}
	if err := s.WriteJSON(refusing{}, ""); err == nil || !strings.Contains(err.Error(), "no more") {
		t.Errorf("error %v", err)
	}
}

type refusing struct{}

func (refusing) Write([]byte) (int, error) { return 0, errors.New("no more") }

package main

import (
	"errors"
	"path/filepath"
	"testing"

	"natd/internal/control"
	"natd/internal/lab"
)

// TestStdoutGone takes natd the reader of its standard output, to which the flow log goes: natd goes on, and status tells.
func TestStdoutGone(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.configure(webRelay("auto") + "\n[flow_log]\npath = \"stdout\"\ninterval = \"1s\"\n")
	p, err := b.B.Start("sh", "-c", `"$0" "$@" | true`, filepath.Join(b.bin, "natd"),
		"--config", b.configPath(), "--socket", b.socketPath(), "--state", filepath.Join(b.dir, "state"))
	lab.Check(t, err)
	b.natd = p
	b.awaitStatus(func(s *control.Status) error {
		if s.FlowLog == nil || s.FlowLog.Error == "" {
			return errors.New("status does not say that the flow log cannot be written")
		}
		return nil
	})
	if r := b.status().Relays[0]; r.State != control.RelayReady {
		t.Errorf("the relay is %s: %s", r.State, r.Reason)
	}
}

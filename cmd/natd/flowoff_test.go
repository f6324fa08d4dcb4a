package main

import (
	"fmt"
	"strings"
	"testing"

	"natd/internal/lab"
	"natd/internal/record"
)

// TestFlowTurnedOff turns the flow log off in the middle of a window: what living connections carried in it is in the file, whether the meter
// goes on for metrics or not.
func TestFlowTurnedOff(t *testing.T) {
	t.Parallel()
	for name, rest := range map[string]string{"nothing else counts": "", "metrics go on": "\n[metrics]\nlisten = \"127.0.0.1:9469\"\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFlowBox(t, ipv4)
			b.start(flowRelays() + strings.ReplaceAll(b.flowLogText(flowFields), `"1s"`, `"10m"`) + rest)
			c, err := b.A.Dial(t.Context(), "tcp", "10.2.0.100:7")
			lab.Check(t, err)
			defer c.Close()
			_, err = c.Write([]byte("a line\n"))
			lab.Check(t, err)
			_, err = c.Read(make([]byte, 7))
			lab.Check(t, err)
			b.reload(flowRelays() + rest)
			lab.Eventually(t, patience, func() error {
				alive := 0
				for _, r := range b.records() {
					if r.Status == record.OK && r.Action == record.Accept && r.Packets > 0 {
						alive++
					}
				}
				if alive != 4 {
					return fmt.Errorf("there are %d records of the connection that lives, want 4", alive)
				}
				return nil
			})
		})
	}
}

package main

import (
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// TestNameOfManyElements wants the answer to a name to make no more of a relay than the kernel can hold: the other relays go on.
func TestNameOfManyElements(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.tellers(2)
	z := b.zone(time.Second, map[string]lab.Answer{"wide.internal": b.at(1)})
	b.start(resolverLine + `
[[relay]]
name = "wide"
listen = "10.2.0.100:20000-24999"
protocol = ["tcp", "udp"]
to = ["wide.internal"]
balance = "source"
` + nameRelay("narrow", 7000, "10.3.0.101"))
	lab.Check(t, z.Set(t.Context(), map[string]lab.Answer{"wide.internal": b.at(1, 2)}))
	b.reason("wide", control.RelayDegraded, "wide.internal has 2 addresses, which are not all used")
	b.reason("narrow", control.RelayReady)
	b.reaches(7000, "1")
	b.reload(resolverLine + nameRelay("thin", 7000, "wide.internal"))
	b.reason("thin", control.RelayReady)
	b.reaches(7000, "1", "2")
}

package flow

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"natd/nat"
)

func TestPortUse(t *testing.T) {
	t.Parallel()
	var u PortUse
	if worst := u.Worst(); len(worst) != 0 {
		t.Errorf("before the first connection: %v", worst)
	}
	add := func(relay, count int, proto nat.Protocol, source, target string) {
		for i := range count {
			u.Add(relay, via(fmt.Sprintf("%s:%d", source, 2000+i), translated(proto, client, host+":80", target, established)))
		}
	}
	add(0, 3, nat.TCP, host, "10.3.0.1:80")
	add(0, 2, nat.TCP, host, "10.3.0.2:80")
	add(1, 4, nat.TCP, host, "10.3.0.2:80") // shared with the first relay
	add(1, 5, nat.UDP, host, "10.3.0.2:80")
	add(1, 5, nat.TCP, "10.2.0.101", "10.3.0.2:80")
	add(2, 1, nat.SCTP, "10.2.0.101", "10.3.0.2:80")
	u.Add(3, via(host+":1023", translated(nat.TCP, client, host+":80", "10.3.0.9:80", established)))
	u.Add(3, plain(nat.TCP, client, "10.3.0.9:80", established|statusDstNAT))
	got := make(map[int]string)
	for relay, w := range u.Worst() {
		got[relay] = fmt.Sprintf("%s %s > %s: %d", w.Proto, w.Source, w.Target, w.Used)
	}
	want := map[int]string{
		0: "tcp 10.2.0.100 > 10.3.0.2:80: 6",
		1: "tcp 10.2.0.100 > 10.3.0.2:80: 6",
		2: "sctp 10.2.0.101 > 10.3.0.2:80: 1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(u.used) != 5 {
		t.Errorf("%d kept, want as many as there are different ones, 5", len(u.used))
	}
}

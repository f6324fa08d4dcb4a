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
	add := func(relay string, count int, proto nat.Protocol, source, target string) {
		for i := range count {
			u.Add(Owner{KindRelay, relay}, via(fmt.Sprintf("%s:%d", source, 2000+i), translated(proto, client, host+":80", target, established)))
		}
	}
	add("a", 3, nat.TCP, host, "10.3.0.1:80")
	add("a", 2, nat.TCP, host, "10.3.0.2:80")
	add("b", 4, nat.TCP, host, "10.3.0.2:80") // shared with the first relay
	add("b", 5, nat.UDP, host, "10.3.0.2:80")
	add("b", 5, nat.TCP, "10.2.0.101", "10.3.0.2:80")
	add("c", 1, nat.SCTP, "10.2.0.101", "10.3.0.2:80")
	u.Add(Owner{KindGateway, "a"}, via(host+":2000", plain(nat.TCP, client, "10.3.0.9:80", established|statusSrcNAT)))
	u.Add(Owner{KindRelay, "d"}, via(host+":1023", translated(nat.TCP, client, host+":80", "10.3.0.9:80", established)))
	u.Add(Owner{KindRelay, "d"}, plain(nat.TCP, client, "10.3.0.9:80", established|statusDstNAT))
	got := make(map[Owner]string)
	for owner, w := range u.Worst() {
		got[owner] = fmt.Sprintf("%s %s > %s: %d", w.Proto, w.Source, w.Target, w.Used)
	}
	want := map[Owner]string{
		{KindRelay, "a"}:   "tcp 10.2.0.100 > 10.3.0.2:80: 6",
		{KindRelay, "b"}:   "tcp 10.2.0.100 > 10.3.0.2:80: 6",
		{KindRelay, "c"}:   "sctp 10.2.0.101 > 10.3.0.2:80: 1",
		{KindGateway, "a"}: "tcp 10.2.0.100 > 10.3.0.9:80: 1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(u.used) != 6 {
		t.Errorf("%d kept, want as many as there are different ones, 6", len(u.used))
	}
}

package lab

import (
	"strings"
	"testing"
)

func TestStateSeesBothFamilies(t *testing.T) {
	t.Parallel()
	p := New(t)
	before := p.B.State(t)
	WantSame(t, before, p.B.State(t))
	keys := []string{"net.ipv4.ip_forward"}
	if hasIPv6() {
		keys = append(keys, "net.ipv6.conf.all.forwarding")
	}
	for _, key := range keys {
		Check(t, p.B.SetSysctl(key, "1"))
		after := p.B.State(t)
		if line := sysctlPath(key) + " = 1"; strings.Contains(before, line) || !strings.Contains(after, line) {
			t.Errorf("the state does not tell that %s has changed", key)
		}
	}
}

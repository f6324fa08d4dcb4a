package nat

import (
	"bytes"
	"fmt"
	"net/netip"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func inNamespace(t *testing.T, body func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		body()
	}()
	<-done
}

func out(t *testing.T, name string, args ...string) string {
	t.Helper()
	b, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %v: %v\n%s", name, args, err, b)
	}
	return string(b)
}

func TestScratch(t *testing.T) {
	spec := &Spec{Relays: []Relay{
		{Name: "web", Listen: Listen{netip.MustParseAddr("10.2.0.100"), PortRange{80, 80}}, Protocols: []Protocol{TCP}, Backend: Backend{netip.MustParseAddr("10.3.0.100"), PortRange{80, 80}}},
		{Name: "dns", Log: true, From: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("10.9.9.9/32")}, Listen: Listen{netip.MustParseAddr("10.2.0.100"), PortRange{53, 55}}, Protocols: []Protocol{TCP, UDP}, Backend: Backend{netip.MustParseAddr("10.3.0.100"), PortRange{53, 55}}},
	}}
	a := netip.MustParseAddr("10.2.0.100")
	places := []Placement{{Addrs: []netip.Addr{a}, SNAT: a}, {Addrs: []netip.Addr{a}, SNAT: a}}
	inNamespace(t, func() {
		k, err := Open()
		if err != nil {
			t.Fatal(err)
		}
		want := Build(spec, places)
		for _, protect := range []Protect{ProtectOff, ProtectGuard, ProtectOwn, ProtectGuard, ProtectOff} {
			p, err := k.Protection(protect)
			fmt.Println(protect, p, err)
			have, err := k.Read()
			if err != nil {
				t.Error(err)
				return
			}
			hold := Hold{p, k.Port()}
			plan := Diff(want, have, hold)
			fmt.Println(plan.Steps(20))
			if err := k.Apply(plan, have.Generation, hold); err != nil {
				t.Error(err)
				return
			}
			have, err = k.Read()
			if err != nil {
				t.Error(err)
				return
			}
			if p := Diff(want, have, hold); !p.Empty() {
				t.Error("not empty", p.Steps(20))
				for i, c := range have.Chains {
					for j, r := range c.Rules {
						fmt.Println(r.canon)
						fmt.Println(want.Chains[i].Rules[j].canon)
					}
				}
			}
		}
		fmt.Println(out(t, "nft", "list", "ruleset"))
		var b bytes.Buffer
		want.WriteText(&b)
		fmt.Println(b.String())
	})
}

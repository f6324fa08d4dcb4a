package main

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// asker is a client that sends datagrams from one port for ever, as a SIP phone or a logger does.
type asker struct {
	net.Conn
	t *testing.T
}

// follows wants the asker's datagrams to reach the teller of that name soon, and tells how long it took.
func (a asker) follows(name string, within time.Duration) time.Duration {
	a.t.Helper()
	began := time.Now()
	got := ""
	for time.Since(began) < within {
		var err error
		if got, err = lab.Ask(a, 100*time.Millisecond); err == nil && got == name {
			return time.Since(began)
		}
		time.Sleep(10 * time.Millisecond)
	}
	a.t.Errorf("after %v the last answer is from %q, want %q", within, got, name)
	return within
}

// TestDatagramsFollow lets one client send from one port, while the backend behind the relay is replaced by a reload, dies and is
// drained. Peers left such flows in a black hole: the kernel never forgets an entry that is used.
func TestDatagramsFollow(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	lab.Check(t, b.C.AddExtra(3))
	var to []string
	for i := range 3 {
		at := netip.AddrPortFrom(b.C.Extra(i + 1)[0], 53).String()
		_, err := b.C.TellUDP(at, fmt.Sprint(i+1))
		lab.Check(t, err)
		to = append(to, at)
	}
	checked := func(i int) net.Listener { // what the health check of a datagram relay looks at
		l, err := b.C.Listen("tcp", to[i])
		lab.Check(t, err)
		return l
	}
	first, _ := checked(0), checked(1)
	config := func(lines string, to ...string) string {
		return fmt.Sprintf("[[relay]]\nname = \"dns\"\nlisten = \"10.2.0.100:53\"\nprotocol = \"udp\"\nto = [%q]\n%s\n", to[0], lines)
	}
	b.start(config("", to[2]))
	c, err := b.A.Dial(t.Context(), "udp", "10.2.0.100:53")
	lab.Check(t, err)
	defer c.Close()
	a := asker{c, t}
	a.follows("3", patience)

	b.reload(config("", to[1]))
	t.Logf("followed a reload after %v", a.follows("2", time.Second))

	pair := fmt.Sprintf("[[relay]]\nname = \"dns\"\nlisten = \"10.2.0.100:53\"\nprotocol = \"udp\"\nto = [%q, {address = %q, backup = true}]\n"+
		`health = {type = "tcp", interval = "300ms", timeout = "200ms", rise = 2, fall = 2, port = 53}`+"\n", to[0], to[1])
	b.reload(pair)
	b.awaitBackends("up", "up")
	a.follows("1", time.Second)
	lab.Check(t, first.Close())
	b.C.Output(t, "ss", "-tln")
	died := time.Now()
	a.follows("2", outWithin+time.Second)
	t.Logf("followed a backend's death after %v", time.Since(died))
	checked(0)
	b.awaitBackends("up", "up")
	a.follows("1", time.Second)

	b.step([]string{"drain", "dns", to[0]}, control.CodeOK, "drained")
	a.follows("2", time.Second)
	b.step([]string{"enable", "dns"}, control.CodeOK, "enabled")
	a.follows("1", time.Second)
}

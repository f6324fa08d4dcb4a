package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"natd/internal/control"
	"natd/internal/lab"
)

// shows waits until the status page of natd has the words, and says that the way of the relay breaks there; "" = nowhere.
func (b *box) shows(broken string, words ...string) {
	b.t.Helper()
	lab.Eventually(b.t, patience, func() error {
		code, body := b.look("/?part=main&open=web")
		_, got, _ := strings.Cut(body, `<span class="break">`)
		got, _, _ = strings.Cut(got, "</span>")
		if signs := strings.Count(body, `<g class="cross"`); code != 200 || got != broken || (signs > 0) != (broken != "") {
			return fmt.Errorf("%d: the page says %q with %d signs of a break, want %q:\n%s", code, got, signs, broken, body)
		}
		for _, word := range words {
			if !strings.Contains(body, word) {
				return fmt.Errorf("the page does not say %q:\n%s", word, body)
			}
		}
		return nil
	})
}

// TestPageShowsFaults makes one thing after the other go wrong, and looks at the page that natd serves.
func TestPageShowsFaults(t *testing.T) {
	t.Parallel()
	const here = "It breaks on this host."
	b := newBox(t)
	lab.Check(t, b.C.AddExtra(1))
	_, err := b.C.StartNginx(t.Context(), netip.MustParseAddrPort("10.3.0.100:80"))
	lab.Check(t, err)
	second, err := b.C.Listen("tcp4", "10.3.0.101:80")
	lab.Check(t, err)
	b.B.Output(t, "ip", "addr", "add", "10.2.0.77/24", "dev", "ens5")
	config := func(host string) string {
		return host + "[metrics]\n[flow_log]\npath = \"" + b.dir + "/flow.log\"\ninterval = \"1s\"\n" + `[[relay]]
name = "web"
listen = "10.2.0.77:80"
to = ["10.3.0.100:80", "10.3.0.101:80"]
health = {type = "tcp", interval = "200ms", timeout = "150ms", rise = 1, fall = 2}
`
	}
	b.start(config(""))
	b.shows("", "2/2 up", "of all connections", "flow.log", "✓</span> ready")

	lab.Check(t, second.Close())
	b.shows("It breaks between this host and 10.3.0.101:80.", "1/2 up", "connection refused")

	b.B.Output(t, "ip", "addr", "del", "10.2.0.77/24", "dev", "ens5")
	b.shows(here, "listen address 10.2.0.77 is on no interface")
	b.B.Output(t, "ip", "addr", "add", "10.2.0.77/24", "dev", "ens5")
	b.shows("It breaks between this host and 10.3.0.101:80.")

	b.B.Output(t, "sysctl", "-qw", "net.ipv4.ip_forward=0")
	b.reload(config("[host]\nip_forward = false\n"))
	b.B.Output(t, "sysctl", "-qw", "net.ipv4.ip_forward=0")
	b.shows(here, "the host does not forward IPv4", "forbids natd to turn it on")
	b.reload(config(""))
	b.shows("It breaks between this host and 10.3.0.101:80.", "IPv4 on")

	if _, errs, code := b.natctl("flush"); code != control.CodeOK {
		t.Fatalf("natctl flush: %s", errs)
	}
	b.shows(here, "removed by natctl flush", "not in sync")
}

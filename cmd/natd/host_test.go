package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// relayOf is the status of one relay.
func relayOf(s *control.Status, name string) (*control.Relay, error) {
	i := slices.IndexFunc(s.Relays, func(r control.Relay) bool { return r.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("status has no relay %q", name)
	}
	return &s.Relays[i], nil
}

// awaitRelays waits until each relay is ready, or has a reason that contains the text given for it.
func (b *box) awaitRelays(want map[string]string) {
	b.t.Helper()
	b.awaitStatus(func(s *control.Status) error {
		var wrong []error
		for name, reason := range want {
			r, err := relayOf(s, name)
			switch {
			case err != nil:
				wrong = append(wrong, err)
			case (r.State == control.RelayReady) != (reason == "") || !strings.Contains(r.Reason, reason):
				wrong = append(wrong, fmt.Errorf("relay %s is %s: %q, want a reason with %q", name, r.State, r.Reason, reason))
			}
		}
		return errors.Join(wrong...)
	})
}

// startRelays is start for a configuration of which not everything can be ready.
func (b *box) startRelays(config string, want map[string]string) {
	b.t.Helper()
	b.configure(config)
	b.launch()
	b.awaitRelays(want)
}

// refuse reloads the configuration, which must be refused with the code and words that contain the texts.
func (b *box) refuse(config string, want int, texts ...string) {
	b.t.Helper()
	b.configure(config)
	_, errs, code := b.natctl("reload")
	if code != want {
		b.t.Errorf("natctl reload exits %d, want %d:\n%s", code, want, errs)
	}
	for _, text := range texts {
		if !strings.Contains(errs, text) {
			b.t.Errorf("natctl reload does not say %q:\n%s", text, errs)
		}
	}
}

// relayText is a relay of one protocol, to the same port of C; lines are added to it.
func relayText(name, listen, protocol string, lines ...string) string {
	port := listen[strings.LastIndexByte(listen, ':'):]
	return fmt.Sprintf("[[relay]]\nname = %q\nlisten = %q\nprotocol = %q\nto = [\"10.3.0.100%s\"]\n%s\n",
		name, listen, protocol, port, strings.Join(lines, "\n"))
}

// TestLocalServices starts natd on a host where services have the ports already: sshd must survive a careless relay.
func TestLocalServices(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	tests := []struct {
		name, network, service string // of the service on B
		protocol, listen       string // of the relay
		override, taken        bool
	}{
		{"tcp-any", "tcp", "0.0.0.0:7001", "tcp", "10.2.0.100:7001", false, false},
		{"tcp-address", "tcp", "10.2.0.100:7002", "tcp", "10.2.0.100:7002", false, false},
		{"tcp-both-families", "tcp", "[::]:7003", "tcp", "10.2.0.100:7003", false, false},
		{"udp-any", "udp", "0.0.0.0:7004", "udp", "10.2.0.100:7004", false, false},
		{"udp-both-families", "udp", "[::]:7005", "udp", "10.2.0.100:7005", false, false},
		{"tcp-everywhere", "tcp", "10.2.0.100:7006", "tcp", ":7006", false, false},
		{"tcp-override", "tcp", "0.0.0.0:7007", "tcp", "10.2.0.100:7007", true, true},
		{"udp-override", "udp", "0.0.0.0:7008", "udp", "10.2.0.100:7008", true, true},
		{"loopback", "tcp", "127.0.0.1:7009", "tcp", "10.2.0.100:7009", false, true},
		{"other-protocol", "udp", "0.0.0.0:7010", "tcp", "10.2.0.100:7010", false, true},
	}
	var config strings.Builder
	want := make(map[string]string)
	services, backends := make(map[string]*lab.Echo), make(map[string]*lab.Echo)
	for _, tt := range tests {
		services[tt.name] = echo(t, b.B, tt.network, tt.service)
		port := tt.listen[strings.LastIndexByte(tt.listen, ':'):]
		backends[tt.name] = echo(t, b.C, tt.protocol, "10.3.0.100"+port)
		config.WriteString(relayText(tt.name, tt.listen, tt.protocol, fmt.Sprintf("override_local = %v", tt.override)))
		if want[tt.name] = ""; !tt.taken {
			want[tt.name] = fmt.Sprintf("port %s/%s belongs to a local service", port[1:], tt.protocol)
		}
	}
	b.startRelays(config.String(), want)
	if _, _, code := b.natctl("status"); code != control.CodeDegraded {
		t.Errorf("natctl status exits %d, want %d", code, control.CodeDegraded)
	}
	for _, tt := range tests {
		port := tt.listen[strings.LastIndexByte(tt.listen, ':'):]
		if err := reach(t, b.A, tt.protocol, "10.2.0.100"+port, patience); err != nil {
			t.Errorf("%s: nobody answers: %v", tt.name, err)
		}
		if taken := len(backends[tt.name].Peers()) > 0; taken != tt.taken {
			t.Errorf("%s: the backend answered: %v, the service: %v; want the backend: %v",
				tt.name, taken, len(services[tt.name].Peers()) > 0, tt.taken)
		}
	}
}

// echo starts an echo server.
func echo(t testing.TB, h *lab.Host, network, addr string) *lab.Echo {
	t.Helper()
	start := h.EchoTCP
	if network == "udp" {
		start = h.EchoUDP
	}
	e, err := start(addr)
	lab.Check(t, err)
	return e
}

// TestReloadThatTakesAPort reloads a file with a relay on the port of a service: the file is to blame, whole.
func TestReloadThatTakesAPort(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	service, backend := echo(t, b.B, "tcp", "0.0.0.0:22"), echo(t, b.C, "tcp", "10.3.0.100:22")
	echo(t, b.C, "tcp", "10.3.0.100:7")
	b.start(echoRelay())
	running := b.status().Config.SHA256
	other, ssh := relayText("other", "10.2.0.100:99", "tcp"), relayText("ssh", "10.2.0.100:22", "tcp")
	b.refuse(echoRelay()+other+ssh, control.CodeConfig,
		b.configPath()+":14: ", `relay "ssh": listen = "10.2.0.100:22": port 22/tcp belongs to a local service`, "override_local = true")
	s := b.status()
	if s.Config.SHA256 != running || len(s.Relays) != 1 || !strings.Contains(s.Config.Error, "port 22/tcp") {
		t.Errorf("after the refusal the status is %+v", s)
	}
	if rules := b.B.Output(t, "nft", "list", "table", "inet", "natd"); strings.Contains(rules, ". 99") {
		t.Errorf("a part of the refused file is in the kernel:\n%s", rules)
	}
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:22", patience))
	if len(service.Peers()) != 1 || len(backend.Peers()) != 0 {
		t.Error("the service lost its port to a refused relay")
	}
	b.step([]string{"plan", "--exit-code"}, control.CodeConfig,
		b.configPath()+":14: relay \"ssh\": listen = \"10.2.0.100:22\": port 22/tcp belongs to a local service")
	lab.Check(t, b.natd.Stop())
	b.step([]string{"plan", b.configPath()}, control.CodeOK, "note: relay ssh: port 22/tcp belongs to a local service") // a start holds it
	b.configure(echoRelay())
	b.launch()
	b.awaitReady()
	b.reload(echoRelay() + other + relayText("ssh", "10.2.0.100:22", "tcp", "override_local = true"))
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:22", patience))
	if len(backend.Peers()) != 1 {
		t.Error("override_local = true did not take the port")
	}
}

// TestServiceThatComesLater starts a service on the port of a relay: anyone may open a socket, and must not end a relay by it.
func TestServiceThatComesLater(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	backend := echo(t, b.C, "tcp", "10.3.0.100:7")
	b.start("[daemon]\nresync = \"1s\"\n" + echoRelay())
	echo(t, b.B, "tcp", "0.0.0.0:7")
	synced := time.Now().Add(time.Second) // at least one resync later
	b.awaitStatus(func(s *control.Status) error {
		if s.Ruleset.LastSync.Before(synced) {
			return errors.New("no resync yet")
		}
		return nil
	})
	b.reload(echoRelay() + relayText("other", "10.2.0.100:99", "tcp"))
	b.kill()
	b.launch() // the next natd adopts the relay
	b.awaitReady()
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:7", patience))
	if len(backend.Peers()) != 1 {
		t.Error("the relay lost its port to a service that came later")
	}
}

// TestAddressThatComesLater boots with a service on every address and a relay on an address that is not there yet: when it
// comes, the port belongs to the service.
func TestAddressThatComesLater(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	service, backend := echo(t, b.B, "tcp", "0.0.0.0:22"), echo(t, b.C, "tcp", "10.3.0.100:22")
	config := relayText("ssh", "10.2.0.77:22", "tcp")
	b.startRelays(config, map[string]string{"ssh": "listen address 10.2.0.77 is on no interface"})
	lab.Check(t, b.B.AddAddr(lab.Device, netip.MustParsePrefix("10.2.0.77/32")))
	b.awaitRelays(map[string]string{"ssh": "port 22/tcp belongs to a local service"})
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.77:22", patience))
	if len(service.Peers()) != 1 || len(backend.Peers()) != 0 {
		t.Error("the service lost its port")
	}
}

// TestBadRelays puts every kind of relay that this host cannot serve beside a good one.
func TestBadRelays(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	echo(t, b.C, "tcp", "10.3.0.100:7")
	lab.Check(t, lab.Connect(lab.End{Host: b.R, Name: "b2"}, lab.End{Host: b.B, Name: "ens6"}))
	lab.Check(t, b.B.AddAddr("ens6", netip.MustParsePrefix("10.2.9.1/24")))
	_, err := b.B.Run(t.Context(), "ip", "route", "add", "unreachable", "192.0.2.0/24")
	lab.Check(t, err)
	config := echoRelay() +
		relayText("snat", "10.2.0.100:8001", "tcp", `snat = "10.2.0.44"`) +
		relayText("wrong-egress", "10.2.0.100:8002", "tcp", `egress = "ens6"`) +
		relayText("no-egress", "10.2.0.100:8003", "tcp", `egress = "ens9"`) +
		relayText("no-address", "10.2.0.55:8004", "tcp") +
		"[[relay]]\nname = \"no-route\"\nlisten = \"10.2.0.100:8005\"\nto = [\"192.0.2.9:80\"]\n"
	want := map[string]string{
		"echo": "", "snat": "snat address 10.2.0.44 is on no interface",
		"wrong-egress": "packets to there leave by ens5", "no-egress": "egress ens9",
		"no-address": "listen address 10.2.0.55 is on no interface", "no-route": "backend 192.0.2.9 cannot be reached",
	}
	b.startRelays(config, want)
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:7", patience))

	lab.Check(t, b.B.AddAddr(lab.Device, netip.MustParsePrefix("10.2.0.44/32")))
	lab.Check(t, b.B.AddAddr(lab.Device, netip.MustParsePrefix("10.2.0.55/32")))
	_, err = b.B.Run(t.Context(), "ip", "route", "del", "unreachable", "192.0.2.0/24")
	lab.Check(t, err)
	want["snat"], want["no-address"], want["no-route"] = "", "", ""
	b.awaitRelays(want)
	_, err = b.B.Run(t.Context(), "ip", "route", "replace", "10.3.0.100/32", "via", "10.2.9.2", "dev", "ens6")
	lab.Check(t, err)
	want["wrong-egress"] = ""
	b.awaitRelays(want)
}

// TestListenEverywhere follows the addresses of the host.
func TestListenEverywhere(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	echo(t, b.C, "tcp", "10.3.0.100:7")
	b.start(relayText("everywhere", ":7", "tcp"))
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:7", patience))
	second := netip.MustParsePrefix("10.2.0.101/24")
	lab.Check(t, b.B.AddAddr(lab.Device, second))
	lab.Eventually(t, patience, func() error { return reach(t, b.A, "tcp", "10.2.0.101:7", time.Second) })
	lab.Check(t, b.B.DelAddr(lab.Device, second))
	lab.Eventually(t, patience, func() error {
		if rules := b.B.Output(t, "nft", "list", "table", "inet", "natd"); strings.Contains(rules, "10.2.0.101") {
			return errors.New("the table still has 10.2.0.101")
		}
		return nil
	})
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:7", patience))
	b.awaitReady()
}

// TestKeepsTheClient wants the client's own address on the way to the backend. The peering drops such packets, so it is
// looked for where they arrive at it.
func TestKeepsTheClient(t *testing.T) {
	t.Parallel()
	lab.Require(t, "tcpdump")
	b := newBox(t)
	b.start(echoRelay(`snat = "off"`))
	capture, err := b.R.Capture(t.Context(), "b", "dst host 10.3.0.100")
	lab.Check(t, err)
	if err := reach(t, b.A, "tcp", "10.2.0.100:7", 100*time.Millisecond); err == nil {
		t.Error("the peering let a foreign source pass")
	}
	lab.Check(t, capture.Await(t.Context(), patience, func(packets []lab.Packet) error {
		if len(packets) == 0 {
			return errors.New("nothing arrives for C")
		}
		for _, p := range packets {
			if p.Src.Addr() != b.A.Addr || p.Dst.Port() != 7 {
				return fmt.Errorf("%s arrives, want the source %s", p.Line, b.A.Addr)
			}
		}
		return nil
	}))
}

// TestRelayOfARange relays each port of a range to the same port.
func TestRelayOfARange(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	for _, port := range []int{9000, 9004, 9009, 9010} {
		echo(t, b.C, "tcp", fmt.Sprintf("10.3.0.100:%d", port))
		echo(t, b.C, "udp", fmt.Sprintf("10.3.0.100:%d", port))
	}
	b.start("[[relay]]\nname = \"range\"\nlisten = \"10.2.0.100:9000-9009\"\nprotocol = [\"tcp\", \"udp\"]\nto = [\"10.3.0.100\"]\n")
	for _, network := range []string{"tcp", "udp"} {
		for port, within := range map[int]bool{9000: true, 9004: true, 9009: true, 9010: false} {
			limit := patience
			if !within {
				limit = 200 * time.Millisecond
			}
			if err := reach(t, b.A, network, fmt.Sprintf("10.2.0.100:%d", port), limit); (err == nil) != within {
				t.Errorf("%s port %d: %v, want it relayed: %v", network, port, err, within)
			}
		}
	}
}

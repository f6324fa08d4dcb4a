//go:build vm

package checks

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// patience is how long a test waits for what should happen at once: the processor is emulated.
const patience = 30 * time.Second

// Where things are on the machine.
const (
	configPath = "/etc/natd/natd.toml"
	page       = "http://10.2.0.100/"
	echo       = "10.2.0.100:7000"
)

// relays is the configuration of most tests: the first seed's web relay, and an echo relay for conversations.
const relays = `
[[relay]]
name   = "web"
listen = "10.2.0.100:80"
from   = ["10.1.0.0/16"]
to     = ["10.3.0.100:80"]

[[relay]]
name     = "echo"
listen   = "10.2.0.100:7000"
protocol = ["tcp", "udp"]
from     = ["10.1.0.0/16"]
to       = ["10.3.0.100:7000"]
log      = true
`

// host is the machine in the middle of the lab, with servers on C.
type host struct {
	*lab.Peering
	t   *testing.T
	web *lab.Nginx
}

// newHost makes the lab around the machine.
func newHost(t *testing.T) *host {
	t.Helper()
	p, err := lab.OpenPeeringAround(t.Context(), "vpc")
	lab.Check(t, err)
	t.Cleanup(func() { lab.Check(t, p.Close()) })
	h := &host{Peering: p, t: t}
	h.web, err = p.C.StartNginx(t.Context(), netip.MustParseAddrPort("10.3.0.100:80"))
	lab.Check(t, err)
	_, err = p.C.EchoTCP("10.3.0.100:7000")
	lab.Check(t, err)
	_, err = p.C.EchoUDP("10.3.0.100:7000")
	lab.Check(t, err)
	return h
}

// step runs a part of a test; when it fails, so does what builds on it.
func (h *host) step(name string, f func(h *host)) {
	h.t.Helper()
	ok := h.t.Run(name, func(t *testing.T) {
		sub := *h
		sub.t = t
		f(&sub)
	})
	if !ok {
		h.t.Log(h.journal("-n", "60"))
		h.t.FailNow()
	}
}

// sh runs a shell command on the machine and returns what it wrote. The test fails if the command does.
func (h *host) sh(command string) string {
	h.t.Helper()
	out, code := h.try(command)
	if code != 0 {
		h.t.Fatalf("%s: exit code %d\n%s", command, code, out)
	}
	return out
}

// try runs a shell command on the machine and returns what it wrote, and its exit code.
func (h *host) try(command string) (string, int) {
	h.t.Helper()
	out, err := h.B.Command(h.t.Context(), "bash", "-c", command).CombinedOutput()
	return strings.TrimSpace(string(out)), lab.ExitCode(err)
}

// want wants a shell command to print a text.
func (h *host) want(command, text string) {
	h.t.Helper()
	if out := h.sh(command); out != text {
		h.t.Errorf("%s prints %q, want %q", command, out, text)
	}
}

// await waits until a shell command prints a text.
func (h *host) await(command, text string) {
	h.t.Helper()
	lab.Eventually(h.t, patience, func() error {
		if out, code := h.try(command); out != text {
			return fmt.Errorf("%s prints %q with exit code %d, want %q", command, out, code, text)
		}
		return nil
	})
}

// configure writes natd's configuration as an editor does.
func (h *host) configure(text string) {
	h.t.Helper()
	next := configPath + ".next"
	lab.Check(h.t, os.WriteFile(next, []byte(text), 0o640))
	h.sh("chgrp natd " + next + " && mv " + next + " " + configPath)
}

// status is what natctl status --json says.
func (h *host) status() (*control.Status, error) {
	out, code := h.try("natctl status --json")
	s := new(control.Status)
	if err := json.Unmarshal([]byte(out), s); err != nil || s.State == "" {
		return nil, fmt.Errorf("natctl status exits %d and prints %q: %w", code, out, errors.Join(err))
	}
	return s, nil
}

// awaitState waits for a state of natd.
func (h *host) awaitState(want string) *control.Status {
	h.t.Helper()
	var s *control.Status
	lab.Eventually(h.t, patience, func() (err error) {
		if s, err = h.status(); err != nil {
			return err
		}
		if string(s.State) != want {
			return fmt.Errorf("natd is %s, not %s: %v", s.State, want, s.Reasons)
		}
		return nil
	})
	return s
}

// works wants the relays to work: a page for A, which the server saw coming from B.
func (h *host) works() {
	h.t.Helper()
	body, err := h.A.Curl(h.t.Context(), page)
	if err != nil || !strings.Contains(body, "nginx") {
		h.t.Fatalf("A gets %q: %v", body, err)
	}
	lab.Eventually(h.t, patience, func() error { // nginx writes the line behind the answer
		lines, err := h.web.AccessLog()
		if err == nil && (len(lines) == 0 || !strings.HasPrefix(lines[len(lines)-1], "10.2.0.100 ")) {
			err = fmt.Errorf("the server logged %q, want a request from 10.2.0.100 at the end", lines)
		}
		return err
	})
}

// converse begins a conversation from A through the echo relay.
func (h *host) converse() *lab.Conversation {
	h.t.Helper()
	return h.A.Converse(h.t, netip.Addr{}, echo)
}

// property is a property of natd.service.
func (h *host) property(name string) string {
	h.t.Helper()
	return h.sh("systemctl show -P " + name + " natd.service")
}

// number is a property that is a number.
func (h *host) number(name string) int {
	h.t.Helper()
	n, err := strconv.Atoi(h.property(name))
	lab.Check(h.t, err)
	return n
}

// journal is what natd wrote in this boot.
func (h *host) journal(args ...string) string {
	out, _ := h.try("journalctl -b -u natd --no-pager -o cat " + strings.Join(args, " "))
	return out
}

// pkg is a package that the machine was given: old or new.
func (h *host) pkg(age string) string {
	h.t.Helper()
	files, err := filepath.Glob("packages/" + age + "/natd_*_amd64.deb")
	lab.Check(h.t, err)
	if len(files) != 1 {
		h.t.Fatalf("%d packages in packages/%s, want one", len(files), age)
	}
	return files[0]
}

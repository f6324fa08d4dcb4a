//go:build vm

package checks

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"natd/internal/lab"
)

// before is where the state of the machine before natd is kept, until natd is removed again.
const before = "/var/lib/vm/before"

// docker stands for Docker: it starts when the real one would, and does the one thing that matters to natd. Source: moby,
// setup_ip_forwarding.go.
const docker = `[Unit]
After=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'cat /proc/sys/net/ipv4/ip_forward >/run/docker-saw; [ "$(cat /run/docker-saw)" = 1 ] || { echo 1 >/proc/sys/net/ipv4/ip_forward; iptables -P FORWARD DROP; }'
[Install]
WantedBy=multi-user.target
`

// TestInstall installs the package on a fresh machine and makes it a relay, as the README says.
func TestInstall(t *testing.T) {
	h := newHost(t)
	h.sh("modprobe -a nf_conntrack nf_tables") // their settings stand in /proc/sys from then on
	lab.Check(t, os.WriteFile(before, []byte(h.outside()), 0o600))
	kernel := h.B.State(t)
	h.step("installed", func(h *host) {
		h.sh("dpkg -i " + h.pkg("old"))
		h.want("systemctl is-enabled natd.service || true", "disabled")
		h.want("systemctl is-active natd.service || true", "inactive")
		h.want("stat -c '%U:%G %a' "+configPath, "root:natd 640")
		h.want("cmp "+configPath+" /usr/share/doc/natd/config.example.toml", "")
		h.want("getent passwd natd | cut -d: -f5-", "NAT relay daemon:/:/usr/sbin/nologin")
		h.sh("natctl check")
		for _, path := range []string{
			"/usr/share/man/man8/natd.8.gz", "/usr/share/man/man1/natctl.1.gz", "/usr/share/man/man5/natd.toml.5.gz",
			"/usr/share/bash-completion/completions/natctl",
		} {
			h.sh("test -s " + path)
		}
		if out, code := h.try("natctl status"); code != 4 || !strings.Contains(out, "systemctl") {
			h.t.Errorf("natctl status without natd exits %d and says %q, want 4 and what to do", code, out)
		}
	})
	h.step("nothing has changed in the kernel", func(h *host) { lab.WantSame(h.t, kernel, h.B.State(h.t)) })
	h.step("relays", func(h *host) {
		h.configure(relays)
		h.sh("natctl check && natctl plan")
		h.sh("systemctl enable --now natd.service")
		h.want("systemctl is-active natd.service", "active")
		h.awaitState("ready")
		h.works()
		h.converse().End(h.t)
	})
	h.step("Docker is there at the next boot", func(h *host) {
		lab.Check(h.t, os.WriteFile("/etc/systemd/system/docker.service", []byte(docker), 0o644))
		h.sh("systemctl enable docker.service")
	})
}

// TestBooted wants the relay to work after a boot without a hand.
func TestBooted(t *testing.T) {
	h := newHost(t)
	h.step("ready by itself", func(h *host) {
		h.await("systemctl is-active natd.service || true", "active")
		h.awaitState("ready")
		h.works()
		h.converse().End(h.t)
		h.want("systemctl is-system-running --wait", "running")
	})
	h.step("before Docker and after the network", func(h *host) {
		h.want("cat /run/docker-saw", "1")
		h.want("iptables -S FORWARD | head -n 1", "-P FORWARD ACCEPT")
		for _, pair := range [][2]string{{"natd.service", "docker.service"}, {"systemd-networkd.service", "natd.service"}} {
			first, then := h.activated(pair[0]), h.activated(pair[1])
			if first == 0 || first > then {
				h.t.Errorf("%s became active at %d us, %s at %d us", pair[0], first, pair[1], then)
			}
		}
		if after := h.property("After"); strings.Contains(after, "network-online.target") {
			h.t.Errorf("natd waits for the network to be up: After=%s", after)
		}
	})
	h.t.Log(h.sh("systemd-analyze blame | head; systemd-analyze critical-chain natd.service; systemctl status natd.service"))
}

// activated is when a unit became active, in microseconds since the boot.
func (h *host) activated(unit string) (us int64) {
	h.t.Helper()
	_, err := fmt.Sscan(h.sh("systemctl show -P ActiveEnterTimestampMonotonic "+unit), &us)
	lab.Check(h.t, err)
	return us
}

// outside is all of the host that natd might change and that must be as before when natd is gone. The user stays: that is how
// Debian's packages do it, for the files that may have been left.
func (h *host) outside() string {
	h.t.Helper()
	const accounts = `-name 'passwd*' -o -name 'group*' -o -name 'shadow*' -o -name 'gshadow*' -o -name 'sub?id*'`
	contents := h.sh(`find /etc -xdev \( ` + accounts + ` -o -name 'ld.so.cache' \) -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum; ` +
		`find /etc -xdev -type l -printf '%p -> %l\n' | LC_ALL=C sort`)
	files := h.sh(`find /usr /var/lib /var/log /run/systemd/system -xdev -path /var/lib/dpkg -prune -o -path /var/lib/vm -prune -o -path /var/lib/systemd -prune ` +
		`-o -path '/var/log/journal' -prune -o -path '/var/log/*.log' -o -path '*/__pycache__*' -o -path '/var/lib/ucf*' -o -print | LC_ALL=C sort`)
	return h.B.State(h.t) + strings.Join([]string{
		h.sh("ip route | sed 's/ \\(metric\\|proto\\) [^ ]*//g; s/ *$//' | sort; ip rule; ip -6 rule"), h.sh("systemctl list-unit-files --no-legend --no-pager"), contents, files,
	}, "\n")
}

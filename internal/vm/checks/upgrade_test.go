//go:build vm

package checks

import (
	"os"
	"strings"
	"testing"

	"natd/internal/lab"
)

// TestUpgrade upgrades the package under load and back: no connection fails, and the administrator's configuration stays.
func TestUpgrade(t *testing.T) {
	h := newHost(t)
	own := relays + "# kept\n"
	h.configure(own)
	h.sh("systemctl reload natd.service")
	for _, age := range []string{"new", "old"} {
		h.step(age, func(h *host) {
			talk, load := h.converse(), h.A.Load(h.t, echo)
			pid, before := h.property("MainPID"), load.Made()
			h.t.Log(h.sh("dpkg --force-downgrade -i " + h.pkg(age) + " </dev/null"))
			h.await("systemctl is-active natd.service || true", "active")
			s := h.awaitState("ready")
			h.more(load, before)
			h.unharmed(load)
			talk.End(h.t)
			if h.property("MainPID") == pid {
				h.t.Error("it is the process from before")
			}
			if version := h.sh("dpkg-query -W -f '${Version}' natd"); !strings.HasPrefix(version, s.Version) {
				h.t.Errorf("natd says it is version %s, the package is %s", s.Version, version)
			}
			text, err := os.ReadFile(configPath)
			lab.Check(h.t, err)
			if string(text) != own {
				h.t.Errorf("the configuration became\n%s", text)
			}
		})
	}
	h.step("one that is stopped is not started", func(h *host) {
		h.sh("systemctl stop natd.service")
		h.sh("dpkg -i " + h.pkg("new") + " </dev/null")
		h.want("systemctl is-active natd.service || true", "inactive")
		h.want("systemctl is-enabled natd.service", "enabled")
		h.sh("systemctl start natd.service")
		h.awaitState("ready")
	})
}

// TestRemove removes the package and then its configuration: the host is as before.
func TestRemove(t *testing.T) {
	h := newHost(t)
	h.sh("systemctl disable docker.service && rm /etc/systemd/system/docker.service && systemctl daemon-reload")
	h.observe(observed + "# kept\n")
	h.await("test -s "+flowLog+" && echo there", "there")
	h.step("removed", func(h *host) {
		h.t.Log(h.sh("dpkg -r natd"))
		h.want("nft list tables", "")
		h.want("sysctl -n net.ipv4.ip_forward", "0")
		h.want("systemctl is-active natd.service || true", "inactive")
		h.sh("test -e " + configPath + " && test -s " + flowLog)
	})
	h.step("installed again", func(h *host) {
		h.sh("dpkg -i " + h.pkg("new"))
		if text := h.sh("cat " + configPath); !strings.Contains(text, "# kept") {
			h.t.Errorf("the configuration became\n%s", text)
		}
		h.sh("systemctl enable --now natd.service")
		h.awaitState("ready")
		h.works()
	})
	h.step("purged, with natd stopped and its configuration broken", func(h *host) {
		h.sh("systemctl stop natd.service")
		h.works()
		h.configure("broken = ")
		h.t.Log(h.sh("dpkg -P natd"))
		for _, path := range []string{"/etc/natd", "/var/lib/natd", "/var/log/natd", "/run/natd", "/usr/sbin/natd"} {
			if _, err := os.Lstat(path); err == nil {
				h.t.Errorf("%s is still there", path)
			}
		}
		text, err := os.ReadFile(before)
		lab.Check(h.t, err)
		lab.WantSame(h.t, string(text), h.outside())
	})
}

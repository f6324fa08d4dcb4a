//go:build vm

package checks

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"natd/internal/lab"
)

// TestUnit looks at the running service: what it may do, what it still can, and what becomes of it.
func TestUnit(t *testing.T) {
	h := newHost(t)
	h.step("security", (*host).security)
	h.step("everything works inside the sandbox", (*host).features)
	h.step("journal", (*host).fields)
	h.step("reload", (*host).reload)
	h.step("watchdog", (*host).watchdog)
	h.step("restart under load", (*host).restart)
	h.step("killed", (*host).killed)
	h.step("late interface", (*host).lateInterface)
	h.step("late address", (*host).lateAddress)
	h.step("on_stop", (*host).onStop)
}

// security wants what systemd says of the unit to be at most 2.0, and the process to be what the unit says.
func (h *host) security() {
	report := h.sh("systemd-analyze security --no-pager natd.service")
	h.t.Log(report)
	m := regexp.MustCompile(`Overall exposure level for natd.service: ([0-9.]+)`).FindStringSubmatch(report)
	if m == nil {
		h.t.Fatal("no score in the report")
	}
	if score, err := strconv.ParseFloat(m[1], 64); err != nil || score > 2.0 {
		h.t.Errorf("the exposure level is %s (%v), want at most 2.0", m[1], err)
	}
	status := h.sh("cat /proc/" + h.property("MainPID") + "/status")
	const caps = "0000000000001400" // CAP_NET_BIND_SERVICE and CAP_NET_ADMIN, bits 10 and 12 of linux/capability.h
	for _, line := range []string{"CapEff:\t" + caps, "CapPrm:\t" + caps, "CapBnd:\t" + caps, "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(status, line+"\n") {
			h.t.Errorf("/proc/PID/status has no line %q:\n%s", line, status)
		}
	}
	h.want("stat -c %U /proc/"+h.property("MainPID"), "natd")
	h.want("stat -c '%U:%G %a' /run/natd/natd.sock /run/natd /var/lib/natd", "natd:natd 660\nnatd:natd 755\nnatd:natd 750")
}

// features uses each thing that a directive of the unit could take away.
func (h *host) features() {
	h.configure("[host]\nconntrack_max = 131072\n" + strings.Replace(relays, "[[relay]]", "[[relay]]\nlog = true", 1) + `
[[relay]]
name     = "any"
listen   = ":9000-9009"
protocol = "udp"
to       = ["10.3.0.100"]
snat     = "off"
`)
	h.sh("sysctl -w net.ipv4.conf.ens5.rp_filter=1 net.ipv4.conf.all.send_redirects=1 net.netfilter.nf_conntrack_acct=0")
	h.sh("systemctl reload natd.service")
	h.awaitState("ready")
	h.works()
	for key, value := range map[string]string{
		"net.netfilter.nf_conntrack_max": "131072", "net.netfilter.nf_conntrack_acct": "1",
		"net.ipv4.conf.all.send_redirects": "0", "net.ipv4.ip_forward": "1",
	} {
		h.want("sysctl -n "+key, value)
	}
	h.await("journalctl -b -u natd -o cat NATD_RELAY=web | grep -c 'new connection'", "1")
	h.sh("nft flush ruleset")
	h.awaitState("ready")
	h.works()
	h.sh("natctl connections | grep -q 10.1.0.100")
	h.sh("natctl rules | unshare -n nft -c -f -")
	h.sh("useradd -G natd reader")
	h.sh("setpriv --reuid reader --init-groups natctl status")
	if out, code := h.try("setpriv --reuid reader --init-groups natctl flush"); code != 7 {
		h.t.Errorf("a member of the group flushes: exit code %d, want 7\n%s", code, out)
	}
	h.sh("userdel reader")
	h.sh("sysctl -w net.ipv4.conf.ens5.rp_filter=0")
	h.sh("natctl flush")
	h.want("nft list tables", "")
	h.want("sysctl -n net.ipv4.ip_forward net.ipv4.conf.all.send_redirects net.netfilter.nf_conntrack_acct", "0\n1\n0")
	h.configure(relays)
	h.sh("systemctl reload natd.service")
	h.awaitState("ready")
	h.works()
}

// fields wants an entry about a relay to say so in fields of its own.
func (h *host) fields() {
	entries := "journalctl -u natd -o cat --since '" + h.sh("date '+%F %T'") + "' NATD_RELAY=web --output-fields="
	h.sh("ip address del 10.2.0.100/24 dev ens5")
	const warning = "4"
	h.await(entries+"PRIORITY | head -n 1", warning)
	h.sh(entries + "NATD_REASON | grep 10.2.0.100")
	h.want("systemctl show -P StatusText natd.service | grep -c degraded", "1")
	h.sh("ip address add 10.2.0.100/24 dev ens5 && ip route replace default via 10.2.0.1")
	h.awaitState("ready")
	h.works()
}

// reload wants a wrong file to be refused with the reason, by systemctl too, and nothing else to happen.
func (h *host) reload() {
	talk := h.converse()
	h.configure(relays + "\n[[relay]]\nname = \"bad\"\nlisten = \"10.2.0.100:99999\"\nto = [\"10.3.0.100:1\"]\n")
	out, code := h.try("systemctl reload natd.service")
	if code == 0 {
		h.t.Error("systemctl reload of a wrong file succeeds")
	}
	h.t.Logf("systemctl reload: exit code %d\n%s", code, out)
	if said := h.journal(); !strings.Contains(said, "99999") || !strings.Contains(said, `relay "bad"`) {
		h.t.Errorf("the journal does not say what is wrong:\n%s", said)
	}
	h.want("systemctl is-active natd.service", "active")
	h.want("systemctl show -P StatusText natd.service | grep -c 'reload was refused'", "1")
	h.works()
	h.configure(relays)
	h.sh("systemctl reload natd.service")
	h.awaitState("ready")
	talk.End(h.t)
}

// watchdog runs a natd with a planted bug that makes its loop hang once.
func (h *host) watchdog() {
	h.sh("mkdir -p " + dropIn + " && printf '[Service]\\nWatchdogSec=3s\\n' >" + dropIn + "/test.conf && systemctl daemon-reload")
	h.sh("cp -a /usr/sbin/natd /usr/sbin/natd.good && cp hang/natd /usr/sbin/natd.next && mv /usr/sbin/natd.next /usr/sbin/natd")
	h.sh("systemctl restart natd.service")
	h.awaitState("ready")
	talk := h.converse()
	rules, pid, restarts := h.sh("nft -s -a list table inet natd | sed 's/ # progname.*//; /^\tflags/d'"), h.property("MainPID"), h.number("NRestarts")
	h.sh("touch /var/lib/natd/hang")
	began := time.Now()
	lab.Eventually(h.t, 2*patience, func() error {
		if now := h.number("NRestarts"); now == restarts {
			return fmt.Errorf("still the %d-th restart", now)
		}
		return nil
	})
	h.t.Logf("restarted after %v", time.Since(began).Round(100*time.Millisecond))
	h.awaitState("ready")
	if now := h.property("MainPID"); now == pid {
		h.t.Errorf("it is still process %s", pid)
	}
	if said := h.journal(); !strings.Contains(said, "Watchdog timeout") || !strings.Contains(said, "goroutine ") {
		h.t.Errorf("the journal has no word of the watchdog, or no stacks:\n%s", said)
	}
	if now := h.sh("nft -s -a list table inet natd | sed 's/ # progname.*//; /^\tflags/d'"); now != rules {
		h.t.Errorf("the rules were\n%s\nand are\n%s", rules, now)
	}
	talk.End(h.t)
	h.sh("mv /usr/sbin/natd.good /usr/sbin/natd && rm -r " + dropIn + " && systemctl daemon-reload && systemctl restart natd.service")
	h.awaitState("ready")
}

// restart restarts natd again and again under load: no connection may fail, and none may be broken.
func (h *host) restart() {
	talk, load := h.converse(), h.A.Load(h.t, echo)
	const times = 5
	for range times {
		before := load.Made()
		h.sh("systemctl restart natd.service")
		h.more(load, before)
	}
	h.sh("systemctl daemon-reexec")
	h.unharmed(load)
	talk.End(h.t)
	h.awaitState("ready")
}

// more wants connections to have been made during what came between, and some after it.
func (h *host) more(load *lab.Load, before int64) {
	h.t.Helper()
	during := load.Made()
	if during == before {
		h.t.Error("no connection was made meanwhile")
	}
	const some = 5
	lab.Eventually(h.t, patience, func() error {
		if now := load.Made(); now < during+some {
			return fmt.Errorf("%d connections since, want %d", now-during, some)
		}
		return nil
	})
}

// unharmed ends a load, of which no connection must have failed.
func (h *host) unharmed(load *lab.Load) {
	h.t.Helper()
	made, failed := load.End()
	h.t.Logf("%d connections, %d failed", made, len(failed))
	for _, err := range failed {
		h.t.Errorf("a connection failed: %v", err)
	}
}

// killed wants natd back after each kill.
func (h *host) killed() {
	talk := h.converse()
	for range 3 {
		restarts := h.number("NRestarts")
		h.sh("systemctl kill -s KILL natd.service")
		h.await("systemctl show -P NRestarts natd.service", strconv.Itoa(restarts+1))
		h.await("systemctl is-active natd.service || true", "active")
		h.awaitState("ready")
	}
	talk.End(h.t)
}

// lateInterface starts natd before its interface is there. Whoever waits for the start is released after a while; the unit goes
// on starting, and is ready when the interface comes.
func (h *host) lateInterface() {
	h.sh("natctl flush; systemctl stop natd.service; mkdir -p /run/systemd/system/natd.service.d && " +
		"printf '[Unit]\\nJobRunningTimeoutSec=4s\\n' >/run/systemd/system/natd.service.d/test.conf && systemctl daemon-reload")
	h.sh("ip link set ens5 down && ip link set ens5 name late")
	out, code := h.try("systemctl start natd.service")
	h.t.Logf("systemctl start: exit code %d\n%s", code, out)
	if code == 0 {
		h.t.Error("systemctl start succeeds although no relay stands")
	}
	h.want("systemctl is-active natd.service || true", "activating")
	h.awaitState("degraded")
	h.sh("ip link set late name ens5 && ip link set ens5 up && ip route replace default via 10.2.0.1")
	h.await("systemctl is-active natd.service || true", "active")
	h.awaitState("ready")
	h.works()
	h.want("systemctl show -P NRestarts natd.service", "0")
	h.sh("rm -r /run/systemd/system/natd.service.d && systemctl daemon-reload")
}

// lateAddress lets the address come by DHCP, after natd.
func (h *host) lateAddress() {
	const network = "/run/systemd/network/10-dhcp.network"
	h.sh("systemctl stop natd.service && natctl flush")
	h.sh("mkdir -p /run/systemd/network && printf '[Match]\\nName=ens5\\n[Network]\\nDHCP=ipv4\\nLinkLocalAddressing=no\\n' >" + network)
	h.sh("networkctl reload && networkctl reconfigure ens5")
	h.await("ip -4 -br address show ens5 | grep -c 10.2.0.100 || true", "0")
	h.sh("systemctl start --no-block natd.service")
	h.awaitState("degraded")
	h.want("systemctl is-active natd.service || true", "activating")
	leases := h.t.TempDir() + "/leases"
	_, err := h.R.Start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=b", "--bind-interfaces", "--user=root",
		"--dhcp-range=10.2.0.100,10.2.0.100,255.255.255.0,1h", "--dhcp-option=3,10.2.0.1", "--dhcp-leasefile="+leases, "--dhcp-authoritative")
	lab.Check(h.t, err)
	h.await("systemctl is-active natd.service || true", "active")
	h.awaitState("ready")
	h.works()
	lab.Check(h.t, os.Remove(network))
	h.sh("networkctl reload && networkctl reconfigure ens5")
	h.await("ip -4 -br address show ens5 | grep -c 10.2.0.100/24 || true", "1")
	h.awaitState("ready")
}

// onStop wants a stop to do what on_stop says.
func (h *host) onStop() {
	talk := h.converse()
	h.sh("systemctl stop natd.service")
	h.works()
	h.sh("systemctl start natd.service")
	h.awaitState("ready")
	talk.End(h.t)
	h.configure("[daemon]\non_stop = \"remove\"\n" + relays)
	h.sh("systemctl reload natd.service && systemctl stop natd.service")
	h.want("nft list tables", "")
	h.want("sysctl -n net.ipv4.ip_forward", "0")
	h.configure(relays)
	h.sh("systemctl start natd.service")
	h.awaitState("ready")
	h.works()
}

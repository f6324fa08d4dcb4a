//go:build vm

package checks

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"natd/internal/lab"
	"natd/internal/lab/imds"
)

// instanceFile is what the stand-in for the instance metadata service answers from.
const instanceFile = "/run/instance.json"

// TestUserData wants cloud-init to have made the machine a relay, by deploy/user-data.sh and nothing else.
func TestUserData(t *testing.T) {
	h := newHost(t)
	h.step("cloud-init", func(h *host) {
		out, code := h.try("cloud-init status --wait --long")
		if code != 0 || !strings.Contains(out, "status: done") {
			h.t.Fatalf("cloud-init status: exit code %d\n%s\n%s", code, out, h.sh("cat /var/log/cloud-init-output.log"))
		}
		h.t.Log(h.sh("cat /var/log/cloud-init-output.log"))
		h.want("systemctl is-enabled natd.service", "enabled")
		h.awaitState("ready")
		h.works()
	})
	h.step("once more", func(h *host) {
		before := h.sh("sha256sum " + configPath + "; systemctl show -P MainPID natd.service; systemctl show -P ActiveEnterTimestamp natd.service")
		h.t.Log(h.sh("bash /var/lib/cloud/instance/user-data.txt"))
		h.want("sha256sum "+configPath+"; systemctl show -P MainPID natd.service; systemctl show -P ActiveEnterTimestamp natd.service", before)
	})
	h.step("an edited configuration stays", func(h *host) {
		h.configure(relays)
		h.sh("bash /var/lib/cloud/instance/user-data.txt")
		text, err := os.ReadFile(configPath)
		lab.Check(h.t, err)
		if string(text) != relays {
			h.t.Errorf("the configuration became\n%s", text)
		}
	})
	h.step("metadata", (*host).metadata)
}

// metadata wants natd to know the instance, and an address that AWS does not deliver.
func (h *host) metadata() {
	eni := imds.Interface{
		MAC: h.sh("cat /sys/class/net/ens5/address"), ID: "eni-0aaa", VPC: "vpc-0bbb", Subnet: "subnet-0ccc", IPv4: []string{"10.2.0.100"},
		SubnetIPv4: "10.2.0.0/24", VPCIPv4: []string{"10.2.0.0/16"},
	}
	instance := imds.Instance{ID: "i-0123456789abcdef0", Type: "t3.nano", Region: "eu-west-1", Zone: "eu-west-1a", Interfaces: []imds.Interface{eni}}
	h.serve(&instance)
	h.sh("ip address add 169.254.169.254/32 dev lo")
	standin, err := h.B.Start("bin/standin", "--listen", "169.254.169.254:80", "--instance", instanceFile, "--token-ttl", "5s", "--refuse-every", "7")
	lab.Check(h.t, err)
	h.configure(relays + "\n[[relay]]\nname = \"second\"\nlisten = \"10.2.0.101:80\"\nto = [\"10.3.0.100:80\"]\n")
	h.sh("ip address add 10.2.0.101/24 dev ens5 && systemctl reload natd.service")
	s := h.awaitState("degraded")
	lab.Eventually(h.t, patience, func() (err error) {
		if s, err = h.status(); err != nil {
			return err
		}
		if s.Host.Instance == nil {
			return fmt.Errorf("status knows no instance; the service wrote\n%s", standin.Log())
		}
		return nil
	})
	text, err := json.Marshal(s.Host.Instance)
	lab.Check(h.t, err)
	for _, want := range []string{"i-0123456789abcdef0", "eni-0aaa", "vpc-0bbb", "subnet-0ccc", "ens5", "eu-west-1a"} {
		if !strings.Contains(string(text), want) {
			h.t.Errorf("status does not have %s: %s", want, text)
		}
	}
	out, code := h.try("natctl status")
	if code != 6 || !strings.Contains(out, "assign-private-ip-addresses --network-interface-id eni-0aaa --private-ip-addresses 10.2.0.101") {
		h.t.Errorf("natctl status exits %d without the remedy:\n%s", code, out)
	}
	h.t.Log(out)
	h.works()
	instance.Interfaces[0].IPv4 = append(instance.Interfaces[0].IPv4, "10.2.0.101")
	h.serve(&instance)
	h.awaitState("ready")
	h.t.Logf("the service was asked:\n%s", standin.Log())
	h.configure(relays)
	h.sh("ip address del 10.2.0.101/24 dev ens5 && systemctl reload natd.service")
}

// serve changes what the metadata service says.
func (h *host) serve(i *imds.Instance) {
	h.t.Helper()
	text, err := json.Marshal(i)
	lab.Check(h.t, err)
	lab.Check(h.t, os.WriteFile(instanceFile+".next", text, 0o644))
	lab.Check(h.t, os.Rename(instanceFile+".next", instanceFile))
}

// TestRelaysAfterReboot wants the relay to be there after a reboot; cloud-init does not run user-data again.
func TestRelaysAfterReboot(t *testing.T) {
	h := newHost(t)
	h.awaitState("ready")
	h.works()
	h.want("cloud-init status --wait | tr -d '.\\n'", "status: done")
	h.want("journalctl -b -u cloud-final -o cat | grep -c 'natd setup' || true", "0")
}

// TestSeed wants the relay of the seed's user-data to work before a reboot.
func TestSeed(t *testing.T) {
	h := newHost(t)
	h.sh("cloud-init status --wait")
	h.t.Log(h.sh("cat /var/log/cloud-init-output.log; nft list ruleset; sysctl net.ipv4.ip_forward"))
	h.works()
}

// TestSeedForgot shows that it does not after one: nothing of the NAT is left, and the host forwards for everyone.
func TestSeedForgot(t *testing.T) {
	h := newHost(t)
	h.sh("systemctl is-system-running --wait || true")
	h.want("systemctl is-active nftables.service", "active")
	h.want("nft list tables", "")
	h.want("sysctl -n net.ipv4.ip_forward", "1")
	if body, err := h.A.Curl(t.Context(), page, "--max-time", "2"); err == nil {
		t.Errorf("A still gets %q: the seed's flaw is not there to see", body)
	}
}

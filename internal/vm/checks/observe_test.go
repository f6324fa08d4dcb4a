//go:build vm

package checks

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
)

// observed turns on all that shows what relays do; windows are short.
const observed = `
[flow_log]
interval = "2s"

[metrics]
`

// Where the flow log is by default, what is counted of the web relay until the next boot, and where drop-ins of a boot are.
const (
	flowLog = "/var/log/natd/flow.log"
	counted = "/var/lib/vm/counted"
	dropIn  = "/run/systemd/system/natd.service.d"
)

// TestObserve turns on flow log and metrics in the sandbox of the unit, and asks for them as its users do.
func TestObserve(t *testing.T) {
	h := newHost(t)
	h.observe(observed)
	h.works()
	h.sh("useradd -G natd reader")
	h.step("flow log", (*host).flowLog)
	h.step("metrics", (*host).metrics)
	h.step("opened anew at SIGHUP", (*host).hup)
	h.step("logrotate", (*host).logrotate)
	h.step("another format", (*host).format)
	h.step("elsewhere", (*host).elsewhere)
	h.step("diagnose", (*host).diagnose)
	h.sh("userdel reader")
	h.step("counts over a restart", func(h *host) {
		h.observe(observed)
		h.works()
		before := h.counts()
		h.sh("systemctl restart natd.service")
		h.awaitState("ready")
		h.notFallen(before)
	})
	text, err := json.Marshal(h.counts())
	lab.Check(t, err)
	lab.Check(t, os.WriteFile(counted, text, 0o600))
}

// TestObserved wants flow log, metrics and counts to go on after a boot.
func TestObserved(t *testing.T) {
	h := newHost(t)
	text, err := os.ReadFile(counted)
	lab.Check(t, err)
	var before counts
	lab.Check(t, json.Unmarshal(text, &before))
	h.awaitState("ready")
	h.notFallen(&before)
	h.notes(flowLog)
	h.want("curl -sS http://127.0.0.1:9469/healthz", "ok")
	h.want("head -qn 1 "+flowLog+" | cut -d' ' -f1-2; grep -c ^version "+flowLog, "version srcaddr\n1")
}

// observe relays with more in the configuration, and waits until everything is as it says.
func (h *host) observe(more string) {
	h.t.Helper()
	h.configure(relays + more)
	h.sh("systemctl reload natd.service")
	h.awaitState("ready")
}

// notes wants a request of A to be recorded, with all of its legs.
func (h *host) notes(path string) {
	h.t.Helper()
	lines := "grep -c 'ACCEPT' " + path + " || true"
	var before, now int
	_, err := fmt.Sscan(h.sh(lines), &before)
	lab.Check(h.t, err)
	h.works()
	lab.Eventually(h.t, patience, func() error {
		if _, err := fmt.Sscan(h.sh(lines), &now); err != nil || now < before+4 {
			return fmt.Errorf("%s has %d records more (%w), want 4", path, now-before, err)
		}
		return nil
	})
}

// asReader is a command as a member of the group natd that is nothing else.
func asReader(command string) string { return "setpriv --reuid reader --init-groups " + command }

func (h *host) flowLog() {
	h.await("test -e "+flowLog+" && echo there", "there")
	h.want("stat -c '%U:%G %a' /var/log/natd "+flowLog, "natd:natd 750\nnatd:natd 640")
	h.want("head -n 1 "+flowLog+" | cut -d' ' -f1-5", "version srcaddr dstaddr srcport dstport")
	h.notes(flowLog)
	if rows := h.sh(asReader("natctl flows --relay web --client 10.1.0.100")); !strings.Contains(rows, "10.3.0.100:80") {
		h.t.Errorf("a member of the group sees\n%s", rows)
	}
	if out, code := h.try("setpriv --reuid nobody --clear-groups natctl flows"); code != control.CodeNotPermitted {
		h.t.Errorf("nobody sees flows: exit code %d\n%s", code, out)
	}
}

func (h *host) metrics() {
	const page = "curl -fsS http://127.0.0.1:9469"
	h.want(page+"/healthz", "ok")
	h.want(page+"/readyz | head -n 1", "ready")
	h.want(page+"/metrics | grep -E '^natd_(up|ready|in_sync|flow_log_last_write_successful) '",
		"natd_up 1\nnatd_ready 1\nnatd_in_sync 1\nnatd_flow_log_last_write_successful 1")
	h.want(page+"/metrics | grep -cE '^process_resident_memory_bytes '", "1")
	h.want(page+"/ | grep -c '<title>'", "1")
	h.want("ss -Hltn 'sport = :9469' | awk '{print $4}'", "127.0.0.1:9469")
}

// hup moves the file away and says so with a signal.
func (h *host) hup() {
	h.sh("mv " + flowLog + " " + flowLog + ".7 && systemctl kill -s HUP natd.service")
	h.await("grep -c ^version "+flowLog+" || true", "1")
	size := h.sh("stat -c %s " + flowLog + ".7")
	h.notes(flowLog)
	h.want("stat -c %s "+flowLog+".7", size)
	h.sh("rm " + flowLog + ".7")
}

// logrotate rotates as the documentation has it.
func (h *host) logrotate() {
	const snippet = "/run/natd.logrotate"
	h.sh(`sed -n '\|^/var/log/natd/flow.log {|,/^}/p' /usr/share/doc/natd/docs/flow-logs.md >` + snippet + " && test -s " + snippet)
	for range 2 {
		h.sh("logrotate --force --state /run/natd.logrotate.state " + snippet)
		h.await("grep -c ^version "+flowLog+" || true", "1")
		h.want("stat -c '%U:%G %a' "+flowLog+" "+flowLog+".1", "natd:natd 640\nnatd:natd 640")
		h.notes(flowLog)
	}
	h.sh("gunzip -c " + flowLog + ".2.gz | grep -q ACCEPT")
	h.awaitState("ready")
	h.want("natctl flows | grep -c web", "3") // of all parts
	h.sh("rm " + snippet + "*")
}

// format asks for another one: the file in the old one is put aside and compressed.
func (h *host) format() {
	h.observe(strings.Replace(observed, "interval", "format = \"json\"\ninterval", 1))
	h.await("ls /var/log/natd | grep -c '^flow-.*-full.log.gz$' || true", "1")
	h.notes(flowLog)
	h.want("head -n 1 "+flowLog+" | jq -r .version", "5")
}

// elsewhere wants words that help where the sandbox has the directory away, and follows them.
func (h *host) elsewhere() {
	for dir, words := range map[string]string{
		"/srv/flows":  "make /srv/flows and give it to the user natd, add ReadWritePaths=/srv/flows to the unit (systemctl edit natd)",
		"/home/flows": "see that the unit does not hide it",
	} {
		h.configure(relays + "[flow_log]\npath = \"" + dir + "/flow.log\"\n")
		h.sh("systemctl reload natd.service")
		s := h.awaitState("degraded")
		h.t.Log(s.Reasons)
		if said := strings.Join(s.Reasons, "\n"); !strings.Contains(said, words) {
			h.t.Errorf("with a flow log in %s natd says %q, want %q", dir, said, words)
		}
		h.works()
	}
	path := "/srv/flows/flow.log"
	h.configure(relays + strings.Replace(observed, "interval", "path = \""+path+"\"\ninterval", 1))
	h.sh("install -d -o natd -g natd -m 0750 /srv/flows && mkdir -p " + dropIn +
		" && printf '[Service]\\nReadWritePaths=/srv/flows\\n' >" + dropIn + "/test.conf && systemctl daemon-reload && systemctl restart natd.service")
	h.awaitState("ready")
	h.notes(path)
	h.want("stat -c '%U:%G %a' "+path, "natd:natd 640")
	h.configure(relays + observed)
	h.sh("rm -r " + dropIn + " && systemctl daemon-reload && systemctl restart natd.service && rm -r /srv/flows")
	h.awaitState("ready")
}

// diagnose finds nothing where all is well, and the chain that drops what is relayed where one does.
func (h *host) diagnose() {
	out, code := h.try("natctl diagnose")
	h.t.Log(out)
	if code != 0 {
		h.t.Errorf("natctl diagnose exits %d when all is well", code)
	}
	if out, code := h.try(asReader("natctl diagnose web")); code != control.CodeNotPermitted {
		h.t.Errorf("a member of the group diagnoses: exit code %d\n%s", code, out)
	}
	h.sh("iptables -P FORWARD DROP")
	out, code = h.try("natctl diagnose web --json")
	var found struct {
		Paths []struct {
			Explanations []struct{ ExplanationCode string }
		}
	}
	lab.Check(h.t, json.Unmarshal([]byte(out), &found))
	if code != control.CodeDegraded || len(found.Paths) != 1 || len(found.Paths[0].Explanations) == 0 ||
		found.Paths[0].Explanations[0].ExplanationCode != "FORWARD_POLICY_DROP" {
		h.t.Errorf("with a policy that drops natctl diagnose exits %d:\n%s", code, out)
	}
	h.sh("iptables -P FORWARD ACCEPT && nft delete table ip filter")
	h.works()
}

// counts is what natd has counted of the web relay, and since when.
type counts struct {
	Since time.Time
	Total uint64
}

func (h *host) counts() *counts {
	h.t.Helper()
	s, err := h.status()
	lab.Check(h.t, err)
	return &counts{s.Accounting.Since, s.Relays[0].Connections.Total}
}

// notFallen wants counts to have gone on, in status and in metrics.
func (h *host) notFallen(before *counts) {
	h.t.Helper()
	now := h.counts()
	if before.Total == 0 || now.Total < before.Total || !now.Since.Equal(before.Since) {
		h.t.Errorf("counted were %+v, and are %+v", before, now)
	}
	h.works()
	h.await("curl -fsS http://127.0.0.1:9469/metrics | sed -n 's/^natd_relay_connections_total{relay=\"web\"} //p'", fmt.Sprint(now.Total+1))
}

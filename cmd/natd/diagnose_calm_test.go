package main

import (
	"strings"
	"testing"

	"natd/internal/control"
	"natd/internal/diagnose"
	"natd/internal/lab"
)

// calmRelays are open to everyone, so that nobody in particular is asked about.
const calmRelays = `
[daemon]
protect = "off"

[[relay]]
name = "echo"
listen = ":7000-7009"
protocol = ["tcp", "udp"]
to = ["10.3.0.100:7000-7009"]

[[relay]]
name = "syslog"
listen = "10.2.0.100:514"
protocol = "udp"
to = ["10.3.0.100:514"]

[[gateway]]
name = "private"
from = ["10.100.20.0/24"]

[[static]]
name = "overlap"
external = "10.2.64.0/24"
internal = "192.168.1.0/24"
`

// TestDiagnoseCalm wants no alarm of rules that let the relay's clients through, or count them, and of services that never answer; but
// what drops at the interface itself is named.
func TestDiagnoseCalm(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	_, err := b.C.EchoTCP("10.3.0.100:7000")
	lab.Check(t, err)
	_, err = b.C.EchoUDP("10.3.0.100:7000")
	lab.Check(t, err)
	sink, err := b.C.ListenPacket("udp", "10.3.0.100:514")
	lab.Check(t, err)
	defer sink.Close()
	b.start(calmRelays)
	for name, rules := range map[string]string{
		"admits the clients' network": "chain f { type filter hook forward priority 0; policy drop; ip saddr 10.1.0.0/16 accept; ct state established accept; }",
		"counts connections":          "chain f { type filter hook forward priority 0; ct count over 100 reject; limit rate over 1000/second drop; }",
	} {
		b.nft("table inet admin { " + rules + "; }")
		if r, code := b.diagnose("10.2.0.100:7000"); code != control.CodeOK || len(blamed(explanations(r))) > 0 {
			t.Errorf("%s: diagnose exits %d and says\n%s", name, code, indented(r))
		}
		b.nft("delete table inet admin")
	}
	b.nft("table netdev admin { chain f { type filter hook ingress device ens5 priority 0; tcp dport 7000 drop; }; }")
	b.wantCodes([]diagnose.Code{diagnose.InputDrop}, "10.2.0.100:7000", "--from", "10.1.0.100")
	b.nft("delete table netdev admin")
	client, err := b.A.Dial(t.Context(), "udp", "10.2.0.100:514")
	lab.Check(t, err)
	defer client.Close()
	_, err = client.Write([]byte("<13>a line"))
	lab.Check(t, err)
	_, _, err = sink.ReadFrom(make([]byte, 64))
	lab.Check(t, err)
	if r, code := b.diagnose("syslog"); code != control.CodeOK || len(blamed(explanations(r))) > 0 {
		t.Errorf("a service that never answers: diagnose exits %d and says\n%s", code, indented(r))
	}
	for ask, want := range map[string]string{
		"private":                          "is a gateway: only relays are walked; natctl status says how it is",
		"overlap":                          "is a static",
		"10.2.64.9":                        "of the static overlap",
		"10.2.64.9:80":                     "of the static overlap",
		"10.100.20.5":                      "behind the gateway private",
		"10.100.20.5:80":                   "behind the gateway private",
		"10.3.0.100:80 --from 10.100.20.5": "by the gateway private",
		"10.2.0.100":                       "add the port that clients dial, as in 10.2.0.100:514",
		"nobody":                           `there is no relay "nobody"`,
	} {
		if _, errs, code := b.natctl(append([]string{"diagnose"}, strings.Fields(ask)...)...); code != control.CodeFailed || !strings.Contains(errs, want) {
			t.Errorf("diagnose %s exits %d and says %q, want %q", ask, code, errs, want)
		}
	}
	b.wantCodes([]diagnose.Code{diagnose.RelayNotConfigured}, "10.2.0.100:81", "--from", "10.100.20.5")
}

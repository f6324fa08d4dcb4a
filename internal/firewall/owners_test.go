package firewall

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/lab"
)

// relayed makes the box translate what the client sends to the box's own port 80, as natd does, in natd's table: which the
// walk leaves out.
const relayed = `
table inet natd {
	chain prerouting { type nat hook prerouting priority dstnat; iifname "in" tcp dport 80 dnat ip to 10.3.0.100:8080; }
	chain postrouting { type nat hook postrouting priority srcnat; ct status dnat masquerade; }
}
`

// translatedSYN is the first packet of such a connection, at the hook forward.
func translatedSYN() Packet {
	p := syn(ends4(), 8080)
	p.Hook, p.CTStatus = Forward, StatusDNAT
	p.Original = Tuple{netip.AddrPortFrom(p.Src.Addr(), 0), netip.MustParseAddrPort("10.1.0.1:80")}
	return p
}

// reaches tells whether the client gets through the relay to the server.
func (b *box) reaches() bool {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 500*time.Millisecond) // of a handshake that takes less than one
	defer cancel()
	c, err := b.client.Dial(ctx, "tcp", "10.1.0.1:80")
	if err == nil {
		c.Close()
	}
	return err == nil
}

// forward is the packet's findings at the hook forward.
func (b *box) forward(p Packet) (all []Finding) {
	b.t.Helper()
	r := b.read()
	lab.Check(b.t, b.host.Do(func() error {
		all = r.Walk(p)
		return nil
	}))
	return all
}

// stopper is the finding that stops the packet.
func stopper(all []Finding) *Finding {
	for i := range all {
		if all[i].Certain && all[i].Stops() {
			return &all[i]
		}
	}
	return nil
}

// The chains of the programs that share hosts with natd: the finding names the one that stops the relay, and its remedy opens
// the way.
func TestOwners(t *testing.T) {
	t.Parallel()
	lab.Require(t, "iptables-nft", "iptables-nft-restore")
	for name, c := range map[string]struct {
		restore, script string // of iptables-restore, of nft
		owner           string
		table, chain    string
		rule            string
		policy          bool
		outcome         Outcome
	}{
		"iptables": {
			restore: "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\nCOMMIT\n",
			owner:   "iptables-nft", table: "filter", chain: "FORWARD", policy: true, outcome: Drop,
		},
		"iptables rejects": {
			restore: "*filter\n:FORWARD ACCEPT [0:0]\n:mine - [0:0]\n-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n" +
				"-A FORWARD -i in -p tcp -j mine\n-A mine -p tcp -m multiport --dports 80,8000:8090 -m comment --comment web -j REJECT --reject-with icmp-admin-prohibited\nCOMMIT\n",
			owner: "iptables-nft", table: "filter", chain: "mine", rule: "meta l4proto tcp th dport { 80, 8000-8090 } counter packets 0 bytes 0 reject", outcome: Reject,
		},
		"docker": {restore: lab.DockerRules, owner: "docker", table: "filter", chain: "FORWARD", policy: true, outcome: Drop},
		"ufw":    {restore: lab.UFWRules, owner: "ufw", table: "filter", chain: "FORWARD", policy: true, outcome: Drop},
		"nft": {
			script: "table inet fw { chain forward { type filter hook forward priority 0; policy drop; ct state established,related accept; }; }",
			owner:  "nft", table: "fw", chain: "forward", policy: true, outcome: Drop,
		},
		"nft rule": {
			script: "table inet fw { set ok { type inet_service; elements = { 22, 443 }; }; chain out { tcp dport != @ok drop; }; chain forward { type filter hook forward priority 0; jump out; }; }",
			owner:  "nft", table: "fw", chain: "out", rule: "tcp dport != @ok drop", outcome: Drop,
		},
		"firewalld strict": {script: lab.FirewalldRules, owner: "firewalld", table: "firewalld", chain: "filter_FWD_public", rule: "reject with icmpx admin-prohibited", outcome: Reject},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			b.nft(relayed)
			_, err := b.server.EchoTCP("10.3.0.100:8080")
			lab.Check(t, err)
			if !b.reaches() {
				t.Fatal("the relay does not work without the firewall")
			}
			if c.restore != "" {
				_, err := b.host.RunInput(t.Context(), c.restore, "iptables-nft-restore")
				lab.Check(t, err)
			}
			b.nft(c.script)
			f := stopper(b.forward(translatedSYN()))
			if b.reaches() {
				t.Error("the firewall stops nothing")
			}
			if f == nil {
				t.Fatalf("nothing stops the packet: %+v", b.forward(translatedSYN()))
			}
			if f.Owner != c.owner || f.Table != c.table || f.Chain != c.chain || f.Rule != c.rule || f.Policy != c.policy || f.Outcome != c.outcome {
				t.Errorf("the finding is %+v", *f)
			}
			b.heal(f)
		})
	}
}

// heal pastes the remedy, where the program that it is for is here.
func (b *box) heal(f *Finding) {
	b.t.Helper()
	for _, line := range f.Remedy {
		program, _, _ := strings.Cut(line, " ")
		if program == "ufw" || f.Owner == "firewalld" {
			continue // it has no daemon here
		}
		if _, err := b.host.Run(b.t.Context(), "sh", "-c", line); err != nil {
			b.t.Fatal(err)
		}
		if all := b.forward(translatedSYN()); foretold(all) != yes {
			b.t.Errorf("behind %q: %+v", line, all)
		}
		if !b.reaches() {
			b.t.Errorf("%q does not help", line)
		}
		return
	}
	if f.Owner != "firewalld" {
		b.t.Errorf("no remedy in %+v", *f)
	}
}

// Behind natd's translation the packets have other addresses, and a foreign chain that translates first takes them from it.
func TestForeignNAT(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.nft(relayed + `table ip other { chain pre { type nat hook prerouting priority -110; tcp dport 80 dnat to 10.3.0.101:80; }; }
		table ip late { chain pre { type nat hook prerouting priority -90; tcp dport 80 redirect to :1; }
			chain filter { type filter hook prerouting priority 0; ip daddr 10.3.0.0/24 tcp dport 8080 drop; }; }`)
	p := Packet{
		Hook: Prerouting, InDevice: "in", Proto: unix.IPPROTO_TCP, CTState: New,
		Src: netip.MustParseAddrPort("10.1.0.100:1234"), Dst: netip.MustParseAddrPort("10.1.0.1:80"),
	}
	p.After = Tuple{p.Src, netip.MustParseAddrPort("10.3.0.100:8080")}
	all := b.forward(p)
	if f := all[0]; f.Outcome != Translate || !f.Certain || f.Table != "other" || f.Rule != "tcp dport 80 dnat to 10.3.0.101:80" {
		t.Errorf("the first finding is %+v", f)
	}
	if f := stopper(all); f != nil {
		t.Errorf("the packet has not the addresses that natd gives, and yet this one drops it for certain: %+v", *f)
	}
	_, err := b.host.Run(t.Context(), "sh", "-c", all[0].Remedy[0])
	lab.Check(t, err)
	all = b.forward(p)
	if f := stopper(all); len(all) != 2 || all[0].Outcome != Accept || f == nil || f.Table != "late" || f.Chain != "filter" {
		t.Errorf("with a rule before that of the table that translates first: %+v", all)
	}
}

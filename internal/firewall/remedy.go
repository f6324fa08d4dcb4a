package firewall

import (
	"fmt"
	"strings"
)

// remedy is the lines that let natd's relays through, or leave them to natd, in the way of the chain's owner. Each one is
// enough by itself. Behind the translation they open the way for what was translated on this host, before it for packets to
// the relay. A program that decides is not gone round.
func (w *walker) remedy(e ending, owner string) []string {
	if e.outcome == Accept || e.outcome == Unknown {
		return nil
	}
	iptables := "iptables"
	if w.packet.is6() {
		iptables = "ip6tables"
	}
	if w.packet.Hook == Forward {
		switch owner {
		case "docker":
			if iptablesTable(e.chain.table) {
				return []string{iptables + " -I DOCKER-USER -m conntrack --ctstate DNAT -j ACCEPT"}
			}
		case "ufw":
			return []string{w.ufwRemedy(), fmt.Sprintf("%s -I FORWARD -m conntrack --ctstate DNAT -j ACCEPT", iptables)}
		case "firewalld":
			return firewalldRemedy()
		}
	}
	match := "ct status dnat"
	extension := "-m conntrack --ctstate DNAT"
	if w.packet.Hook != Forward && w.packet.Hook != Postrouting {
		match, extension = w.packetMatch()
	}
	if iptablesTable(e.chain.table) && w.base.name == strings.ToUpper(string(w.base.hook)) {
		table := ""
		if e.chain.table.name != "filter" {
			table = "-t " + e.chain.table.name + " "
		}
		return []string{fmt.Sprintf("%s %s-I %s %s -j ACCEPT", iptables, table, Quoted(w.base.name), extension)}
	}
	return []string{fmt.Sprintf("nft insert rule %s %s %s %s accept", w.base.table.familyName(), Quoted(w.base.table.name), Quoted(w.base.name), match)}
}

// firewalldRemedy lets go what firewalld's strict mode holds. Either part is enough.
func firewalldRemedy() []string {
	return []string{
		"sed -i 's/^StrictForwardPorts=.*/StrictForwardPorts=no/' /etc/firewalld/firewalld.conf && firewall-cmd --reload",
		"firewall-cmd --permanent --new-policy natd-relays && " +
			"firewall-cmd --permanent --policy natd-relays --add-ingress-zone ANY && " +
			"firewall-cmd --permanent --policy natd-relays --add-egress-zone ANY && " +
			"firewall-cmd --permanent --policy natd-relays --set-target ACCEPT && firewall-cmd --reload",
	}
}

// ufwRemedy allows the way to the target: the packet has its address already.
func (w *walker) ufwRemedy() string {
	p := w.packet
	dst := p.Dst
	if p.Reply {
		dst = p.Src
	}
	words := "ufw route allow"
	proto := protoName(p.Proto)
	if proto == "tcp" || proto == "udp" {
		words += " proto " + proto
	}
	words += fmt.Sprintf(" to %s", dst.Addr())
	if dst.Port() != 0 && (proto == "tcp" || proto == "udp") {
		words += fmt.Sprintf(" port %d", dst.Port())
	}
	return words
}

// packetMatch matches packets like this one, where connection tracking does not know yet that they are natd's.
func (w *walker) packetMatch() (nft, iptables string) {
	p := w.packet
	proto := protoName(p.Proto)
	nft = fmt.Sprintf("%s daddr %s", p.family(), p.Dst.Addr())
	iptables = fmt.Sprintf("-d %s", p.Dst.Addr())
	if port := p.Dst.Port(); port != 0 && transportLen(p.Proto) > 0 && !p.isICMP() {
		nft += fmt.Sprintf(" %s dport %d", proto, port)
		iptables += fmt.Sprintf(" -p %s --dport %d", proto, port)
	}
	return nft, iptables
}

// Quoted is a name as a shell takes it for one word, whatever is in it: interfaces, tables and chains may be called nearly anything.
func Quoted(name string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:@%+", r)
	}
	if name != "" && strings.IndexFunc(name, func(r rune) bool { return !plain(r) }) < 0 {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

package firewall

import "strings"

// owner tells who makes such tables and chains.
func (r *Ruleset) owner(e ending, base *chain) string {
	table := e.chain.table
	for _, known := range []struct{ table, owner string }{
		{"firewalld", "firewalld"},
		{"docker-bridges", "docker"},
		{"kube-proxy", "kube-proxy"},
		{"netavark", "podman"},
		{"libvirt_network", "libvirt"},
		{"f2b-table", "fail2ban"},
		{"fw4", "openwrt"},
	} {
		if table.name == known.table {
			return known.owner
		}
	}
	for _, known := range []struct{ prefix, owner string }{
		{"DOCKER", "docker"},
		{"ufw-", "ufw"},
		{"ufw6-", "ufw"},
		{"KUBE-", "kube-proxy"},
		{"LIBVIRT_", "libvirt"},
		{"f2b-", "fail2ban"},
		{"cali-", "calico"},
		{"CILIUM_", "cilium"},
		{"NETAVARK", "podman"},
		{"firewalld_", "firewalld"},
	} {
		if strings.HasPrefix(e.chain.name, known.prefix) {
			return known.owner
		}
	}
	if !iptablesTable(table) || base.name != strings.ToUpper(string(base.hook)) {
		return "nft"
	}
	// The policy, and what stands in the chain itself, belong to whoever set it up: Docker and ufw drop what they do not know.
	switch {
	case e.rule == nil && r.chains[chainID{table, "DOCKER-USER"}] != nil:
		return "docker"
	case e.rule == nil && r.chains[chainID{table, ufwChain(table, "user-forward")}] != nil:
		return "ufw"
	}
	return "iptables-nft"
}

// ufwChain is the name of one of ufw's chains.
func ufwChain(t tableID, name string) string {
	if t.familyName() == "ip6" {
		return "ufw6-" + name
	}
	return "ufw-" + name
}

// iptablesTable tells a table that iptables-nft makes.
func iptablesTable(t tableID) bool {
	switch t.familyName() {
	case "ip", "ip6":
	default:
		return false
	}
	switch t.name {
	case "filter", "nat", "mangle", "raw", "security":
		return true
	}
	return false
}

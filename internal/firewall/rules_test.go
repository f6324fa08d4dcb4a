package firewall

// manyRules is rules of every kind that nft 1.0.6 writes, in the words in which it lists most of them.
const manyRules = `
table inet f {
	set clients { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.168.0.1 } }
	set pairs { type ipv4_addr . inet_service; }
	chain other { return; }
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		ct state invalid drop
		ct status dnat accept
		ct status snat,dnat counter accept
		ct direction reply accept
		ct mark 5 accept
		ct original ip daddr 10.0.0.1 accept
		meta l4proto tcp ct original proto-dst 80 accept
		ip saddr 10.0.0.1 accept
		ip saddr 10.0.0.0/8 drop
		ip daddr 10.64.0.0/10 drop
		ip daddr != 10.64.0.0/10 drop
		ip saddr 10.0.0.1-10.0.0.9 drop
		ip saddr @clients counter drop
		ip saddr != @clients accept
		ip saddr . tcp dport @pairs accept
		ip6 saddr fd00::/16 accept
		ip6 daddr fd00::1 accept
		ip protocol tcp accept
		meta nfproto ipv4 accept
		meta l4proto tcp accept
		meta l4proto { 6, 17 } th dport 53 accept
		tcp dport 80 accept
		tcp dport != 80 accept
		tcp dport 1000-2000 reject
		tcp dport { 80, 443, 1000-2000 } accept
		tcp flags syn / syn,ack drop
		tcp flags syn accept
		udp sport 53 drop
		sctp dport 9 drop
		ip saddr 10.0.0.1 tcp dport 22 accept
		iifname "eth0" oifname "eth1" accept
		iifname "eth*" accept
		oifname != "lo" accept
		iifname { "eth0", "eth1" } accept
		meta mark 1 accept
		meta mark & 0xff == 0x1 accept
		meta mark set 7
		ct mark set 7
		fib daddr type local accept

		icmp type 8 accept
		icmpv6 type 128 accept
		tcp dport vmap { 80 : accept, 81 : drop, 82 : jump other }
		ct state vmap { established : accept, invalid : drop }
		limit rate 10/second accept
		limit rate over 10/minute burst 20 packets drop
		log prefix "dropped: "
		counter
		jump other
		goto other
	}
	chain input {
		type filter hook input priority filter; policy accept;
		reject with icmpx admin-prohibited
		reject with tcp reset
		ip protocol 6 reject with icmp host-unreachable
		tcp dport 22 accept comment "a way in"
	}
	chain pre {
		type nat hook prerouting priority dstnat; policy accept;
		tcp dport 80 dnat ip to 10.0.0.1:8080
		tcp dport 81 redirect to :8080
	}
	chain post {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "eth0" masquerade
		ip saddr 10.0.0.1 snat ip to 10.0.0.2
	}
	chain raw {
		type filter hook prerouting priority raw; policy accept;
		udp dport 53 notrack
		fib saddr . iif oif missing drop
	}
}
`

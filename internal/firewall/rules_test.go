package firewall

// dockerRules is what dockerd 28 writes for its default bridge, with one published port.
const dockerRules = `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-BRIDGE - [0:0]
:DOCKER-CT - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER-BRIDGE -o docker0 -j DOCKER
-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-ISOLATION-STAGE-1
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8000 -j DNAT --to-destination 172.17.0.2:80
COMMIT
`

// ufwRules is the part of ufw's rules (before.rules, user.rules, after.rules) that forwarded packets meet, as ufw writes it.
const ufwRules = `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:ufw-before-logging-forward - [0:0]
:ufw-before-forward - [0:0]
:ufw-after-forward - [0:0]
:ufw-after-logging-forward - [0:0]
:ufw-reject-forward - [0:0]
:ufw-track-forward - [0:0]
:ufw-user-forward - [0:0]
-A FORWARD -j ufw-before-logging-forward
-A FORWARD -j ufw-before-forward
-A FORWARD -j ufw-after-forward
-A FORWARD -j ufw-after-logging-forward
-A FORWARD -j ufw-reject-forward
-A FORWARD -j ufw-track-forward
-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-forward -p icmp --icmp-type destination-unreachable -j ACCEPT
-A ufw-before-forward -p icmp --icmp-type time-exceeded -j ACCEPT
-A ufw-before-forward -p icmp --icmp-type parameter-problem -j ACCEPT
-A ufw-before-forward -p icmp --icmp-type echo-request -j ACCEPT
-A ufw-before-forward -j ufw-user-forward
-A ufw-after-logging-forward -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[UFW BLOCK] "
COMMIT
`

// firewalldRules is the forward side of firewalld's ruleset (1.3.3, default zone public), as it stands with
// StrictForwardPorts=yes of later versions: without "ct status dnat accept".
const firewalldRules = `
table inet firewalld {
	chain filter_FORWARD {
		type filter hook forward priority filter + 10; policy accept;
		ct state { established, related } accept
		iifname "lo" accept
		ct state invalid drop
		ip6 daddr { ::/96, ::ffff:0.0.0.0/96, 2002::/24, 2002:a00::/24, 2002:7f00::/24, 2002:a9fe::/32, 2002:ac10::/28, 2002:c0a8::/32, 2002:e000::/19 } reject with icmpv6 addr-unreachable
		jump filter_FORWARD_ZONES
		reject with icmpx admin-prohibited
	}
	chain filter_FORWARD_POLICIES_pre { }
	chain filter_FORWARD_ZONES { goto filter_FWD_public; }
	chain filter_FORWARD_POLICIES_post { }
	chain filter_FWD_public {
		jump filter_FORWARD_POLICIES_pre
		jump filter_FWD_public_pre
		jump filter_FWD_public_allow
		jump filter_FORWARD_POLICIES_post
		reject with icmpx admin-prohibited
	}
	chain filter_FWD_public_pre { }
	chain filter_FWD_public_allow { oifname "in" accept; }
}
`

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

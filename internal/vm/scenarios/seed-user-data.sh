#!/bin/bash
# The steps of the user-data that natd is to replace, from the article on transitive peering with a NAT instance: the same
# commands in the same order, flaws included. It saves a table of another name than it makes, so what it saves is empty.
sudo dnf install -y nftables
sudo nft add table nat-table
sudo nft -- add chain nat-table prerouting { type nat hook prerouting priority -100 \; }
sudo nft add chain nat-table postrouting { type nat hook postrouting priority 100 \; }
sudo nft add rule nat-table prerouting ip saddr 10.1.0.100 ip daddr 10.2.0.100 tcp dport 80 log dnat to 10.3.0.100
sudo nft add rule nat-table postrouting ip saddr 10.1.0.100 oifname "$(ip -o link show device-number-0 | awk -F': ' '{print $2}')" tcp dport 80 log snat to 10.2.0.100
sudo nft list table nat | sudo tee /etc/nftables/nat.nft
echo 'include "/etc/nftables/nat.nft"' | sudo tee -a /etc/sysconfig/nftables.conf
sudo systemctl enable nftables
sudo systemctl start nftables
echo net.ipv4.ip_forward=1 | sudo tee /etc/sysctl.d/99-ip_forward.conf
sudo sysctl --system

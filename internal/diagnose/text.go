package diagnose

import (
	"fmt"
	"net/netip"
	"strings"

	"natd/internal/firewall"
)

// Words and commands that several stations need.

func texts[T fmt.Stringer](all []T) []string {
	out := make([]string, len(all))
	for i, v := range all {
		out[i] = v.String()
	}
	return out
}

func join[T fmt.Stringer](all []T) string { return strings.Join(texts(all), ", ") }

// quoted is a list as TOML has it.
func quoted[T fmt.Stringer](all []T) string { return `["` + strings.Join(texts(all), `", "`) + `"]` }

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

func addrText(a netip.AddrPort) string {
	if !a.Addr().IsValid() {
		return "<address>"
	}
	return a.Addr().String()
}

func portText(a netip.AddrPort) *uint16 {
	if !a.IsValid() {
		return nil
	}
	p := a.Port()
	return &p
}

// cidr is an address as a security group wants it.
func cidr(addr string) string {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return addr + "/32"
	}
	return netip.PrefixFrom(a, a.BitLen()).String()
}

// authorize is the command that lets packets into a security group.
func authorize(w *Way, group, from string, port uint16) string {
	ranges := "IpRanges=[{CidrIp=" + from + "}]"
	if strings.Contains(from, ":") {
		ranges = "Ipv6Ranges=[{CidrIpv6=" + from + "}]"
	}
	return fmt.Sprintf("aws ec2 authorize-security-group-ingress --group-id %s --ip-permissions 'IpProtocol=%s,FromPort=%d,ToPort=%d,%s'",
		group, w.Protocol, port, port, ranges)
}

// family is "ip" or "ip6", as nft and the tools have it.
func family(a netip.Addr) string {
	if a.Is4() {
		return "ip"
	}
	return "ip6"
}

// device is an interface in a command, for whose name a shell may have other uses.
func device(name string) string {
	if name == "" {
		return "<interface>"
	}
	return firewall.Quoted(name)
}

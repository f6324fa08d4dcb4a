package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"natd/nat"
)

// minimalGateway is a gateway with all that is required.
const minimalGateway = "[[gateway]]\nname = \"out\"\nfrom = [\"10.100.20.0/24\"]\n"

func TestParseGateway(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, keys string
		want       nat.Gateway
	}{
		{"minimal", `from = ["10.100.20.0/24"]`, nat.Gateway{
			From: networks("10.100.20.0/24"), To: networks("0.0.0.0/0"), Enabled: true,
		}},
		{"IPv6", `from = ["fd00:100::/64"]`, nat.Gateway{From: networks("fd00:100::/64"), To: networks("::/0"), Enabled: true}},
		{"both", `from = ["fd00:100::/64", "10.100.20.7"]`, nat.Gateway{
			From: networks("fd00:100::/64", "10.100.20.7/32"), To: networks("0.0.0.0/0", "::/0"), Enabled: true,
		}},
		{"all", "from = [\"10.100.20.0/24\", \"10.100.21.0/24\"]\nto = [\"10.3.0.0/16\"]\nsnat = [\"10.2.0.101-10.2.0.102\"]\negress = \"ens6\"\nenabled = false", nat.Gateway{
			From: networks("10.100.20.0/24", "10.100.21.0/24"), To: networks("10.3.0.0/16"),
			SNAT: nat.SNAT{Mode: nat.SNATFixed, Addrs: addrs("10.2.0.101", "10.2.0.102")}, Egress: "ens6",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.want.Name = "out"
			want := nat.Spec{Gateways: []nat.Gateway{tt.want}}
			if diff := cmp.Diff(want, mustParse(t, "[[gateway]]\nname = \"out\"\n"+tt.keys).NAT, compareAddresses()); diff != "" {
				t.Errorf("Spec (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGatewayErrors(t *testing.T) {
	t.Parallel()
	tests := []struct{ keys, want string }{ // keys from line 3 on
		{`to = ["0.0.0.0/0"]`, `1: gateway "out": from: missing: the hosts behind, such as from = ["10.100.20.0/24"]`},
		{`from = []`, `3: gateway "out": from = []: an empty list would be a gateway for nobody: name the hosts behind`},
		{`from = "10.100.20.0/24"`, `3: gateway "out": from = "10.100.20.0/24": must be a list: write from = ["10.100.20.0/24"]`},
		{`from = ["10.100.20.1/24"]`, `3: gateway "out": from = ["10.100.20.1/24"]: "10.100.20.1/24": host bits set; did you mean 10.100.20.0/24?`},
		{`from = ["10.100.20.7", "10.100.20.0/24"]`, `3: gateway "out": from = ["10.100.20.7", "10.100.20.0/24"]: 10.100.20.7/32 is part of 10.100.20.0/24: leave it out`},
		{"from = [\"10.100.20.0/24\"]\nto = []", `4: gateway "out": to = []: an empty list would lead nowhere; leave the key out for everywhere`},
		{"from = [\"10.100.20.0/24\"]\nto = [\"0.0.0.0/0\", \"10.3.0.0/16\"]", `4: gateway "out": to = ["0.0.0.0/0", "10.3.0.0/16"]: 10.3.0.0/16 is part of 0.0.0.0/0: leave it out`},
		{"from = [\"10.100.20.0/24\"]\nto = [\"::/0\"]", `4: gateway "out": to = ["::/0"]: "::/0" is IPv6, but every source in from is IPv4: write an IPv4 network`},
		{
			"from = [\"10.100.20.0/24\"]\nto = [\"10.0.0.0/8\", \"169.254.169.254\"]", `4: gateway "out": to = ["10.0.0.0/8", "169.254.169.254"]: ` +
				`169.254.169.254/32 lies in 169.254.0.0/16, where each host has services of its own, such as the one that gives out its credentials: no gateway leads there`,
		},
		{
			"from = [\"10.100.20.0/24\", \"fd00:100::/64\"]\nto = [\"10.3.0.0/16\"]",
			`4: gateway "out": to = ["10.3.0.0/16"]: has no IPv6 network, so the IPv6 hosts in from could go nowhere: add one, such as "::/0"`,
		},
		{"from = [\"10.100.20.0/24\"]\nsnat = \"off\"", `4: gateway "out": snat = "off": a gateway is there to translate: ` +
			`to forward with the hosts' own addresses needs routes and no gateway`},
		{"from = [\"10.100.20.0/24\"]\nsnat = \"fd00:2::1\"", `4: gateway "out": snat = "fd00:2::1": "fd00:2::1" is IPv6, but every source in from is IPv4: write an IPv4 address`},
		{
			"from = [\"10.100.20.0/24\", \"fd00:100::/64\"]\nsnat = \"fd00:2::1\"",
			`4: gateway "out": snat = "fd00:2::1": has no IPv4 address, which IPv4 connections need: list one of each family, or write "auto"`,
		},
		{"from = [\"10.100.20.0/24\"]\negress = \"\"", `4: gateway "out": egress = "": must be "auto" or the name of an interface: ` +
			`1-15 printable characters without blanks, "/", ":", "*" and quotes`},
		{"from = [\"10.100.20.0/24\"]\nenabled = 1", `4: gateway "out": enabled = 1: must be true or false, without quotes`},
		{"from = [\"10.100.20.0/24\"]\nlisten = \":80\"", `4: gateway "out": listen = ":80": unknown key`},
		{"from = [\"10.100.20.0/24\"]\nform = \":80\"", `4: gateway "out": form = ":80": unknown key; did you mean "from"?`},
	}
	for _, tt := range tests {
		t.Run(tt.keys, func(t *testing.T) {
			t.Parallel()
			checkErrors(t, "[[gateway]]\nname = \"out\"\n"+tt.keys, tt.want)
		})
	}
}

// TestGatewayOverlaps holds pairs; the second one begins in line 4 or 5.
func TestGatewayOverlaps(t *testing.T) {
	t.Parallel()
	second := func(keys string) string { return "[[gateway]]\nname = \"in\"\n" + keys }
	const rule = `: a connection can be translated one way only; narrow from or to, or name a different egress in each`
	tests := []struct{ text, want string }{
		{
			minimalGateway + second(`from = ["10.100.20.0/24"]`),
			`6: gateway "in": from = ["10.100.20.0/24"]: 10.100.20.0/24 to 0.0.0.0/0 overlaps with 10.100.20.0/24 to 0.0.0.0/0 of gateway "out" (line 1)` + rule,
		},
		{
			minimalGateway + second(`from = ["10.3.0.0/16", "10.100.0.0/16"]`+"\nto = [\"10.3.0.0/16\"]"),
			`6: gateway "in": from = ["10.3.0.0/16", "10.100.0.0/16"]: 10.100.0.0/16 to 10.3.0.0/16 overlaps with 10.100.20.0/24 to 0.0.0.0/0 of gateway "out" (line 1)` + rule,
		},
		{
			minimalGateway + second("egress = \"ens6\"\nfrom = [\"10.100.20.7\"]"),
			`7: gateway "in": from = ["10.100.20.7"]: 10.100.20.7/32 to 0.0.0.0/0 overlaps with 10.100.20.0/24 to 0.0.0.0/0 of gateway "out" (line 1)` + rule,
		},
		{
			minimalGateway + "egress = \"ens6\"\n" + second("from = [\"10.100.20.0/24\"]\nenabled = false"),
			`7: gateway "in": from = ["10.100.20.0/24"]: 10.100.20.0/24 to 0.0.0.0/0 overlaps with 10.100.20.0/24 to 0.0.0.0/0 of gateway "out" (line 1)` + rule,
		},
		{
			minimalGateway + "egress = \"ens6\"\n" + second("from = [\"10.100.20.0/24\"]\negress = \"ens6\""),
			`7: gateway "in": from = ["10.100.20.0/24"]: 10.100.20.0/24 to 0.0.0.0/0 overlaps with 10.100.20.0/24 to 0.0.0.0/0 of gateway "out" (line 1)` + rule,
		},
	}
	for _, tt := range tests {
		checkErrors(t, tt.text, tt.want)
	}
	for _, text := range []string{
		minimalGateway + second(`from = ["10.100.21.0/24"]`),
		minimalGateway + "to = [\"10.3.0.0/16\"]\n" + second("from = [\"10.100.20.0/24\"]\nto = [\"10.4.0.0/16\"]"),
		minimalGateway + "egress = \"ens6\"\n" + second("from = [\"10.100.20.0/24\"]\negress = \"ens7\""),
		minimalGateway + second(`from = ["fd00:100::/64"]`),
	} {
		mustParse(t, text)
	}
}

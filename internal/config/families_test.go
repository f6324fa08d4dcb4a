package config

import (
	"testing"
)

func TestFamilies(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"IPv6":                 "listen = \"[fd00:2::100]:80\"\nto = [\"fd00:3::100\"]\nfrom = [\"fd00:1::/64\"]\nsnat = \"fd00:2::100\"",
		"name":                 "listen = \"[fd00:2::100]:80\"\nto = [\"web.example\"]",
		"both":                 "listen = \":80\"\nto = [\"10.3.0.100\", \"fd00:3::100\"]\nfrom = [\"10.1.0.0/16\", \"fd00:1::/64\"]\nsnat = [\"10.2.0.100\", \"fd00:2::100\"]",
		"name, sources of one": "listen = \":80\"\nto = [\"web.example\"]\nfrom = [\"10.1.0.0/16\"]\nsnat = \"10.2.0.100\"",
		"name, sources":        "listen = \":80\"\nto = [\"10.3.0.100\", \"web.example\"]\nfrom = [\"10.1.0.0/16\", \"fd00:1::/64\"]\nsnat = \"10.2.0.100\"",
	}
	for name, keys := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mustParse(t, "[[relay]]\nname = \"web\"\n"+keys)
		})
	}
}

func TestFamilyErrors(t *testing.T) {
	t.Parallel()
	tests := []struct{ keys, want string }{ // keys from line 3 on
		{"listen = \"10.2.0.100:80\"\nto = [\"fd00:3::100\"]", `4: relay "web": to = ["fd00:3::100"]: IPv6, but listen is IPv4: ` +
			`natd does not turn one into the other; write an IPv4 backend, or listen = ":80" to serve both, each with its own`},
		{"listen = \"[fd00:2::100]:80-81\"\nto = [\"fd00:3::100\", \"10.3.0.100\"]", `4: relay "web": to[2] = "10.3.0.100": IPv4, but listen is IPv6: ` +
			`natd does not turn one into the other; write an IPv6 backend, or listen = ":80-81" to serve both, each with its own`},
		{
			"listen = \"10.2.0.100:80\"\nto = [\"10.3.0.100\"]\nfrom = [\"10.1.0.0/16\", \"fd00:1::/64\"]",
			`5: relay "web": from = ["10.1.0.0/16", "fd00:1::/64"]: "fd00:1::/64" is IPv6, but listen is IPv4: write an IPv4 network`,
		},
		{
			"listen = \"[fd00:2::100]:80\"\nto = [\"web.example\"]\nfrom = [\"10.1.0.0/16\"]",
			`5: relay "web": from = ["10.1.0.0/16"]: "10.1.0.0/16" is IPv4, but listen is IPv6: write an IPv6 network`,
		},
		{
			"listen = \"10.2.0.100:80\"\nto = [\"10.3.0.100\"]\nsnat = \"fd00:2::100\"",
			`5: relay "web": snat = "fd00:2::100": "fd00:2::100" is IPv6, but listen is IPv4: write an IPv4 address`,
		},
		{
			"listen = \":80\"\nto = [\"10.3.0.100\", \"10.3.0.101\"]\nfrom = [\"fd00:1::/64\"]",
			`5: relay "web": from = ["fd00:1::/64"]: "fd00:1::/64" is IPv6, but every backend is IPv4: write an IPv4 network`,
		},
		{
			"listen = \":80\"\nto = [\"fd00:3::100\"]\nsnat = [\"fd00:2::100\", \"10.2.0.100\"]",
			`5: relay "web": snat = ["fd00:2::100", "10.2.0.100"]: "10.2.0.100" is IPv4, but every backend is IPv6: write an IPv6 address`,
		},
		{
			"listen = \":80\"\nto = [\"10.3.0.100\", \"fd00:3::100\"]\nfrom = [\"10.1.0.0/16\"]",
			`4: relay "web": to[2] = "fd00:3::100": IPv6, but no source in from is: nobody could use this backend`,
		},
		{
			"listen = \":80\"\nto = [\"10.3.0.100\", \"fd00:3::100\"]\nsnat = \"10.2.0.100\"",
			`5: relay "web": snat = "10.2.0.100": has no IPv6 address, which IPv6 connections need: list one of each family, or write "auto"`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.keys, func(t *testing.T) {
			t.Parallel()
			checkErrors(t, "[[relay]]\nname = \"web\"\n"+tt.keys, tt.want)
		})
	}
}

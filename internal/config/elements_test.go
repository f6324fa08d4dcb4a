package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestCost(t *testing.T) {
	t.Parallel()
	const name, one, three = "[[relay]]\nname = \"web\"\n", `["10.3.0.1"]`, `["10.3.0.1", {address = "10.3.0.2", weight = 4}, {address = "10.3.0.3", weight = 3}]`
	tests := []struct {
		keys string
		want string
		cost int
	}{
		{`listen = "10.2.0.100:80"` + "\nto = " + one, "ports 1 x protocols 1 x families 1 x (1 for sources)", 1},
		{`listen = ":80"` + "\nto = " + one, "ports 1 x protocols 1 x families 1 x (1 for sources)", 1},
		{`listen = ":80"` + "\nto = [\"web.example\"]", "ports 1 x protocols 1 x families 2 x (1 for sources)", 2},
		{
			`listen = ":80-89"` + "\nto = " + three + "\nprotocol = [\"tcp\", \"udp\"]\nfrom = [\"10.1.0.0/16\", \"10.4.0.0/16\"]",
			"ports 10 x protocols 2 x families 1 x (2 for sources + 8 for shares of backends)", 200,
		},
		{
			`listen = ":80"` + "\nto = " + strings.ReplaceAll(three, "10.3.0.1\"", "10.3.0.1:80\"") + "\nsnat = \"10.2.0.1-10.2.0.3\"",
			"ports 1 x protocols 1 x families 1 x (1 for sources + 8 for shares of backends + 768 for the pool)", 777,
		},
		{`listen = ":80"` + "\nto = " + three + "\nbalance = \"source\"", "ports 1 x protocols 1 x families 1 x (1 for sources + 256 for shares of backends)", 257},
		{
			`listen = ":80"` + "\nto = [{address = \"10.3.0.1\", weight = 256}, {address = \"10.3.0.2\", weight = 128}]",
			"ports 1 x protocols 1 x families 1 x (1 for sources + 3 for shares of backends)", 4,
		},
		{
			`listen = ":80"` + "\nto = [{address = \"10.3.0.1\", weight = 256}, {address = \"10.3.0.2\", weight = 255}]",
			"ports 1 x protocols 1 x families 1 x (1 for sources + 256 for shares of backends)", 257,
		},
	}
	for _, tt := range tests {
		r := &mustParse(t, name+tt.keys).NAT.Relays[0]
		if c := costOf(r); c.String() != tt.want || c.total() != tt.cost {
			t.Errorf("%s\n got %d: %s\nwant %d: %s", tt.keys, c.total(), c, tt.cost, tt.want)
		}
	}
}

func TestTooManyElements(t *testing.T) {
	t.Parallel()
	many := func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(`"10.%d.%d.%d"`, i>>16, i>>8&255, i&255)
		}
		return "[" + strings.Join(list, ", ") + "]"
	}
	relay := "[[relay]]\nname = \"web\"\nlisten = \":1-1000\"\nbalance = \"source\"\nto = [\"10.3.0.1\", \"10.3.0.2\"]\nfrom = "
	checkErrors(t, relay+many(7), `3: relay "web": listen = ":1-1000": the relay needs 263000 kernel elements `+
		`(ports 1000 x protocols 1 x families 1 x (7 for sources + 256 for shares of backends)), all up to this one 263000: the limit is 262144`)
	mustParse(t, relay+many(6))

	gateway := "[[gateway]]\nname = \"out\"\nfrom = "
	checkErrors(t, gateway+many(64)+"\nto = "+many(129),
		`3: gateway "out": from = ["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"…]: the gateway has 8256 pairs of networks (from 64 x to 129), all up to this one 8256: the limit is 8192`)
	mustParse(t, gateway+many(64)+"\nto = "+many(128))

	checkErrors(t, minimal+minimalStatic+"from = "+many(8193),
		`9: static "c": from = ["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"…]: the static has 8193 pairs of networks (external x from), all up to this one 8193: the limit is 8192`)
	mustParse(t, minimalStatic+"from = "+many(8192))
}

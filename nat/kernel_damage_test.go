package nat

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// damages are nft scripts, each of which does one harm to the table of damaged().
func damages() map[string]string {
	const relay, listen = "10.2.0.100 . tcp . 80", "10.2.0.100 . tcp . 80"
	return map[string]string{
		"table deleted":          "delete table inet natd",
		"ruleset flushed":        "flush ruleset",
		"table emptied":          "flush table inet natd",
		"table made dormant":     `add table inet natd { flags dormant; }`,
		"chain emptied":          "flush chain inet natd forward",
		"chain deleted":          "flush chain inet natd input\ndelete chain inet natd input",
		"chain's policy":         `add chain inet natd forward { policy accept; }`,
		"another chain's":        `add chain inet natd input { policy drop; }`,
		"chain moved":            "flush chain inet natd input\ndelete chain inet natd input\nadd chain inet natd input { type filter hook input priority 10; }",
		"foreign chain":          "add chain inet natd mine",
		"foreign base chain":     "add chain inet natd mine { type filter hook output priority 0; }",
		"foreign chain used":     "add chain inet natd mine\nadd rule inet natd forward jump mine",
		"foreign set":            "add set inet natd mine { type ipv4_addr; }",
		"foreign map":            "add map inet natd mine { type ipv4_addr : ipv4_addr; }",
		"foreign verdict map":    "add map inet natd mine { type ipv4_addr : verdict; }",
		"foreign set, our way":   "add map inet natd relays4_from7 { type ipv4_addr . ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; counter; }",
		"foreign counter":        "add counter inet natd mine",
		"foreign quota":          "add quota inet natd mine { over 1 mbytes }",
		"rule appended":          "add rule inet natd forward ip saddr 10.9.9.9 accept",
		"rule put first":         "insert rule inet natd prerouting tcp dport 80 accept",
		"rule with a set":        "add rule inet natd forward ip saddr { 10.9.9.9, 10.9.9.8 } accept",
		"rule that counts":       `insert rule inet natd forward counter comment "mine"`,
		"element deleted":        "delete element inet natd relays4 { " + relay + " }",
		"element added":          `add element inet natd relays4 { 10.2.0.100 . tcp . 81 comment "web" : 10.3.0.100 . 80 }`,
		"element's value":        "delete element inet natd relays4 { " + relay + " }\nadd element inet natd relays4 { " + relay + ` comment "web" : 10.66.0.1 . 80 }`,
		"element's port":         "delete element inet natd relays4 { " + relay + " }\nadd element inet natd relays4 { " + relay + ` comment "web" : 10.3.0.100 . 81 }`,
		"element's comment":      "delete element inet natd relays4 { " + relay + " }\nadd element inet natd relays4 { " + relay + ` comment "mine" : 10.3.0.100 . 80 }`,
		"no comment":             "delete element inet natd relays4 { " + relay + " }\nadd element inet natd relays4 { " + relay + ` : 10.3.0.100 . 80 }`,
		"source deleted":         "delete element inet natd relays4_from16 { 10.1.0.0 . 10.2.0.100 . udp . 53 }",
		"source added":           `add element inet natd relays4_from16 { 10.9.0.0 . 10.2.0.100 . udp . 53 comment "dns" : 10.3.0.100 . 53 }`,
		"snat deleted":           "delete element inet natd snat4 { " + listen + " . 10.3.0.100 }",
		"target deleted":         "delete element inet natd targets4 { 10.3.0.100 . tcp . 80 }",
		"target added":           `add element inet natd targets4 { 10.3.0.100 . tcp . 22 comment "web" }`,
		"listen deleted":         "delete element inet natd listens4 { " + listen + " }",
		"listen renamed":         "delete element inet natd listens4 { " + listen + " }\nadd element inet natd listens4 { " + listen + ` comment "mine" }`,
		"listens emptied":        "flush set inet natd listens4",
		"relays emptied":         "flush map inet natd relays4",
		"logged emptied":         "flush set inet natd logged4",
		"element for all keys":   `add element inet natd relays4 { * comment "mine" : 10.66.0.1 . 80 }`,
		"target for all keys":    `add element inet natd targets4 { * comment "mine" }`,
		"set for one element":    remade("size 1;", ""),
		"set that limits":        remade("limit rate 1/day;", `elements = { 10.2.0.100 . tcp . 80 limit rate 1/day comment "web" }`),
		"set that counts":        remade("counter;", `elements = { 10.2.0.100 . tcp . 80 counter comment "web" }`),
		"set that does both":     remade("counter limit rate 1/day;", `elements = { 10.2.0.100 . tcp . 80 counter limit rate 1/day comment "web" }`),
		"set made a verdict map": "flush chain inet natd prerouting\ndelete set inet natd logged4\nadd map inet natd logged4 { type ipv4_addr . inet_proto . inet_service : verdict; }",
		"set made a counter map": "flush chain inet natd prerouting\ndelete set inet natd logged4\nadd map inet natd logged4 { type ipv4_addr . inet_proto . inet_service : counter; }",
		"set made for memory":    remade("policy memory;", `elements = { 10.2.0.100 . tcp . 80 comment "web" }`),
		"set with time-outs":     remade("flags timeout;", ""),
		"set with intervals":     remade("flags interval;", ""),
		"set remade as it was":   remade("", `elements = { 10.2.0.100 . tcp . 80 comment "other" }`),
		"set of another type":    "flush chain inet natd prerouting\ndelete set inet natd logged4\nadd set inet natd logged4 { type ipv4_addr . inet_service; }",
		"map without counters":   "flush chain inet natd prerouting\ndelete map inet natd relays4\nadd map inet natd relays4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }",
	}
}

// remade puts another set in the place of logged4, with the rule that uses it.
func remade(properties, elements string) string {
	return fmt.Sprintf(`
flush chain inet natd prerouting
delete set inet natd logged4
table inet natd {
	set logged4 {
		type ipv4_addr . inet_proto . inet_service
		%s
		%s
	}
	chain prerouting {
		ip daddr . meta l4proto . th dport @logged4 log group 9469 snaplen 64 comment "connections to be logged"
		dnat ip to ip daddr . meta l4proto . th dport map @relays4 comment "relays for every source"
		dnat ip to ip saddr & 255.255.0.0 . ip daddr . meta l4proto . th dport map @relays4_from16 comment "relays for sources of /16"
	}
}`, properties, elements)
}

// damaged is a ruleset that has a bit of everything.
func damaged() *Ruleset {
	return build(web(logged), relayOf("dns", 53, "10.3.0.100", protocols(TCP, UDP), from(clientNet)))
}

// everyKind is a ruleset that has an element of every kind of set, and every kind of rule.
func everyKind() *Ruleset {
	all := scenario{places: map[string]func(*Placement){
		"dark6": weights(0), "pool": sources("10.2.0.7", "10.2.0.8"), "pool6": sources("fd00:10:2::7", "fd00:10:2::8"),
	}}
	limited := func(r *Relay) {
		r.MaxConnections, r.MaxPerSource, r.Rate, r.MSS = 100, 10, Rate{5, time.Second}, MSS{Size: 1300}
	}
	backends := map[string][2]string{hostAddr: {"10.3.0.100", "10.3.0.101"}, hostAddr6: {"fd00:10:3::100", "fd00:10:3::101"}}
	for own, digit := range map[string]string{hostAddr: "", hostAddr6: "6"} {
		to := backends[own]
		all.relays = append(all.relays,
			relayOf("web"+digit, 80, to[0], listen(own), logged, limited),
			relayOf("turns"+digit, 81, to[0], listen(own), also(2, to[1])),
			relayOf("random"+digit, 82, to[0], listen(own), also(1, to[1]), balanced(Random)),
			relayOf("from"+digit, 83, to[0], listen(own), also(1, to[1]), from("10.1.0.0/16", "fd00:10:1::/48")),
			relayOf("dark"+digit, 84, to[0], listen(own)),
			relayOf("pool"+digit, 85, to[0], listen(own)),
		)
	}
	slices.SortFunc(all.relays, func(a, b Relay) int { return strings.Compare(a.Name, b.Name) })
	for _, more := range []string{"gateways", "statics"} {
		all.gateways = append(all.gateways, scenarios()[more].gateways...)
		all.statics = append(all.statics, scenarios()[more].statics...)
	}
	return all.build()
}

// mends asserts that the kernel's table is not as wanted, and after one Apply lists as it did before, with nothing else touched.
func (m *machine) mends(t *testing.T, want *Ruleset, before string) {
	t.Helper()
	have := m.read()
	p := Diff(want, have, m.hold)
	if p.Empty() && len(p.Retired) == 0 {
		t.Errorf("the damage was not seen:\n%s", cmp.Diff(before, m.list("ruleset")))
		return
	}
	if err := m.Apply(p, have.Generation, m.hold); err != nil {
		t.Errorf("mending it by %q: %v", p.Steps(10), err)
		return
	}
	if err := m.Release(p.Retired); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(before, m.list("ruleset")); diff != "" {
		t.Errorf("mended by %q, but (-before +after):\n%s", p.Steps(10), diff)
	}
}

func TestEveryDamageIsMended(t *testing.T) {
	t.Parallel()
	for _, protect := range []Protect{ProtectOff, ProtectGuard} {
		m, want := newMachine(t, protect), damaged()
		m.needs(protect)
		m.bring(want)
		before := m.list("ruleset")
		for name, script := range damages() {
			t.Run(protect.String()+"/"+name, func(t *testing.T) {
				if err := m.host.Nft(t.Context(), script); err != nil {
					t.Fatalf("this nft or kernel cannot do the damage: %v", err)
				}
				m.mends(t, want, before)
			})
			m.nft("flush ruleset")
			m.bring(want)
		}
	}
}

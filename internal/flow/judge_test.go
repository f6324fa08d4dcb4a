package flow

import (
	"net/netip"
	"testing"

	"natd/nat"
)

// The host's addresses, which are also the sources of what it relays.
const (
	host  = "10.2.0.100"
	host6 = "2001:db8:2::100"
)

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// relay listens at the host's port for everyone and sends to the backend; edits change that.
func relay(name string, port uint16, backend string, proto nat.Protocol, edits ...func(*nat.Relay)) nat.Relay {
	to := addrPort(backend)
	r := nat.Relay{
		Name:      name,
		Listen:    nat.Listen{Addr: netip.MustParseAddr(host), Ports: nat.PortRange{First: port, Last: port}},
		Protocols: []nat.Protocol{proto},
		Backends:  []nat.Backend{{Addr: to.Addr(), Ports: nat.PortRange{First: to.Port(), Last: to.Port()}, Weight: 1}},
		Enabled:   true,
	}
	for _, edit := range edits {
		edit(&r)
	}
	return r
}

func fromA(r *nat.Relay)    { r.From = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")} }
func closing(r *nat.Relay)  { r.OnChange = nat.Close }
func anywhere(r *nat.Relay) { r.Listen.Addr = netip.Addr{} }
func disabled(r *nat.Relay) { r.Enabled = false }

func tenWide(r *nat.Relay) {
	r.Listen.Ports.Last += 9
	r.Backends[0].Ports.Last += 9
}

// newJudge judges for a host with the addresses .100 and .101.
func newJudge() *Judge {
	spec := &nat.Spec{Relays: []nat.Relay{
		relay("web", 80, "10.3.0.100:8080", nat.TCP, fromA),
		relay("dns", 53, "10.3.0.53:53", nat.UDP),
		relay("cut", 81, "10.3.0.100:81", nat.TCP, closing),
		relay("any-tcp", 443, "10.3.0.100:443", nat.TCP, anywhere),
		relay("any-udp", 443, "10.3.0.100:443", nat.UDP, anywhere),
		relay("held-tcp", 90, "10.3.0.100:90", nat.TCP, fromA, closing),
		relay("held-udp", 90, "10.3.0.100:90", nat.UDP, fromA),
		relay("off", 91, "10.3.0.100:91", nat.TCP, disabled),
		relay("range", 8000, "10.3.0.100:9000", nat.TCP, tenWide),
		relay("no-snat", 54, "10.3.0.53:53", nat.UDP),
	}}
	own, second, own6 := netip.MustParseAddr(host), netip.MustParseAddr("10.2.0.101"), netip.MustParseAddr(host6)
	places := &nat.Placements{Relays: make([]nat.Placement, len(spec.Relays))}
	for i := range places.Relays {
		p, b := &places.Relays[i], &spec.Relays[i].Backends[0]
		p.Addrs = []netip.Addr{own}
		if spec.Relays[i].Listen.Any() {
			p.Addrs = []netip.Addr{own, second}
		}
		p.Targets = []nat.Target{{Addr: b.Addr, Ports: b.Ports, Weight: 1, SNAT: []netip.Addr{own}}}
	}
	places.Relays[5].Held, places.Relays[6].Held = true, true
	places.Relays[9].Targets[0].SNAT = nil
	return &Judge{
		Spec:   spec,
		Places: places,
		Index:  nat.NewIndex(spec, []netip.Addr{own, second, own6}),
		Retired: map[nat.Endpoint]bool{
			{Addr: own, Proto: nat.TCP, Port: 7}:                                true,
			{Addr: own, Proto: nat.TCP, Port: 91}:                               true,
			{Addr: netip.MustParseAddr("10.2.0.99"), Proto: nat.TCP, Port: 443}: true,
			{Addr: netip.MustParseAddr("10.2.0.99"), Proto: nat.TCP, Port: 444}: true,
		},
	}
}

const (
	unreplied   = 0
	replied     = statusSeenReply
	established = statusSeenReply | statusAssured
)

// translated is a connection from client to listen that was sent on to target, with the host as source.
func translated(proto nat.Protocol, client, listen, target string, status uint32) *Entry {
	from, host := addrPort(client), host
	if from.Addr().Is6() {
		host = host6
	}
	return &Entry{
		Proto:  proto,
		Orig:   Tuple{Src: from, Dst: addrPort(listen)},
		Reply:  Tuple{Src: addrPort(target), Dst: netip.AddrPortFrom(netip.MustParseAddr(host), from.Port())},
		status: status | statusDstNAT | statusSrcNAT,
	}
}

// plain is a connection that nothing translated.
func plain(proto nat.Protocol, client, to string, status uint32) *Entry {
	return &Entry{
		Proto:  proto,
		Orig:   Tuple{Src: addrPort(client), Dst: addrPort(to)},
		Reply:  Tuple{Src: addrPort(to), Dst: addrPort(client)},
		status: status,
	}
}

// via gives the connection another source towards the backend.
func via(source string, e *Entry) *Entry {
	e.Reply.Dst = addrPort(source)
	return e
}

// judgement is a connection and why it has to go, "" when it stays.
type judgement struct {
	entry *Entry
	why   string
}

func judge(t *testing.T, j *Judge, cases map[string]judgement) {
	t.Helper()
	for name, c := range cases {
		if why := j.Condemned(c.entry); why != c.why {
			t.Errorf("%s: %q, want %q", name, why, c.why)
		}
	}
}

const (
	client  = "10.1.0.5:40000"
	client6 = "[2001:db8:1::5]:40000"
	foreign = "192.0.2.5:40000"
)

func TestJudgeConnectionsOfRelays(t *testing.T) {
	t.Parallel()
	const web, dns, cut = host + ":80", host + ":53", host + ":81"
	judge(t, newJudge(), map[string]judgement{
		"as configured":                    {translated(nat.TCP, client, web, "10.3.0.100:8080", established), ""},
		"not answered yet":                 {translated(nat.TCP, client, web, "10.3.0.100:8080", unreplied), ""},
		"source revoked":                   {translated(nat.TCP, foreign, web, "10.3.0.100:8080", established), WhySource},
		"source revoked, backend left too": {translated(nat.TCP, foreign, web, "10.3.0.9:8080", established), WhySource},
		"backend left: drained":            {translated(nat.TCP, client, web, "10.3.0.9:8080", established), ""},
		"backend's port left: drained":     {translated(nat.TCP, client, web, "10.3.0.100:80", replied), ""},
		"backend left before it answered":  {translated(nat.TCP, client, web, "10.3.0.9:8080", unreplied), WhyBackend},
		"backend left: closed":             {translated(nat.TCP, client, cut, "10.3.0.9:81", established), WhyBackend},
		"backend stays: not closed":        {translated(nat.TCP, client, cut, "10.3.0.100:81", established), ""},
		"datagrams":                        {translated(nat.UDP, foreign, dns, "10.3.0.53:53", established), ""},
		"datagrams to a backend that left": {translated(nat.UDP, foreign, dns, "10.3.0.9:53", established), WhyBackend},
		"the n-th port of a range":         {translated(nat.TCP, client, host+":8003", "10.3.0.100:9003", unreplied), ""},
		"another port of a range":          {translated(nat.TCP, client, host+":8003", "10.3.0.100:9004", unreplied), WhyBackend},
		"on every address":                 {translated(nat.TCP, foreign, "10.2.0.101:443", "10.3.0.100:443", established), ""},
		"another protocol's relay":         {translated(nat.UDP, foreign, web, "10.9.0.1:80", established), ""},
	})
}

// TCP waits for a source address that comes back; datagrams would go into nowhere for ever.
func TestJudgeLostSourceAddress(t *testing.T) {
	t.Parallel()
	const gone, other = "10.2.0.99:40000", "10.2.0.101:40000"
	dns := func() *Entry { return translated(nat.UDP, client, host+":53", "10.3.0.53:53", established) }
	judge(t, newJudge(), map[string]judgement{
		"datagrams":                      {via(gone, dns()), WhyNoSource},
		"datagrams from another address": {via(other, dns()), ""},
		"datagrams with the client's own": {
			via(client, translated(nat.UDP, client, host+":54", "10.3.0.53:53", established)), "",
		},
		"a TCP connection": {via(gone, translated(nat.TCP, client, host+":80", "10.3.0.100:8080", established)), ""},
	})
}

// A connection that began before the rules stood bypasses the relay for as long as the client keeps sending.
func TestJudgeBypass(t *testing.T) {
	t.Parallel()
	const web, dns = host + ":80", host + ":53"
	judge(t, newJudge(), map[string]judgement{
		"an attempt":                     {plain(nat.TCP, client, web, unreplied), WhyBypass},
		"an answered attempt":            {plain(nat.TCP, client, web, replied), WhyBypass},
		"a login at a local service":     {plain(nat.TCP, client, web, established), ""},
		"of a source without a relay":    {plain(nat.TCP, foreign, web, unreplied), ""},
		"datagrams":                      {plain(nat.UDP, foreign, dns, unreplied), WhyBypass},
		"datagrams that go on":           {plain(nat.UDP, foreign, dns, established), WhyBypass},
		"datagrams on every address":     {plain(nat.UDP, foreign, "10.2.0.101:443", established), WhyBypass},
		"from the host to itself":        {plain(nat.UDP, host+":40000", dns, established), ""},
		"from its other address":         {plain(nat.UDP, "10.2.0.101:40000", dns, established), ""},
		"to a relay that is held":        {plain(nat.UDP, client, host+":90", established), ""},
		"to a relay that is off":         {plain(nat.TCP, client, host+":91", unreplied), ""},
		"to a port that nobody claims":   {plain(nat.TCP, client, host+":22", unreplied), ""},
		"to an address that is not here": {plain(nat.TCP, client, "10.2.0.99:443", unreplied), ""},
		"forwarded, not relayed":         {plain(nat.TCP, client, "10.3.0.100:80", unreplied), ""},
	})
}

func TestJudgeRemovedRelays(t *testing.T) {
	t.Parallel()
	judge(t, newJudge(), map[string]judgement{
		"the kernel had the listen":          {translated(nat.TCP, client, host+":7", "10.3.0.100:7", established), WhyRemoved},
		"and the relay is off":               {translated(nat.TCP, client, host+":91", "10.3.0.100:91", established), WhyRemoved},
		"not translated":                     {plain(nat.TCP, client, host+":7", established), ""},
		"the other protocol":                 {translated(nat.UDP, client, host+":7", "10.3.0.100:7", established), ""},
		"an address that the host lost":      {translated(nat.TCP, client, "10.2.0.99:443", "10.3.0.100:443", established), ""},
		"that address, and a port of nobody": {translated(nat.TCP, client, "10.2.0.99:444", "10.3.0.100:444", established), WhyRemoved},
	})
}

// Other programs translate too, Docker the ports that containers publish.
func TestJudgeForeignTranslation(t *testing.T) {
	t.Parallel()
	const docker, held = host + ":2375", host + ":90"
	judge(t, newJudge(), map[string]judgement{
		"to a port of nobody":                  {translated(nat.TCP, client, docker, "172.17.0.2:80", established), ""},
		"datagrams, not answered":              {translated(nat.UDP, client, docker, "172.17.0.2:80", unreplied), ""},
		"to an address that is not here":       {translated(nat.TCP, client, "192.0.2.80:80", "172.17.0.2:80", established), ""},
		"instead of a held relay":              {translated(nat.TCP, client, held, "172.17.0.2:90", established), ""},
		"the same, of a source that may not":   {translated(nat.TCP, foreign, held, "172.17.0.2:90", established), ""},
		"the same, not answered":               {translated(nat.TCP, client, held, "172.17.0.2:90", unreplied), ""},
		"datagrams instead of a held relay":    {translated(nat.UDP, client, held, "172.17.0.2:90", established), ""},
		"natd's own of a held relay":           {translated(nat.TCP, client, held, "10.3.0.100:90", established), ""},
		"natd's own, of a source that may not": {translated(nat.TCP, foreign, held, "10.3.0.100:90", established), WhySource},
	})
	j := newJudge()
	for _, proto := range []nat.Protocol{nat.TCP, nat.UDP} {
		j.Retired[nat.Endpoint{Addr: netip.MustParseAddr(host), Proto: proto, Port: 90}] = true
	}
	judge(t, j, map[string]judgement{
		"of a relay that was served until now":         {translated(nat.UDP, client, held, "10.3.0.9:90", established), WhyBackend},
		"of one that closes":                           {translated(nat.TCP, client, held, "10.3.0.9:90", established), WhyBackend},
		"of a source that may not use it":              {translated(nat.TCP, foreign, held, "10.3.0.9:90", established), WhySource},
		"of a relay that was served, to where it goes": {translated(nat.TCP, client, held, "10.3.0.100:90", established), ""},
	})
}

// What another program translates in place of a held relay is none of the relay's; what goes to its target is, and so is what may have when
// nobody knows its targets.
func TestOwnerOfHeldRelay(t *testing.T) {
	t.Parallel()
	const held = host + ":90"
	j := newJudge()
	own, foreigner := translated(nat.TCP, client, held, "10.3.0.100:90", established), translated(nat.TCP, client, held, "172.17.0.2:90", established)
	if got := j.Owner(own).Name; got != "held-tcp" {
		t.Errorf("natd's own is %q's", got)
	}
	if got := j.Owner(foreigner).Name; got != "" {
		t.Errorf("another program's is %q's", got)
	}
	j.Places.Relays[5].Targets = nil
	if got := j.Owner(foreigner).Name; got != "held-tcp" {
		t.Errorf("what may be natd's own is %q's", got)
	}
}

func TestJudgeRelay(t *testing.T) {
	t.Parallel()
	j := newJudge()
	if r, i := j.Relay(translated(nat.UDP, client, "10.2.0.101:443", "10.3.0.100:443", replied)); r == nil || r.Name != "any-udp" || i != 4 {
		t.Errorf("relay %v at %d, want any-udp at 4", r, i)
	}
	if r, _ := j.Relay(translated(nat.TCP, client, host+":22", "10.3.0.100:22", replied)); r != nil {
		t.Errorf("port 22 belongs to %s", r.Name)
	}
}

package diagnose

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/flow"
	"natd/nat"
	"natd/netconf"
)

// lookAtHost gathers what all relays share.
func (k *look) lookAtHost(context.Context) (err error) {
	if k.addresses, err = k.host.Addresses(); err != nil {
		return err
	}
	if k.listeners, err = k.host.Listeners(); err != nil {
		k.unread("local services: %v", err)
	}
	local := make([]netip.Addr, len(k.addresses))
	for i, a := range k.addresses {
		local[i] = a.Addr.Addr()
	}
	k.index = nat.NewIndex(k.spec, local)
	h := &k.ev.Host
	if h.Forward4, err = k.sysctls.Forwarding(); err != nil {
		return err
	}
	if h.Forward6, err = k.sysctls.Forwarding6(); err != nil {
		return err
	}
	if k.Status != nil {
		h.Instance = k.Status.Host.Instance
	}
	h.Conntrack.Max, h.Conntrack.Entries = k.number("net.netfilter.nf_conntrack_max"), k.number("net.netfilter.nf_conntrack_count")
	k.ages = k.readAges()
	return k.lookAtLinks()
}

func (k *look) lookAtLinks() error {
	devices, err := k.host.Devices()
	if err != nil {
		return err
	}
	slices.SortFunc(devices, func(a, b netconf.Device) int { return a.Index - b.Index })
	for _, d := range devices {
		l := Link{Device: d, Forwards4: true}
		if l.ReversePath, err = k.sysctls.ReversePathFilter(d.Name); err != nil {
			continue // it went away just now
		}
		if forwards, err := k.sysctls.Get("net/ipv4/conf/" + d.Name + "/forwarding"); err == nil {
			l.Forwards4 = forwards == "1"
		}
		for _, a := range k.addresses {
			if a.Link == d.Name {
				l.Addrs, l.Nets = append(l.Addrs, a.Addr.Addr()), append(l.Nets, a.Addr.Masked())
			}
		}
		k.ev.Host.Links = append(k.ev.Host.Links, l)
	}
	return nil
}

// number is a setting's value; 0 where the kernel does not have it.
func (k *look) number(key string) int {
	text, err := k.sysctls.Get(key)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(text)
	return n
}

// place gathers what the network of the host is for one way.
func (k *look) place(w *Way, seen map[*Way]*sighting) {
	w.ListenLink = k.linkOf(w.Listen.Addr())
	w.InKernel = k.ev.Table.Unreadable != "" || k.inKernel(w)
	w.Listener = k.listener(w)
	w.Taken = w.Listener != nil && !w.InKernel && k.ev.Table.Exists
	k.whoAsks(w, seen[w])
	if !w.Target.IsValid() || !w.Relay.Enabled {
		return
	}
	w.Out = k.routeOut(w)
	if w.Out.Kind == RouteNone || w.Out.Kind == RouteRefused {
		var err error
		if w.Out.By, err = k.host.Refusing(w.Target.Addr()); err != nil {
			k.unread("%v", err)
		}
	}
	if w.Out.Local {
		if i, ok := k.index.Relay(nat.Endpoint{Addr: w.Target.Addr(), Proto: w.Protocol, Port: w.Target.Port()}); ok {
			w.Leads = k.spec.Relays[i].Name
		}
	}
	k.routesOf(w)
	k.sourcesBy(w, w.Out)
}

// routesOf asks for the ways of a client's packets: back to it, and onward from where they may come in.
func (k *look) routesOf(w *Way) {
	if !w.Client.Addr.IsValid() {
		return
	}
	w.Back = routeOf(k.host.RouteTo(w.Client.Addr, ""))
	if w.Client.Link == "" {
		w.Client.Link = orElse(w.Back.Link, w.ListenLink)
	}
	if w.Out.Kind != RouteFine || w.Out.Local {
		return
	}
	if w.Client.Link != "" {
		w.Onward = k.onward(w, w.Client.Link)
	}
	if w.ListenLink != "" && w.ListenLink != w.Client.Link && !w.Client.Seen && !w.Back.Local {
		w.Entry = k.onward(w, w.ListenLink)
	}
}

// onward asks what the kernel does with a client's packet that comes by an interface. Kernels since 6.14 call what the reverse path
// filter drops an invalid argument (inet_rtm_getroute of net/ipv4/route.c), as they do other packets that cannot be.
func (k *look) onward(w *Way, link string) *Route {
	answer, err := k.host.RouteOf(w.Client.Addr, w.Target.Addr(), link)
	r := routeOf(answer, err)
	strict := slices.ContainsFunc(k.ev.Host.Links, func(l Link) bool { return l.Name == link && l.ReversePath == 1 })
	switch {
	case !errors.Is(err, unix.EINVAL):
	case strict && w.Back.Kind == RouteFine && w.Back.Link != link:
		r.Kind = RouteReversePath
	default:
		r.Kind = RouteUnknown
	}
	return &r
}

// inKernel tells whether natd's table leads to the target.
func (k *look) inKernel(w *Way) bool {
	for to := range k.targets[w.Relay.Name] {
		if to.Addr() == w.Target.Addr() {
			return true
		}
	}
	return false
}

func (k *look) linkOf(a netip.Addr) string {
	for _, held := range k.addresses {
		if held.Addr.Addr() == a {
			return held.Link
		}
	}
	return ""
}

// listener is a local service on the port that clients dial.
func (k *look) listener(w *Way) *netconf.Listener {
	for i := range k.listeners {
		l := &k.listeners[i]
		here := l.Addr == w.Listen.Addr() || l.Addr.IsUnspecified() && l.Addr.Is4() == w.Listen.Addr().Is4()
		if nat.Protocol(l.Protocol) == w.Protocol && l.Port == w.Listen.Port() && here {
			return l
		}
	}
	return nil
}

// whoAsks finds a client to look for: the one that was met or asked about, the latest that is tracked, or one that may.
func (k *look) whoAsks(w *Way, s *sighting) {
	switch {
	case w.Client.How == Met:
	case k.ev.Asked.Client.IsValid():
		w.Client = Client{Addr: k.ev.Asked.Client, How: Asked}
	case s != nil && s.newest != nil:
		w.Client = Client{Addr: s.newest.Client.Addr(), How: Tracked}
	default:
		w.Client = sampleOf(w)
	}
}

// sampleOf is a client that may use the relay. Of everyone it is nobody in particular.
func sampleOf(w *Way) Client {
	is4 := w.Listen.Addr().Is4()
	for _, p := range w.Relay.From {
		switch {
		case p.Addr().Is4() != is4:
		case p.IsSingleIP():
			return Client{Addr: p.Addr(), How: Sample}
		default:
			return Client{Addr: p.Masked().Addr().Next(), How: Sample}
		}
	}
	return Client{Addr: somebody(is4), How: Anyone}
}

// somebody is an address that nobody has: RFC 5737, RFC 3849.
func somebody(is4 bool) netip.Addr {
	if is4 {
		return netip.AddrFrom4([4]byte{192, 0, 2, 1})
	}
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 1})
}

// routeOut is the way to the target, by the interface that the relay names, if it names one.
func (k *look) routeOut(w *Way) Route {
	out := routeOf(k.host.RouteTo(w.Target.Addr(), ""))
	if w.Relay.Egress == "" || out.Local || out.Link == w.Relay.Egress {
		return out
	}
	named := routeOf(k.host.RouteTo(w.Target.Addr(), w.Relay.Egress))
	if named.Kind == RouteFine && named.Index != out.Index {
		named.Kind, named.Err = RouteNone, fmt.Sprintf("packets to there leave by %s, not by egress %s", out.Link, w.Relay.Egress)
	}
	return named
}

// routeOf gives the kernel's answer its meaning.
func routeOf(r netconf.Route, err error) Route {
	if err == nil {
		return Route{Route: r}
	}
	out := Route{Err: err.Error(), Kind: RouteUnknown}
	for _, known := range []struct {
		err  error
		kind RouteFault
	}{
		{netconf.ErrReversePath, RouteReversePath},
		{netconf.ErrLinkDown, RouteLinkDown},
		{netconf.ErrNoLink, RouteLinkMissing},
		{unix.EHOSTUNREACH, RouteRefused},
		{netconf.ErrNoRoute, RouteNone},
	} {
		if errors.Is(err, known.err) {
			out.Kind = known.kind
			break
		}
	}
	return out
}

// sourcesBy finds the addresses that the packets of clients carry towards the target when they leave by that route.
func (k *look) sourcesBy(w *Way, out Route) {
	switch {
	case w.Relay.SNAT.Mode == nat.SNATOff || out.Local:
	case w.Relay.SNAT.Mode == nat.SNATAuto:
		if out.Source.IsValid() {
			w.Sources = []netip.Addr{out.Source}
		}
	default:
		for _, a := range w.Relay.SNAT.Addrs {
			switch {
			case a.Is4() != w.Target.Addr().Is4():
			case k.linkOf(a) == "":
				w.Missing = append(w.Missing, a)
			default:
				w.Sources = append(w.Sources, a)
			}
		}
	}
}

// counters is the counters of which only the growth tells what happens now.
type counters struct {
	stats       flow.Stats
	reversePath uint64
	allowances  []netconf.Allowances
}

func (k *look) counters() counters {
	c := counters{reversePath: k.reversePath()}
	var err error
	if c.stats, err = k.conntrack.Stats(); err != nil {
		k.unread("%v", err)
	}
	if c.allowances, err = k.host.Allowances(); err != nil {
		k.unread("%v", err)
	}
	return c
}

// grown compares the counters with what they were.
func (k *look) grown(was counters) {
	is := k.counters()
	h := &k.ev.Host
	h.Conntrack.InsertFailed = growth(was.stats.InsertFailed, is.stats.InsertFailed)
	h.Conntrack.Dropped, h.Conntrack.EarlyDropped = growth(was.stats.Drop, is.stats.Drop), growth(was.stats.EarlyDrop, is.stats.EarlyDrop)
	h.ReversePath = growth(was.reversePath, is.reversePath)
	for i, a := range is.allowances {
		for _, name := range slices.Sorted(maps.Keys(a.Exceeded)) {
			before := uint64(0)
			if i < len(was.allowances) && was.allowances[i].Link == a.Link {
				before = was.allowances[i].Exceeded[name]
			}
			h.Allowances = append(h.Allowances, Allowance{a.Link, name + "_allowance_exceeded", growth(before, a.Exceeded[name])})
		}
	}
}

// reversePath is how many packets the reverse path filter has dropped.
func (k *look) reversePath() uint64 {
	// /proc/net is that of the process's first thread, /proc/thread-self/net that of this one.
	text, err := os.ReadFile("/proc/thread-self/net/netstat")
	if err != nil {
		k.unread("what the reverse path filter dropped: %v", err)
		return 0
	}
	return netstat(string(text), "TcpExt:", "IPReversePathFilter")
}

// netstat finds a counter in /proc/net/netstat: a line of names, and a line of numbers below it.
func netstat(text, group, name string) uint64 {
	var titles []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != group {
			continue
		}
		if titles == nil {
			titles = fields
			continue
		}
		if i := slices.Index(titles, name); i > 0 && i < len(fields) {
			n, _ := strconv.ParseUint(fields[i], 10, 64)
			return n
		}
		titles = nil
	}
	return 0
}

// ages is how long connection tracking remembers an entry after its last packet, by its state.
type ages map[string]time.Duration

func (k *look) readAges() ages {
	a := make(ages)
	for _, state := range []string{"SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE"} {
		a[state] = time.Duration(k.number("net.netfilter.nf_conntrack_tcp_timeout_"+strings.ToLower(state))) * time.Second
	}
	a[unacknowledged] = time.Duration(k.number("net.netfilter.nf_conntrack_tcp_timeout_unacknowledged")) * time.Second
	a["UNREPLIED"] = time.Duration(k.number("net.netfilter.nf_conntrack_udp_timeout")) * time.Second
	a["REPLIED"] = a["UNREPLIED"]
	a["ASSURED"] = time.Duration(k.number("net.netfilter.nf_conntrack_udp_timeout_stream")) * time.Second
	return a
}

// unacknowledged is the state of an established connection of TCP in which data waits for its acknowledgement, as in a busy one it always
// does: it is remembered for a shorter time then (nf_conntrack_tcp_packet in net/netfilter/nf_conntrack_proto_tcp.c).
const unacknowledged = "ESTABLISHED, unacknowledged"

// since is how long ago the last packet of an entry was that is forgotten so soon.
func (a ages) since(state string, left time.Duration) time.Duration {
	if short := a[unacknowledged]; state == "ESTABLISHED" && left <= short {
		return short - left
	}
	return max(0, a[state]-left)
}

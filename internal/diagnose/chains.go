package diagnose

import (
	"context"
	"net/netip"

	"natd/internal/firewall"
	"natd/nat"
)

// chains is the Walker of package firewall.
type chains struct{ *firewall.Ruleset }

func readChains(ctx context.Context) (Walker, error) {
	r, err := firewall.Read(ctx)
	return chains{r}, err
}

// Walk sends the first packet of a client and the answer to it through all hooks. Of nobody in particular the address is not known, so
// that what is certain is true of everyone.
func (c chains) Walk(w *Way) map[Place][]Filter {
	if w.Client.How == Anyone {
		return c.walkAs(w, netip.Addr{})
	}
	return c.walkAs(w, w.Client.Addr)
}

// clientPort stands for the port of a client: IANA's dynamic ports begin at 49152.
const clientPort = 54321

// hops is the packets of one way, and the filters that they meet.
type hops struct {
	rules   *firewall.Ruleset
	filters map[Place][]Filter
}

// walkAs is Walk for a client's address, which may not be known.
func (c chains) walkAs(w *Way, addr netip.Addr) map[Place][]Filter {
	client, from := netip.AddrPortFrom(addr, clientPort), netip.AddrPortFrom(addr, clientPort)
	if len(w.Sources) > 0 {
		from = netip.AddrPortFrom(w.Sources[0], clientPort)
	}
	h := &hops{c.Ruleset, make(map[Place][]Filter)}
	dialled, onward, sent := firewall.Tuple{Src: client, Dst: w.Listen}, firewall.Tuple{Src: client, Dst: w.Target}, firewall.Tuple{Src: from, Dst: w.Target}
	none := firewall.Tuple{}

	ask := firewall.Packet{Proto: uint8(w.Protocol), CTState: firewall.New, InDevice: w.Client.Link, Back: w.Back.Link, Original: dialled}
	h.pass(BeforeDNAT, ask, firewall.Ingress, "", dialled, none)
	h.pass(BeforeDNAT, ask, firewall.Prerouting, "", dialled, onward)
	ask.CTStatus, ask.Answer = firewall.StatusDNAT, turned(onward)
	h.pass(Forward, ask, firewall.Forward, w.Out.Link, onward, none)
	h.pass(BeforeSNAT, ask, firewall.Postrouting, w.Out.Link, onward, sent)
	h.pass(BeforeSNAT, ask, firewall.Egress, w.Out.Link, sent, none)

	answer := firewall.Packet{
		Proto: uint8(w.Protocol), CTState: firewall.Established, CTStatus: firewall.StatusDNAT | firewall.StatusSNAT, Reply: true,
		InDevice: w.Out.Link, Back: w.Out.Link, Original: dialled, Answer: turned(sent),
	}
	if w.Protocol == nat.TCP {
		answer.TCPFlags = firewall.FlagSYN | firewall.FlagACK
	}
	h.pass(ReplyIn, answer, firewall.Ingress, "", turned(sent), none)
	h.pass(ReplyIn, answer, firewall.Prerouting, "", turned(sent), turned(onward))
	h.pass(ReplyForward, answer, firewall.Forward, w.Client.Link, turned(onward), none)
	h.pass(ReplyOut, answer, firewall.Postrouting, w.Client.Link, turned(onward), turned(dialled))
	h.pass(ReplyOut, answer, firewall.Egress, w.Client.Link, turned(dialled), none)

	own := firewall.Packet{Proto: uint8(w.Protocol), CTState: firewall.New, Original: sent, Answer: turned(sent)}
	h.pass(ProbeOut, own, firewall.Output, w.Out.Link, sent, none)
	own.CTState, own.Reply, own.TCPFlags, own.InDevice = firewall.Established, true, answer.TCPFlags, w.Out.Link
	h.pass(ProbeIn, own, firewall.Prerouting, "", turned(sent), none)
	h.pass(ProbeIn, own, firewall.Input, "", turned(sent), none)
	return h.filters
}

// priorityDNAT is where the kernel translates destinations (enum nf_ip_hook_priorities of linux/netfilter_ipv4.h).
const priorityDNAT = -100

// pass sends a packet through a hook. What natd's translation makes of it there is after, none where it does nothing.
func (h *hops) pass(place Place, p firewall.Packet, hook firewall.Hook, out string, as, after firewall.Tuple) {
	p.Hook, p.OutDevice, p.Src, p.Dst, p.After = hook, out, as.Src, as.Dst, after
	found := h.rules.Walk(p)
	for i := range found {
		at := place
		if hook == firewall.Prerouting && place == BeforeDNAT && found[i].Priority > priorityDNAT {
			at = AfterDNAT
		}
		h.filters[at] = append(h.filters[at], filterOf(&found[i]))
	}
}

// turned is the way back of a packet.
func turned(t firewall.Tuple) firewall.Tuple { return firewall.Tuple{Src: t.Dst, Dst: t.Src} }

func filterOf(f *firewall.Finding) Filter {
	return Filter{
		Hook: string(f.Hook), Table: f.Family + " " + f.Table, Chain: f.Chain, Priority: f.Priority, Rule: f.Rule, Policy: f.Policy,
		Handle: f.Handle, Outcome: string(f.Outcome), Certain: f.Certain, Owner: f.Owner, Remedy: f.Remedy,
	}
}

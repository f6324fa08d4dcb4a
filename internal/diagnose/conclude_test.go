package diagnose

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/icmp"
	"natd/internal/probe"
	"natd/nat"
	"natd/netconf"
)

func addr(s string) netip.Addr         { return netip.MustParseAddr(s) }
func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// well is the evidence of a relay that works: that of the README.
func well() *Evidence {
	web := &nat.Relay{
		Name: "web", Enabled: true, Protocols: []nat.Protocol{nat.TCP}, From: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")},
		Listen:   nat.Listen{Addr: addr("10.2.0.100"), Ports: nat.PortRange{First: 80, Last: 80}},
		Backends: []nat.Backend{{Addr: addr("10.3.0.100"), Ports: nat.PortRange{First: 80, Last: 80}, Weight: 1}},
	}
	backend := control.Backend{Address: "10.3.0.100:80", State: control.BackendUnknown, InUse: true}
	out := Route{Route: netconf.Route{Link: "ens5", Index: 2, Source: addr("10.2.0.100"), Gateway: addr("10.2.0.1")}}
	return &Evidence{
		At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Asked: Question{Relay: "web"},
		Daemon: Daemon{Running: true, InSync: true, Config: "/etc/natd/natd.toml"}, Table: Table{Exists: true},
		Host: Host{
			Forward4: true, Conntrack: Conntrack{Entries: 19, Max: 262144},
			Links: []Link{
				{Device: netconf.Device{Name: "lo", Index: 1, Up: true, Carrier: true, MTU: 65536, Loopback: true}, Forwards4: true},
				{Device: netconf.Device{Name: "ens5", Index: 2, Up: true, Carrier: true, MTU: 9001}, Forwards4: true, Addrs: []netip.Addr{addr("10.2.0.100")}},
			},
		},
		Ways: []Way{{
			Relay: web, Protocol: nat.TCP, Listen: addrPort("10.2.0.100:80"), Target: addrPort("10.3.0.100:80"),
			Status:  &control.Relay{Name: "web", State: control.RelayReady, Backends: []control.Backend{backend}},
			Backend: &backend, InKernel: true, ListenLink: "ens5", Client: Client{Addr: addr("10.1.0.1"), How: Sample, Link: "ens5"},
			Out: out, Onward: &out, Back: out, Sources: []netip.Addr{addr("10.2.0.100")},
			Neighbour: Neighbour{addr("10.2.0.1"), "ens5", "REACHABLE"},
			Probe:     &Answer{probe.Outcome{Kind: probe.Answered, RTT: 230 * time.Microsecond}, addr("10.2.0.100")},
			Ping:      &Answer{probe.Outcome{Kind: probe.Answered, RTT: 210 * time.Microsecond}, addr("10.2.0.100")},
			Room:      &probe.MTU{Answers: true, Link: 9001, Route: 9001, Largest: 9001},
		}},
	}
}

// refusedBy is a target that refuses.
func refusedBy() *Answer {
	return &Answer{probe.Outcome{Kind: probe.Refused, RTT: time.Millisecond, Err: errors.New("refused")}, addr("10.2.0.100")}
}

func stray() Flow { return *seen("ESTABLISHED", true, "10.2.0.100:40000", "10.3.0.99:80") }

func unmaskedFlow() *Flow { return seen("SYN_SENT", false, "10.1.0.100:40000", "10.3.0.100:80") }

// mute is a target that does not answer.
func mute(e *Evidence) {
	e.Ways[0].Probe = &Answer{probe.Outcome{Kind: probe.NoReply, Err: errors.New("no answer")}, addr("10.2.0.100")}
	e.Ways[0].Ping, e.Ways[0].Room = e.Ways[0].Probe, nil
}

func stopped(e *Evidence) {
	e.Daemon = Daemon{Silence: "natd does not answer", Config: "/etc/natd/natd.toml"}
	e.Ways[0].Status, e.Ways[0].Backend = nil, nil
}

func unreachableBy(from string, code uint8) *Answer {
	return &Answer{probe.Outcome{Kind: probe.Unreachable, ICMP: probe.ICMP{Message: icmp.Message{Type: icmp.Unreachable, Code: code}, From: addr(from)}, Err: errors.New("icmp")}, addr("10.2.0.100")}
}

func drops(place Place, certain bool) map[Place][]Filter {
	return map[Place][]Filter{place: {{
		Hook: "forward", Table: "ip filter", Chain: "FORWARD", Policy: true, Outcome: "drop", Certain: certain, Owner: "iptables-nft",
		Remedy: []string{"iptables -I FORWARD -m conntrack --ctstate DNAT -j ACCEPT"},
	}}}
}

func seen(state string, replied bool, source, target string) *Flow {
	return &Flow{Client: addrPort("10.1.0.100:40000"), Listen: addrPort("10.2.0.100:80"), Source: addrPort(source), Target: addrPort(target), State: state, Replied: replied}
}

// conclusion is a case: what the evidence is, and what follows.
type conclusion struct {
	name string
	make func(*Evidence, *Way)
	want []Code // all of them, the cause first
}

// wellCases is what works.
func wellCases() []conclusion {
	return []conclusion{
		{"all is well", func(*Evidence, *Way) {}, nil},
		{"all is well for a client", func(_ *Evidence, w *Way) { w.Client = Client{Addr: addr("10.1.0.100"), How: Asked, Link: "ens5"} }, nil},
		{"well, with a port that it took", func(_ *Evidence, w *Way) { w.Listener = &netconf.Listener{Port: 80, Addr: addr("0.0.0.0")} }, nil},
		{"well, with an MSS below the hole", func(_ *Evidence, w *Way) {
			w.Room, w.Relay.MSS.Size = &probe.MTU{Answers: true, Route: 9001, Largest: 1400, Blackhole: true}, 1300
		}, nil},
	}
}

// clientCases is what begins at the client.
func clientCases() []conclusion {
	return []conclusion{
		{"nothing comes", func(_ *Evidence, w *Way) { w.Attempt = &Attempt{} }, []Code{NoPacketsFromClient}},
		{"nobody listens", func(e *Evidence, _ *Way) { e.Ways, e.Asked.Relay = nil, "10.2.0.100:81" }, []Code{RelayNotConfigured}},
		{"disabled", func(_ *Evidence, w *Way) { w.Relay.Enabled = false; w.Probe = refusedBy() }, []Code{RelayDisabled}},
		{"not for this client", func(_ *Evidence, w *Way) { w.Client = Client{Addr: addr("10.9.0.1"), How: Asked} }, []Code{RelaySourceDenied}},
		{"too many connections", func(_ *Evidence, w *Way) { w.Relay.MaxConnections, w.Flows.Active = 10, 10 }, []Code{RelayLimitReached}},
		{"too many of one client", func(_ *Evidence, w *Way) { w.Relay.MaxPerSource, w.Refused.Sources.Grown = 10, 1 }, []Code{RelayLimitReached}},
		{"too fast", func(_ *Evidence, w *Way) { w.Relay.Rate.Count, w.Refused.Rate.Grown = 10, 1 }, []Code{RelayLimitReached}},
		{"too fast once", func(_ *Evidence, w *Way) { w.Relay.Rate.Count, w.Refused.Rate.Total = 10, 1 }, nil},
		{"address gone", func(_ *Evidence, w *Way) { w.ListenLink = "" }, []Code{RelayAddressNotLocal}},
		{"port taken", func(_ *Evidence, w *Way) {
			w.Listener, w.Taken, w.InKernel = &netconf.Listener{Port: 80, Addr: addr("0.0.0.0")}, true, false
		}, []Code{RelayPortShadows}},
		{"not delivered by AWS", func(e *Evidence, _ *Way) {
			e.Host.Instance = &control.Instance{Interfaces: []control.NetworkInterface{{ID: "eni-1", Device: "ens5", Addresses: []string{"10.2.0.7"}}}}
		}, []Code{ENIAddress}},
		{"of a tunnel, which AWS need not know", func(e *Evidence, w *Way) {
			e.Host.Instance = &control.Instance{Interfaces: []control.NetworkInterface{{ID: "eni-1", Device: "ens5", Addresses: []string{"10.2.0.7"}}}}
			w.ListenLink, w.Out.Link = "wg0", "wg0"
		}, nil},
		{"delivered by AWS", func(e *Evidence, _ *Way) {
			e.Host.Instance = &control.Instance{Interfaces: []control.NetworkInterface{{ID: "eni-1", Addresses: []string{"10.2.0.100"}}}}
		}, nil},
	}
}

// hostCases is what is wrong with the host.
func hostCases() []conclusion {
	return []conclusion{
		{"no daemon", func(e *Evidence, _ *Way) { stopped(e) }, []Code{DaemonNotRunning}},
		{"no daemon, no table", func(e *Evidence, w *Way) { stopped(e); e.Table.Exists = false; w.InKernel = false }, []Code{RulesetMissing, DaemonNotRunning}},
		{"no daemon, other rules", func(e *Evidence, _ *Way) { stopped(e); e.Table.Changes = []string{"write 2 rules of chain forward"} }, []Code{RulesetDrift, DaemonNotRunning}},
		{"flushed", func(e *Evidence, w *Way) { e.Daemon.Flushed, e.Table.Exists, w.InKernel = true, false, false }, []Code{RulesetMissing}},
		{"contested", func(e *Evidence, _ *Way) { e.Daemon.InSync, e.Daemon.LastError = false, "somebody keeps changing it" }, []Code{RulesetDrift}},
		{"forwarding off", func(e *Evidence, _ *Way) { e.Host.Forward4 = false }, []Code{IPForwardDisabled}},
		{"forwarding of the link off", func(e *Evidence, _ *Way) { e.Host.Links[1].Forwards4 = false }, []Code{IPForwardDisabled}},
		{"forward chain", func(_ *Evidence, w *Way) { w.Filters = drops(Forward, true) }, []Code{ForwardDrop}},
		{"chain before", func(_ *Evidence, w *Way) { w.Filters = drops(BeforeDNAT, true) }, []Code{InputDrop}},
		{"chain on the way back", func(_ *Evidence, w *Way) { w.Filters = drops(ReplyForward, true) }, []Code{ForwardDrop}},
		{"one chain both ways", func(_ *Evidence, w *Way) {
			w.Filters = drops(Forward, true)
			w.Filters[ReplyForward] = w.Filters[Forward]
		}, []Code{ForwardDrop}},
		{"translated before", func(_ *Evidence, w *Way) {
			w.Filters = map[Place][]Filter{BeforeDNAT: {{Hook: "prerouting", Table: "ip other", Chain: "pre", Priority: -150, Rule: "dnat to 10.3.0.99", Outcome: "translate", Certain: true}}}
			w.Flows.Misled = []Flow{stray()}
		}, []Code{NATShadowed}},
		{"old flow", func(_ *Evidence, w *Way) { w.Flows.Misled = []Flow{stray()} }, []Code{StaleFlows}},
		{"flow from before", func(_ *Evidence, w *Way) { w.Flows.Bypassing = []Flow{stray()} }, []Code{StaleFlows}},
	}
}

// networkCases is what is wrong with the network of the host.
func networkCases() []conclusion {
	return []conclusion{
		{"reverse path", func(e *Evidence, w *Way) {
			e.Host.ReversePath, w.Entry = Growth{Total: 3}, &Route{Kind: RouteReversePath}
		}, []Code{RPFilterDrop}},
		{"strict elsewhere, and something dropped once", func(e *Evidence, _ *Way) {
			e.Host.ReversePath = Growth{Total: 3, Grown: 1}
			e.Host.Links = append(e.Host.Links, Link{Device: netconf.Device{Name: "docker0", Up: true, Carrier: true}, Forwards4: true, ReversePath: 1})
		}, nil},
		{"no route", func(_ *Evidence, w *Way) {
			w.Out = Route{Kind: RouteNone, Err: "no route"}
			w.Probe, w.Onward = nil, nil
		}, []Code{NoRoute}},
		{"link down", func(e *Evidence, w *Way) {
			e.Host.Links[1].Up = false
			w.Out = Route{Kind: RouteNone, Err: "no route"}
			w.Probe, w.Onward, w.Back = nil, nil, w.Out
		}, []Code{EgressDown}},
		{"no route, and a bridge without a port", func(e *Evidence, w *Way) {
			e.Host.Links = append(e.Host.Links, Link{Device: netconf.Device{Name: "docker0", Up: true}, Addrs: []netip.Addr{addr("172.17.0.1")}})
			w.Out = Route{Kind: RouteNone, Err: "no route"}
			w.Probe, w.Onward = nil, nil
		}, []Code{NoRoute}},
		{"no carrier", func(e *Evidence, w *Way) { e.Host.Links[1].Carrier = false; w.Probe = nil }, []Code{EgressDown}},
		{"loop here", func(_ *Evidence, w *Way) { w.Out.Local, w.Leads, w.Probe = true, "web", refusedBy() }, []Code{RelayLoop}},
		{"loop by another", func(e *Evidence, w *Way) {
			mute(e)
			w.Flows.Circling = []Flow{*seen("SYN_SENT", false, "10.2.0.100:1", "10.3.0.100:80")}
		}, []Code{RelayLoop}},
		{"source kept by mistake", func(_ *Evidence, w *Way) { w.Flows.Unmasked = []Flow{*unmaskedFlow()} }, []Code{SNATMissing}},
		{"source kept, and the table is another", func(e *Evidence, w *Way) {
			e.Daemon.InSync, e.Daemon.LastError = false, "somebody keeps changing it"
			w.Flows.Unmasked = []Flow{*unmaskedFlow()}
		}, []Code{RulesetDrift}},
		{"source address missing", func(_ *Evidence, w *Way) {
			w.Sources, w.Missing, w.InKernel, w.Probe = nil, []netip.Addr{addr("10.2.0.55")}, false, nil
		}, []Code{SNATNotLocal}},
		{"source kept on EC2", func(e *Evidence, w *Way) {
			e.Host.Instance = &control.Instance{Interfaces: []control.NetworkInterface{{ID: "eni-1", Device: "ens5", Addresses: []string{"10.2.0.100"}}}}
			w.Relay.SNAT.Mode, w.Sources = nat.SNATOff, nil
		}, []Code{SNATOutsideVPC}},
		{"no ports", func(_ *Evidence, w *Way) {
			w.Ports = &control.PortUse{Source: "10.2.0.100", Target: "10.3.0.100:80", Used: 64512, Max: 64512}
		}, []Code{SNATPortExhausted}},
		{"conntrack full", func(e *Evidence, _ *Way) { e.Host.Conntrack.Entries = 262144 }, []Code{ConntrackFull}},
		{"AWS tracks no more", func(e *Evidence, _ *Way) {
			e.Host.Allowances = []Allowance{{"ens5", "conntrack_allowance_exceeded", Growth{9, 3}}}
		}, []Code{ENAConntrack}},
		{"AWS carries no more", func(e *Evidence, _ *Way) {
			e.Host.Allowances = []Allowance{{"ens5", "pps_allowance_exceeded", Growth{9, 3}}, {"ens5", "bw_in_allowance_exceeded", Growth{9, 0}}}
		}, []Code{ENAThroughput}},
		{"held for another reason", func(_ *Evidence, w *Way) { w.InKernel, w.Status.State = false, control.RelayDegraded }, []Code{RelayNotReady}},
	}
}

// targetCases is what is wrong with the target.
func targetCases() []conclusion {
	return []conclusion{
		{"refused", func(_ *Evidence, w *Way) { w.Probe = refusedBy() }, []Code{TargetRefused}},
		{"silent", func(e *Evidence, _ *Way) { mute(e) }, []Code{TargetNoReply, NoReturnRoute}},
		{"silent, because this host drops", func(e *Evidence, w *Way) { mute(e); w.Filters = drops(ProbeOut, true) }, nil},
		{"router says no", func(_ *Evidence, w *Way) { w.Probe = unreachableBy("10.2.0.1", 1) }, []Code{TargetUnreachable}},
		{"refused, by this host", func(_ *Evidence, w *Way) { w.Probe, w.Filters = refusedBy(), drops(ProbeOut, true) }, nil},
		{"target's firewall says no", func(_ *Evidence, w *Way) { w.Probe = unreachableBy("10.3.0.100", 13) }, []Code{TargetUnreachable}},
		{"router says no to a ping in time", func(e *Evidence, w *Way) { mute(e); w.Ping = unreachableBy("10.2.0.1", 1) }, []Code{TargetUnreachable}},
		{"silent, and answers a ping", func(e *Evidence, w *Way) {
			mute(e)
			w.Ping = &Answer{probe.Outcome{Kind: probe.Answered}, addr("10.2.0.100")}
		}, []Code{TargetNoReply}},
		{"firewall says no to a ping", func(e *Evidence, w *Way) { mute(e); w.Ping = unreachableBy("10.3.0.100", 13) }, []Code{TargetNoReply, NoReturnRoute}},
		{"next hop silent", func(_ *Evidence, w *Way) {
			w.Neighbour.State = "FAILED"
			w.Probe = &Answer{probe.Outcome{Kind: probe.Unreachable, Err: errors.New("no ARP")}, addr("10.2.0.100")}
		}, []Code{TargetUnreachable}},
		{"no name", func(_ *Evidence, w *Way) { w.Target, w.Name, w.Probe = netip.AddrPort{}, "db.internal", nil }, []Code{TargetNameUnknown}},
		{"drained", func(_ *Evidence, w *Way) {
			w.Status.Backends[0].InUse, w.Backend.State, w.Status.State = false, control.BackendDraining, control.RelayDown
		}, []Code{BackendsDrained}},
		{"datagrams unanswered", func(e *Evidence, w *Way) { mute(e); w.Protocol = nat.UDP }, nil},
		{"datagrams of clients unanswered", func(e *Evidence, w *Way) {
			mute(e)
			w.Protocol, w.Flows.Newest = nat.UDP, seen("UNREPLIED", false, "10.2.0.100:40000", "10.3.0.100:80")
			w.Flows.Unheard, w.Status.Packets.ToClient = w.Flows.Newest, 1
		}, []Code{TargetNoReply}},
	}
}

// returnCases is what only connections and packets show.
func returnCases() []conclusion {
	return []conclusion{
		{"no way back to the client", func(_ *Evidence, w *Way) { w.Back = Route{Kind: RouteNone, Err: "no route"} }, []Code{ReplyNotArrived}},
		{"no way back to anyone", func(_ *Evidence, w *Way) { w.Back, w.Client.How = Route{Kind: RouteNone, Err: "no route"}, Anyone }, nil},
		{"half open", func(_ *Evidence, w *Way) {
			w.Flows.Newest = seen("SYN_RECV", true, "10.2.0.100:40000", "10.3.0.100:80")
			w.Flows.Stuck = []Flow{*w.Flows.Newest}
		}, []Code{ReplyNotArrived}},
		{"half open for a moment", func(_ *Evidence, w *Way) {
			w.Flows.Newest = seen("SYN_RECV", true, "10.2.0.100:40000", "10.3.0.100:80")
		}, nil},
		{"half open again", func(_ *Evidence, w *Way) { // the target answers an older attempt meanwhile
			w.Flows.Newest = seen("SYN_RECV", true, "10.2.0.100:40000", "10.3.0.100:80")
			older := *w.Flows.Newest
			older.Client, older.Idle = addrPort("10.1.0.100:39999"), 2*time.Second
			w.Flows.Stuck = []Flow{older}
		}, []Code{ReplyNotArrived}},
		{"half open for a moment, and once before it got through", func(_ *Evidence, w *Way) {
			w.Flows.Newest = seen("SYN_RECV", true, "10.2.0.100:40000", "10.3.0.100:80")
			older := *w.Flows.Newest
			older.Client, older.Idle = addrPort("10.1.0.100:39999"), 20*time.Second
			w.Flows.Stuck, w.Flows.Whole = []Flow{older}, seen("TIME_WAIT", true, "10.2.0.100:39998", "10.3.0.100:80")
		}, nil},
		{"answers go elsewhere", func(_ *Evidence, w *Way) {
			w.Relay.SNAT.Mode, w.Sources, w.Flows.Newest = nat.SNATOff, nil, unmaskedFlow()
			w.Flows.Unheard = w.Flows.Newest
		}, []Code{Asymmetric}},
		{"one address of the pool not let in", func(_ *Evidence, w *Way) {
			w.Flows.Newest = seen("SYN_SENT", false, "10.2.0.101:40000", "10.3.0.100:80")
		}, []Code{TargetNoReply}},
		{"large packets vanish, and TCP sends none", func(_ *Evidence, w *Way) {
			w.Room, w.Probe.MSS = &probe.MTU{Answers: true, Route: 9001, Largest: 8500, Blackhole: true}, 8448
		}, nil},
		{"large packets vanish", func(_ *Evidence, w *Way) {
			w.Room = &probe.MTU{Answers: true, Route: 9001, Largest: 1400, Blackhole: true}
		}, []Code{MTUBlackhole}},
	}
}

// watchCases is attempts that were watched.
func watchCases() []conclusion {
	return []conclusion{
		{"watched: lost here", func(_ *Evidence, w *Way) {
			w.Attempt = &Attempt{Transcript: []string{"In IP ..."}, Stage: Arrived, Client: addrPort("10.1.0.100:1")}
		}, []Code{ForwardDrop}},
		{"watched: sent elsewhere", func(_ *Evidence, w *Way) {
			w.Attempt = &Attempt{Transcript: []string{"In IP ..."}, Stage: SentOn, Client: addrPort("10.1.0.100:1"), SentTo: addrPort("10.3.0.99:80"), SentFrom: addrPort("10.2.0.100:1")}
		}, []Code{NATShadowed}},
		{"watched: sent to an address that begins like a backend's", func(_ *Evidence, w *Way) {
			w.Attempt = &Attempt{Transcript: []string{"In IP ..."}, Stage: SentOn, Client: addrPort("10.1.0.100:1"), SentTo: addrPort("10.3.0.1:80"), SentFrom: addrPort("10.2.0.100:1")}
		}, []Code{NATShadowed}},
		{"watched: sent to another backend of IPv6", func(_ *Evidence, w *Way) {
			w.Status.Backends = append(w.Status.Backends, control.Backend{Address: "[fd00:3::2]:80", State: control.BackendDraining})
			w.Attempt = &Attempt{Transcript: []string{"In IP ..."}, Stage: Completed, Answers: 1, Client: addrPort("[fd00:1::1]:1"), SentTo: addrPort("[fd00:3::2]:80"), SentFrom: addrPort("[fd00:2::1]:1")}
		}, nil},
		{"watched: not masked", func(_ *Evidence, w *Way) {
			w.Attempt = &Attempt{Transcript: []string{"In IP ..."}, Stage: SentOn, Client: addrPort("10.1.0.100:1"), SentTo: w.Target, SentFrom: addrPort("10.1.0.100:1")}
		}, []Code{SNATMissing}},
		{"watched: answers lost", func(_ *Evidence, w *Way) {
			w.Attempt = &Attempt{Transcript: []string{"In IP ..."}, Stage: AnswerSent, Answers: 3, Client: addrPort("10.1.0.100:1"), SentTo: w.Target, SentFrom: addrPort("10.2.0.100:1")}
		}, []Code{ReplyNotArrived}},
		{"watched: well", func(_ *Evidence, w *Way) {
			w.Attempt = &Attempt{Transcript: []string{"In IP ..."}, Stage: Completed, Answers: 1, Client: addrPort("10.1.0.100:1"), SentTo: w.Target, SentFrom: addrPort("10.2.0.100:1")}
		}, nil},
	}
}

// twoCases is two faults at a time.
func twoCases() []conclusion {
	return []conclusion{
		{"two: chain and service", func(_ *Evidence, w *Way) { w.Filters, w.Probe = drops(Forward, true), refusedBy() }, []Code{ForwardDrop, TargetRefused}},
		{"two: a chain that is not sure, and service", func(_ *Evidence, w *Way) { w.Filters, w.Probe = drops(Forward, false), refusedBy() }, []Code{TargetRefused, ForwardDrop}},
		{"two: client and route", func(_ *Evidence, w *Way) {
			w.Client = Client{Addr: addr("10.9.0.1"), How: Asked}
			w.Out, w.Probe, w.Onward = Route{Kind: RouteNone, Err: "no route"}, nil, nil
		}, []Code{RelaySourceDenied, NoRoute}},
		{"two: daemon and what only connections show", func(e *Evidence, w *Way) {
			stopped(e)
			w.Flows.Newest = seen("SYN_RECV", true, "10.2.0.100:40000", "10.3.0.100:80")
			w.Flows.Stuck = []Flow{*w.Flows.Newest}
		}, []Code{ReplyNotArrived, DaemonNotRunning}},
		{"two: daemon and service", func(e *Evidence, w *Way) { stopped(e); w.Probe = refusedBy() }, []Code{TargetRefused, DaemonNotRunning}},
	}
}

// TestConclude has a case for every code, and for those that could be taken for one another.
func TestConclude(t *testing.T) {
	t.Parallel()
	tests := slices.Concat(wellCases(), clientCases(), hostCases(), networkCases(), targetCases(), returnCases(), watchCases(), twoCases())
	met := map[Code]bool{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ev := well()
			tt.make(ev, &ev.Ways[0])
			r := Conclude(ev)
			wantFound(t, r, tt.want)
		})
		for _, code := range tt.want {
			met[code] = true
		}
	}
	for _, code := range Codes() {
		if !met[code] {
			t.Errorf("there is no case for %s", code)
		}
	}
}

// wantFound wants these codes, and all that an explanation has.
func wantFound(t *testing.T, r *Report, want []Code) {
	t.Helper()
	got := foundIn(r)
	if fmt.Sprint(codesOf(got)) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", codesOf(got), want)
	}
	if broken := slices.ContainsFunc(got, func(e Explanation) bool { return e.Confidence != Possible && e.ExplanationCode != DaemonNotRunning }); r.NetworkPathFound == broken {
		t.Errorf("NetworkPathFound is %t with %v", r.NetworkPathFound, codesOf(got))
	}
	for _, e := range got {
		if e.Summary == "" || len(e.Evidence) == 0 || len(e.Remedy) == 0 || e.Component.ID == "" || e.Leg == "" || e.Direction == "" {
			t.Errorf("%s lacks something: %+v", e.ExplanationCode, e)
		}
	}
}

// foundIn is the explanations of the first path, or of the host.
func foundIn(r *Report) []Explanation {
	if len(r.Paths) > 0 {
		return r.Paths[0].Explanations
	}
	return r.Explanations
}

func codesOf(all []Explanation) (codes []Code) {
	for _, e := range all {
		codes = append(codes, e.ExplanationCode)
	}
	return codes
}

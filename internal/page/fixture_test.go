package page_test

import (
	"fmt"
	"time"

	"natd/internal/control"
)

// healthy is a status of a natd that has nothing to complain of, as the daemon makes it.
func healthy(now time.Time) *control.Status {
	s := &control.Status{
		SchemaVersion: control.SchemaVersion, Version: "1.2.3", State: control.StateReady, Reasons: []string{}, PID: 902,
		StartedAt: now.Add(-50 * time.Hour),
		Config:    control.Config{Path: "/etc/natd/natd.toml", SHA256: "abc", LoadedAt: now.Add(-2 * time.Hour)},
		Host: control.Host{
			IPForward: true, Conntrack: control.Conntrack{Entries: 1893, Max: 262144},
			Sysctls: []control.Sysctl{{Key: "net.ipv4.ip_forward", Old: "0", New: "1"}},
		},
		Ruleset: control.Ruleset{
			InSync: true, Protect: "own", LastSync: now, DriftRepairs: 1,
			LastDrift: &control.Drift{At: now.Add(-9 * time.Minute), By: "nft (pid 20424)", What: "table inet natd was gone: made again"},
		},
		Accounting: control.Accounting{Exact: true, Since: now.Add(-9 * 24 * time.Hour)},
		FlowLog: &control.FlowLog{
			Path: "/var/log/natd/flow.log", Format: "vpc-v5", Interval: "1m0s", Records: 1220, LastWrite: now.Add(-20 * time.Second),
		},
		Tunnels: []any{}, Routes: []any{},
	}
	s.Relays = []control.Relay{web(now), database(now)}
	s.Gateways = []control.Gateway{{
		Name: "private-subnets", State: control.RelayReady, From: []string{"10.100.20.0/24"}, To: []string{"0.0.0.0/0"},
		SNAT: []string{"auto"}, Egress: "auto", Connections: control.Connections{Total: 80211, Active: 312},
		Bytes: control.Volume{ToTarget: 91 << 20, ToClient: 2 << 30}, Packets: control.Volume{ToTarget: 901233, ToClient: 2011788},
	}}
	s.Statics = []control.Static{{
		Name: "overlap-c", State: control.RelayReady, External: "10.2.64.0/24", Internal: "192.168.1.0/24", From: []string{"10.1.0.0/16"},
		SNAT: []string{"auto"}, Connections: control.Connections{Total: 41, Active: 2},
		Bytes: control.Volume{ToTarget: 71680, ToClient: 1 << 20},
	}}
	return s
}

func web(now time.Time) control.Relay {
	up := func(address string, weight int, total, active uint64) control.Backend {
		return control.Backend{
			Address: address, State: control.BackendUp, Since: now.Add(-2 * time.Hour), Weight: weight, InUse: true, Total: total, Active: active,
			Bytes: control.Volume{ToTarget: total << 13, ToClient: total << 16},
		}
	}
	r := control.Relay{
		Name: "web", State: control.RelayReady, Listen: []string{"10.2.0.100:80"}, Protocol: []string{"tcp"}, From: []string{"10.1.0.0/16"},
		Egress: "ens5", SNAT: []string{"10.2.0.100"}, Balance: "round-robin",
		Backends:    []control.Backend{up("10.3.0.100:80", 2, 1004, 31), up("10.3.0.101:80", 1, 506, 15), up("10.3.0.102:80", 1, 0, 0)},
		Connections: control.Connections{Total: 1510, Active: 46},
		Bytes:       control.Volume{ToTarget: 12 << 20, ToClient: 88 << 20}, Packets: control.Volume{ToTarget: 81234, ToClient: 90211},
		Ports: &control.PortUse{Source: "10.2.0.100", Target: "10.3.0.100:80", Used: 31, Max: 64512},
	}
	r.Backends[0].Name = "c.example.internal"
	r.Backends[2].Backup, r.Backends[2].InUse = true, false
	return r
}

func database(now time.Time) control.Relay {
	return control.Relay{
		Name: "db", State: control.RelayReady, Listen: []string{"10.2.0.100:5432"}, Protocol: []string{"tcp"}, From: []string{"10.1.4.0/24", "10.1.5.0/24"},
		Egress: "ens5", SNAT: []string{"10.2.0.100"}, Balance: "round-robin",
		Backends: []control.Backend{{
			Address: "10.3.0.20:5432", State: control.BackendUnknown, Since: now.Add(-2 * time.Hour), Weight: 1, InUse: true, Total: 77, Active: 12,
		}},
		Connections: control.Connections{Total: 77, Active: 12},
		Bytes:       control.Volume{ToTarget: 3 << 20, ToClient: 41 << 20}, Packets: control.Volume{ToTarget: 40012, ToClient: 51230},
	}
}

// degrade makes a status one in which the relay web is not well.
func degrade(s *control.Status, state, reason string) *control.Status {
	s.State = control.StateDegraded
	s.Relays[0].State, s.Relays[0].Reason = state, reason
	s.Reasons = append(s.Reasons, "relay web: "+reason)
	return s
}

// degradeHere is degrade for a reason because of which nothing passes the host.
func degradeHere(s *control.Status, reason string) *control.Status {
	s.Relays[0].Faults.Host = reason
	return degrade(s, control.RelayDegraded, reason)
}

func fell(b *control.Backend, now time.Time, reason string) {
	b.State, b.Reason, b.Since, b.InUse, b.Active = control.BackendDown, reason, now.Add(-12*time.Minute), false, 0
}

func backendDown(now time.Time) *control.Status {
	s := healthy(now)
	fell(&s.Relays[0].Backends[1], now, "connection refused")
	s.Relays[0].Refused.PerSource = 12
	return degrade(s, control.RelayDegraded, "backend 10.3.0.101:80 is down: connection refused")
}

func everyBackendDown(now time.Time) *control.Status {
	s := healthy(now)
	r := &s.Relays[0]
	for i := range r.Backends {
		fell(&r.Backends[i], now, "no answer within 1s")
		r.Backends[i].InUse = true
	}
	r.Connections.Active = 0
	return degrade(s, control.RelayDown, `every backend is down, connections go to them all the same (fail = "open"): `+
		"backend 10.3.0.100:80 (c.example.internal) is down: no answer within 1s")
}

func drained(now time.Time) *control.Status {
	s := healthy(now)
	for i := range s.Relays[0].Backends {
		b := &s.Relays[0].Backends[i]
		b.State, b.Reason, b.Since, b.InUse = control.BackendDraining, "drained by natctl drain", now.Add(-3*time.Minute), false
	}
	return degrade(s, control.RelayDown, "every backend is drained, so new connections are refused: natctl enable web")
}

func addressMissing(now time.Time) *control.Status {
	return degradeHere(healthy(now), "listen address 10.2.0.100 is on no interface: add it to one, or correct listen")
}

func withheld(now time.Time) *control.Status {
	s := healthy(now)
	for i := range s.Relays[0].Backends {
		s.Relays[0].Backends[i].InUse = false
	}
	s.Relays[0].Connections, s.Relays[0].Egress, s.Relays[0].SNAT = control.Connections{}, "", nil
	return degradeHere(s, "port 80/tcp belongs to a local service (a socket of uid 0 on 0.0.0.0): stop it (ss -lntup names it), "+
		"choose another port, or set override_local = true")
}

func noRoute(now time.Time) *control.Status {
	const why = "backend 10.3.0.100 cannot be reached: no route: the routing tables have no entry for it; add one (ip route add) or bring its interface up " +
		"(network is unreachable)"
	s := healthy(now)
	r := &s.Relays[0]
	r.Backends = r.Backends[:1]
	fell(&r.Backends[0], now, why)
	r.Connections, r.Egress, r.SNAT = control.Connections{Total: 1510}, "", nil
	return degrade(s, control.RelayDegraded, why)
}

func notInSync(now time.Time) *control.Status {
	const why = "nft (pid 20424) keeps changing natd's table: the next repair is in 80ms"
	s := healthy(now)
	s.State = control.StateFailed
	s.Reasons = []string{"the kernel does not hold what natd wants: " + why}
	s.Ruleset.InSync, s.Ruleset.LastError = false, why
	for i := range s.Relays {
		s.Relays[i].State, s.Relays[i].Reason = control.RelayDown, "it is not in the kernel: "+why
		s.Relays[i].Faults.Host = s.Relays[i].Reason
	}
	s.Gateways, s.Statics = nil, nil
	return s
}

func forwardOff(now time.Time) *control.Status {
	s := healthy(now)
	s.State, s.Host.IPForward = control.StateDegraded, false
	s.Reasons = []string{"net.ipv4.ip_forward is 0 and [host] ip_forward = false forbids natd to turn it on: relays cannot work"}
	for i := range s.Relays {
		s.Relays[i].State, s.Relays[i].Reason = control.RelayDegraded, "the host does not forward IPv4"
		s.Relays[i].Faults.Host = s.Relays[i].Reason
		s.Reasons = append(s.Reasons, "relay "+s.Relays[i].Name+": the host does not forward IPv4")
	}
	s.Gateways, s.Statics = nil, nil
	return s
}

// diskFull has a flow log that is not written, and lost count of connections.
func diskFull(now time.Time) *control.Status {
	s := healthy(now)
	s.State, s.Accounting.Lost = control.StateDegraded, 3
	s.FlowLog.Dropped, s.FlowLog.Error = 512, "write /var/log/natd/flow.log: no space left on device"
	return s
}

// onEC2 has what AWS says, and a file that was refused.
func onEC2(now time.Time) *control.Status {
	s := healthy(now)
	s.Host.Instance = &control.Instance{ID: "i-0123456789abcdef0", Type: "t4g.nano", Zone: "eu-west-1a", AsOf: now, Interfaces: []control.NetworkInterface{
		{Device: "ens5", ID: "eni-0123456789abcdef0", VPC: "vpc-0123456789abcdef0", Subnet: "subnet-0123456789abcdef0"},
	}}
	s.Config.Error = `/etc/natd/natd.toml:3: relay "web": listen = "10.2.0.100:70000": port 70000 is not in 1-65535`
	return s
}

// many is a status of n relays, of which every fiftieth has a backend that is down.
func many(now time.Time, n int) *control.Status {
	s := healthy(now)
	s.Relays = make([]control.Relay, n)
	for i := range s.Relays {
		r := web(now)
		r.Name, r.Listen = fmt.Sprintf("service-%05d", i), []string{fmt.Sprintf("10.2.%d.%d:443", i>>8&255, i&255)}
		if i%50 == 17 {
			fell(&r.Backends[1], now, "connection refused")
			r.State, r.Reason = control.RelayDegraded, "backend 10.3.0.101:80 is down: connection refused"
			s.State = control.StateDegraded
		}
		s.Relays[i] = r
	}
	return s
}

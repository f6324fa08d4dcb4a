package diagnose

import (
	"net/netip"
	"time"

	"natd/internal/control"
	"natd/internal/probe"
	"natd/nat"
	"natd/netconf"
)

// Evidence is everything that was looked at. Conclude needs nothing else.
type Evidence struct {
	At      time.Time
	Asked   Question
	Daemon  Daemon
	Table   Table
	Host    Host
	Ways    []Way
	Omitted []string // relays that were not looked at closely, and why, in sentences
}

// Question is what the user wants to know.
type Question struct {
	Relay  string        // the name of a relay, or the ADDR:PORT that a client dials; "" = every relay
	Client netip.Addr    // invalid = whoever may use the relay
	Watch  time.Duration // how long to wait for an attempt of a client; 0 = not
}

// Daemon is what natd says of itself.
type Daemon struct {
	Running   bool
	Silence   string // why it does not answer, "" when it does
	Busy      bool   // it took the question, and did not answer in time
	InSync    bool
	Flushed   bool // by natctl flush
	LastError string
	Config    string // the path of the configuration that counts
	Stale     string // why the last reload was refused, "" when it was not
}

// Table is natd's table as the kernel holds it.
type Table struct {
	Exists     bool
	Unreadable string   // why it could not be read, "" when it was
	Changes    []string // what natd would change in it; looked at only while natd does not run
}

// Host is what all relays share.
type Host struct {
	Forward4, Forward6 bool
	Forbidden          bool // [host] ip_forward = false
	Links              []Link
	Conntrack          Conntrack
	ReversePath        Growth // packets dropped by the reverse path filter: TcpExt IPReversePathFilter of /proc/net/netstat
	Instance           *control.Instance
	Allowances         []Allowance
	Unread             []string // what could not be looked at, and why
}

// Growth is a counter at the end of the look, and by how much it grew during it.
type Growth struct{ Total, Grown uint64 }

// Link is an interface of the host.
type Link struct {
	netconf.Device
	Forwards4   bool
	ReversePath int // as Sysctls.ReversePathFilter
	Addrs       []netip.Addr
	Nets        []netip.Prefix // the networks of Addrs
}

// Conntrack is the use of the connection tracking table.
type Conntrack struct {
	Entries, Max int
	InsertFailed Growth // no free source port, or two packets that wanted the same entry
	Dropped      Growth // no room for a new entry
	EarlyDropped Growth // an entry that was not assured made room
}

// Allowance is packets that AWS dropped because the instance was over a limit (ENA driver, ethtool -S).
type Allowance struct {
	Link, Name string
	Packets    Growth
}

// Way is one way through the host: of one protocol, from what clients dial to one backend.
type Way struct {
	Relay    *nat.Relay
	Status   *control.Relay   // nil while natd does not answer
	Backend  *control.Backend // likewise
	Protocol nat.Protocol
	Listen   netip.AddrPort
	Target   netip.AddrPort // invalid while its name has no address
	Name     string         // of a backend that is a name
	Idle     bool           // it takes no new connections: drained, or down while others are up

	InKernel   bool // the table leads to the target
	ListenLink string
	Listener   *netconf.Listener // a local service that waits on the port
	Taken      bool              // the relay may not take the port from it

	Client  Client
	Out     Route  // to the target
	Onward  *Route // what the kernel does with a client's packet that comes by Client.Link
	Entry   *Route // and with one that comes by ListenLink, where that is another interface
	Back    Route  // to the client
	Sources []netip.Addr
	Missing []netip.Addr // configured as source, and on no interface

	Filters   map[Place][]Filter
	Neighbour Neighbour
	Probe     *Answer
	Ping      *Answer
	Room      *probe.MTU
	Rechecked *Answer // a ping of the client
	Flows     Flows
	Ports     *control.PortUse
	Refused   Growths
	Lost      uint64 // connections of clients that were translated during the look, and of which nothing is tracked
	Leads     string // the relay that listens where the way leads to, when that is this host
	Attempt   *Attempt
}

// Growths is Refused of a relay, and how much of it is of now.
type Growths struct {
	Connections, Sources, Rate Growth
	Ago                        time.Duration // since natd noticed the last one; 0 where nobody knows
}

// Client is who is asked about.
type Client struct {
	Addr netip.Addr // invalid when nobody is known
	How  Known
	Link string // the interface that its packets come by, as far as is known
	Seen bool   // they were seen to come by it
}

// Known is how a client is known.
type Known uint8

// From nobody in particular to somebody who was seen.
const (
	Anyone  Known = iota // the relay is for everyone: any address will do
	Sample               // an address that may use the relay
	Tracked              // from a connection that is tracked
	Asked                // the user named it
	Met                  // its packets were seen
)

// Route is what the kernel answered when it was asked for a way.
type Route struct {
	netconf.Route
	Err  string // why there is none, "" when there is one
	By   string // the route that refuses, such as "blackhole 10.3.0.0/16"; "" when none does
	Kind RouteFault
}

// RouteFault is why there is no way.
type RouteFault uint8

// The reasons of the kernel.
const (
	RouteFine RouteFault = iota
	RouteNone
	RouteLinkMissing
	RouteLinkDown
	RouteReversePath // the reverse path filter drops it
	RouteRefused     // forwarding is off on the interface that the packet comes by, or an unreachable route
	RouteUnknown     // it could not be asked for
)

// Neighbour is the next hop's entry in the neighbour table.
type Neighbour struct {
	Addr  netip.Addr
	Link  string
	State string // as "ip neigh" has it; "" when there is no entry
}

// failed tells whether the next hop does not answer ARP or neighbour discovery.
func (n Neighbour) failed() bool { return n.State == "FAILED" || n.State == "INCOMPLETE" }

// Place is where packets meet filters.
type Place string

// The places, in the order of a packet.
const (
	BeforeDNAT   Place = "prerouting, before the translation"
	AfterDNAT    Place = "prerouting, behind the translation"
	Forward      Place = "forward"
	BeforeSNAT   Place = "postrouting"
	ReplyIn      Place = "prerouting, of the answer"
	ReplyForward Place = "forward, of the answer"
	ReplyOut     Place = "postrouting, of the answer"
	ProbeOut     Place = "output, of natctl's own attempt"
	ProbeIn      Place = "input, of the answer to natctl's own attempt"
)

// Filter is what one base chain does to a packet.
type Filter struct {
	Hook     string
	Table    string // "ip filter"
	Chain    string
	Priority int
	Rule     string // as nft prints it; "" for the policy
	Handle   uint64 // of the rule
	Policy   bool
	Outcome  string // accept | drop | reject | translate | untrack | unknown
	Certain  bool
	Owner    string // who made the chain, "" when nobody knows
	Remedy   []string
}

// ends tells whether the packet does not leave the chain.
func (f *Filter) ends() bool { return f.Outcome == "drop" || f.Outcome == "reject" }

// Answer is what an own attempt met with.
type Answer struct {
	probe.Outcome
	From netip.Addr // the source address of the attempt
}

// Flows is what connection tracking knows of a way.
type Flows struct {
	Tracked   int
	Active    int    // of the whole relay, both sides have spoken and it has not ended
	Answered  bool   // one of them was
	Unheard   *Flow  // the latest that was not answered
	Newest    *Flow  // whose last packet is the latest; of the client, if one is asked about
	Whole     *Flow  // the latest that came about
	Stuck     []Flow // half open at the beginning and at the end of the look
	Misled    []Flow // that lead elsewhere than to the relay's backends
	Bypassing []Flow // that are not translated
	Unmasked  []Flow // whose source is not translated, though it should be
	Circling  []Flow // whose client is the target
	Crowd     Crowd  // the source with most connections
}

// Crowd is a source and how many connections it has.
type Crowd struct {
	Source netip.Addr
	Open   int
}

// Flow is a tracked connection.
type Flow struct {
	Client, Listen, Source, Target netip.AddrPort
	State                          string
	Replied                        bool
	Idle                           time.Duration // since its last packet
	ToTarget, ToClient             uint64        // packets
}

// Attempt is what was seen of one attempt of a client, packet by packet.
type Attempt struct {
	Client     netip.AddrPort
	Listen     netip.AddrPort // what it dialled
	Protocol   nat.Protocol
	Link       string // that it came by
	Stage      Stage
	SentTo     netip.AddrPort // where it was sent on to
	SentFrom   netip.AddrPort
	SentBy     string
	Refused    bool       // the answer was a refusal
	ICMP       probe.ICMP // an error in place of an answer
	OwnReset   bool       // this host itself refused it
	Repeats    int        // of the client's first packet
	Answers    int        // answers sent to the client
	Stalled    bool       // large segments were sent again and again
	Transcript []string   // one line for each packet
}

// Stage is how far an attempt got.
type Stage uint8

// The stages, in order.
const (
	NothingCame Stage = iota
	Arrived
	SentOn
	TargetAnswered
	AnswerSent
	Completed
)

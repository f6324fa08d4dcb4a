package control

import (
	"net/netip"
	"time"
)

// SchemaVersion is the version of every JSON document that natd and natctl emit. Fields are added
// within a version, never renamed or removed.
const SchemaVersion = 1

// The states of the daemon as a whole.
const (
	StateReady    = "ready"    // every relay is in the kernel, and was read back from it
	StateDegraded = "degraded" // something is not as the configuration asks; see the reasons
	StateFailed   = "failed"   // the kernel does not hold what natd wants
)

// The states of one relay.
const (
	RelayReady    = "ready"
	RelayDegraded = "degraded" // not as configured: something on the host is missing; it becomes ready by itself
	RelayDown     = "down"     // it cannot work: flushed, or the kernel does not hold what natd wants
	RelayDisabled = "disabled" // the configuration says so
)

// The states of one backend.
const (
	BackendUp       = "up"
	BackendDown     = "down"     // it failed its checks, or cannot be reached
	BackendDraining = "draining" // it takes no new connections: it was drained, or left the relay
	BackendUnknown  = "unknown"  // nothing checks it, or nothing is known yet
)

// Status is the answer to "status". It holds what was read from the kernel in the last pass.
type Status struct {
	SchemaVersion int        `json:"schema_version"`
	Version       string     `json:"version"`
	State         string     `json:"state"`
	Reasons       []string   `json:"reasons"` // why State is not ready, for a person to act on
	PID           int        `json:"pid"`
	StartedAt     time.Time  `json:"started_at"`
	Config        Config     `json:"config"`
	Host          Host       `json:"host"`
	Ruleset       Ruleset    `json:"ruleset"`
	Summary       Summary    `json:"summary"`
	Relays        []Relay    `json:"relays"`
	Gateways      []Gateway  `json:"gateways"`
	Statics       []Static   `json:"statics"`
	Accounting    Accounting `json:"accounting"`
	FlowLog       *FlowLog   `json:"flow_log,omitempty"` // nil without [flow_log]
	Metrics       *Metrics   `json:"metrics,omitempty"`  // nil without [metrics]
	Names         []Name     `json:"names"`
	Tunnels       []any      `json:"tunnels"`
	Routes        []any      `json:"routes"`
}

// Config tells which configuration runs, and why a newer file does not.
type Config struct {
	Path     string    `json:"path"`
	SHA256   string    `json:"sha256"`
	LoadedAt time.Time `json:"loaded_at"`
	Error    string    `json:"error"` // of the last reload, "" when it succeeded
}

// Host is what natd needs of the host and what it changed on it.
type Host struct {
	IPForward bool      `json:"ip_forward"` // of IPv4
	Forward6  bool      `json:"ip6_forward"`
	Conntrack Conntrack `json:"conntrack"`
	Sysctls   []Sysctl  `json:"sysctls"` // changed by natd, restored by flush
	Flowtable Flowtable `json:"flowtable"`
	Instance  *Instance `json:"instance,omitempty"`
	ENA       []ENA     `json:"ena"` // the interfaces that have Amazon's driver
}

// Flowtable is the kernel's fast path for established connections.
type Flowtable struct {
	Wanted     string   `json:"wanted"`     // auto | off: as configured
	On         bool     `json:"on"`         // the kernel has it
	Interfaces []string `json:"interfaces"` // whose packets take it
	Why        string   `json:"why"`        // why it is wanted and not on
}

// ENA is what the driver of an elastic network adapter says of the limits of its instance.
type ENA struct {
	Device   string            `json:"device"`
	Exceeded map[string]uint64 `json:"exceeded"` // packets that were queued or dropped, by allowance: bw_in, conntrack and others
	// Connections that the instance may still track before its conntrack allowance is exceeded; nil with drivers before 2.8.1.
	ConntrackAvailable *uint64 `json:"conntrack_available,omitempty"`
}

// Instance is the EC2 instance that the host is, as its metadata service says. What that does not say is "".
type Instance struct {
	ID         string             `json:"id"`
	Type       string             `json:"type"`
	Account    string             `json:"account"`
	Region     string             `json:"region"`
	Zone       string             `json:"zone"`
	ZoneID     string             `json:"zone_id"`
	Image      string             `json:"image"`
	Interfaces []NetworkInterface `json:"interfaces"`
	AsOf       time.Time          `json:"as_of"` // of the last good answer
	Error      string             `json:"error"` // why there is no newer one, "" while all is well
}

// NetworkInterface is an elastic network interface (ENI) of the instance.
type NetworkInterface struct {
	Device       string          `json:"device"` // its name on this host, "" when the host has none with its MAC address
	MAC          string          `json:"mac"`
	ID           string          `json:"id"`
	DeviceNumber int             `json:"device_number"`
	VPC          string          `json:"vpc"`
	Subnet       string          `json:"subnet"`
	Addresses    []string        `json:"addresses"` // private IPv4 and IPv6 addresses, the primary one first
	Prefixes     []string        `json:"prefixes"`  // delegated to it
	Public       []PublicAddress `json:"public"`
}

// PublicAddress is an address that AWS translates to a private one.
type PublicAddress struct {
	Public  string `json:"public"`
	Private string `json:"private"`
}

// Conntrack is the use of the connection tracking table, in entries.
type Conntrack struct {
	Entries int             `json:"entries"`
	Max     int             `json:"max"`
	Ended   uint64          `json:"ended"`           // connections that natd ended since it started: they contradicted the configuration
	Stats   *ConntrackStats `json:"stats,omitempty"` // nil when the kernel does not tell
}

// ConntrackStats is what the kernel counts of connection tracking since this network namespace was made. The kernel counts in 32 bits
// on each processor.
type ConntrackStats struct {
	Invalid       uint64 `json:"invalid"`        // packets that cannot be tracked
	InsertFailed  uint64 `json:"insert_failed"`  // new connections that found no place: no free source port, as a rule
	Drop          uint64 `json:"drop"`           // packets dropped: the table is full, or no free source port
	EarlyDrop     uint64 `json:"early_drop"`     // entries that were given up for new ones in a full table
	Error         uint64 `json:"error"`          // malformed packets
	SearchRestart uint64 `json:"search_restart"` // lookups that began anew because the table was resized
	ClashResolve  uint64 `json:"clash_resolve"`  // connections that two packets began at the same time
	ChainTooLong  uint64 `json:"chain_too_long"` // new connections refused for a chain of the hash table that is too long
}

// Sysctl is one kernel setting that natd changed.
type Sysctl struct {
	Key string `json:"key"`
	Old string `json:"old"`
	New string `json:"new"`
}

// Ruleset is how natd's tables in the kernel compare with what they should be.
type Ruleset struct {
	InSync       bool      `json:"in_sync"`
	Protect      string    `json:"protect"` // own | guard | off
	LastSync     time.Time `json:"last_sync"`
	DriftRepairs int       `json:"drift_repairs"`
	LastDrift    *Drift    `json:"last_drift"`
	LastError    string    `json:"last_error"`
	Repairs      Repairs   `json:"repairs"`
	Syncs        Syncs     `json:"syncs"`
}

// Repairs is the drift repairs by what was repaired.
type Repairs struct {
	Ruleset uint64 `json:"ruleset"` // natd's table: others flushed or edited it
	Host    uint64 `json:"host"`    // forwarding: others turned it off
	Network uint64 `json:"network"` // relays that followed a change of interfaces, addresses or routes
}

// Syncs is how bringing the kernel in line fared, since natd started.
type Syncs struct {
	Failures  uint64    `json:"failures"`  // passes that failed
	Durations Histogram `json:"durations"` // from the look at the tables to the proof that they are right
}

// Histogram counts durations.
type Histogram struct {
	Count   uint64   `json:"count"`
	Sum     float64  `json:"sum_seconds"`
	Buckets []Bucket `json:"buckets"` // ascending; what is longer than the last is in Count alone
}

// Bucket is how many durations of a histogram were not longer than a bound.
type Bucket struct {
	Most  float64 `json:"most_seconds"`
	Count uint64  `json:"count"`
}

// Name is what is known of a DNS name that backends have, in one family.
type Name struct {
	Name       string    `json:"name"`
	Family     string    `json:"family"`      // ipv4 | ipv6
	Addresses  []string  `json:"addresses"`   // in use
	AskedAt    time.Time `json:"asked_at"`    // zero before the first question
	AnsweredAt time.Time `json:"answered_at"` // of the last good answer since natd started; zero = none
	Failures   uint64    `json:"failures"`    // questions without a good answer since natd started
	Error      string    `json:"error"`       // why the last question has none, "" when it has
}

// Drift is one repair of what another program did.
type Drift struct {
	At   time.Time `json:"at"`
	By   string    `json:"by"`   // "nft (pid 1234)", or "" when the kernel does not tell
	What string    `json:"what"` // what was found changed
}

// Faults is where no new connection goes on, and why: a part of the reason. A state may have a reason and no fault: connections go on, with
// a reservation.
type Faults struct {
	Host   string `json:"host"`   // on this host, or with its addresses; "" = not there
	Target string `json:"target"` // between this host and every target; "" = to one at least they go
}

// Relay is one relay as the kernel holds it.
type Relay struct {
	Name        string      `json:"name"`
	State       string      `json:"state"`
	Reason      string      `json:"reason"`
	Faults      Faults      `json:"faults"`
	Listen      []string    `json:"listen"`
	Protocol    []string    `json:"protocol"`
	From        []string    `json:"from"`
	Egress      string      `json:"egress"` // several interfaces are joined by ","
	SNAT        []string    `json:"snat"`
	Balance     string      `json:"balance"` // round-robin | random | source
	Backends    []Backend   `json:"backends"`
	Connections Connections `json:"connections"`
	Refused     Refused     `json:"refused"`
	LastRefused time.Time   `json:"last_refused,omitzero"` // when natd noticed that a limit had refused more: asked for its status, or when it read all of its table
	Ports       *PortUse    `json:"ports,omitempty"`       // nil while there are no connections
	Bytes       Volume      `json:"bytes"`
	Packets     Volume      `json:"packets"`
}

// Backend is one place a relay's connections go.
type Backend struct {
	Name    string    `json:"name"`    // the DNS name, "" for an address
	Address string    `json:"address"` // "" for a name that has no address yet
	State   string    `json:"state"`
	Reason  string    `json:"reason"` // why State is down or draining, or why the name is not answered
	Since   time.Time `json:"since"`
	Weight  int       `json:"weight"`
	Backup  bool      `json:"backup"`
	InUse   bool      `json:"in_use"` // it takes new connections
	Total   uint64    `json:"total"`  // as that of [Connections]
	Active  uint64    `json:"active"` // those that are open now

	Unreplied uint64 `json:"unreplied"` // of those that are open, without an answer
	Refused   uint64 `json:"refused"`   // that it answered with a refusal
	Bytes     Volume `json:"bytes"`
	Packets   Volume `json:"packets"`
	Probe     *Probe `json:"probe,omitempty"` // nil while nothing checks it
}

// Probe is what the health checks of a backend came to.
type Probe struct {
	At       time.Time `json:"at"`      // of the last one that told something
	Seconds  float64   `json:"seconds"` // it took
	Total    uint64    `json:"total"`   // since the check began
	Failures uint64    `json:"failures"`
}

// Connections counts connections: Total since the counts began where [Accounting] is exact, else since natd started or the table was
// made; Active and Unreplied as they are now.
type Connections struct {
	Total     uint64 `json:"total"`
	Active    uint64 `json:"active"`
	Unreplied uint64 `json:"unreplied"` // the backend has not answered
	Refused   uint64 `json:"refused"`   // the backend refused; since the counts began, see [Accounting]

	Unanswered uint64 `json:"unanswered"` // ended, and the backend had never answered; likewise
}

// Refused counts new connections that a limit of the relay kept out, since natd started, or since the table was made when that is older.
type Refused struct {
	Connections uint64 `json:"max_connections"`
	PerSource   uint64 `json:"max_per_source"`
	Rate        uint64 `json:"rate"`
}

// PortUse is how far the source ports of one address towards one target are used up, where they are most.
type PortUse struct {
	Source string `json:"source"` // the address
	Target string `json:"target"` // ADDR:PORT
	Used   int    `json:"used"`
	Max    int    `json:"max"` // the ports from 1024 to 65535
}

// Gateway is one gateway as the kernel holds it.
type Gateway struct {
	Name        string      `json:"name"`
	State       string      `json:"state"` // as that of a relay
	Reason      string      `json:"reason"`
	Faults      Faults      `json:"faults"`
	From        []string    `json:"from"`
	To          []string    `json:"to"`
	SNAT        []string    `json:"snat"`   // "auto" or addresses
	Egress      string      `json:"egress"` // "auto" or an interface
	Connections Connections `json:"connections"`
	Bytes       Volume      `json:"bytes"`           // to_target = to where the hosts behind went
	Packets     Volume      `json:"packets"`         // likewise
	Ports       *PortUse    `json:"ports,omitempty"` // nil while there are no connections
}

// Static is one static as the kernel holds it.
type Static struct {
	Name        string      `json:"name"`
	State       string      `json:"state"` // as that of a relay
	Reason      string      `json:"reason"`
	Faults      Faults      `json:"faults"`
	External    string      `json:"external"`
	Internal    string      `json:"internal"`
	From        []string    `json:"from"`
	SNAT        []string    `json:"snat"` // "auto", "off" or addresses
	Connections Connections `json:"connections"`
	Bytes       Volume      `json:"bytes"`           // to_target = to the internal side
	Packets     Volume      `json:"packets"`         // likewise
	Ports       *PortUse    `json:"ports,omitempty"` // nil while there are no connections
}

// Volume is a count for each direction: since the counts began where [Accounting] is exact, else of the connections that the kernel
// still tracks.
type Volume struct {
	ToTarget uint64 `json:"to_target"`
	ToClient uint64 `json:"to_client"`
}

// Known is the answer to "known": what natd goes by, and has found out about backends by itself, for whoever works out what it would do.
type Known struct {
	SchemaVersion int         `json:"schema_version"`
	ConfigPath    string      `json:"config_path"` // of the configuration that runs
	Names         []KnownName `json:"names"`
	Down          []KnownDown `json:"down"`

	Drained map[string]map[string]time.Time `json:"drained"` // by hand: backends and since when, by the name of their relay
}

// KnownName is what is known of a DNS name.
type KnownName struct {
	Host      string       `json:"host"`
	Family    string       `json:"family"`    // ipv4 | ipv6
	Addresses []netip.Addr `json:"addresses"` // in use
	Error     string       `json:"error"`     // of the last question
}

// KnownDown is a backend that failed its checks.
type KnownDown struct {
	Target netip.AddrPort `json:"target"` // where it is checked
	Error  string         `json:"error"`
}

// Outcome is the answer to a change: reload, flush, drain, enable.
type Outcome struct {
	SchemaVersion int      `json:"schema_version"`
	Changes       []string `json:"changes"` // what was done in the kernel
	Notes         []string `json:"notes"`   // what is not as it should be after it
}

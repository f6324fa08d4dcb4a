// Package record is what a line of a flow log says, and how: the text of VPC Flow Logs (Amazon VPC User Guide, "Flow log
// records") and JSON. It writes lines and reads them back; files are the business of others.
package record

import "net/netip"

// Record is one line: what went in one direction over one leg of a flow during a window, or that nothing did. The zero value
// of a field means that it is not known, and is written as "-".
type Record struct {
	Version int // the highest of the fields that were chosen; a Format writes its own

	AccountID   string
	InterfaceID string // the ENI, or the device where there is none
	VPCID       string
	SubnetID    string
	InstanceID  string
	Region      string
	AZID        string

	SublocationType string
	SublocationID   string

	Src, Dst         netip.Addr // as on the wire of this leg
	SrcPort, DstPort uint16     // 0 where the protocol has none
	Protocol         uint8      // IANA number
	Packets, Bytes   uint64     // bytes from the IP header on
	Start, End       int64      // Unix seconds
	TCPFlags         uint8      // a sum of FIN, SYN, RST and SYNACK
	PktSrc, PktDst   netip.Addr // where the flow comes from and goes to in truth
	PktSrcService    string
	PktDstService    string
	Direction        Direction
	TrafficPath      uint8 // 1 = within the VPC; 0 = not known
	Action           Action
	Status           Status

	// What natd adds.
	Relay  string         // the name of the relay, gateway or static
	Kind   string         // relay | gateway | static
	Leg    uint8          // 1 client -> host, 2 host -> target, 3 target -> host, 4 host -> client
	Client netip.AddrPort // who dialled
	Listen netip.AddrPort // what was dialled
	SNAT   netip.AddrPort // the source that the target saw
	Target netip.AddrPort // who answered, or was to
}

// The flags that AWS writes. A SYN with an ACK counts as one of its own.
const (
	FIN    = 1
	SYN    = 2
	RST    = 4
	SYNACK = 18
)

// Direction is seen from the interface.
type Direction string

// The directions.
const (
	Ingress Direction = "ingress"
	Egress  Direction = "egress"
)

// Action is what became of the packets.
type Action string

// The actions. Rejected is only what natd's own rules refused.
const (
	Accept Action = "ACCEPT"
	Reject Action = "REJECT"
)

// Status is how complete the log is.
type Status string

// The states of a record. NoData says that an interface had no traffic in the window, SkipData that records are missing.
const (
	OK       Status = "OK"
	NoData   Status = "NODATA"
	SkipData Status = "SKIPDATA"
)

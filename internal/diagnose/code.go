package diagnose

// Code names a cause. Where the meaning is that of AWS's Reachability Analyzer, so is the name (Amazon VPC, Reachability Analyzer,
// "Explanation codes"). A code never changes its meaning.
type Code string

// The codes, along the way.
const (
	// Client -> host.
	NoPacketsFromClient  Code = "NO_PACKETS_FROM_CLIENT"
	RelayNotConfigured   Code = "RELAY_NOT_CONFIGURED"
	RelayDisabled        Code = "RELAY_DISABLED"
	RelaySourceDenied    Code = "RELAY_SOURCE_DENIED"
	RelayLimitReached    Code = "RELAY_LIMIT_REACHED"
	RelayAddressNotLocal Code = "RELAY_ADDRESS_NOT_LOCAL"
	RelayPortShadows     Code = "RELAY_PORT_SHADOWS_SOCKET"
	RelayNotReady        Code = "RELAY_NOT_READY"         // natd holds it back for a reason that has no code of its own
	ENIAddress           Code = "ENI_ADDRESS_RESTRICTION" // AWS does not deliver the address to this instance

	// On the host.
	DaemonNotRunning  Code = "NATD_NOT_RUNNING"
	RulesetMissing    Code = "RULESET_MISSING"
	RulesetDrift      Code = "RULESET_DRIFT"
	IPForwardDisabled Code = "IP_FORWARDING_DISABLED"
	ForwardDrop       Code = "FORWARD_POLICY_DROP"
	InputDrop         Code = "INGRESS_FILTER_DROP" // a chain drops before the translation
	NATShadowed       Code = "NAT_SHADOWED"
	RPFilterDrop      Code = "RP_FILTER_DROP"
	NoRoute           Code = "NO_ROUTE_TO_DESTINATION"
	EgressDown        Code = "EGRESS_INTERFACE_DOWN"
	RelayLoop         Code = "RELAY_LOOP"
	SNATOutsideVPC    Code = "PCX_REQUIRES_ADDRESS_IN_VPC_CIDR"
	SNATMissing       Code = "SNAT_MISSING"
	SNATNotLocal      Code = "SNAT_ADDRESS_NOT_LOCAL"
	SNATPortExhausted Code = "SNAT_PORT_EXHAUSTED"
	ConntrackFull     Code = "CONNTRACK_TABLE_FULL"
	ENAConntrack      Code = "ENA_CONNTRACK_ALLOWANCE_EXCEEDED"
	ENAThroughput     Code = "ENA_BW_OR_PPS_ALLOWANCE_EXCEEDED"

	// Host -> target.
	TargetRefused     Code = "TARGET_REFUSED"
	TargetNoReply     Code = "TARGET_NO_REPLY"
	TargetUnreachable Code = "TARGET_UNREACHABLE_ICMP"
	TargetNameUnknown Code = "TARGET_NAME_NOT_RESOLVED"
	BackendsDrained   Code = "BACKENDS_DRAINED"

	// The way back.
	NoReturnRoute   Code = "NO_RETURN_ROUTE"
	ReplyNotArrived Code = "REPLY_NOT_REACHING_CLIENT"
	Asymmetric      Code = "ASYMMETRIC_RETURN"
	MTUBlackhole    Code = "MTU_BLACKHOLE"
	StaleFlows      Code = "STALE_FLOWS"
)

// Codes lists all of them, along the way.
func Codes() []Code {
	return []Code{
		NoPacketsFromClient, RelayNotConfigured, RelayDisabled, RelaySourceDenied, RelayLimitReached, RelayAddressNotLocal, RelayPortShadows, RelayNotReady, ENIAddress,
		DaemonNotRunning, RulesetMissing, RulesetDrift, IPForwardDisabled, ForwardDrop, InputDrop, NATShadowed, RPFilterDrop, NoRoute, EgressDown, RelayLoop,
		SNATOutsideVPC, SNATMissing, SNATNotLocal, SNATPortExhausted, ConntrackFull, ENAConntrack, ENAThroughput,
		TargetRefused, TargetNoReply, TargetUnreachable, TargetNameUnknown, BackendsDrained,
		NoReturnRoute, ReplyNotArrived, Asymmetric, MTUBlackhole, StaleFlows,
	}
}

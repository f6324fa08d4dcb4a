package diagnose

import "time"

// SchemaVersion is the version of a Report as JSON. Fields are added within a version, never renamed or removed.
const SchemaVersion = 1

// Leg is a part of the way.
type Leg string

// The legs, in the order of a packet that is answered.
const (
	LegClient Leg = "client" // client -> host
	LegHost   Leg = "host"   // within the host
	LegTarget Leg = "target" // host -> target
	LegReturn Leg = "return" // target -> host -> client
)

// Direction is that of the packets in question, seen from the host, as AWS says it.
type Direction string

// The directions.
const (
	Ingress Direction = "ingress"
	Egress  Direction = "egress"
)

// Confidence is how sure an explanation is.
type Confidence string

// From what the evidence proves to what it does not rule out.
const (
	Certain  Confidence = "certain"
	Likely   Confidence = "likely"
	Possible Confidence = "possible"
)

// Report is the outcome of a diagnosis. As JSON it has the shape of the analysis of AWS's Reachability Analyzer (EC2 API,
// NetworkInsightsAnalysis).
type Report struct {
	SchemaVersion    int           `json:"schema_version"` // as every document of natctl has it
	Status           string        `json:"Status"`         // succeeded | failed
	StatusMessage    string        `json:"StatusMessage"`
	StartDate        time.Time     `json:"StartDate"`
	NetworkPathFound bool          `json:"NetworkPathFound"` // packets get through on every path, as far as can be told
	Paths            []Path        `json:"Paths"`
	Explanations     []Explanation `json:"Explanations"` // of what has to do with no single relay: the host, natd itself
}

// Path is the way of one relay's packets to one of its backends and back.
type Path struct {
	Relay                 string        `json:"Relay"`
	Protocol              string        `json:"Protocol"`
	Listen                string        `json:"Listen"`
	Target                string        `json:"Target"`
	Source                string        `json:"Source"`           // the client that was asked about, or seen; "" for any
	NetworkPathFound      bool          `json:"NetworkPathFound"` // packets get through, as far as can be told
	Standing              Standing      `json:"Standing"`
	StatusMessage         string        `json:"StatusMessage"` // why it stands like that, in a sentence; "" when it is whole
	ForwardPathComponents []Component   `json:"ForwardPathComponents"`
	ReturnPathComponents  []Component   `json:"ReturnPathComponents"`
	Explanations          []Explanation `json:"Explanations"` // the first is the cause, as far as can be told
	NotSeen               []string      `json:"NotSeen"`      // what cannot be seen from here, and what to check next
}

// Standing is what may be said of a path in a word.
type Standing string

// From the best to the worst.
const (
	StandsWhole  Standing = "whole"    // every step was told, and is fine
	StandsOpen   Standing = "no fault" // nothing broken was found, and not all could be told
	StandsAlone  Standing = "works"    // packets get through, and something that has to look after them does not
	StandsBroken Standing = "broken"
)

// Component is a step of the way: what was looked at, what was found, and what follows.
type Component struct {
	SequenceNumber int          `json:"SequenceNumber"`
	Leg            Leg          `json:"Leg"`
	Component      ComponentRef `json:"Component"`
	Looked         string       `json:"Looked"` // at what
	Found          string       `json:"Found"`
	Verdict        Verdict      `json:"Verdict"`
	OutboundHeader *Header      `json:"OutboundHeader,omitempty"` // of a step that changes it, and of the first one
	Explanations   []Code       `json:"Explanations,omitempty"`   // the codes that this step led to
}

// Verdict is what follows from a step.
type Verdict string

// The verdicts.
const (
	Fine    Verdict = "ok"
	Broken  Verdict = "broken"
	Suspect Verdict = "suspect"
	Unknown Verdict = "unknown"
)

// ComponentRef names a part of the way.
type ComponentRef struct {
	ID   string `json:"Id"` // such as "chain inet filter forward", "ens5", "eni-..."
	Name string `json:"Name"`
}

// Header is the addresses of a packet behind a step.
type Header struct {
	SourceAddresses       []string `json:"SourceAddresses"`
	SourcePortRanges      []Ports  `json:"SourcePortRanges,omitempty"`
	DestinationAddresses  []string `json:"DestinationAddresses"`
	DestinationPortRanges []Ports  `json:"DestinationPortRanges,omitempty"`
	Protocol              string   `json:"Protocol"`
}

// Ports is a range of ports.
type Ports struct {
	From uint16 `json:"From"`
	To   uint16 `json:"To"`
}

// Explanation is a cause with its evidence and its remedy.
type Explanation struct {
	ExplanationCode Code         `json:"ExplanationCode"`
	Direction       Direction    `json:"Direction"`
	Leg             Leg          `json:"Leg"`
	Confidence      Confidence   `json:"Confidence"`
	Component       ComponentRef `json:"Component"`
	Summary         string       `json:"Summary"`  // one sentence for a person
	Evidence        []string     `json:"Evidence"` // what was seen
	Remedy          []string     `json:"Remedy"`   // lines that can be pasted, and words where there is nothing to paste
}

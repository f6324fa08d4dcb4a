package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"
)

// ProtocolVersion is the version of the requests and answers, apart from that of the documents in them.
const ProtocolVersion = 1

const (
	maxRequest = 64 << 10  // bytes, newline included
	maxAnswer  = 256 << 20 // bytes; the status of 100,000 relays has some 65 MiB, with three backends each 110 MiB
)

// The operations.
const (
	OpStatus      = "status"      // takes [StatusArgs], answers with a [Status]
	OpConnections = "connections" // takes [ConnectionsArgs], answers with a [ConnectionList]
	OpKnown       = "known"       // answers with a [Known]
	OpPlan        = "plan"        // answers with the [Outcome] that reload would have; it changes nothing
	OpReload      = "reload"      // answers with an [Outcome]
	OpFlush       = "flush"       // answers with an [Outcome]
	OpDrain       = "drain"       // takes [BackendArgs], answers with an [Outcome]
	OpEnable      = "enable"      // likewise
)

const (
	readTime   = 30 * time.Second  // to answer a question
	changeTime = 120 * time.Second // to read the configuration, and to bring the kernel in line with it
)

// handlingTime is how long the daemon may work on an operation.
func handlingTime(op string) time.Duration {
	if privileged(op) {
		return changeTime
	}
	return readTime
}

// privileged tells whether the operation takes root: because it changes something, or has natd read its file.
func privileged(op string) bool { return op == OpPlan || changes(op) }

// changes tells whether the operation changes anything.
func changes(op string) bool {
	return slices.Contains([]string{OpReload, OpFlush, OpDrain, OpEnable}, op)
}

// BackendArgs are the arguments of [OpDrain] and [OpEnable].
type BackendArgs struct {
	Relay   string `json:"relay"`
	Backend string `json:"backend,omitempty"` // as in `to`, or as status shows it; "" = every one of the relay
}

type request struct {
	Version int             `json:"version"`
	Op      string          `json:"op"`
	Args    json.RawMessage `json:"args,omitempty"`
}

type answer struct {
	Version int    `json:"version"`
	OK      bool   `json:"ok"`
	Data    any    `json:"data,omitempty"`
	Error   *Error `json:"error,omitempty"`
}

// decodeRequest reads one line of a stranger. The version is looked at first, because a newer one may
// have fields that this one refuses.
func decodeRequest(line []byte) (*request, error) {
	var v struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(line, &v); err != nil {
		return nil, Errorf(CodeUsage, "the request is not a JSON object on one line: %w", err)
	}
	if v.Version != ProtocolVersion {
		return nil, Errorf(CodeFailed, "protocol version %d is not supported: natd speaks version %d; install natctl and natd of the same release",
			v.Version, ProtocolVersion)
	}
	var r request
	if err := decodeStrict(line, &r); err != nil {
		return nil, Errorf(CodeUsage, "the request is not understood: %w", err)
	}
	switch r.Op {
	case OpStatus, OpConnections, OpKnown, OpPlan, OpReload, OpFlush, OpDrain, OpEnable:
		return &r, nil
	}
	return nil, Errorf(CodeUsage, "unknown operation %.40q: natd knows %s, %s, %s, %s, %s, %s, %s and %s", r.Op,
		OpStatus, OpConnections, OpKnown, OpPlan, OpReload, OpFlush, OpDrain, OpEnable)
}

// decodeArgs reads the arguments of a request into out. None at all are the same as {}.
func (r *request) decodeArgs(out any) error {
	if len(r.Args) == 0 {
		return nil
	}
	if err := decodeStrict(r.Args, out); err != nil {
		return Errorf(CodeUsage, "the arguments of %s are not understood: %w", r.Op, err)
	}
	return nil
}

// decodeStrict reads one JSON document that has only fields that out knows.
func decodeStrict(data []byte, out any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(out); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON document")
	}
	return nil
}

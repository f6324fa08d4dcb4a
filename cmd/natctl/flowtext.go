package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"natd/internal/control"
	"natd/internal/record"
	"natd/internal/words"
)

// flowWriter prints flows as they come, however many they are.
type flowWriter interface {
	write(*joined)
	end() // there are no more
}

// flowWriter chooses how flows are printed. The reader knows the header of raw lines.
func (a *app) flowWriter(f *flowsFlags, r *flowReader) flowWriter {
	switch {
	case f.raw:
		return &rawFlows{out: a.stdout, reader: r}
	case a.json:
		return &jsonFlows{a: a, lines: f.follow}
	}
	t := &tableFlows{a: a, room: flowRows}
	if f.follow {
		t.room = 1
	}
	return t
}

// rawFlows prints the lines that flows were read from, and the header that explains them.
type rawFlows struct {
	out    io.Writer
	reader *flowReader
	header string // that was printed last
}

func (w *rawFlows) write(j *joined) {
	if h := w.reader.header; h != w.header && j.lines[0][0] != '{' {
		fmt.Fprintln(w.out, printable(h))
		w.header = h
	}
	for _, line := range j.lines {
		fmt.Fprintln(w.out, printable(line))
	}
}

func (*rawFlows) end() {}

// jsonFlow is a flow as JSON.
type jsonFlow struct {
	Relay    string         `json:"relay"`
	Kind     string         `json:"kind"`
	Protocol string         `json:"protocol"`
	Client   string         `json:"client"`
	Listen   string         `json:"listen"`
	SNAT     string         `json:"snat"`
	Target   string         `json:"target"`
	Start    time.Time      `json:"start"`
	End      time.Time      `json:"end"`
	Action   string         `json:"action"`
	Status   string         `json:"log_status"`
	Packets  control.Volume `json:"packets"`
	Bytes    control.Volume `json:"bytes"`
	TCPFlags struct {
		ToTarget uint8 `json:"to_target"`
		ToClient uint8 `json:"to_client"`
	} `json:"tcp_flags"`
}

func jsonOf(f *record.Flow) *jsonFlow {
	j := &jsonFlow{
		Relay: f.Relay, Kind: f.Kind, Client: endText(f.Client), Listen: endText(f.Listen), SNAT: endText(f.SNAT), Target: endText(f.Target),
		Start: time.Unix(f.Start, 0).UTC(), End: time.Unix(f.End, 0).UTC(), Action: string(f.Action), Status: string(f.Status),
		Packets: control.Volume{ToTarget: f.ToTarget.Packets, ToClient: f.ToClient.Packets},
		Bytes:   control.Volume{ToTarget: f.ToTarget.Bytes, ToClient: f.ToClient.Bytes},
	}
	if f.Client.IsValid() {
		j.Protocol = protocolName(f.Protocol)
	}
	j.TCPFlags.ToTarget, j.TCPFlags.ToClient = f.ToTarget.TCPFlags, f.ToClient.TCPFlags
	return j
}

// jsonFlows prints one document with all flows, piece by piece, or one for each flow.
type jsonFlows struct {
	a     *app
	lines bool
	begun bool
}

func (w *jsonFlows) write(j *joined) {
	if w.lines {
		w.a.writeJSON(struct {
			SchemaVersion int `json:"schema_version"`
			*jsonFlow
		}{control.SchemaVersion, jsonOf(&j.Flow)}, "")
		return
	}
	var b bytes.Buffer
	if w.begun {
		b.WriteString(",\n    ")
	} else {
		fmt.Fprintf(&b, "{\n  \"schema_version\": %d,\n  \"flows\": [\n    ", control.SchemaVersion)
	}
	w.begun = true
	text, _ := json.Marshal(jsonOf(&j.Flow)) // plain data
	b.Write(text)
	_, _ = b.WriteTo(w.a.stdout)
}

func (w *jsonFlows) end() {
	switch {
	case w.lines:
	case w.begun:
		fmt.Fprint(w.a.stdout, "\n  ]\n}\n")
	default:
		fmt.Fprintf(w.a.stdout, "{\n  \"schema_version\": %d,\n  \"flows\": []\n}\n", control.SchemaVersion)
	}
}

// flowRows is how many rows are put into columns together.
const flowRows = 1000

// tableFlows prints a table in pieces, whose columns grow with what they have held.
type tableFlows struct {
	a      *app
	room   int // rows in a piece
	piece  *table
	widths []int
	rows   int
}

func (w *tableFlows) write(j *joined) {
	if w.piece == nil {
		w.piece = flowTable()
	}
	w.piece.add(row{cells: flowCells(&j.Flow)})
	if w.rows++; len(w.piece.rows) == w.room {
		w.flush()
	}
}

func (w *tableFlows) flush() {
	if w.piece == nil {
		return
	}
	var b strings.Builder
	w.piece.least, w.piece.headless = w.widths, w.widths != nil
	w.widths = w.piece.widths()
	w.piece.write(&b, w.a.screen())
	fmt.Fprint(w.a.stdout, b.String())
	w.piece = nil
}

func (w *tableFlows) end() {
	w.flush()
	if w.rows == 0 && w.room > 1 {
		fmt.Fprintln(w.a.stdout, "no flows")
	}
}

func flowTable() *table {
	return &table{columns: []column{
		{title: "TIME"},
		{title: "RELAY", spare: 3},
		{title: "CLIENT"},
		{title: "LISTEN", spare: 5},
		{title: "SNAT", spare: 2},
		{title: "TARGET"},
		{title: "PROTO", spare: 6},
		{title: "ACTION", spare: 7},
		{title: "PKTS→", right: true, spare: 4},
		{title: "PKTS←", right: true, spare: 4},
		{title: "BYTES→", right: true, spare: 1},
		{title: "BYTES←", right: true, spare: 1},
		{title: "FLAGS", spare: 8},
	}}
}

func flowCells(f *record.Flow) []string {
	if f.Status == record.SkipData {
		return []string{unixText(f.Start), "", "", "", "", "", "", "", "", "", "", "", string(f.Status)}
	}
	return []string{
		unixText(f.Start), f.Relay, endText(f.Client), endText(f.Listen), endText(f.SNAT), endText(f.Target), protocolName(f.Protocol),
		string(f.Action), fmt.Sprint(f.ToTarget.Packets), fmt.Sprint(f.ToClient.Packets), words.Size(f.ToTarget.Bytes), words.Size(f.ToClient.Bytes),
		flagsText(f.ToTarget.TCPFlags, f.ToClient.TCPFlags),
	}
}

// unixText is a time of a record, in the local zone.
func unixText(seconds int64) string {
	if seconds == 0 {
		return ""
	}
	return time.Unix(seconds, 0).Format(time.DateTime)
}

// endText is ADDR:PORT, ADDR where the protocol has no ports, or "" for what is not known.
func endText(a netip.AddrPort) string {
	switch {
	case !a.IsValid():
		return ""
	case a.Port() == 0:
		return a.Addr().String()
	}
	return a.String()
}

// flagsText is the TCP flags of both directions, by their first letters as tcpdump has them; "" where there are none.
func flagsText(toTarget, toClient uint8) string {
	if toTarget|toClient == 0 {
		return ""
	}
	return flagLetters(toTarget) + "/" + flagLetters(toClient)
}

func flagLetters(flags uint8) string {
	var b strings.Builder
	for _, flag := range []struct {
		bit    uint8
		letter string
	}{{record.SYN, "S"}, {record.FIN, "F"}, {record.RST, "R"}, {record.SYNACK &^ record.SYN, "."}} {
		if flags&flag.bit != 0 {
			b.WriteString(flag.letter)
		}
	}
	return b.String()
}

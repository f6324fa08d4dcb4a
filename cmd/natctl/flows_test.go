package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/record"
)

// flowAt is the records of a flow of relay web, that began so many seconds after 07:49 UTC and lasted for ten.
func flowAt(port uint16, seconds int64) []record.Record {
	ends := [4]netip.AddrPort{
		netip.AddrPortFrom(netip.MustParseAddr("10.1.0.100"), port), netip.MustParseAddrPort("10.2.0.100:80"),
		netip.AddrPortFrom(netip.MustParseAddr("10.2.0.100"), port+1), netip.MustParseAddrPort("10.3.0.100:8080"),
	}
	start := time.Date(2026, 3, 1, 7, 49, 0, 0, time.UTC).Unix() + seconds
	one := func(leg uint8, dir record.Direction, src, dst, from, to netip.AddrPort, packets, bytes uint64, flags uint8) record.Record {
		return record.Record{
			Relay: "web", Kind: "relay", Leg: leg, Client: ends[0], Listen: ends[1], SNAT: ends[2], Target: ends[3], Protocol: 6, InterfaceID: "ens5",
			Src: src.Addr(), SrcPort: src.Port(), Dst: dst.Addr(), DstPort: dst.Port(), PktSrc: from.Addr(), PktDst: to.Addr(), Packets: packets,
			Bytes: bytes, TCPFlags: flags, Start: start, End: start + 10, Direction: dir, Action: record.Accept, Status: record.OK,
		}
	}
	return []record.Record{
		one(1, record.Ingress, ends[0], ends[1], ends[0], ends[3], 6, 500, record.SYN|record.FIN),
		one(2, record.Egress, ends[2], ends[3], ends[0], ends[3], 6, 500, record.SYN|record.FIN),
		one(3, record.Ingress, ends[3], ends[2], ends[3], ends[0], 4, 2048, record.SYNACK|record.FIN),
		one(4, record.Egress, ends[1], ends[0], ends[3], ends[0], 4, 2048, record.SYNACK|record.FIN),
	}
}

// logText is records as a file.
func logText(t *testing.T, format string, flows ...[]record.Record) string {
	t.Helper()
	f, err := record.ParseFormat(format)
	if err != nil {
		t.Fatal(err)
	}
	out := []byte(f.Header())
	for _, records := range flows {
		for _, r := range records {
			out = f.Append(out, &r)
		}
	}
	return string(out)
}

func writeLog(t *testing.T, path, text string, minutes int) {
	t.Helper()
	if strings.HasSuffix(path, ".gz") {
		var b strings.Builder
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(text))
		_ = z.Close()
		text = b.String()
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-time.Duration(minutes) * time.Minute)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

// logging is a daemon with a flow log.
func logging(t *testing.T, text string) (f *fake, log string) {
	t.Helper()
	log = filepath.Join(t.TempDir(), "flow.log")
	writeLog(t, log, text, 0)
	f = &fake{status: healthy()}
	f.status.FlowLog = &control.FlowLog{Path: log, Format: "vpc-v5", Interval: "1m0s"}
	return f, log
}

// local is a time of the log as people are shown it.
func localTime(seconds int) string {
	return time.Date(2026, 3, 1, 7, 49, seconds, 0, time.UTC).Local().Format(time.DateTime)
}

// TestFlowsFormats wants the same table from every format. Where records have no relay, natd knows what listens there.
func TestFlowsFormats(t *testing.T) {
	t.Parallel()
	const table = `
TIME                 RELAY  CLIENT            LISTEN         SNAT              TARGET           PROTO  ACTION  PKTS→  PKTS←  BYTES→   BYTES←  FLAGS
%s  web    10.1.0.100:40000  10.2.0.100:80  10.2.0.100:40001  10.3.0.100:8080  tcp    ACCEPT      6      4   500 B  2.0 KiB  %s
`
	for format, flags := range map[string]string{
		record.V5: "SF/SF.", record.JSON: "SF/SF.", record.V2: "-",
		"${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${natd-relay}": "-",
	} {
		f, _ := logging(t, logText(t, format, flowAt(40000, 0)))
		run(t, "flows", "--socket", serve(t, f)).want(t, 0, fmt.Sprintf(table, localTime(0), flags)[1:], "")
	}
}

// TestFlowsOfNone wants a word about a name that natd does not know, for it may be a slip of the pen: a log may still have it.
func TestFlowsOfNone(t *testing.T) {
	t.Parallel()
	f, log := logging(t, logText(t, record.JSON, flowAt(40000, 0)))
	socket := serve(t, f)
	const note = "natctl: natd has no relay, gateway or static \"wbe\" now: there are only the records of when it had\n"
	run(t, "flows", "--relay", "wbe", "--socket", socket).want(t, 0, "no flows\n", note)
	run(t, "flows", "--relay", "wbe", "--file", log, "--socket", socket).want(t, 0, "no flows\n", "")
}

// TestFlowsRotated reads the parts of a log in their order, and applies every filter.
func TestFlowsRotated(t *testing.T) {
	t.Parallel()
	f, log := logging(t, logText(t, record.V5, flowAt(40000, 0), flowAt(40002, 60)))
	writeLog(t, log+".1", logText(t, record.JSON, flowAt(30000, -600)), 10)
	writeLog(t, log+".2.gz", logText(t, record.V2, flowAt(20000, -1200)), 20)
	socket := serve(t, f)
	for args, want := range map[string]string{
		"":                             "20000 30000 40000 40002",
		"--relay web":                  "20000 30000 40000 40002",
		"--relay other":                "",
		"--client 10.1.0.0/16":         "20000 30000 40000 40002",
		"--client 10.1.0.101":          "",
		"--target 10.3.0.100:8080":     "20000 30000 40000 40002",
		"--target 10.3.0.100:80":       "",
		"--snat 10.2.0.100:30001":      "30000",
		"--snat 10.2.0.100":            "20000 30000 40000 40002",
		"--since 2026-03-01T07:49:05Z": "40000 40002",
		"--until 2026-03-01T07:48:00Z": "20000 30000",
		"--since 2026-03-01T07:39:00Z --until 2026-03-01T07:48:00Z": "30000",
		"--file " + log + ".2.gz":                                   "20000",
	} {
		got := run(t, append(strings.Fields("flows --json --socket "+socket), strings.Fields(args)...)...)
		var doc struct {
			SchemaVersion int `json:"schema_version"`
			Flows         []struct {
				Relay, Client string
				Bytes         control.Volume
			}
		}
		if err := json.Unmarshal([]byte(got.stdout), &doc); err != nil || got.code != 0 || doc.SchemaVersion != 1 || doc.Flows == nil {
			t.Fatalf("%s: exit %d, %v: %s%s", args, got.code, err, got.stdout, got.stderr)
		}
		var ports []string
		for _, flow := range doc.Flows {
			_, port, _ := strings.Cut(flow.Client, ":")
			ports = append(ports, port)
			if flow.Relay != "web" || flow.Bytes != (control.Volume{ToTarget: 500, ToClient: 2048}) {
				t.Errorf("%s: %+v", args, flow)
			}
		}
		if strings.Join(ports, " ") != want {
			t.Errorf("%s: %q, want %q", args, ports, want)
		}
	}
	run(t, "flows", "--socket", socket, "--client", "10.9.9.9").want(t, 0, "no flows\n", "")
}

func TestFlowsRaw(t *testing.T) {
	t.Parallel()
	text := logText(t, record.V5, flowAt(40000, 0), flowAt(40002, 60))
	f, log := logging(t, text)
	socket := serve(t, f)
	run(t, "flows", "--raw", "--socket", socket).want(t, 0, text, "")
	run(t, "flows", "--raw", "--socket", socket, "--snat", "10.2.0.100:40003").want(t, 0, logText(t, record.V5, flowAt(40002, 60)), "")
	few := "srcaddr packets\n10.1.0.100 5\n"
	writeLog(t, log, few, 0)
	run(t, "flows", "--raw", "--socket", socket).want(t, 0, few, "")
	run(t, "flows", "--socket", socket).wantError(t, control.CodeFailed, "lacks ${srcport} ${dstaddr} ${dstport}, without which")
}

// A full disk cuts lines off. The others are shown, and how many were not.
func TestFlowsDamaged(t *testing.T) {
	t.Parallel()
	text := logText(t, record.V5, flowAt(40000, 0))
	f, log := logging(t, text+text[len(text)-30:]+strings.SplitAfterN(logText(t, record.V5, flowAt(40002, 60)), "\n", 2)[1])
	got := run(t, "flows", "--socket", serve(t, f))
	if got.code != 0 || strings.Count(got.stdout, "10.1.0.100:4000") != 2 || !strings.HasPrefix(got.stderr, "natctl: 1 line not understood; the first: "+log+":6: it has ") {
		t.Errorf("%+v", got)
	}
}

// The machine lost power while a part was compressed. What can be read of it and the parts behind it are shown.
func TestFlowsDamagedPart(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]int{"cut off": 60, "empty": 0, "no gzip": -1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, log := logging(t, logText(t, record.V5, flowAt(40002, 60)))
			part := filepath.Join(filepath.Dir(log), "flow-2026-03-01T07-49-30.000-full.log.gz")
			writeLog(t, part, logText(t, record.V5, flowAt(40000, 0)), 1)
			text, err := os.ReadFile(part)
			if err != nil {
				t.Fatal(err)
			}
			if text = text[:max(keep, 0)]; keep < 0 {
				text = []byte("natd was not here, but something else of some length was")
			}
			if err := os.WriteFile(part, text, 0o600); err != nil {
				t.Fatal(err)
			}
			got := run(t, "flows", "--socket", serve(t, f))
			if got.code != 0 || !strings.Contains(got.stdout, "10.1.0.100:40002") || !strings.Contains(got.stderr, "natctl: a part of the log is damaged: read "+part+": ") {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestFlowsErrors(t *testing.T) {
	t.Parallel()
	off := serve(t, &fake{status: healthy()})
	out := &fake{status: healthy()}
	out.status.FlowLog = &control.FlowLog{Path: "stdout"}
	gone, log := logging(t, "")
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	nobody := filepath.Join(t.TempDir(), "natd.sock")
	v5 := filepath.Join(t.TempDir(), "flow.log")
	writeLog(t, v5, logText(t, record.V5, flowAt(40000, 0)), 0)
	for _, test := range []struct {
		args string
		code int
		want string
	}{
		{"--socket " + off, control.CodeFailed, "/etc/natd/natd.toml has no [flow_log], so natd writes no records: add a line [flow_log] to it, then natctl reload"},
		{"--socket " + serve(t, out), control.CodeFailed, "journalctl -u natd -o cat | natctl flows --file -"},
		{"--socket " + serve(t, gone), control.CodeFailed, "there is no flow log at " + log},
		{"--socket " + nobody, control.CodeUnreachable, "--file names the flow log"},
		{"--relay web --file " + v5 + " --socket " + nobody, control.CodeFailed, "do not have the names of relays"},
		{"--at 07:49", control.CodeUsage, "--at needs --snat ADDR:PORT"},
		{"--at 07:49 --snat 10.2.0.100", control.CodeUsage, "--at needs --snat ADDR:PORT"},
		{"--at noon --snat 10.2.0.100:1", control.CodeUsage, `--at: "noon" is no time that is understood`},
		{"--at 07:49 --snat 10.2.0.100:1 --follow", control.CodeUsage, "it does not go with --follow"},
		{"--since 5m --until 10m", control.CodeUsage, "--until 10m is before --since 5m"},
		{"--follow --until 5m", control.CodeUsage, "--follow has no end"},
		{"--raw --json", control.CodeUsage, "it does not go with --json"},
		{"--client 10.1", control.CodeUsage, `client "10.1" must be an address`},
		{"web", control.CodeUsage, "web"},
	} {
		run(t, append([]string{"flows"}, strings.Fields(test.args)...)...).wantError(t, test.code, test.want)
	}
}

// TestFlowsNotPermitted is about a log that the user may not read, as somebody who is not root.
func TestFlowsNotPermitted(t *testing.T) {
	t.Parallel()
	log := flowLog{path: "/var/log/natd/flow.log"}
	err := control.AsError(log.openError(&os.PathError{Op: "open", Path: log.path, Err: os.ErrPermission}))
	if err.Code != control.CodeNotPermitted || !strings.Contains(err.Message, "open /var/log/natd/flow.log: permission denied: you need to be root or in group natd") {
		t.Errorf("got %d: %v", err.Code, err)
	}
}

// TestFlowsFollow follows a log over its rotation.
func TestFlowsFollow(t *testing.T) {
	t.Parallel()
	f, log := logging(t, logText(t, record.V5, flowAt(30000, -60)))
	var stdout, stderr syncBuffer
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a := &app{stdout: &stdout, stderr: &stderr, env: func(string) string { return "" }, now: now, local: noLocal()}
	code := make(chan int, 1)
	go func() { code <- a.run(ctx, []string{"flows", "--follow", "--json", "--socket", serve(t, f)}) }()
	// What is written before natctl has looked is what was there: it is written until one is shown.
	port := uint16(40000)
	eventually(t, "the first flow", func() bool {
		addLog(t, log, strings.SplitAfterN(logText(t, record.V5, flowAt(port, 0)), "\n", 2)[1])
		time.Sleep(50 * time.Millisecond)
		return strings.Contains(stdout.String(), "\n")
	})
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	addLog(t, log, logText(t, record.JSON, flowAt(50000, 60)))
	eventually(t, "the first of the next file", func() bool { return strings.Contains(stdout.String(), `"client":"10.1.0.100:50000"`) })
	cancel()
	if got := <-code; got != 0 || stderr.String() != "" {
		t.Errorf("exit %d: %s", got, stderr.String())
	}
	if strings.Contains(stdout.String(), ":30000") {
		t.Errorf("it shows what was there before:\n%s", stdout.String())
	}
	for line := range strings.Lines(stdout.String()) {
		if !strings.HasPrefix(line, `{"schema_version":1,"relay":"web",`) {
			t.Errorf("line %s", line)
		}
	}
}

func addLog(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// TestWhoWas is the auditor's question.
func TestWhoWas(t *testing.T) {
	t.Parallel()
	f, log := logging(t, logText(t, record.V5, flowAt(40000, 0), flowAt(40000, 600)))
	writeLog(t, log+".1.gz", logText(t, record.V5, flowAt(40000, -600)), 10)
	socket := serve(t, f)
	for at, want := range map[string]struct {
		code   int
		stdout []string
	}{
		"2026-03-01T07:49:05Z":         {0, []string{"10.2.0.100:40001 at ", " was 10.1.0.100:40000\n", "began     " + localTime(0), "ended     " + localTime(10), "web, dialled as 10.2.0.100:80", "sure      exact"}},
		"[01/Mar/2026:07:39:10 +0000]": {0, []string{"began     " + localTime(-600), "sure      exact"}},
		"2026-03-01T07:49:22Z":         {0, []string{"the nearest: ended 12 s before"}},
		"2026-03-01T07:48:55Z":         {0, []string{"the nearest: began 5 s after"}},
		"2026-03-01T07:54:00Z":         {1, []string{"no client was 10.2.0.100:40001 at ", "the nearest:\nCLIENT", "ended 290 s before", "began 300 s after"}},
	} {
		got := run(t, "flows", "--socket", socket, "--snat", "10.2.0.100:40001", "--at", at)
		if got.code != want.code || got.stderr != "" {
			t.Errorf("%s: exit %d: %s", at, got.code, got.stderr)
		}
		for _, text := range want.stdout {
			if !strings.Contains(got.stdout, text) {
				t.Errorf("%s: no %q in\n%s", at, text, got.stdout)
			}
		}
	}
	doc := run(t, "flows", "--json", "--socket", socket, "--snat", "10.2.0.100:40001", "--at", "2026-03-01T07:49:22Z").document(t)
	for path, want := range map[string]any{"flows.0.client": "10.1.0.100:40000", "flows.0.distance_seconds": -12.0, "flows.0.open": false, "nearest.0.distance_seconds": 578.0} {
		if got, _ := at(doc, path); got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
}

// A connection that still lives has no end, and at first no record.
func TestWhoIsOpen(t *testing.T) {
	t.Parallel()
	f, _ := logging(t, logText(t, record.V5, flowAt(40000, 0)))
	open := func(client, snat string) control.Connection {
		return control.Connection{Kind: "relay", Relay: "web", Protocol: "tcp", Client: client, Listen: "10.2.0.100:80", SNAT: snat, Target: "10.3.0.100:8080"}
	}
	socket := serve(t, f)
	ask := func(snat, at string) result {
		return run(t, "flows", "--socket", socket, "--snat", snat, "--at", at)
	}
	f.list = control.ConnectionList{Connections: []control.Connection{open("10.1.0.100:40000", "10.2.0.100:40001")}}
	got := ask("10.2.0.100:40001", "11:30") // the clock of the test is at 12:00
	if got.code != 0 || !strings.Contains(got.stdout, "ended     still open") || !strings.Contains(got.stdout, "sure      exact") {
		t.Errorf("with a record: %+v", got)
	}
	if want := (control.Place{Addr: netip.MustParseAddr("10.2.0.100"), Port: 40001}); f.which.SNAT != want {
		t.Errorf("natd was asked for %v", f.which.SNAT)
	}
	f.list.Connections[0] = open("10.1.0.100:50000", "10.2.0.100:50001")
	got = ask("10.2.0.100:50001", "11:59:30")
	if got.code != 0 || !strings.Contains(got.stdout, "began     not known: it has no record yet") || !strings.Contains(got.stdout, "sure      likely") {
		t.Errorf("without a record: %+v", got)
	}
	if got = ask("10.2.0.100:50001", "09:00"); got.code != 1 {
		t.Errorf("long before: %+v", got)
	}
}

// Records that are missing are no proof of absence.
func TestWhoWasIncomplete(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 7, 49, 0, 0, time.UTC).Unix()
	f, _ := logging(t, logText(t, record.V5, []record.Record{{InterfaceID: "ens5", Start: at, End: at + 60, Status: record.SkipData}}))
	got := run(t, "flows", "--socket", serve(t, f), "--snat", "10.2.0.100:1", "--at", "2026-03-01T07:49:22Z")
	if got.code != 1 || !strings.Contains(got.stdout, "records of that time are missing (SKIPDATA)") {
		t.Errorf("%+v", got)
	}
}

// TestFlowsCompressedMeanwhile reads a part that was compressed after it was found, which takes as long as the parts before it.
func TestFlowsCompressedMeanwhile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "flow-2026-03-01T07-50-00.000-full.log")
	writeLog(t, path+".gz", logText(t, record.V5, flowAt(40000, 0)), 0)
	flows := 0
	r := &flowReader{each: func(*joined) error { flows++; return nil }}
	if err := new(flowLog).readPart(t.Context(), r, path); err != nil || flows != 1 || len(r.damaged) > 0 {
		t.Errorf("%d flows, %v, %v", flows, err, r.damaged)
	}
}

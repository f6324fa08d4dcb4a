package record

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

//nolint:gochecknoglobals // a flag of the test, as package flag wants it
var update = flag.Bool("update", false, "write the golden files anew")

// every is a format with every field, natd's own included.
func every() string {
	var names []string
	for _, f := range fields() {
		names = append(names, "${"+f.name+"}")
	}
	return strings.Join(names, " ")
}

// leg is a record with everything that natd can know.
func leg() Record {
	at := netip.MustParseAddrPort
	return Record{
		AccountID: "123456789010", InterfaceID: "eni-1235b8ca123456789", VPCID: "vpc-1", SubnetID: "subnet-1", InstanceID: "i-1",
		Region: "eu-west-1", AZID: "euw1-az2",
		Src: netip.MustParseAddr("10.2.0.100"), Dst: netip.MustParseAddr("10.3.0.100"), SrcPort: 54012, DstPort: 80,
		Protocol: 6, Packets: 5, Bytes: 532, Start: 1620140661, End: 1620140721, TCPFlags: SYN | FIN,
		PktSrc: netip.MustParseAddr("10.1.0.100"), PktDst: netip.MustParseAddr("10.3.0.100"),
		Direction: Egress, TrafficPath: 1, Action: Accept, Status: OK,
		Relay: "web", Kind: "relay", Leg: 2, Client: at("10.1.0.100:40000"), Listen: at("10.2.0.100:80"),
		SNAT: at("10.2.0.100:54012"), Target: at("10.3.0.100:80"),
	}
}

// examples is a record of each kind.
func examples() []Record {
	back := leg()
	back.Leg, back.Direction, back.TrafficPath, back.TCPFlags = 3, Ingress, 0, SYNACK|FIN
	back.Src, back.Dst, back.SrcPort, back.DstPort = back.Dst, back.Src, back.DstPort, back.SrcPort
	back.PktSrc, back.PktDst = back.PktDst, back.PktSrc

	ping := leg()
	v6 := netip.MustParseAddr
	ping.Src, ping.Dst, ping.PktSrc, ping.PktDst = v6("fd00:1::1"), v6("fd00:2::1"), v6("fd00:1::1"), v6("fd00:3::1")
	ping.SrcPort, ping.DstPort, ping.Protocol, ping.TCPFlags = 0, 0, 58, 0
	ping.Client, ping.Listen = netip.AddrPortFrom(ping.Src, 0), netip.AddrPortFrom(ping.Dst, 0)
	ping.SNAT, ping.Target = netip.AddrPortFrom(ping.Dst, 0), netip.AddrPortFrom(ping.PktDst, 0)
	ping.Leg, ping.Kind, ping.Relay, ping.Direction = 1, "static", "overlap-c", Ingress

	refused := Record{
		InterfaceID: "ens5", Src: netip.MustParseAddr("10.1.0.9"), Dst: netip.MustParseAddr("10.2.0.100"), SrcPort: 1, DstPort: 80,
		Protocol: 6, Packets: 1, Bytes: 60, Start: 1620140661, End: 1620140661, TCPFlags: SYN, Direction: Ingress, Action: Reject, Status: OK,
		PktSrc: netip.MustParseAddr("10.1.0.9"), PktDst: netip.MustParseAddr("10.2.0.100"),
		Relay: "web", Kind: "relay", Leg: 1,
		Client: netip.MustParseAddrPort("10.1.0.9:1"), Listen: netip.MustParseAddrPort("10.2.0.100:80"),
	}
	nothing := Record{InterfaceID: "ens5", Start: 1620140661, End: 1620140721, Status: NoData}
	skipped := Record{AccountID: "123456789010", InterfaceID: "eni-1", Start: 1620140661, End: 1620140721, Status: SkipData}
	return []Record{leg(), back, ping, refused, nothing, skipped}
}

func parse(t testing.TB, text string) *Format {
	t.Helper()
	f, err := ParseFormat(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return f
}

// lines is a whole file.
func lines(f *Format, records []Record) []byte {
	out := []byte(f.Header())
	for i := range records {
		out = f.Append(out, &records[i])
	}
	return out
}

func read(t testing.TB, file []byte) (records []Record) {
	t.Helper()
	for r := NewReader(bytes.NewReader(file)); ; {
		var rec Record
		switch err := r.Read(&rec); {
		case errors.Is(err, io.EOF):
			return records
		case err != nil:
			t.Fatal(err)
		}
		records = append(records, rec)
	}
}

func same(want, got []Record) string {
	return cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}), cmpopts.IgnoreFields(Record{}, "Version"))
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"v2": V2, "v5": V5, "json": JSON, "every": every(),
		"custom": "${natd-client} ${srcaddr} ${dstaddr} ${pkt-srcaddr} ${version} ${tcp-flags}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join("testdata", name+".log")
			got := lines(parse(t, text), examples())
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadBack(t *testing.T) {
	t.Parallel()
	for _, text := range []string{JSON, every()} {
		if diff := same(examples(), read(t, lines(parse(t, text), examples()))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	for text, version := range map[string]int{V2: 2, V5: 5, JSON: 5, "${srcaddr} ${version} ${vpc-id}": 3, "${natd-leg} ${version}": 2} {
		got := read(t, lines(parse(t, text), examples()[:1]))
		if len(got) != 1 || got[0].Version != version {
			t.Errorf("%s: read %+v, want version %d", text, got, version)
		}
	}
}

// A file may change its format in the middle, and have lines that a full disk cut off.
func TestMixedFile(t *testing.T) {
	t.Parallel()
	one := examples()[:1]
	v2 := lines(parse(t, V2), one)
	var file []byte
	file = append(file, v2...)
	file = append(file, v2[len(v2)-60:]...)
	file = append(file, lines(parse(t, JSON), one)...)
	file = append(file, '\n')
	file = append(file, strings.Repeat("x", 3*maxLine)+"\n"...)
	file = append(file, lines(parse(t, every()), one)...)
	file = append(file, `{"srcport":70000}`...)

	var got []Record
	var wrong []string
	for r := NewReader(bytes.NewReader(file)); ; {
		var rec Record
		err := r.Read(&rec)
		if errors.Is(err, io.EOF) {
			break
		}
		if bad, ok := errors.AsType[*LineError](err); ok {
			wrong = append(wrong, bad.Error())
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, rec)
	}
	if len(got) != 3 {
		t.Fatalf("read %d records", len(got))
	}
	if diff := same([]Record{one[0], one[0]}, got[1:]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want := []string{
		"line 3: it has 10 fields, and the header line 14",
		"line 6: it is longer than 16384 bytes",
		`line 9: srcport: "70000" is not a number, or too large`,
	}
	if diff := cmp.Diff(want, wrong); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadWithoutHeader(t *testing.T) {
	t.Parallel()
	var rec Record
	_, file, _ := strings.Cut(string(lines(parse(t, V2), examples())), "\n")
	if err := NewReader(strings.NewReader(file)).Read(&rec); !errors.Is(err, errHeadless) {
		t.Errorf("got %v", err)
	}
}

func TestFormatErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"v5":                                `must be "vpc-v2", "vpc-v5", "json" or text with fields such as ${srcaddr} ${dstaddr}`,
		"${srcaddr}  ${dstaddr}":            "has a space too many: fields are separated by one space, and nothing stands before or after them",
		"${srcaddr} ":                       "has a space too many: fields are separated by one space, and nothing stands before or after them",
		"${srcaddr},${dstaddr}":             `has "${srcaddr},${dstaddr}" between its fields: there is room only for fields such as ${srcaddr}, separated by one space`,
		"${srcaddr} to ${dstaddr}":          `has "to" between its fields: there is room only for fields such as ${srcaddr}, separated by one space`,
		"${srcaddr} ${srcaddr}":             "${srcaddr} stands twice",
		"${src-addr}":                       "has ${src-addr}, which natd does not know; did you mean ${srcaddr}?",
		"${SrcPort}":                        "has ${SrcPort}, which natd does not know; did you mean ${srcport}?",
		"${log_status}":                     "has ${log_status}, which natd does not know; did you mean ${log-status}?",
		"${pkt-srcadr}":                     "has ${pkt-srcadr}, which natd does not know; did you mean ${pkt-srcaddr}?",
		"${relay}":                          "has ${relay}, which natd does not know; did you mean ${natd-relay}?",
		"${colour}":                         "has ${colour}, which is not a field of VPC Flow Logs that natd knows",
		"${}":                               "has ${}, which is not a field of VPC Flow Logs that natd knows",
		"${srcaddr} ${tgw-id}":              "has ${tgw-id}, which came with version 6 of VPC Flow Logs: natd knows the fields up to version 5, and its own",
		"${srcaddr} ${ecs-cluster-arn}":     "has ${ecs-cluster-arn}, which came with version 7 of VPC Flow Logs: natd knows the fields up to version 5, and its own",
		"${reject-reason} ${interface-id}":  "has ${reject-reason}, which came with version 8 of VPC Flow Logs: natd knows the fields up to version 5, and its own",
		"${interface-id}\n${natd-relay}":    `has "${interface-id}\n${natd-relay}" between its fields: there is room only for fields such as ${srcaddr}, separated by one space`,
		"${interface-id} ${encryption-sta}": "has ${encryption-sta}, which is not a field of VPC Flow Logs that natd knows",
	} {
		if _, err := ParseFormat(text); err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	r, dst := leg(), make([]byte, 0, 4096)
	for _, text := range []string{V2, V5, JSON, every()} {
		f := parse(t, text)
		if n := testing.AllocsPerRun(100, func() { dst = f.Append(dst[:0], &r) }); n != 0 {
			t.Errorf("%s: %v allocations for a record", text, n)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	r := leg()
	for _, text := range []string{V2, V5, JSON} {
		b.Run(text, func(b *testing.B) {
			f, dst := parse(b, text), make([]byte, 0, 4096)
			for b.Loop() {
				dst = f.Append(dst[:0], &r)
			}
		})
	}
}

// What was written is read back, whatever the values.
func FuzzWrite(f *testing.F) {
	f.Add("123456789010", "eni-1", "web", []byte{10, 1, 0, 1}, []byte{10, 2, 0, 1}, uint16(1), uint16(2), uint64(3), int64(4), uint8(5))
	f.Add("- \"", "\n", "{", bytes.Repeat([]byte{255}, 16), make([]byte, 16), uint16(0), uint16(0), uint64(1<<64-1), int64(1<<62), uint8(0))
	f.Fuzz(func(t *testing.T, account, eni, relay string, src, dst []byte, a, b uint16, n uint64, at int64, small uint8) {
		from, ok := netip.AddrFromSlice(src)
		to, okToo := netip.AddrFromSlice(dst)
		if !ok || !okToo || at < 0 || slices.Contains([]string{account, eni, relay}, "-") {
			return
		}
		want := Record{
			AccountID: string(appendWord(nil, account)), InterfaceID: string(appendWord(nil, eni)), Relay: string(appendWord(nil, relay)),
			Src: from, Dst: to, SrcPort: a, DstPort: b, Packets: n, Bytes: n / 2, Start: at, End: at, Protocol: small, TCPFlags: small,
			Leg: small, Client: netip.AddrPortFrom(from, a), Listen: netip.AddrPortFrom(to, b), Target: netip.AddrPortFrom(to, a), SNAT: netip.AddrPortFrom(from, b),
		}
		for _, text := range []string{JSON, every()} {
			format := parse(t, text)
			line := format.Append([]byte(format.Header()), &want)
			if bytes.Count(line, []byte("\n")) != strings.Count(format.Header(), "\n")+1 {
				t.Fatalf("more than a line: %q", line)
			}
			if diff := same([]Record{want}, read(t, line)); diff != "" {
				t.Errorf("%s\n%s (-want +got):\n%s", text, line, diff)
			}
		}
	})
}

// Whatever is read, it ends, and what was understood can be written and read again.
func FuzzRead(f *testing.F) {
	for _, text := range []string{V2, V5, JSON, every()} {
		f.Add(lines(parse(f, text), examples()))
	}
	f.Add([]byte("srcaddr\n10.0.0.1\nversion end\n{}\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		all := parse(t, every())
		r := NewReader(bytes.NewReader(file))
		for range len(file) + 1 {
			var rec Record
			err := r.Read(&rec)
			if _, ok := errors.AsType[*LineError](err); ok {
				continue
			}
			if err != nil {
				return
			}
			line := all.Append([]byte(all.Header()), &rec)
			if again := read(t, line); !bytes.Equal(all.Append([]byte(all.Header()), &again[0]), line) {
				t.Errorf("%+v\nis written as %s", rec, line)
			}
		}
		t.Errorf("more records than bytes")
	})
}

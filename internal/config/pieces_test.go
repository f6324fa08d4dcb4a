package config

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// checkPieces reads the text in pieces, at once and after another text, and wants what the whole gives.
func checkPieces(t *testing.T, before, text string) (inPieces bool) {
	t.Helper()
	want, err := parseWhole("natd.toml", []byte(text))
	cold, warm := &Parser{seed: maphash.MakeSeed()}, &Parser{seed: maphash.MakeSeed()}
	warm.last = warm.parsePieces("natd.toml", []byte(before))
	for name, p := range map[string]*Parser{"cold": cold, "warm": warm} {
		got := p.parsePieces("natd.toml", []byte(text))
		if got == nil {
			continue // the whole is read
		}
		inPieces = true
		if err != nil {
			t.Fatalf("%s, %q is accepted in pieces, and as a whole refused: %v", name, text, err)
		}
		if diff := cmp.Diff(want, got, sameConfig()); diff != "" {
			t.Errorf("%s, %q as a whole, and in pieces (-whole +pieces):\n%s", name, text, diff)
		}
	}
	return inPieces
}

// sameConfig compares configurations with their lines.
func sameConfig() cmp.Options {
	return cmp.Options{
		cmp.AllowUnexported(Config{}, tableLines{}, keyLine{}), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}, netip.AddrPort{}),
	}
}

// numberedRelay is a relay of its own for each number.
func numberedRelay(i int, more string) string {
	return fmt.Sprintf("[[relay]]\nname = \"r%d\"\nlisten = \":%d\"\nto = [\"10.3.0.100:80\"]\n%s", i, i+1, more)
}

func TestPieces(t *testing.T) {
	t.Parallel()
	const gateway = "[[gateway]]\nname = \"g\"\nfrom = [\"10.0.0.0/8\"]\n"
	tests := []struct{ name, text string }{
		{"one relay", numberedRelay(1, "")},
		{"settings in front", "# a\n[daemon]\nresync = \"5s\"\n\n" + numberedRelay(1, "") + numberedRelay(2, "\n")},
		{"settings behind", numberedRelay(1, "") + numberedRelay(2, "") + "[host]\nforward = \"open\"\n"},
		{"settings between", gateway + numberedRelay(1, "") + "[daemon]\n" + numberedRelay(2, "") + "[host]\n" + minimalStatic + numberedRelay(3, "")},
		{"carriage returns", strings.ReplaceAll(gateway+numberedRelay(1, "")+numberedRelay(2, ""), "\n", "\r\n")},
		{"no newline at the end", strings.TrimSuffix(numberedRelay(1, "")+numberedRelay(2, ""), "\n")},
		{"tables below", numberedRelay(1, "[relay.health]\ntype = \"tcp\"\n") + numberedRelay(2, "health.port = 5\n") + numberedRelay(3, "health = {port = 6}\n")},
		{"backends as tables", strings.ReplaceAll(numberedRelay(1, ""), "to = ", "from = [\"10.0.0.0/8\"]\n#") + "[[relay.to]]\naddress = \"10.3.0.1\"\n[[relay.to]]\naddress = \"10.3.0.2\"\n" + numberedRelay(2, "")},
		{"long lists", numberedRelay(1, "from = [\n\"10.0.0.0/8\", # [[relay]]\n\"11.0.0.0/8\",\n]\n") + numberedRelay(2, "")},
		{"a long string", numberedRelay(1, "egress = '''\neth0'''\n") + numberedRelay(2, "egress = \"\"\"eth0\"\"\"\n")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if !checkPieces(t, numberedRelay(1, "")+numberedRelay(9, ""), tt.text) {
				t.Errorf("%q is not read in pieces", tt.text)
			}
		})
	}
}

// TestNotPieces is for texts that can be read as a whole only.
func TestNotPieces(t *testing.T) {
	t.Parallel()
	a, b := numberedRelay(1, ""), numberedRelay(2, "")
	for _, text := range []string{
		"", "\ufeff" + a, "[daemon]\n", a + a, a + "[deamon]\n" + b, "relay = []\n" + a, "[relay.health]\n" + a, a + "[host]\n[relay.health]\ntype = \"tcp\"\n" + b,
		a + "  " + b, a + "[host]\n[[relay.to]]\n" + b, a + "[host]\n [[relay]]\n", "[flow_log]\npath = '''\n" + a + "'''\n [[relay]]\n", a + "x = [\n" + b + "]\n",
		a + "x = '''\n" + b + "'''\n", "[host]\nx = [\n" + a + "]\n", a + "[ relay.health ]\ntype = \"tcp\"\n" + b, "relay.x = 1\n" + a, a + "[[relay]] x\n", a + "[[relay]\n",
	} {
		if checkPieces(t, a, text) {
			t.Errorf("%q is read in pieces", text)
		}
	}
}

// edit is a line of manyRelays that becomes another.
func edit(t testing.TB, data []byte, from, to string) []byte {
	t.Helper()
	next := bytes.Replace(data, []byte(from), []byte(to), 1)
	if bytes.Equal(next, data) {
		t.Fatalf("there is no %q", from)
	}
	return next
}

// TestParserAgain edits a file, and wants each time what a new Parser reads.
func TestParserAgain(t *testing.T) {
	t.Parallel()
	first := append(manyRelays(2000), "[daemon]\n[[gateway]]\nname = \"g\"\nfrom = [\"10.0.0.0/8\"]\n"...)
	changed := edit(t, first, "name = \"relay-77\"", "name = \"relay-x\"\nlog = true")
	texts := [][]byte{
		first, first, changed, edit(t, changed, "[[relay]]\nname = \"relay-1000\"", "\n\n[[relay]]\nname = \"relay-1000\""),
		changed[bytes.Index(changed, []byte("[[relay]]\nname = \"relay-2\"")):],
		edit(t, changed, "10.0.3.132:80", "10.0.3.131:80"), // claimed twice
		edit(t, changed, "[daemon]", "[daemon]\nresync = \"5s\"\n"), []byte(minimal), first,
	}
	p := &Parser{}
	for i, text := range texts {
		want, wantErr := parseWhole("natd.toml", text)
		before := p.last
		got, err := p.Parse("natd.toml", text)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Fatalf("text %d: the error is %v, want %v", i, err, wantErr)
		}
		if err != nil {
			continue
		}
		if same := i > 0 && bytes.Equal(text, texts[i-1]); same != (got == before) {
			t.Errorf("text %d: the same configuration is %v, want %v", i, got == before, same)
		}
		want.SHA256 = got.SHA256
		if diff := cmp.Diff(want, got, sameConfig()); diff != "" {
			t.Fatalf("text %d (-whole +again):\n%.2000s", i, diff)
		}
	}
}

// TestFreshAgainstTheRest edits a file so that relays contradict some that were not touched, and wants what a new Parser says.
func TestFreshAgainstTheRest(t *testing.T) {
	t.Parallel()
	const (
		anywhere = "[[relay]]\nname = \"anywhere\"\nlisten = \":9\"\nto = [\"172.16.0.1:9\"]\n"
		gateway  = "[[gateway]]\nname = \"g\"\nfrom = [\"10.0.0.0/8\"]\n"
	)
	seed := maphash.MakeSeed()
	first := append(manyRelays(2000), anywhere+gateway...)
	relay := func(i int) string {
		return fmt.Sprintf("name = \"relay-%d\"\nlisten = \"10.0.%d.%d:80\"", i, i>>8, i&255)
	}
	lead := func(i int) string {
		return relay(i) + "\nprotocol = \"tcp\"\nfrom = [\"192.168.0.0/16\"]\nto = [\"172.16.0.100:80\"]"
	}
	to := func(text, old, now string) string { return strings.Replace(text, old, now, 1) }
	for name, text := range map[string][]byte{
		"the name of another relay":             edit(t, first, relay(77), to(relay(77), "relay-77", "relay-1500")),
		"the name of a gateway":                 edit(t, first, relay(77), to(relay(77), "relay-77", "g")),
		"the port of another relay":             edit(t, first, relay(77), to(relay(77), "10.0.0.77", "10.0.5.220")),
		"a port that one has everywhere":        edit(t, first, relay(77), to(relay(77), ":80", ":9")),
		"everywhere a port that one has":        edit(t, first, relay(77), to(relay(77), "10.0.0.77:80", ":80")),
		"everywhere what one has everywhere":    edit(t, first, relay(77), to(relay(77), "10.0.0.77:80", ":9")),
		"a backend that is another's listen":    edit(t, first, lead(77), to(lead(77), "172.16.0.100", "10.0.5.220")),
		"a listen that is another's backend":    edit(t, first, relay(77), to(relay(77), "10.0.0.77", "172.16.0.100")),
		"a backend that is the relay's listen":  edit(t, first, lead(77), to(lead(77), "172.16.0.100", "10.0.0.77")),
		"two that are new":                      edit(t, edit(t, first, relay(77), to(relay(77), ":80", ":81")), relay(1700), to(relay(1700), "10.0.6.164:80", "10.0.0.77:81")),
		"two that lead to each other":           edit(t, edit(t, first, lead(77), to(lead(77), "172.16.0.100", "10.0.6.164")), lead(1700), to(lead(1700), "172.16.0.100", "10.0.0.77")),
		"the same relays again":                 append(slices.Clip(first), first[:len(first)-len(anywhere+gateway)]...),
		"some of the same relays again":         append(slices.Clip(cut(seed, first).pieces[0].text), first...),
		"a gateway with the name of a relay":    edit(t, first, "\"g\"", "\"relay-77\""),
		"nothing that contradicts":              edit(t, first, relay(77), to(relay(77), ":80", ":81")),
		"everywhere a port that nobody has yet": edit(t, first, relay(77), to(relay(77), "10.0.0.77:80", ":81")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, want := parseWhole("natd.toml", text)
			if free := strings.HasPrefix(name, "nothing") || strings.HasSuffix(name, "yet"); (want == nil) != free {
				t.Fatalf("as a whole: %v", want)
			}
			p := &Parser{seed: seed}
			for _, before := range [][]byte{first, edit(t, text, "172.16.0.1:9", "oops"), first, text} {
				_, err := p.Parse("natd.toml", before)
				if bytes.Equal(before, text) && fmt.Sprint(err) != fmt.Sprint(want) {
					t.Errorf("again: %v, want %v", err, want)
				}
			}
		})
	}
}

// TestFreshTooMany adds relays of so many ports that to look at each of them would take all memory. It is alone, so as to measure that.
func TestFreshTooMany(t *testing.T) {
	first := manyRelays(2000)
	var more strings.Builder
	for i := range 300 {
		fmt.Fprintf(&more, "[[relay]]\nname = \"wide-%d\"\nlisten = \"10.9.%d.%d:1-65535\"\nto = [\"172.16.0.1\"]\n", i, i>>8, i&255)
	}
	p := &Parser{}
	if _, err := p.Parse("natd.toml", first); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := p.Parse("natd.toml", append(slices.Clip(first), more.String()...))
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "kernel elements") {
		t.Errorf("the error is %v", err)
	}
	if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 200 {
		t.Errorf("it took %d MiB to refuse them", used)
	}
}

// TestPiecesAtRandom puts lines together that make sense rarely, and often only as a whole.
func TestPiecesAtRandom(t *testing.T) {
	t.Parallel()
	lines := []string{
		"[[relay]]", "[[relay]] # x", "  [[relay]]", "[[\"relay\"]]", "[relay.health]", "[[relay.to]]", "[ relay . health ]", "[host]", "[[gateway]]", "[relay]",
		"name = \"a\"", "name = \"b\"", "listen = \":80\"", "listen = \":81\"", "to = [\"10.3.0.1\"]", "to = [{address = \"10.3.0.1\"}, {address = \"10.3.0.2\", weight = 5}]",
		"health = {type = \"tcp\"}", "health = \"tcp\"", "health.type = \"tcp\"", "health.port = 5", "health.rise = 1", "type = \"tcp\"", "port = 5", "address = \"10.3.0.4\"",
		"from = [\"10.0.0.0/8\"]", "from = [", "\"10.0.0.0/8\",", "]", "x = '''", "'''", "\"\"\"", "egress = \"\"\"eth0\"\"\"", "to.address = \"10.3.0.1\"", "relay = []",
		"forward = \"open\"", "", "# [[relay]]", "protocol = [\"tcp\", \"udp\"]", "protocol = \"udp\"", "\"name\" = \"d\"", "[[relay.health]]", "to = []",
	}
	whole := []string{minimalGateway, numberedRelay(1, ""), numberedRelay(2, ""), numberedRelay(3, "from = [\"10.0.0.0/8\"]\n"), strings.TrimSuffix(numberedRelay(4, ""), "to = [\"10.3.0.100:80\"]\n")}
	rng := rand.New(rand.NewPCG(5, 6))
	random := func() string {
		var b strings.Builder
		for range 1 + rng.IntN(7) {
			if rng.IntN(2) == 0 {
				b.WriteString(whole[rng.IntN(len(whole))])
			} else {
				b.WriteString(lines[rng.IntN(len(lines))] + "\n")
			}
		}
		return b.String()
	}
	inPieces := 0
	for range 5000 {
		before, text := random(), random()
		if rng.IntN(3) == 0 {
			text = before + text
		}
		if checkPieces(t, before, text) {
			inPieces++
		}
	}
	if inPieces < 100 {
		t.Errorf("only %d texts were read in pieces", inPieces)
	}
}

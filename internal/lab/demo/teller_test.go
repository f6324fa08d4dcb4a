package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"natd/internal/lab"
)

func TestTeller(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	tell := newTeller(&out)
	tell.title("A step")
	tell.check(true, "water is wet", "not told")
	if err := tell.err(); err != nil {
		t.Errorf("an error although all facts hold: %v", err)
	}
	tell.check(false, "pigs fly", "they walk")
	tell.check(false, "fish walk", "")
	tell.show("a\nb\nc\n", 2)
	want := `
== A step
   ok   water is wet
   FAIL pigs fly
   | they walk
   FAIL fish walk
   | a
   | b
   | ... and 1 more lines
`
	if out.String() != want {
		t.Errorf("it told\n%s\nwant\n%s", &out, want)
	}
	if err := tell.err(); err == nil || !strings.Contains(err.Error(), "pigs fly; fish walk") {
		t.Errorf("the error is %v, want both facts", err)
	}
}

func TestColorsOnlyWhereWanted(t *testing.T) {
	t.Parallel()
	if got := (&teller{color: true}).paint(red, "x"); got != "\x1b[31mx\x1b[0m" {
		t.Errorf("painted %q", got)
	}
	if got := (&teller{}).paint(red, "x"); got != "x" {
		t.Errorf("painted %q without colour", got)
	}
}

func TestTitle(t *testing.T) {
	t.Parallel()
	for page, want := range map[string]string{
		lab.DefaultPage():             pageTitle,
		"<title> spaced </title>":     "spaced",
		"<title>never ends":           "",
		"no title</title> <p>at all ": "",
		"":                            "",
	} {
		if got := title(page); got != want {
			t.Errorf("the title of %q is %q, want %q", page, got, want)
		}
	}
}

func packets(lines ...[3]string) []lab.Packet {
	var all []lab.Packet
	for _, l := range lines {
		all = append(all, lab.Packet{
			Proto: "tcp", Src: netip.MustParseAddrPort(l[0]), Dst: netip.MustParseAddrPort(l[1]), Flags: l[2],
		})
	}
	return all
}

func TestFirstsAndStillOpen(t *testing.T) {
	t.Parallel()
	const a, b = "10.1.0.100:4000", "10.2.0.100:80"
	tests := []struct {
		name         string
		in           []lab.Packet
		first, still []string
	}{
		{"nothing", nil, nil, nil},
		{
			"no answer", packets([3]string{a, b, "S"}, [3]string{a, b, "S"}),
			[]string{"10.1.0.100.4000 > 10.2.0.100.80"},
			[]string{"10.1.0.100.4000 > 10.2.0.100.80", "10.1.0.100.4000 > 10.2.0.100.80"},
		},
		{
			"half closed", packets([3]string{a, b, "S"}, [3]string{b, a, "S."}, [3]string{a, b, "F."}),
			[]string{"10.1.0.100.4000 > 10.2.0.100.80", "10.2.0.100.80 > 10.1.0.100.4000"},
			[]string{"10.2.0.100.80 > 10.1.0.100.4000"},
		},
		{
			"closed", packets([3]string{a, b, "S"}, [3]string{b, a, "S."}, [3]string{a, b, "F."}, [3]string{b, a, "FP."}),
			[]string{"10.1.0.100.4000 > 10.2.0.100.80", "10.2.0.100.80 > 10.1.0.100.4000"},
			nil,
		},
	}
	for _, tt := range tests {
		var first []string
		for _, p := range firsts(tt.in) {
			first = append(first, pair(p))
		}
		if !slices.Equal(first, tt.first) {
			t.Errorf("%s: the first packets are %q, want %q", tt.name, first, tt.first)
		}
		if got := stillOpen(tt.in); !slices.Equal(got, tt.still) {
			t.Errorf("%s: still open is %q, want %q", tt.name, got, tt.still)
		}
	}
}

// TestTellPacketsNoticesAChangedPort has B pick another port for its own leg.
func TestTellPacketsNoticesAChangedPort(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		port   string
		failed int
	}{{"4000", 0}, {"4001", 2}} {
		a := &lab.Host{Name: "A", Addr: netip.MustParseAddr("10.1.0.100")}
		b := &lab.Host{Name: "B", Addr: netip.MustParseAddr("10.2.0.100")}
		c := &lab.Host{Name: "C", Addr: netip.MustParseAddr("10.3.0.100")}
		outer := packets([3]string{"10.1.0.100:4000", "10.2.0.100:80", "S"}, [3]string{"10.2.0.100:80", "10.1.0.100:4000", "S."})
		inner := packets([3]string{"10.2.0.100:" + tt.port, "10.3.0.100:80", "S"}, [3]string{"10.3.0.100:80", "10.2.0.100:" + tt.port, "S."})
		both := []lab.Packet{outer[0], inner[0], inner[1], outer[1]}
		var out strings.Builder
		s := &story{Peering: &lab.Peering{A: a, B: b, C: c}, teller: newTeller(&out)}
		s.tellPackets([]seen{{a, outer}, {b, both}, {c, inner}})
		if len(s.failed) != tt.failed {
			t.Errorf("port %s: %d facts failed, want %d:\n%s", tt.port, len(s.failed), tt.failed, &out)
		}
	}
}

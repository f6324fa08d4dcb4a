package config

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func FuzzParse(f *testing.F) {
	example, err := os.ReadFile(exampleFile)
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{
		string(example), uncommented(string(example)), minimal, minimalGateway, minimalStatic, "", "\ufeff", "\r\n", strings.ReplaceAll(minimal, "\n", "\r\n"),
		"relay = [{name = \"a\", listen = \":1\", to = [\"10.3.0.100\"]}, {}, 5]",
		"[[relay]]\nname = '''\nweb'''\n[relay.health]\ntype = \"tcp\"\n[[relay.to]]\n",
		"[[relay]]\nname = \"a\"\nlisten = \"[fd00:2::1]:1-9\"\nprotocol = [\"sctp\", \"tcp\"]\nsnat = [\"fd00:2::1-fd00:2::9\", \"fd00::1\"]\n" +
			"mss = 1220\nmax_connections = 9\nmax_per_source = 8\nrate = \"7/m\"\nbalance = \"source\"\nfail = \"closed\"\n" +
			"health = {interval = \"3s\", timeout = \"1s\", rise = 1, fall = 2, port = 9}\n" +
			"[[relay.to]]\naddress = \"[fd00:3::1]:11-19\"\nweight = 5\n[[relay.to]]\naddress = \"web.example:1-9\"\nbackup = true\n",
		"[daemon]\nresolver = \"[fd00:ec2::253]:53\"\n[[gateway]]\nname = \"g\"\nfrom = [\"fd00::/8\", \"10.0.0.0/8\"]\nto = [\"::/0\"]\negress = \"e\"\n" +
			"[[gateway]]\nfrom = [\"10.0.0.0/9\"]\n[[static]]\nexternal = \"10.0.0.0/8\"\ninternal = \"11.0.0.0/8\"\n[[static]]\nexternal = \"10.0.0.1\"\ninternal = \"10.0.0.1\"\n",
		"daemon.log_level = \"x\"\n\"d\\u0061emon\".b = \"\"\"\n[a]\"\"\"\n[host]\nconntrack_max = 1_000\n",
		"a = [[1, 2], {b = {c = 1979-05-27}}, # x\n]\nb = {a = 1,\n c.d = nan}\n[ x . \"y\" ]\n",
		"a = \"\"\"\\\"\"\"\"\"\nb = ''''a'''''\nc = \"\n", "a = 0x\nb = 1__0", "[a]\n[a]", "[[a]]\n[a.b]\n[[a.b]]", "\xff\xfe", "a = \"\xff\"",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse("natd.toml", []byte(text))
		if err != nil {
			checkPositions(t, text, err)
		} else if c == nil {
			t.Error("neither a configuration nor an error")
		}
		if doc, err := decode("natd.toml", []byte(text)); err == nil {
			checkLocated(t, text, doc.values, doc.sections)
		}
	})
}

// checkPositions asks for errors in one line each, in lines of the text, in their order.
func checkPositions(t *testing.T, text string, err error) {
	t.Helper()
	var errs Errors
	if !errors.As(err, &errs) || len(errs) == 0 {
		t.Fatalf("the error is %#v, want Errors", err)
	}
	lines, previous := 1+strings.Count(text, "\n"), 0
	for _, e := range errs {
		if e.Line < previous || e.Line > lines {
			t.Errorf("an error in line %d of %d, after one in %d: %v", e.Line, lines, previous, e)
		}
		previous = e.Line
		whole := e.Line == 0
		if isEmpty := strings.HasPrefix(e.Rule, "empty"); whole != isEmpty {
			t.Errorf("an error in line %d: %v", e.Line, e)
		}
		if strings.ContainsFunc(e.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("an error with control characters: %q", e.Error())
		}
	}
}

// FuzzPieces holds what is read in pieces, at once and after another file, against the whole.
func FuzzPieces(f *testing.F) {
	a, b := numberedRelay(1, ""), numberedRelay(2, "health = {type = \"tcp\"}\n")
	for _, text := range []string{
		a + "[relay.health]\nport = 1\n" + b, b + "health.rise = 3\n" + a, "[host]\n" + a + minimalGateway + b + "[[relay.to]]\n",
		a + "x = \"\"\"" + b + "\"\"\"\n", a + "x = [\n" + b + "]\n", " [[relay]]\n" + a, "[[relay]]" + b + "[relay]\n", a + "'[[relay]]'\n" + b,
	} {
		f.Add(a+b, text)
		f.Add(text, b)
	}
	f.Fuzz(func(t *testing.T, before, text string) {
		checkPieces(t, before, text)
		checkPieces(t, text, before+text)
	})
}

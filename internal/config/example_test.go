package config

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"natd/nat"
)

const exampleFile = "../../config.example.toml"

func TestExample(t *testing.T) {
	t.Parallel()
	c, err := Load(exampleFile)
	if err != nil {
		t.Fatalf("the example file is refused:\n%v", err)
	}
	want := nat.Spec{Relays: []nat.Relay{minimalRelay(func(r *nat.Relay) {
		r.From = networks("10.1.0.0/16")
	})}}
	if diff := cmp.Diff(want, c.NAT, compareAddresses()); diff != "" {
		t.Errorf("Spec (-want +got):\n%s", diff)
	}
}

// TestExampleIsComplete asks for every key and every table, and for values that are the defaults.
func TestExampleIsComplete(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	sections, _ := locate(string(data) + uncommented(string(data)))
	for name, keys := range map[string]string{"daemon": daemonKeys, "host": hostKeys, "relay": relayKeys, "gateway": gatewayKeys, "static": staticKeys} {
		if sections[name] == nil {
			t.Errorf("the example file has no table %q", name)
			continue
		}
		for key := range strings.FieldsSeq(keys) {
			if !slices.ContainsFunc(sections[name].tables[0].keys, func(k keyLine) bool { return k.key == key }) {
				t.Errorf("the example file does not show the key %q of %q", key, name)
			}
		}
	}
	example, none := mustParse(t, string(data)), mustParse(t, "[daemon]")
	if diff := cmp.Diff(none.Daemon, example.Daemon, compareAddresses()); diff != "" {
		t.Errorf("[daemon] does not show the defaults (-default +example):\n%s", diff)
	}
	if diff := cmp.Diff(none.Host, example.Host); diff != "" {
		t.Errorf("[host] does not show the defaults (-default +example):\n%s", diff)
	}
}

// uncommented returns the tables that the example file shows as comments.
func uncommented(example string) string {
	var b strings.Builder
	inTable := false
	for line := range strings.Lines(example) {
		text, comment := strings.CutPrefix(line, "# ")
		inTable = comment && (inTable || strings.HasPrefix(text, "[["))
		if inTable {
			b.WriteString(text)
		}
	}
	return b.String()
}

// TestExampleUncommented reads what the example file shows as comments.
func TestExampleUncommented(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	c := mustParse(t, string(data)+"\n"+uncommented(string(data)))
	var names []string
	for _, r := range c.NAT.Relays {
		names = append(names, r.Name)
	}
	for _, g := range c.NAT.Gateways {
		names = append(names, g.Name)
	}
	for _, s := range c.NAT.Statics {
		names = append(names, s.Name)
	}
	if diff := cmp.Diff([]string{"web", "voice", "shop", "private-subnets", "overlap-c"}, names); diff != "" {
		t.Errorf("the example shows (-want +got):\n%s", diff)
	}
}

// TestContract reads a file with everything that natd is to know one day.
func TestContract(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/contract.toml")
	if err != nil {
		t.Fatal(err)
	}
	later := map[string]bool{}
	for name := range strings.FieldsSeq(tableNamesLater) {
		later[name] = true
	}
	_, err = Parse("natd.toml", data)
	errs, _ := errors.AsType[Errors](err)
	for _, e := range errs {
		if e.Rule != "not supported yet" || !later[e.Table] {
			t.Error(e)
		}
	}
	if len(errs) != len(later) {
		t.Errorf("%d tables are refused, want %d", len(errs), len(later))
	}
}

package check

import (
	"maps"
	"strings"
	"testing"

	"github.com/hashicorp/go-cty-funcs/cidr"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// TestTerraformValidations wants the module to refuse what natd or AWS would refuse only when the instance stands.
func TestTerraformValidations(t *testing.T) {
	good := map[string]cty.Value{
		"port": cty.NumberIntVal(80), "from": texts("10.1.0.0/16", "10.9.0.1", "0.0.0.0/0"),
		"to": cty.StringVal("10.3.0.100:65535"), "protocol": cty.StringVal("udp"),
	}
	relays := func(name, key string, value cty.Value) cty.Value {
		relay := maps.Clone(good)
		relay[key] = value
		return cty.MapVal(map[string]cty.Value{name: cty.ObjectVal(relay)})
	}
	tests := []struct {
		variable string
		value    cty.Value
		want     string // the beginning of the error, "" when the value is right
	}{
		{"relays", relays("web-1", "port", cty.NumberIntVal(65535)), ""},
		{"relays", relays("Web", "port", cty.NumberIntVal(80)), "A relay's name"},
		{"relays", relays("-web", "port", cty.NumberIntVal(80)), "A relay's name"},
		{"relays", relays(strings.Repeat("w", 49), "port", cty.NumberIntVal(80)), "A relay's name"},
		{"relays", relays("web", "port", cty.NumberIntVal(0)), "port is"},
		{"relays", relays("web", "port", cty.NumberIntVal(65536)), "port is"},
		{"relays", relays("web", "port", cty.NumberFloatVal(80.5)), "port is"},
		{"relays", relays("web", "from", texts("10.1.0.5/16")), "from is"},
		{"relays", relays("web", "from", texts("10.1.0.0/33")), "from is"},
		{"relays", relays("web", "from", texts("10.1.0.300")), "from is"},
		{"relays", relays("web", "from", texts("fd00::/8")), "from is"},
		{"relays", relays("web", "from", cty.ListValEmpty(cty.String)), "from is"},
		{"relays", relays("web", "to", cty.StringVal("10.3.0.100")), "to is"},
		{"relays", relays("web", "to", cty.StringVal("10.3.0.300:80")), "to is"},
		{"relays", relays("web", "to", cty.StringVal("10.3.0.100:0")), "to is"},
		{"relays", relays("web", "to", cty.StringVal("10.3.0.100:65536")), "to is"},
		{"relays", relays("web", "protocol", cty.StringVal("icmp")), "protocol is"},
		{"private_ip", cty.StringVal("10.2.0.100"), ""},
		{"private_ip", cty.StringVal("10.2.0.256"), "private_ip is"},
		{"package_url", cty.StringVal("s3://bucket/natd-{arch}.rpm"), ""},
		{"package_url", cty.StringVal("https://example.com/natd.deb?a=b.c"), ""},
		{"package_url", cty.StringVal("https://example.com/natd"), "package_url begins"},
	}
	for _, test := range tests {
		if got := complaint(t, test.variable, test.value); !strings.HasPrefix(got, test.want) || (got == "") != (test.want == "") {
			t.Errorf("%s = %#v: %q, want %q", test.variable, test.value, got, test.want)
		}
	}
}

func texts(list ...string) cty.Value {
	values := make([]cty.Value, 0, len(list))
	for _, text := range list {
		values = append(values, cty.StringVal(text))
	}
	return cty.ListVal(values)
}

// complaint returns the error of the first validation of the module's variable that the value does not pass.
func complaint(t *testing.T, variable string, value cty.Value) string {
	t.Helper()
	path := deploy("terraform", "variables.tf")
	parsed, problems := hclsyntax.ParseConfig([]byte(read(t, path)), path, hcl.InitialPos)
	if problems.HasErrors() {
		t.Fatalf("parse: %v", problems)
	}
	scope := &hcl.EvalContext{
		Variables: map[string]cty.Value{"var": cty.ObjectVal(map[string]cty.Value{variable: value})},
		Functions: functions(),
	}
	for _, block := range parsed.Body.(*hclsyntax.Body).Blocks {
		if block.Type != "variable" || block.Labels[0] != variable {
			continue
		}
		for _, validation := range block.Body.Blocks {
			result, problems := validation.Body.Attributes["condition"].Expr.Value(scope)
			if problems.HasErrors() {
				t.Fatalf("%s = %#v: %v", variable, value, problems)
			}
			if result.False() {
				message, _ := validation.Body.Attributes["error_message"].Expr.Value(scope)
				return message.AsString()
			}
		}
	}
	return ""
}

// functions are those of Terraform that the validations use.
func functions() map[string]function.Function {
	return map[string]function.Function{
		"alltrue": function.New(&function.Spec{
			Params: []function.Parameter{{Name: "list", Type: cty.List(cty.Bool)}},
			Type:   function.StaticReturnType(cty.Bool),
			Impl: func(arguments []cty.Value, _ cty.Type) (cty.Value, error) {
				for _, value := range arguments[0].AsValueSlice() {
					if value.False() {
						return cty.False, nil
					}
				}
				return cty.True, nil
			},
		}),
		"can":        tryfunc.CanFunc,
		"cidrsubnet": cidr.SubnetFunc,
		"contains":   stdlib.ContainsFunc,
		"floor":      stdlib.FloorFunc,
		"length":     stdlib.LengthFunc,
		"regex":      stdlib.RegexFunc,
		"split":      stdlib.SplitFunc,
		"tonumber":   stdlib.MakeToFunc(cty.Number),
		"try":        tryfunc.TryFunc,
	}
}

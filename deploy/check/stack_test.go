package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// signal stands for cfn-signal, which is in Amazon Linux's images.
const signal = `#!/bin/sh
echo "cfn-signal $*" >>/calls
`

// TestStackUserData runs the relay's user-data as CloudFormation would put it together: it signals success when natd is
// ready, and failure when the script fails, with the exit code of the script.
func TestStackUserData(t *testing.T) {
	host := newMachine(t)
	host.prepare(t)
	write(t, host.path("/opt/aws/bin/cfn-signal"), signal, 0o755)
	path, sum := host.addPackage(t, "1.0.0")

	for url, code := range map[string]string{path: "0", "/nowhere.deb": "1"} {
		text := relayUserData(t, map[string]string{"Url": url, "PackageSha256": sum, "AWS::StackName": "natd", "AWS::Region": "eu-west-1"})
		if len(text) > 16384 {
			t.Errorf("the user-data has %d bytes, more than EC2 takes", len(text))
		}
		write(t, host.path("/stack-user-data"), text, 0o755)
		_, out := host.run(t, nil, "/stack-user-data")
		want := "cfn-signal --exit-code " + code + " --stack natd --resource Relay --region eu-west-1"
		if calls := host.calls(t); !strings.Contains(calls, want) {
			t.Errorf("want %q, got:\n%s%s", want, calls, out)
		}
	}
	want := "[[relay]]\nname   = \"web\"\nlisten = \"10.2.0.100:80\"\nfrom   = [\"10.1.0.0/16\"]\nto     = [\"10.3.0.100:80\"]\n"
	if got := read(t, host.path(config)); got != want {
		t.Errorf("the configuration is\n%s\nwant\n%s", got, want)
	}
}

// relayUserData joins the relay's user-data, with the defaults of the parameters and these values.
func relayUserData(t *testing.T, values map[string]string) string {
	t.Helper()
	var parsed struct {
		Parameters map[string]map[string]any `yaml:"Parameters"`
		Resources  struct {
			Relay struct {
				Properties struct {
					UserData struct {
						Join []any `yaml:"Fn::Base64"`
					} `yaml:"UserData"`
				} `yaml:"Properties"`
			} `yaml:"Relay"`
		} `yaml:"Resources"`
	}
	if err := yaml.Unmarshal([]byte(read(t, deploy("cloudformation", "transitive-peering.yaml"))), &parsed); err != nil {
		t.Fatalf("parse the template: %v", err)
	}
	parts := parsed.Resources.Relay.Properties.UserData.Join[1].([]any)
	settings := parts[0].([]any)[0].(string)
	value := func(reference string) string {
		name := strings.Trim(reference, "${}")
		if given, ok := values[name]; ok {
			return given
		}
		text, err := yaml.Marshal(parsed.Parameters[name]["Default"])
		if err != nil || parsed.Parameters[name] == nil {
			t.Fatalf("%s has no value: %v", reference, err)
		}
		return strings.TrimSpace(string(text))
	}
	sub := regexp.MustCompile(`\$\{[^}]+\}`)
	return sub.ReplaceAllStringFunc(settings, value) + parts[1].(string) + sub.ReplaceAllStringFunc(parts[2].(string), value)
}

// TestStackPackage wants one source of the package, whole.
func TestStackPackage(t *testing.T) {
	var parsed struct {
		Rules map[string]struct {
			Assertions []struct {
				Assert yaml.Node `yaml:"Assert"`
			} `yaml:"Assertions"`
		} `yaml:"Rules"`
	}
	if err := yaml.Unmarshal([]byte(read(t, deploy("cloudformation", "transitive-peering.yaml"))), &parsed); err != nil {
		t.Fatalf("parse the template: %v", err)
	}
	rule := parsed.Rules["PackageGiven"].Assertions[0].Assert
	for given, want := range map[string]bool{
		"":                                       false,
		"PackageBucket PackageKey":               true,
		"PackageBucket PackageKey PackageSha256": true,
		"PackageUrl PackageSha256":               true,
		"PackageBucket":                          false,
		"PackageKey":                             false,
		"PackageUrl":                             false,
		"PackageBucket PackageUrl PackageSha256": false,
		"PackageKey PackageUrl PackageSha256":    false,
		"PackageBucket PackageKey PackageUrl":    false,
		"PackageBucket PackageKey PackageUrl PackageSha256": false,
	} {
		if got := holds(t, &rule, strings.Fields(given)); got != want {
			t.Errorf("with %q the stack is accepted: %v, want %v", given, got, want)
		}
	}
}

// holds evaluates a condition of CloudFormation, in which the given parameters have a value and all others are empty.
func holds(t *testing.T, condition *yaml.Node, given []string) bool {
	t.Helper()
	is := func(part *yaml.Node) bool { return holds(t, part, given) }
	switch condition.Tag {
	case "!Or":
		return slices.ContainsFunc(condition.Content, is)
	case "!And":
		return !slices.ContainsFunc(condition.Content, func(part *yaml.Node) bool { return !is(part) })
	case "!Not":
		return !is(condition.Content[0])
	case "!Equals":
		if condition.Content[0].Tag != "!Ref" || condition.Content[1].Value != "" {
			t.Fatalf("line %d compares other things than a parameter with nothing", condition.Line)
		}
		return !slices.Contains(given, condition.Content[0].Value)
	}
	t.Fatalf("line %d: %s is not known here", condition.Line, condition.Tag)
	return false
}

// TestStackTryIt runs the command of the output with an aws that does not know the command at first, then has no answer.
func TestStackTryIt(t *testing.T) {
	var parsed struct {
		Outputs map[string]struct {
			Value string `yaml:"Value"`
		} `yaml:"Outputs"`
	}
	if err := yaml.Unmarshal([]byte(read(t, deploy("cloudformation", "transitive-peering.yaml"))), &parsed); err != nil {
		t.Fatalf("parse the template: %v", err)
	}
	folder := t.TempDir()
	write(t, filepath.Join(folder, "aws"), `#!/bin/sh
[ "$2" != send-command ] || { echo the-command; exit; }
echo again >>"$0.asked"
case $(wc -l <"$0.asked") in
1) echo InvocationDoesNotExist >&2; exit 254 ;;
2) echo ;;
*) echo "the page of $*" ;;
esac
`, 0o755)
	command := exec.Command("bash", "-c", regexp.MustCompile(`\$\{[^}]+\}`).ReplaceAllString(parsed.Outputs["TryIt"].Value, "x"))
	command.Env = append(os.Environ(), "PATH="+folder+":"+os.Getenv("PATH"))
	out, err := command.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "the page of ssm get-command-invocation --region x --command-id the-command") {
		t.Errorf("%v\n%s", err, out)
	}
}

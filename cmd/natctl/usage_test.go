package main

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"natd/internal/control"
)

func TestUsageMistakes(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args string
		want string
	}{
		"unknown command":           {"frobnicate", "natctl: unknown command \"frobnicate\"\nSee \"natctl --help\".\n"},
		"misspelt command":          {"stauts", "natctl: unknown command \"stauts\"; did you mean status?\nSee \"natctl --help\".\n"},
		"misspelt with its flags":   {"stauts --watch", "natctl: unknown command \"stauts\"; did you mean status?\nSee \"natctl --help\".\n"},
		"verb of a later version":   {"trace web", "natctl: unknown command \"trace\"\nSee \"natctl --help\".\n"},
		"watch of nothing":          {"diagnose --watch", "natctl: --watch needs to know what the client dials: the name of a relay, or ADDR:PORT\nSee \"natctl diagnose --help\".\n"},
		"watch for no time":         {"diagnose web --watch --timeout 1ms", "natctl: --timeout must be at least 1s\nSee \"natctl diagnose --help\".\n"},
		"diagnose from a name":      {"diagnose web --from host", "natctl: --from \"host\" is no address: write it like 10.1.0.100\nSee \"natctl diagnose --help\".\n"},
		"unknown flag":              {"status --bogus", "natctl: unknown flag: --bogus\nSee \"natctl status --help\".\n"},
		"unknown flag of the root":  {"--bogus", "natctl: unknown flag: --bogus\nSee \"natctl --help\".\n"},
		"too many arguments":        {"check a b", "natctl: accepts at most 1 arg(s), received 2\nSee \"natctl check --help\".\n"},
		"argument where none fits":  {"status web", "natctl: status takes no argument such as \"web\"; did you mean --relay web?\nSee \"natctl status --help\".\n"},
		"relay without its flag":    {"connections web", "natctl: connections takes no argument such as \"web\"; did you mean --relay web?\nSee \"natctl connections --help\".\n"},
		"flag without value":        {"status --socket", "natctl: flag needs an argument: --socket\nSee \"natctl status --help\".\n"},
		"drain of nothing":          {"drain", "natctl: accepts between 1 and 2 arg(s), received 0\nSee \"natctl drain --help\".\n"},
		"enable of three":           {"enable web a b", "natctl: accepts between 1 and 2 arg(s), received 3\nSee \"natctl enable --help\".\n"},
		"unknown shell":             {"completion tcsh", "natctl: invalid argument \"tcsh\" for \"natctl completion\"\nSee \"natctl completion --help\".\n"},
		"no shell":                  {"completion", "natctl: accepts 1 arg(s), received 0\nSee \"natctl completion --help\".\n"},
		"help on what there is not": {"help frobnicate", "natctl: there is no help on \"frobnicate\"\nSee \"natctl help --help\".\n"},
		"flag of another command":   {"reload --state /tmp", "natctl: unknown flag: --state\nSee \"natctl reload --help\".\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, strings.Fields(test.args)...).want(t, control.CodeUsage, "", test.want)
		})
	}
}

func TestNoCommand(t *testing.T) {
	t.Parallel()
	got := run(t)
	if got.code != control.CodeUsage || got.stdout != "" || !strings.Contains(got.stderr, "Available Commands:") {
		t.Errorf("got %+v", got)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--help"}, {"help"}, {"help", "status"}, {"status", "--help"}} {
		got := run(t, args...)
		if got.code != control.CodeOK || got.stderr != "" || !strings.Contains(got.stdout, "Usage:") {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

// Every failure has its line on stderr, its exit code, and with --json its document on stdout.
func TestRuntimeErrors(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "natd.sock")
	refusing := func(err error) string { return serve(t, &fake{err: err}) }
	tests := map[string]struct {
		args   []string
		socket string
		code   int
		want   string
	}{
		"status, no daemon":       {[]string{"status"}, missing, control.CodeUnreachable, "natd does not answer on " + missing + ": is it running? systemctl status natd"},
		"reload, no daemon":       {[]string{"reload"}, missing, control.CodeUnreachable, "is it running?"},
		"connections, no daemon":  {[]string{"connections"}, missing, control.CodeUnreachable, "is it running?"},
		"not permitted":           {[]string{"reload"}, refusing(control.Errorf(control.CodeNotPermitted, "not permitted: only root may")), control.CodeNotPermitted, "only root may"},
		"invalid configuration":   {[]string{"reload"}, refusing(control.Errorf(control.CodeConfig, "a.toml:3: wrong\na.toml:4: wrong too")), control.CodeConfig, "the configuration is invalid:\na.toml:3: wrong\na.toml:4: wrong too\n"},
		"the kernel refused":      {[]string{"reload"}, refusing(errors.New("netlink: no space")), control.CodeFailed, "natctl: netlink: no space\n"},
		"unknown relay":           {[]string{"connections", "--relay", "x"}, refusing(errors.New(`no relay "x"; there are: web`)), control.CodeFailed, `no relay "x"; there are: web`},
		"drain, no daemon":        {[]string{"drain", "web"}, missing, control.CodeUnreachable, "is it running?"},
		"enable not permitted":    {[]string{"enable", "web"}, refusing(control.Errorf(control.CodeNotPermitted, "not permitted: only root may")), control.CodeNotPermitted, "only root may"},
		"flush refused by daemon": {[]string{"flush"}, refusing(errors.New("busy")), control.CodeFailed, "natctl: busy\n"},
		"escape in a message":     {[]string{"status"}, refusing(errors.New("\x1b[2J")), control.CodeFailed, "natctl: ?[2J\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append(test.args, "--socket", test.socket)
			plain := run(t, args...)
			plain.wantError(t, test.code, test.want)
			if plain.stdout != "" {
				t.Errorf("stdout: %s", plain.stdout)
			}
			machine := run(t, append(args, "--json")...)
			machine.wantError(t, test.code, test.want)
			doc := machine.document(t)
			if got, _ := at(doc, "error.code"); got != float64(test.code) {
				t.Errorf("error.code = %v, want %d", got, test.code)
			}
			if got, _ := at(doc, "error.message"); got == "" {
				t.Error("no error.message")
			}
		})
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish"} {
		got := run(t, "completion", shell)
		if got.code != control.CodeOK || !strings.Contains(got.stdout, "natctl") {
			t.Errorf("%s: exit %d, %d bytes", shell, got.code, len(got.stdout))
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			continue // not installed: nobody to judge the script
		}
		check := exec.Command(path, "-n")
		check.Stdin = bytes.NewReader([]byte(got.stdout))
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s does not like it: %v\n%s", shell, err, out)
		}
	}
}

// The hidden command that the completion scripts call knows the verbs and the relays.
func TestCompletionWords(t *testing.T) {
	t.Parallel()
	socket := serve(t, &fake{status: troubled()})
	if got := run(t, "__complete", "connections", "--socket", socket, "--relay", ""); !strings.HasPrefix(got.stdout, "web\ndns\nold\n:4\n") {
		t.Errorf("relays: %q", got.stdout)
	}
	for args, want := range map[string]string{
		"drain ": "web\ndns\nold\n:4\n", "enable ": "web\ndns\nold\n:4\n", "drain dns ": "10.3.0.53:53\ndns.internal\n:4\n", "drain old ": ":4\n", "drain web 10.3.0.100:80 ": ":4\n",
	} {
		words := append([]string{"__complete", "--socket", socket}, strings.Split(args, " ")...)
		if got := run(t, words...); !strings.HasPrefix(got.stdout, want) {
			t.Errorf("%s: %q, want %q", args, got.stdout, want)
		}
	}
	if got := run(t, "__complete", "re"); !strings.HasPrefix(got.stdout, "reload\t") {
		t.Errorf("verbs: %q", got.stdout)
	}
}

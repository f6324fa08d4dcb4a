package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"natd/internal/config"
	"natd/internal/control"
	"natd/internal/diagnose"
)

const (
	defaultConfig = "/etc/natd/natd.toml"
	defaultSocket = "/run/natd/natd.sock"
	defaultState  = "/var/lib/natd"
)

// loading loads a configuration.
type loading = func() (*config.Config, error)

// local is the work that needs no daemon.
type local struct {
	rules func(context.Context, *config.Config, *control.Known) (string, error)    // the ruleset as nft text
	plan  func(context.Context, loading, *control.Known) (*control.Outcome, error) // what would change in the kernel, a line each
	flush func(ctx context.Context, stateDir string) (*control.Outcome, error)     // removes what natd made

	look func(context.Context, *diagnose.Looker, diagnose.Question) (*diagnose.Evidence, error) // gathers evidence
}

// app is one run of natctl.
type app struct {
	stdin          *os.File // nil = nobody types
	stdout, stderr io.Writer
	env            func(string) string
	now            func() time.Time
	local          local

	socket     string // --socket
	json       bool   // --json
	understood bool   // the command line; errors before that are those of usage
}

// verdict is an exit code that says what was found. It is not an error to be printed.
type verdict int

func (v verdict) Error() string { return fmt.Sprintf("exit code %d", int(v)) }

// run carries out one command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	cmd, err := root.ExecuteContextC(ctx)

	var found verdict
	switch {
	case err == nil:
		return control.CodeOK
	case errors.As(err, &found):
		return int(found)
	case !a.understood:
		err = control.Errorf(control.CodeUsage, "%w", err)
	}
	e := control.AsError(err)
	a.complain(e)
	if e.Code == control.CodeUsage {
		fmt.Fprintf(a.stderr, "See \"%s --help\".\n", cmd.CommandPath())
	}
	if a.json {
		a.writeJSON(failure{control.SchemaVersion, e}, "  ")
	}
	return e.Code
}

// failure is the JSON document of an error.
type failure struct {
	SchemaVersion int            `json:"schema_version"`
	Error         *control.Error `json:"error"`
}

// complain prints an error for people. The mistakes of a configuration stand on lines of their own, as compilers write theirs.
func (a *app) complain(e *control.Error) {
	if e.Code == control.CodeConfig {
		fmt.Fprintf(a.stderr, "natctl: the configuration is invalid:\n%s\n", printable(e.Message))
		return
	}
	fmt.Fprintf(a.stderr, "natctl: %s\n", printable(e.Message))
}

// show prints a document as JSON if that was asked for, or else as the text for people.
func (a *app) show(document any, text string) {
	if a.json {
		a.writeJSON(document, "  ")
		return
	}
	fmt.Fprint(a.stdout, text)
}

func (a *app) writeJSON(document any, indent string) {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	// Documents are plain data. What is left to fail is standard output, and then nobody reads on.
	_ = e.Encode(document)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "natctl",
		Short: "Look at natd, the NAT relay, and tell it what to do",
		Long: `Look at natd, the NAT relay, and tell it what to do.

Exit codes: 0 fine, 1 failed, 2 usage, 3 configuration invalid, 4 natd not reachable,
5 kernel not in sync, 6 degraded (something is down or not ready), 7 not permitted.`,
		Args:              unknownCommand,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},

		SuggestionsMinimumDistance: 2,
		PersistentPreRun:           func(*cobra.Command, []string) { a.understood = true },
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(a.stderr)
			return errors.Join(cmd.Help(), verdict(control.CodeUsage))
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if args := cmd.Flags().Args(); cmd == root && len(args) > 0 {
			return unknownCommand(cmd, args) // its flags are not to blame
		}
		return err
	})
	root.PersistentFlags().StringVar(&a.socket, "socket", defaultSocket, "the `path` of natd's socket")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON")
	root.SetHelpCommand(helpCommand(root))
	root.AddCommand(a.statusCommand(), a.connectionsCommand(), a.flowsCommand(), a.diagnoseCommand(), a.reloadCommand(), a.drainCommand(),
		a.enableCommand(), a.flushCommand(), a.checkCommand(), a.planCommand(), a.rulesCommand(), a.versionCommand(), a.completionCommand())
	return root
}

// unknownCommand is the judge of the root's arguments: every word that is left there is none of its commands.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("; did you mean %s?", strings.Join(near, " or "))
	}
	return fmt.Errorf("unknown command %q%s", args[0], hint)
}

// noArguments is the judge of the arguments of a command that has none. People write the name of a relay there.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if cmd.Flags().Lookup("relay") != nil {
		hint = fmt.Sprintf("; did you mean --relay %s?", args[0])
	}
	return fmt.Errorf("%s takes no argument such as %q%s", cmd.Name(), args[0], hint)
}

func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Explain a command",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return control.Errorf(control.CodeUsage, "there is no help on %q", strings.Join(args, " "))
			}
			return cmd.Help()
		},
	}
}

// permitted gives an error of the kernel that stands for missing rights its exit code and a remedy.
func permitted(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return control.Errorf(control.CodeNotPermitted, "not permitted: %w: you need to be root (try sudo)", err)
	}
	return err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"natd/internal/config"
	"natd/internal/control"
)

// glance is how long natd may take to tell what is only convenient to know.
const glance = 2 * time.Second

// load reads a configuration. Mistakes in it exit with 3, a file that the user may not read with 7.
func load(path string) (*config.Config, error) {
	cfg, err := config.Load(path)
	switch {
	case err == nil:
		return cfg, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, control.Errorf(control.CodeNotPermitted, "%w", err)
	}
	return nil, control.Errorf(control.CodeConfig, "%w", err)
}

// wanted is the FILE of the command line, or else the file that the running natd uses, and what that natd knows; nil without one. One that
// is busy is waited for: the default may be another file than the one that runs.
func (a *app) wanted(ctx context.Context, args []string) (string, *control.Known, error) {
	known, err := a.known(ctx)
	switch {
	case err != nil:
		return "", nil, err
	case len(args) == 1:
		return args[0], known, nil
	case known != nil && known.ConfigPath != "":
		return known.ConfigPath, known, nil
	}
	return defaultConfig, known, nil
}

// known asks the natd that runs for its file and for what it knows of backends: without that a plan would be about another moment. It is
// nil when none runs, or when it does not speak to this user.
func (a *app) known(ctx context.Context) (*control.Known, error) {
	var k control.Known
	err := control.Call(ctx, a.socket, control.OpKnown, nil, &k)
	switch {
	case err == nil:
		return &k, nil
	case control.NotRunning(err), control.AsError(err).Code == control.CodeNotPermitted:
		return nil, nil
	}
	return nil, fmt.Errorf("ask natd for its configuration file and what it knows of backends: %w", err)
}

func (a *app) rulesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rules [FILE]",
		Short: "Print the ruleset for a configuration as nft text",
		Long: `Print the ruleset for a configuration as text that "nft -c -f -" accepts.

While natd runs, backends that it has found to be down, that were drained, and the addresses
of names are as natd has them; without it, names are asked for now.
The default is the configuration of the running natd, or else ` + defaultConfig + `.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, known, err := a.wanted(cmd.Context(), args)
			if err != nil {
				return err
			}
			cfg, err := load(path)
			if err != nil {
				return err
			}
			text, err := a.local.rules(cmd.Context(), cfg, known)
			if err != nil {
				return fmt.Errorf("build the ruleset for %s: %w", cfg.Path, permitted(err))
			}
			a.show(ruleset{control.SchemaVersion, cfg.Path, text}, strings.TrimSuffix(text, "\n")+"\n")
			return nil
		},
	}
}

// ruleset is the JSON document of rules.
type ruleset struct {
	SchemaVersion int    `json:"schema_version"`
	Path          string `json:"path"`
	Ruleset       string `json:"ruleset"`
}

func (a *app) planCommand() *cobra.Command {
	var exitCode bool
	cmd := &cobra.Command{
		Use:   "plan [FILE]",
		Short: "Show what a configuration would change in the kernel, and change nothing",
		Long: `Show what a configuration would change in the kernel, and change nothing. It needs root.

While natd runs, a configuration that "natctl reload" would refuse is refused here, too, and
backends that are down or drained and the addresses of names are as natd has them. Of the file
that it runs with natd itself tells; of another one natctl finds it out.
The default is the configuration of the running natd, or else ` + defaultConfig + `.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := a.plan(cmd.Context(), args)
			if err == nil && exitCode && len(o.Changes) > 0 {
				return verdict(control.CodeNotInSync)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 5 when there is something to change")
	return cmd
}

// planned is the JSON document of plan.
type planned struct {
	SchemaVersion int      `json:"schema_version"`
	Path          string   `json:"path"`
	Changes       []string `json:"changes"`
	Notes         []string `json:"notes"` // what would not be as configured
}

func (a *app) plan(ctx context.Context, args []string) (*control.Outcome, error) {
	path, known, err := a.wanted(ctx, args)
	if err != nil {
		return nil, err
	}
	o, err := a.outcome(ctx, path, known)
	if err != nil {
		return nil, err
	}
	text := "no changes: the kernel holds exactly this\n"
	if len(o.Changes) > 0 {
		text = strings.Join(o.Changes, "\n") + "\n"
	}
	for _, note := range o.Notes {
		text += "note: " + printable(note) + "\n"
	}
	a.show(planned{control.SchemaVersion, path, append([]string{}, o.Changes...), append([]string{}, o.Notes...)}, text)
	return o, nil
}

// outcome is what the file would change. The natd that runs knows best of its own file: it has the kernel's table and most of the file in
// memory already, which of many relays takes a second or two to read. Of any other file natctl finds out by itself.
func (a *app) outcome(ctx context.Context, path string, known *control.Known) (*control.Outcome, error) {
	if known != nil && path == known.ConfigPath {
		var o control.Outcome
		err := control.Call(ctx, a.socket, control.OpPlan, nil, &o)
		if err == nil {
			return &o, nil
		}
		// A natd that is older than natctl knows no such operation; and who may not ask natd may still be allowed to look by himself.
		if code := control.AsError(err).Code; code != control.CodeUsage && code != control.CodeNotPermitted {
			return nil, err
		}
	}
	var unread error
	o, err := a.local.plan(ctx, func() (cfg *config.Config, err error) {
		cfg, unread = load(path)
		return cfg, unread
	}, known)
	switch {
	case unread != nil:
		return nil, unread
	case err != nil && control.AsError(err).Code == control.CodeConfig:
		return nil, err // it names the file, as a reload would
	case err != nil:
		return nil, fmt.Errorf("compare %s with the kernel: %w", path, permitted(err))
	}
	return o, nil
}

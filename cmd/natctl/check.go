package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"natd/internal/config"
	"natd/internal/control"
	"natd/internal/words"
	"natd/nat"
)

func (a *app) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a configuration, without root and without natd",
		Long: `Check a configuration, by default ` + defaultConfig + `, without root and without natd.

Every mistake is printed with its place. Exit codes: 0 valid, 3 invalid.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path := defaultConfig
			if len(args) == 1 {
				path = args[0]
			}
			return a.check(path)
		},
	}
}

// checked is the JSON document of check.
type checked struct {
	SchemaVersion int            `json:"schema_version"`
	Path          string         `json:"path"`
	Valid         bool           `json:"valid"`
	Relays        int            `json:"relays"`
	Gateways      int            `json:"gateways"`
	Statics       int            `json:"statics"`
	Disabled      int            `json:"disabled"` // of all of these
	Errors        []mistake      `json:"errors"`
	Error         *control.Error `json:"error,omitempty"`
}

// mistake is one error of a configuration.
type mistake struct {
	File  string `json:"file"`
	Line  int    `json:"line"` // 0 = the file as a whole
	Table string `json:"table"`
	Key   string `json:"key"`
	Value string `json:"value"`
	Rule  string `json:"rule"`
}

func (a *app) check(path string) error {
	cfg, err := load(path)
	if err != nil {
		e := control.AsError(err)
		a.complain(e)
		if a.json {
			a.writeJSON(checked{SchemaVersion: control.SchemaVersion, Path: path, Errors: mistakes(err), Error: e}, "  ")
		}
		return verdict(e.Code)
	}
	c := checked{
		SchemaVersion: control.SchemaVersion, Path: cfg.Path, Valid: true, Errors: []mistake{},
		Relays: len(cfg.NAT.Relays), Gateways: len(cfg.NAT.Gateways), Statics: len(cfg.NAT.Statics), Disabled: disabled(&cfg.NAT),
	}
	a.show(c, c.text())
	return nil
}

// text is what a valid configuration holds.
func (c *checked) text() string {
	text := fmt.Sprintf("OK: %s: %s", c.Path, words.Count(c.Relays, "relay"))
	if c.Gateways > 0 {
		text += ", " + words.Count(c.Gateways, "gateway")
	}
	if c.Statics > 0 {
		text += ", " + words.Count(c.Statics, "static")
	}
	if c.Disabled > 0 {
		text += fmt.Sprintf(", %d disabled", c.Disabled)
	}
	return text + "\n"
}

// disabled counts what the configuration has, and does not want at work.
func disabled(spec *nat.Spec) (n int) {
	for i := range spec.Relays {
		if !spec.Relays[i].Enabled {
			n++
		}
	}
	for i := range spec.Gateways {
		if !spec.Gateways[i].Enabled {
			n++
		}
	}
	for i := range spec.Statics {
		if !spec.Statics[i].Enabled {
			n++
		}
	}
	return n
}

func mistakes(err error) []mistake {
	list := []mistake{}
	if all, ok := errors.AsType[config.Errors](err); ok {
		for _, e := range all {
			list = append(list, mistake{e.File, e.Line, e.Table, e.Key, e.Value, e.Rule})
		}
	}
	return list
}

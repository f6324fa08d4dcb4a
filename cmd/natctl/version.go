package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"natd/internal/control"
)

// version is set by the linker: -ldflags "-X main.version=1.2.3".
var version = "dev"

// versions is the JSON document of version. Natd is nil when it cannot be asked.
type versions struct {
	SchemaVersion int            `json:"schema_version"`
	Natctl        build          `json:"natctl"`
	Natd          *daemonVersion `json:"natd"`
}

// build is what natctl was built from.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision"` // of the source, "" = unknown
	Modified bool   `json:"modified"` // the source had changes that the revision does not have
	Go       string `json:"go"`
}

// daemonVersion is the natd that runs.
type daemonVersion struct {
	Version string `json:"version"`
	PID     int    `json:"pid"`
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of natctl and of the running natd",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), glance)
			defer cancel()
			v := versions{SchemaVersion: control.SchemaVersion, Natctl: ownBuild()}
			natd := "natd    unknown: "
			if s, err := a.status(ctx, &control.StatusArgs{Most: 1}); err != nil {
				natd += printable(err.Error())
			} else {
				v.Natd = &daemonVersion{s.Version, s.PID}
				natd = fmt.Sprintf("natd    %s (pid %d)", printable(s.Version), s.PID)
			}
			a.show(v, fmt.Sprintf("natctl  %s\n%s\n", v.Natctl, natd))
			return nil
		},
	}
}

// ownBuild is the version that the linker set, and what the go command recorded of the source.
func ownBuild() build {
	b := build{Version: version, Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// String is the version for people, with as much of the revision as git shows.
func (b build) String() string {
	text := b.Version + " ("
	if b.Revision != "" {
		text += b.Revision[:min(12, len(b.Revision))]
		if b.Modified {
			text += " modified"
		}
		text += ", "
	}
	return text + b.Go + ")"
}

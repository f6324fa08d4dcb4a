// Command natd keeps the kernel's NAT in line with one configuration file.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"natd/internal/control"
	"natd/internal/daemon"
	"natd/systemd"
)

// version is set when natd is built.
var version = "dev"

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	flags := flag.NewFlagSet("natd", flag.ContinueOnError)
	configPath := flags.String("config", "/etc/natd/natd.toml", "the configuration `file`")
	socketPath := flags.String("socket", "/run/natd/natd.sock", "the control socket's `path`")
	stateDir := flags.String("state", "/var/lib/natd", "the `directory` for what has to outlive natd")
	showVersion := flags.Bool("version", false, "print the version and exit")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return control.CodeOK
	case err != nil:
		return control.CodeUsage
	case flags.NArg() > 0:
		fmt.Fprintf(os.Stderr, "natd: unexpected argument %q; see natd --help\n", flags.Arg(0))
		return control.CodeUsage
	case *showVersion:
		fmt.Println("natd", version)
		return control.CodeOK
	}
	level := new(slog.LevelVar)
	log := newLog(level)

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	signal.Ignore(syscall.SIGPIPE) // else natd ends with whoever reads what it writes, such as a journal that is started anew

	err := daemon.Run(ctx, daemon.Options{
		ConfigPath: *configPath, SocketPath: *socketPath, StateDir: *stateDir, Version: version,
		Log: log, Level: level, Notify: systemd.New(log),
	}, reload)
	if err == nil {
		return control.CodeOK
	}
	tell(log, systemd.InJournal(), err)
	return control.AsError(err).Code
}

// tell says why natd ends. What the journal takes from standard error is information there: an error is an entry of its own, and
// so is each of several mistakes in a configuration.
func tell(log *slog.Logger, inJournal bool, err error) {
	if !inJournal {
		fmt.Fprintf(os.Stderr, "natd: %v\n", err)
		return
	}
	for line := range strings.Lines(err.Error()) {
		log.Error(strings.TrimSuffix(line, "\n"))
	}
}

// newLog writes to the journal when that is where standard error goes, and to standard error otherwise.
func newLog(level slog.Leveler) *slog.Logger {
	text := slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})
	if systemd.InJournal() {
		return slog.New(systemd.NewJournal(level, text))
	}
	return slog.New(text)
}

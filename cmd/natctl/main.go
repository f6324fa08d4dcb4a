//go:build !man

// Command natctl looks at natd and tells it what to do. Everything but check, rules, plan and completion asks
// the running daemon over its socket.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"natd/internal/daemon"
	"natd/internal/diagnose"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.Getenv, now: time.Now, local: here()}
	code := a.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// here is what natctl does itself, in its own process.
func here() local {
	return local{rules: daemon.Rules, plan: daemon.Plan, flush: daemon.Flush, look: diagnose.Here}
}

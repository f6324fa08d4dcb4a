package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// outputPatience bounds the wait for the output of a program that ended while something it started holds the pipe.
const outputPatience = 2 * time.Second

// Cmd is a program to be run in a host. It is an exec.Cmd that starts in the host: use the methods of Cmd, not
// those of the exec.Cmd inside.
type Cmd struct {
	*exec.Cmd
	host *Host
}

// Command prepares a program to be run in the host. When ctx ends the program and its process group are killed; when
// the lab ends, or the process that owns it, so is the program.
func (h *Host) Command(ctx context.Context, name string, args ...string) *Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = outputPatience
	return &Cmd{Cmd: c, host: h}
}

// Start starts the program and does not wait for it.
func (c *Cmd) Start() error {
	if c.Dir == "" {
		// The keeper's thread has a working directory of its own; the caller means the process's.
		wd, err := os.Getwd()
		if err != nil {
			return fmt.Errorf("host %s: starting %s: %w", c.host.Name, c.Args[0], err)
		}
		c.Dir = wd
	}
	c.Env = append(c.Environ(), markerVar+"="+c.host.lab.id())
	if err := c.host.ns.fromKeeper(c.Cmd.Start); err != nil {
		return fmt.Errorf("host %s: starting %s: %w", c.host.Name, c.Args[0], err)
	}
	return nil
}

// Run starts the program and waits for its end.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the program and returns what it wrote to its standard output.
func (c *Cmd) Output() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout = &out
	err := c.Run()
	return out.Bytes(), err
}

// CombinedOutput runs the program and returns what it wrote to its standard output and error.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}

// Run runs a program in the host and returns its standard output. The error has what it wrote to its standard error.
func (h *Host) Run(ctx context.Context, name string, args ...string) (string, error) {
	return h.RunInput(ctx, "", name, args...)
}

// RunInput is Run with text for the program's standard input.
func (h *Host) RunInput(ctx context.Context, input, name string, args ...string) (string, error) {
	c := h.Command(ctx, name, args...)
	var stderr bytes.Buffer
	c.Stdin, c.Stderr = strings.NewReader(input), &stderr
	out, err := c.Output()
	if err != nil {
		return string(out), fmt.Errorf("host %s: %s: %w: %s", h.Name, strings.Join(c.Args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(out), nil
}

// Nft applies an nft script in the host, in one transaction.
func (h *Host) Nft(ctx context.Context, script string) error {
	_, err := h.RunInput(ctx, script, "nft", "-f", "-")
	return err
}

// Curl gets a URL from the host and returns the body. The URL must be numeric unless the host can resolve names.
func (h *Host) Curl(ctx context.Context, url string, args ...string) (string, error) {
	args = append([]string{"--silent", "--show-error", "--fail", "--max-time", "5", "--noproxy", "*"}, args...)
	return h.Run(ctx, "curl", append(args, url)...)
}

// Conntrack lists the connections that the host tracks, one per line as conntrack(8) prints them. The arguments narrow
// the list, for example "-p", "tcp"; "-f", "ipv6" lists that family instead of IPv4.
func (h *Host) Conntrack(ctx context.Context, args ...string) ([]string, error) {
	out, err := h.Run(ctx, "conntrack", append([]string{"-L"}, args...)...)
	if err != nil {
		return nil, err
	}
	return lines(out), nil
}

// lines splits text into its lines that are not empty.
func lines(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
}

// ExitCode is the exit code in the error of a program that ran, or -1 when it did not run to its end.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	return -1
}

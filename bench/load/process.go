package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/lab"
)

// roleVar is the environment variable that makes this program an end of the load in place of what it is.
const roleVar = "NATD_BENCH_LOAD"

// The roles.
const (
	roleServer = "server"
	roleClient = "client"
)

// Child does the work of an end of the load and ends the process, if it has been started for that. It is the first thing that main
// does, and TestMain of a test that uses loads.
func Child() {
	var err error
	switch role := os.Getenv(roleVar); role {
	case "":
		return
	case roleServer:
		err = beServer(os.Args[1:])
	case roleClient:
		err = beClient(os.Stdin, os.Stdout)
	default:
		err = fmt.Errorf("%s=%s: no such role", roleVar, role)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func beServer(args []string) error {
	if len(args) != 1 {
		return errors.New("the server wants a port")
	}
	port, err := strconv.ParseUint(args[0], 10, 16)
	if err != nil {
		return fmt.Errorf("the server's port: %w", err)
	}
	if err := pin(roleServer); err != nil {
		return err
	}
	return serve(uint16(port), lab.Device, func() { fmt.Fprintln(os.Stdout, "ready") })
}

// beClient makes the loads that it is told, one at a time.
func beClient(in io.Reader, out io.Writer) error {
	if err := pin(roleClient); err != nil {
		return err
	}
	encoder, decoder := json.NewEncoder(out), json.NewDecoder(in)
	kept := make(flows)
	for {
		var spec Spec
		if err := decoder.Decode(&spec); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading the next load: %w", err)
		}
		if err := encoder.Encode(perform(spec, kept)); err != nil {
			return fmt.Errorf("telling the result: %w", err)
		}
	}
}

// perform makes one load.
func perform(spec Spec, kept flows) Result {
	before := cpu()
	kinds := map[Kind]func(Spec) (Result, error){Connect: connect, Rate: connect, Stream: stream, Packets: kept.packets}
	do := kinds[spec.Kind]
	if do == nil {
		return Result{Error: fmt.Sprintf("no such load: %q", spec.Kind)}
	}
	result, err := do(spec)
	result.CPU = cpu() - before
	if err != nil {
		result.Error = err.Error()
	}
	return result
}

// cpu is the processor time of this process.
func cpu() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // cannot fail for oneself
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// pin keeps the calling thread on one processor: the client on the first that this program may use, the server on the last. What a
// host forwards over veth is done on the processor of the sender. So each direction has its own, which is the same in all arenas.
func pin(role string) error {
	runtime.LockOSThread()
	var may, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return fmt.Errorf("asking for the processors: %w", err)
	}
	var cpus []int
	for i := range len(may) * 64 {
		if may.IsSet(i) {
			cpus = append(cpus, i)
		}
	}
	one.Set(cpus[0])
	if role == roleServer {
		one.Zero()
		one.Set(cpus[len(cpus)-1])
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("staying on one processor: %w", err)
	}
	return nil
}

// StartServer starts the server on a host. It ends with the lab.
func StartServer(ctx context.Context, h *lab.Host, port uint16) (*lab.Process, error) {
	cmd, err := child(h, roleServer, strconv.Itoa(int(port)))
	if err != nil {
		return nil, err
	}
	p, err := h.StartCmd(cmd)
	if err != nil {
		return nil, err
	}
	return p, p.AwaitLog(ctx, startPatience, "ready")
}

// startPatience is how long an end of the load may take to start.
const startPatience = 10 * time.Second

// child is this program in a role.
func child(h *lab.Host, role string, args ...string) (*lab.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	cmd := h.Command(context.Background(), self, args...)
	cmd.Env = append(os.Environ(), roleVar+"="+role)
	return cmd, nil
}

// Client is the process that makes loads from a host.
type Client struct {
	cmd *lab.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// StartClient starts a client on a host. It ends with the lab, if not before.
func StartClient(h *lab.Host) (*Client, error) {
	cmd, err := child(h, roleClient)
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	in, errIn := cmd.StdinPipe()
	out, errOut := cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut); err != nil {
		return nil, fmt.Errorf("talking to the load: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &Client{cmd: cmd, in: in, out: bufio.NewReader(out)}, nil
}

// Load makes one load and waits for what comes of it. When ctx ends so does the client.
func (c *Client) Load(ctx context.Context, spec Spec) (Result, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.cmd.Process.Kill() })
	defer stop()
	var result Result
	err := json.NewEncoder(c.in).Encode(spec)
	var line []byte
	if err == nil {
		line, err = c.out.ReadBytes('\n')
	}
	if err == nil {
		err = json.Unmarshal(line, &result)
	}
	if err == nil && result.Error != "" {
		err = errors.New(result.Error)
	}
	if err != nil {
		return result, fmt.Errorf("%s load to %v: %w", spec.Kind, spec.To, errors.Join(ctx.Err(), err))
	}
	return result, nil
}

// Close ends the client.
func (c *Client) Close() error {
	return errors.Join(c.in.Close(), c.cmd.Wait())
}

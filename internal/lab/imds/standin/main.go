// Command standin serves the stand-in for the instance metadata service of Amazon EC2, on a machine whose 169.254.169.254
// (or fd00:ec2::254) is on its own loopback interface:
//
//	ip address add 169.254.169.254/32 dev lo
//	standin --listen 169.254.169.254:80 --instance instance.json
//
// The file holds the JSON of an imds.Instance, and is read at every request: change it, and the next answer is another.
// Every request is a line on standard output.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"natd/internal/lab/imds"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "standin: %v\n", err)
		os.Exit(1)
	}
}

// grace is how long requests under way may take when the program is told to end.
const grace = time.Second

func run(args []string) error {
	flags := flag.NewFlagSet("standin", flag.ContinueOnError)
	listen := flags.String("listen", "169.254.169.254:80", "the `addresses` to serve on, with commas between them")
	path := flags.String("instance", "", "the `file` that says what to tell, as JSON")
	service := &imds.Service{Log: os.Stdout, Source: func() (*imds.Instance, error) { return load(*path) }}
	flags.DurationVar(&service.TokenLife, "token-ttl", 0, "the longest `life` of a token; 0 = what the client asks for")
	flags.IntVar(&service.RefuseEvery, "refuse-every", 0, "answer every `n`-th request with 401 and forget all tokens; 0 = none")
	flags.BoolVar(&service.Disabled, "disabled", false, "answer everything with 403")
	flags.BoolVar(&service.Silent, "silent", false, "grant tokens, and answer nothing else")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return fmt.Errorf("read the flags: %w", err)
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q: there are only flags, see --help", flags.Arg(0))
	}
	if _, err := load(*path); err != nil {
		return err
	}
	return serve(service, strings.Split(*listen, ","))
}

// load reads what to tell.
func load(path string) (*imds.Instance, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the instance, which --instance names: %w", err)
	}
	instance := new(imds.Instance)
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(instance); err != nil {
		return nil, fmt.Errorf("read the instance in %s: %w", path, err)
	}
	return instance, nil
}

// serve serves on every address until SIGTERM or SIGINT.
func serve(handler http.Handler, addresses []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	server := &http.Server{Handler: handler, ReadHeaderTimeout: grace}
	failed := make(chan error, len(addresses))
	for _, address := range addresses {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return errors.Join(fmt.Errorf("serve: %w", err), server.Close())
		}
		fmt.Fprintln(os.Stdout, "serving on", listener.Addr())
		go func() { failed <- server.Serve(listener) }()
	}
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("end: %w", err)
	}
	return nil
}

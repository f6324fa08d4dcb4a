package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"natd/internal/lab"
)

const picture = `
      VPC A                   VPC B                   VPC C
  +------------+          +------------+          +------------+
  |   client   | peering  |    natd    | peering  |   nginx    |
  | 10.1.0.100 |----------| 10.2.0.100 |----------| 10.3.0.100 |
  +------------+          +------------+          +------------+
        |                                               |
        +----------------- X  no peering ---------------+

`

const config = `[[relay]]
name   = "web"
listen = "10.2.0.100:80"
from   = ["10.1.0.0/16"]
to     = ["10.3.0.100:80"]
`

const (
	relayURL  = "http://10.2.0.100/"
	directURL = "http://10.3.0.100/"

	// The exit codes of curl(1) that the story expects.
	curlRefused = 7
	curlTimeout = 28

	readyPatience = 10 * time.Second
)

// story is the demo in progress.
type story struct {
	*lab.Peering
	*teller
	natd, natctl string

	socket string
	nginx  *lab.Nginx
	daemon *lab.Process
	seen   []seen // of A's visit
}

// tell goes through the steps. A step returns an error when the next ones would make no sense.
func (s *story) tell(ctx context.Context) error {
	for _, step := range []struct {
		title string
		run   func(context.Context) error
	}{
		{"Three VPCs; A is peered with B, B with C", s.showNetwork},
		{"A web server on C", s.startNginx},
		{"natd on B", s.startNatd},
		{"A opens " + relayURL, s.openPage},
		{"What natd made of it", s.showNatd},
		{"Somebody runs \"nft flush ruleset\" on B while A downloads", s.flush},
		{"What each host saw when A opened " + relayURL, s.showSeen},
	} {
		s.title(step.title)
		if err := step.run(ctx); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", step.title, err), s.err())
		}
	}
	if err := s.err(); err != nil {
		return err
	}
	s.title("All as it should be. Nothing of it stays on this machine.")
	return nil
}

func (s *story) showNetwork(ctx context.Context) error {
	fmt.Fprint(s.out, picture)
	s.checkNoWay(ctx)
	_, err := s.A.Curl(ctx, relayURL)
	s.check(lab.ExitCode(err) == curlRefused, "nothing answers on B: connection refused", fmt.Sprint(err))
	return ctx.Err()
}

// checkNoWay shows that peering is not transitive.
func (s *story) checkNoWay(ctx context.Context) {
	_, err := s.A.Curl(ctx, directURL, "--max-time", "1")
	s.check(lab.ExitCode(err) == curlTimeout, "A cannot reach C directly: no answer", fmt.Sprint(err))
}

func (s *story) startNginx(ctx context.Context) (err error) {
	if s.nginx, err = s.C.StartNginx(ctx, netipAddrPort(s.C, 80)); err != nil {
		return err
	}
	page, err := s.C.Curl(ctx, directURL)
	s.check(title(page) == pageTitle, fmt.Sprintf("nginx on C serves %q on 10.3.0.100:80", pageTitle), fmt.Sprint(err, page))
	return nil
}

func (s *story) startNatd(ctx context.Context) error {
	dir, err := s.TempDir("natd")
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "natd.toml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	s.show(config, 20)
	s.socket = filepath.Join(dir, "natd.sock")
	start := time.Now()
	s.daemon, err = s.B.Start(s.natd, "--config", file, "--socket", s.socket, "--state", filepath.Join(dir, "state"))
	if err != nil {
		return err
	}
	err = s.daemon.Await(ctx, readyPatience, func() error {
		_, err := s.status(ctx)
		return err
	})
	if err != nil {
		return err
	}
	s.check(true, fmt.Sprintf("natd is ready, after %d ms", time.Since(start).Milliseconds()), "")
	forward, err := s.B.Sysctl("net.ipv4.ip_forward")
	s.check(forward == "1", "natd made B forward packets", fmt.Sprint("net.ipv4.ip_forward = ", forward, err))
	return nil
}

// status is what a person sees of natd.
func (s *story) status(ctx context.Context) (string, error) {
	return s.B.Run(ctx, s.natctl, "--socket", s.socket, "status")
}

func (s *story) openPage(ctx context.Context) error {
	w, err := startWatch(ctx, s.A, s.B, s.C)
	if err != nil {
		return err
	}
	page, err := s.A.Curl(ctx, relayURL)
	if !s.check(err == nil && title(page) == pageTitle, fmt.Sprintf("A sees %q", pageTitle), fmt.Sprint(err, page, s.daemon.Log())) {
		return errors.New("the relay does not work")
	}
	s.seen, err = w.stop(ctx)
	return err
}

func (s *story) showSeen(ctx context.Context) error {
	s.tellPackets(s.seen)
	if err := s.checkAccessLog(); err != nil {
		return err
	}
	s.checkNoWay(ctx)
	return ctx.Err()
}

// checkAccessLog shows whom C takes for the client.
func (s *story) checkAccessLog() error {
	log, err := s.nginx.AccessLog()
	if err != nil {
		return err
	}
	// The first visit was nginx's own host's, the second that of A.
	if len(log) < 2 {
		return fmt.Errorf("nginx logged %d visits instead of two and more", len(log))
	}
	s.check(strings.HasPrefix(log[1], s.B.Addr.String()+" "), "C takes B for the client; nginx logs:", "")
	s.show(log[1], 1)
	return nil
}

func (s *story) showNatd(ctx context.Context) error {
	table, err := s.B.Run(ctx, "nft", "list", "table", "inet", "natd")
	s.check(err == nil && strings.Contains(table, "10.3.0.100") && strings.Contains(table, "web"),
		"the relay is in the kernel, in one table: nft list table inet natd", fmt.Sprint(err))
	s.show(table, 60)
	status, err := s.status(ctx)
	s.check(err == nil, "natd says that all is well: natctl status", fmt.Sprint(err))
	s.show(status, 40)
	return ctx.Err()
}

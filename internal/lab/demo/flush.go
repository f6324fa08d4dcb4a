package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"natd/internal/lab"
)

const (
	// The download takes about two seconds, and is larger than what sockets hold: it needs the relay to the end.
	downloadSize = 32 << 20
	downloadRate = "16M"

	// Repair is far faster; this allows for a slow machine.
	repairLimit    = time.Second
	repairPatience = 5 * time.Second
)

// flush takes natd's rules away while a download runs.
func (s *story) flush(ctx context.Context) error {
	download, err := s.startDownload(ctx)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := s.B.Nft(ctx, "flush ruleset"); err != nil {
		return err
	}
	err = lab.Await(ctx, repairPatience, func() error {
		_, err := s.A.Curl(ctx, relayURL, "--max-time", "1")
		return err
	})
	after := time.Since(start)
	s.check(err == nil && after < repairLimit,
		fmt.Sprintf("A opens the page %d ms after the flush", after.Milliseconds()), fmt.Sprint(err, s.daemon.Log()))
	return s.endDownload(ctx, download)
}

// startDownload returns once the data flows.
func (s *story) startDownload(ctx context.Context) (*lab.Process, error) {
	if err := os.WriteFile(filepath.Join(s.nginx.Root, "big"), make([]byte, downloadSize), 0o644); err != nil {
		return nil, fmt.Errorf("writing the file to download: %w", err)
	}
	target := s.downloaded()
	p, err := s.A.Start("curl", "--silent", "--show-error", "--fail", "--max-time", "30", "--noproxy", "*",
		"--limit-rate", downloadRate, "--output", target, relayURL+"big")
	if err != nil {
		return nil, err
	}
	return p, p.Await(ctx, readyPatience, func() error {
		info, err := os.Stat(target)
		if err == nil && info.Size() == 0 {
			err = errors.New("nothing downloaded yet")
		}
		return err
	})
}

func (s *story) endDownload(ctx context.Context, download *lab.Process) error {
	select {
	case <-download.Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	info, err := os.Stat(s.downloaded())
	if err != nil {
		return fmt.Errorf("looking at the download: %w", err)
	}
	s.check(download.Err() == nil && info.Size() == downloadSize, "the download that was running did not notice",
		fmt.Sprintf("%v after %d of %d bytes: %s", download.Err(), info.Size(), downloadSize, download.Log()))
	return nil
}

// downloaded is where A puts the file.
func (s *story) downloaded() string { return filepath.Join(s.Dir(), "download") }

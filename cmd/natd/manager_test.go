package main

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"natd/internal/lab"
)

// manager is the service manager's end of NOTIFY_SOCKET.
type manager struct {
	mu       sync.Mutex
	messages []string
}

// newManager listens and returns the environment for the daemon.
func newManager(b *box) (*manager, string) {
	b.t.Helper()
	path := filepath.Join(b.dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	lab.Check(b.t, err)
	b.t.Cleanup(func() { _ = conn.Close() })
	m := new(manager)
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.messages = append(m.messages, strings.Split(string(buf[:n]), "\n")...)
			m.mu.Unlock()
		}
	}()
	return m, "NOTIFY_SOCKET=" + path
}

// count is how many assignments with the prefix have arrived.
func (m *manager) count(prefix string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.with(prefix))
}

func (m *manager) with(prefix string) []string {
	return slices.DeleteFunc(slices.Clone(m.messages), func(s string) bool { return !strings.HasPrefix(s, prefix) })
}

// await waits until an assignment with the prefix contains the text.
func (m *manager) await(t testing.TB, prefix, text string) {
	t.Helper()
	lab.Eventually(t, patience, func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if !slices.ContainsFunc(m.with(prefix), func(s string) bool { return strings.Contains(s, text) }) {
			return fmt.Errorf("no %s with %q among %q", prefix, text, m.messages)
		}
		return nil
	})
}

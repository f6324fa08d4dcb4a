package arena

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"natd/bench/load"
)

// answerPatience is how long one question may take: shorter than the kernel needs to send a lost SYN again.
const answerPatience = 500 * time.Millisecond

// Until asks until there is no error, so often that what it waits for is known to a millisecond, or to a hundredth of the time.
func Until(ctx context.Context, within time.Duration, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	const shortest, longest, part = time.Millisecond, 20 * time.Millisecond, 100
	start := time.Now()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up after %v: %w", time.Since(start).Round(time.Millisecond), err)
		case <-time.After(min(max(shortest, time.Since(start)/part), longest)):
		}
	}
}

// Ask sends a few bytes from A and wants them back.
func (a *Arena) Ask(ctx context.Context, network string, where netip.AddrPort) error {
	c, err := a.Call(ctx, network, where)
	if err != nil {
		return err
	}
	defer c.Close()
	return Talk(c)
}

// Who asks the server on C, by TCP, at which of its addresses it was reached.
func (a *Arena) Who(ctx context.Context, where netip.AddrPort) (netip.Addr, error) {
	c, err := a.Call(ctx, "tcp", where)
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	addr, err := exchange(c, load.WhoQuestion)
	return netip.AddrFrom4(addr), err
}

// Call connects from A.
func (a *Arena) Call(ctx context.Context, network string, where netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	c, err := a.A.Dial(ctx, network, where.String())
	if err != nil {
		return nil, err
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // leaves nothing in TIME_WAIT
	}
	return c, nil
}

// Talk says something on a connection and wants to hear it again.
func Talk(c net.Conn) error {
	const word = "natd"
	answer, err := exchange(c, word)
	if err == nil && string(answer[:]) != word {
		err = fmt.Errorf("said %q and heard %q", word, answer)
	}
	return err
}

// exchange asks something and reads the four bytes of the answer.
func exchange(c net.Conn, question string) (answer [4]byte, err error) {
	_ = c.SetDeadline(time.Now().Add(answerPatience))
	if _, err := io.WriteString(c, question); err != nil {
		return answer, err
	}
	_, err = io.ReadFull(c, answer[:])
	return answer, err
}

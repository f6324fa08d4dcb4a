package trace

import "slices"

// maxAttempts bounds the connections that are followed at a time. The oldest give way.
const maxAttempts = 64

// Follower tells the connections of a relay apart.
type Follower struct {
	Relay    Relay
	attempts []*Attempt // the newest last
}

// See takes the next packet, and returns the connection that it belongs to, and whether that begins with it; nil when it is none of the relay's.
func (f *Follower) See(p Packet) (a *Attempt, begins bool) {
	for _, known := range slices.Backward(f.attempts) { // ports are used again: the newest first
		if known.See(p) {
			return known, false
		}
	}
	a, begins = f.Relay.Begin(p)
	if !begins {
		return nil, false
	}
	if len(f.attempts) == maxAttempts {
		f.attempts = f.attempts[1:]
	}
	f.attempts = append(f.attempts, a)
	return a, true
}

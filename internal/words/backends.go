package words

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"natd/internal/control"
)

// Backends is where a relay's connections go, in the width of about one address.
func Backends(backends []control.Backend) string {
	switch {
	case len(backends) == 0:
		return ""
	case len(backends) == 1:
		return Backend(&backends[0])
	case !HealthKnown(backends):
		return Count(len(backends), "backend")
	}
	up := 0
	for i := range backends {
		if backends[i].State == control.BackendUp {
			up++
		}
	}
	return fmt.Sprintf("%d/%d up", up, len(backends))
}

// HealthKnown tells whether anything is known of the health of the backends.
func HealthKnown(backends []control.Backend) bool {
	return slices.ContainsFunc(backends, func(b control.Backend) bool {
		return b.State == control.BackendUp || b.State == control.BackendDown
	})
}

// Backend is a backend's place, and its state where that says something.
func Backend(b *control.Backend) string {
	text := Place(b)
	if b.State == control.BackendDown || b.State == control.BackendDraining {
		text += " " + b.State
	}
	return text
}

// Place is the address of a backend, and the name that led to it.
func Place(b *control.Backend) string {
	switch {
	case b.Address == "":
		return b.Name
	case b.Name != "":
		return b.Address + " (" + b.Name + ")"
	}
	return b.Address
}

// Wellness orders backends by how much they need a look.
func Wellness(b *control.Backend) int {
	switch {
	case b.State == control.BackendDown:
		return 0
	case b.State == control.BackendDraining:
		return 1
	case b.Reason != "":
		return 2
	}
	return 3
}

// Since is how long a backend has taken no connections, where that was not always so.
func Since(b *control.Backend, now time.Time) string {
	if b.Since.IsZero() || (b.State != control.BackendDown && b.State != control.BackendDraining) {
		return ""
	}
	return "for " + Span(now.Sub(b.Since))
}

// Weight leaves the usual weight out.
func Weight(weight int) string {
	if weight <= 1 {
		return ""
	}
	return fmt.Sprintf("weight %d", weight)
}

// Role is what a backend does that its state does not tell.
func Role(b *control.Backend) string {
	switch {
	case b.Backup && b.InUse:
		return "backup, in use"
	case b.Backup:
		return "backup"
	case b.State == control.BackendDown && b.InUse:
		return "in use" // as every other one is down, too
	}
	return ""
}

// Carried is a number of bytes with its direction; "" for none.
func Carried(bytes uint64, direction string) string {
	if bytes == 0 {
		return ""
	}
	return Size(bytes) + direction
}

// Failed is how many connections a backend refused, and how many wait for its answer now; "" for none.
func Failed(b *control.Backend) string {
	var parts []string
	if b.Refused > 0 {
		parts = append(parts, fmt.Sprintf("%d refused", b.Refused))
	}
	if b.Unreplied > 0 {
		parts = append(parts, fmt.Sprintf("%d unanswered", b.Unreplied))
	}
	return strings.Join(parts, ", ")
}

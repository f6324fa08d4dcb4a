package nat

import "strings"

// arena keeps many short strings in few pieces of memory: one allocation for thousands of keys, and none of it lost between them.
type arena struct {
	piece strings.Builder
}

// Pieces of an arena grow from the one to the other, so that a small ruleset is small.
const (
	firstPiece = 1 << 10
	lastPiece  = 1 << 16
)

// keep is the bytes as a string.
func (a *arena) keep(b []byte) string {
	if a.piece.Len()+len(b) > a.piece.Cap() {
		size := max(firstPiece, min(2*a.piece.Cap(), lastPiece), len(b))
		a.piece = strings.Builder{} // the strings in the old piece keep it
		a.piece.Grow(size)
	}
	at := a.piece.Len()
	a.piece.Write(b)
	return a.piece.String()[at:]
}

package config

import (
	"bytes"
	"hash/maphash"
)

// A piece ends behind a relay whose hash has these bits zero, so that an inserted relay moves no border but those beside it; or
// when it has this many bytes.
const (
	borderBits = 1<<7 - 1
	maxPiece   = 256 << 10
)

// piece is some relays that stand one after the other.
type piece struct {
	text  []byte
	mark  fingerprint
	line  int // where the text begins
	first int // the number of its first relay, from 0
	count int // of the relays, if each begins a line
}

// fingerprint stands for a text. The hash has a secret seed, so nobody can make two texts of one fingerprint.
type fingerprint struct {
	hash uint64
	size int
}

func fingerprintOf(seed maphash.Seed, text []byte) fingerprint {
	return fingerprint{maphash.Bytes(seed, text), len(text)}
}

// stub stands in the rest where relays were taken out: where that is no place for a table, the rest is not TOML.
const stub = "[[relay]]\n"

// cutting is the text of a file in two: the relays in pieces, and the rest, with a stub for each run of relays.
type cutting struct {
	seed   maphash.Seed
	pieces []piece
	relays int
	rest   []byte
	stubs  int
	shifts []shift

	line     int  // where the next part begins
	restLine int  // likewise, in the rest
	run      bool // of relays, up to here
	border   bool // the last piece is complete
}

// shift is how many lines more there are in front of a line in the file than in the rest. It holds up to the next shift.
type shift struct{ line, more int }

// cut cuts the text in front of headers that begin a line. It knows no strings and comments: where it cuts amiss, the parts are not TOML.
func cut(seed maphash.Seed, text []byte) *cutting {
	c := &cutting{seed: seed, line: 1, restLine: 1}
	for len(text) > 0 {
		end := len(text)
		if i := bytes.Index(text, []byte("\n[")); i >= 0 {
			end = i + 1
		}
		c.add(text[:end])
		text = text[end:]
	}
	for i := range c.pieces {
		c.pieces[i].mark = fingerprintOf(seed, c.pieces[i].text)
	}
	return c
}

func newlines(text []byte) int { return bytes.Count(text, []byte("\n")) }

// add takes a header and what follows it.
func (c *cutting) add(part []byte) {
	switch {
	case bytes.HasPrefix(part, []byte("[[relay]]")):
		c.addRelay(part)
	case c.run && (bytes.HasPrefix(part, []byte("[relay.")) || bytes.HasPrefix(part, []byte("[[relay."))):
		c.lengthen(part)
	default:
		c.addRest(part)
	}
	c.line += newlines(part)
}

func (c *cutting) addRest(part []byte) {
	if c.run {
		c.shifts = append(c.shifts, shift{c.restLine, c.line - c.restLine})
	}
	c.run = false
	c.rest = append(c.rest, part...)
	c.restLine += newlines(part)
}

func (c *cutting) addRelay(part []byte) {
	if !c.run {
		c.rest = append(c.rest, stub...)
		c.restLine++
		c.stubs++
	}
	if !c.run || c.border {
		c.pieces = append(c.pieces, piece{text: part[:0], line: c.line, first: c.relays})
	}
	c.run = true
	c.relays++
	c.pieces[len(c.pieces)-1].count++
	c.border = maphash.Bytes(c.seed, part)&borderBits == 0
	c.lengthen(part)
}

// lengthen adds to the last piece the part of the text that follows it.
func (c *cutting) lengthen(part []byte) {
	p := &c.pieces[len(c.pieces)-1]
	p.text = p.text[:len(p.text)+len(part)]
	c.border = c.border || len(p.text) >= maxPiece
}

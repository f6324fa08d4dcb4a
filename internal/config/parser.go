package config

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/maphash"
	"sync"
)

// Parser reads one configuration file again and again, and each time only what is new in it. The zero value is ready for use, by one
// goroutine at a time. It keeps the last configuration, which nobody may change, and nothing of its text.
type Parser struct {
	seed maphash.Seed

	last   *Config // without errors
	text   fingerprint
	pieces map[fingerprint]piece // of last, without their text; none when it was read whole

	settings *Config // all but the relays, with the lines of the rest
	agrees   *Config // the settings that the pieces were found to agree with
	rest     fingerprint
}

// minPieces is the size of a text from which pieces are worth it.
const minPieces = 64 << 10

// Parse checks the text of a configuration file. Its error is of type Errors. For the text of the last time it returns the same
// configuration.
func (p *Parser) Parse(path string, data []byte) (*Config, error) {
	if p.seed == (maphash.Seed{}) {
		p.seed = maphash.MakeSeed()
	}
	mark := fingerprintOf(p.seed, data)
	if p.last != nil && p.last.Path == path && p.text == mark {
		return p.last, nil
	}
	var hash [sha256.Size]byte
	var hashing sync.WaitGroup
	hashing.Go(func() { hash = sha256.Sum256(data) })
	c, err := p.parse(path, data)
	hashing.Wait()
	if err != nil {
		return nil, err
	}
	c.SHA256 = hex.EncodeToString(hash[:])
	p.last, p.text = c, mark
	return c, nil
}

// parse reads the text in pieces where it can be, or else whole.
func (p *Parser) parse(path string, data []byte) (*Config, error) {
	if len(data) >= minPieces {
		if c := p.parsePieces(path, data); c != nil {
			return c, nil
		}
	}
	c, err := parseWhole(path, data)
	if err == nil {
		p.pieces, p.agrees = nil, nil
	}
	return c, err
}

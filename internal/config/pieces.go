package config

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"natd/nat"
)

// parsePieces reads the relays piece by piece. It returns nil for what it does not understand, and for a file with errors: only the
// whole tells them as they are.
func (p *Parser) parsePieces(path string, data []byte) *Config {
	parts := cut(p.seed, data)
	if parts.relays == 0 {
		return nil
	}
	settings := p.readRest(path, parts)
	if settings == nil {
		return nil
	}
	c := settings.moved(parts.shifts)
	c.NAT.Relays, c.lines[Relay] = make([]nat.Relay, parts.relays), make([]tableLines, parts.relays)
	reused := make([]bool, len(parts.pieces))
	if !inParallel(len(parts.pieces), func(i int) bool {
		reused[i] = p.reuse(c, &parts.pieces[i])
		return reused[i] || c.read(&parts.pieces[i])
	}) {
		return nil
	}
	doc := &document{file: path}
	all := &written{relays: c.tables(doc, Relay), gateways: c.tables(doc, Gateway), statics: c.tables(doc, Static)}
	if settings == p.agrees {
		checkFresh(&c.NAT, all, parts.fresh(reused))
	} else {
		checkConflicts(&c.NAT, all)
	}
	if len(doc.errs) > 0 {
		return nil
	}
	p.pieces, p.agrees = make(map[fingerprint]piece, len(parts.pieces)), settings
	for _, piece := range parts.pieces {
		piece.text = nil
		p.pieces[piece.mark] = piece
	}
	return c
}

// fresh is the positions of relays that are not among those of the last configuration, or are there twice now.
func (c *cutting) fresh(reused []bool) (fresh []int) {
	seen := make(map[fingerprint]bool, len(c.pieces))
	for i := range c.pieces {
		piece := &c.pieces[i]
		if !reused[i] || seen[piece.mark] {
			for j := range piece.count {
				fresh = append(fresh, piece.first+j)
			}
		}
		seen[piece.mark] = true
	}
	return fresh
}

// readRest reads all but the relays.
func (p *Parser) readRest(path string, parts *cutting) *Config {
	mark := fingerprintOf(p.seed, parts.rest)
	if p.settings != nil && p.settings.Path == path && p.rest == mark {
		return p.settings
	}
	doc, err := decode(path, parts.rest)
	if err != nil || !doc.takeStubs(parts.stubs) {
		return nil
	}
	settings, _ := doc.settings()
	if len(doc.errs) > 0 {
		return nil
	}
	p.settings, p.rest = settings, mark
	return settings
}

// takeStubs takes out what stands for relays, and tells whether that is all of them.
func (d *document) takeStubs(want int) bool {
	stubs, _ := d.values[string(Relay)].([]map[string]any)
	for _, values := range stubs {
		if len(values) > 0 {
			return false
		}
	}
	delete(d.values, string(Relay))
	return len(stubs) == want
}

// reuse takes the relays of the same text in the last configuration, if there is one.
func (p *Parser) reuse(c *Config, to *piece) bool {
	from, known := p.pieces[to.mark]
	if !known || p.last.Path != c.Path {
		return false
	}
	copy(c.NAT.Relays[to.first:], p.last.NAT.Relays[from.first:from.first+from.count])
	for i, lines := range p.last.lines[Relay][from.first : from.first+from.count] {
		lines.line += to.line - from.line
		c.lines[Relay][to.first+i] = lines
	}
	return true
}

// read reads the relays of a piece.
func (c *Config) read(p *piece) bool {
	doc, err := decode(c.Path, p.text)
	if err != nil || len(doc.values) != 1 {
		return false
	}
	relays := doc.tables(string(Relay), relayKeys)
	if len(relays) != p.count {
		return false
	}
	for i := range relays {
		c.NAT.Relays[p.first+i] = relayOf(&relays[i])
		c.lines[Relay][p.first+i] = relays[i].lines
		c.lines[Relay][p.first+i].line += p.line - 1
	}
	return len(doc.errs) == 0
}

// moved returns a copy with the lines that the file has.
func (c *Config) moved(shifts []shift) *Config {
	next := *c
	next.lines = make(map[Kind][]tableLines, len(c.lines))
	for kind, all := range c.lines {
		next.lines[kind] = slices.Clone(all)
		for i, passed := 0, 0; i < len(all); i++ {
			for passed < len(shifts) && shifts[passed].line <= all[i].line {
				passed++
			}
			if passed > 0 {
				next.lines[kind][i].line += shifts[passed-1].more
			}
		}
	}
	return &next
}

// inParallel does n works, and tells whether all succeeded. It begins no more when one has failed.
func inParallel(n int, work func(i int) bool) bool {
	var next atomic.Int64
	var failed atomic.Bool
	var workers sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !failed.Load(); i = int(next.Add(1)) - 1 {
				if !work(i) {
					failed.Store(true)
				}
			}
		})
	}
	workers.Wait()
	return !failed.Load()
}

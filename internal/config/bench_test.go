package config

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// manyRelays is a file of n relays.
func manyRelays(n int) []byte {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "[[relay]]\nname = \"relay-%d\"\nlisten = \"10.%d.%d.%d:80\"\nprotocol = \"tcp\"\nfrom = [\"192.168.0.0/16\"]\nto = [\"172.16.0.100:80\"]\n",
			i, i>>16, i>>8&255, i&255)
	}
	return []byte(b.String())
}

// benchRelays is a file of 12 MB.
const benchRelays = 100_000

// BenchmarkParse reads a file for the first time.
func BenchmarkParse(b *testing.B) {
	benchmarkParse(b, func(*Parser) *Parser { return &Parser{} }, manyRelays(benchRelays))
}

// BenchmarkParseOneChanged reads a file after one that differs in a relay.
func BenchmarkParseOneChanged(b *testing.B) {
	first := manyRelays(benchRelays)
	changed := bytes.Replace(first, []byte("name = \"relay-50000\""), []byte("log = true\nname = \"relay-50000\""), 1)
	benchmarkParse(b, func(p *Parser) *Parser { return p }, first, changed)
}

// BenchmarkParseSame reads a file again.
func BenchmarkParseSame(b *testing.B) {
	benchmarkParse(b, func(p *Parser) *Parser { return p }, manyRelays(benchRelays))
}

// benchmarkParse reads the texts in turn.
func benchmarkParse(b *testing.B, next func(*Parser) *Parser, texts ...[]byte) {
	b.Helper()
	p := &Parser{}
	if _, err := p.Parse("natd.toml", texts[len(texts)-1]); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(texts[0])))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p = next(p)
		if _, err := p.Parse("natd.toml", texts[i%len(texts)]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRetained reports what a configuration holds in memory.
func BenchmarkRetained(b *testing.B) {
	data := manyRelays(benchRelays)
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		p := &Parser{}
		if _, err := p.Parse("natd.toml", data); err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/benchRelays, "B/relay")
		runtime.KeepAlive(p)
	}
}

// BenchmarkLocate is the part of a first reading that finds the lines.
func BenchmarkLocate(b *testing.B) {
	text := string(manyRelays(benchRelays))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		locate(text)
	}
}

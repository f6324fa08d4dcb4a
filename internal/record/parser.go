package record

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxLine bounds a line, in bytes: one of natd's has less than 1 KiB.
const maxLine = 16 << 10

// Parser reads lines. It learns the fields of text from the header line before it; several headers, and JSON between them, may
// follow each other, as they do in a file when the format is changed. The zero value has not met a header yet.
type Parser struct {
	known  []field
	fields []field // of the lines of text that come
}

// errHeadless is for text that no header line precedes.
var errHeadless = errors.New("it stands before any header line, which would tell what its fields are")

// Parse reads a line, with or without the line end. It is false for a line that holds no record: a header, or nothing.
func (p *Parser) Parse(line []byte, r *Record) (bool, error) {
	if p.known == nil {
		p.known = fields()
	}
	*r = Record{}
	text := strings.TrimRight(string(line), "\r\n")
	switch {
	case text == "":
		return false, nil
	case len(text) > maxLine:
		return false, fmt.Errorf("it is longer than %d bytes", maxLine)
	case text[0] == '{':
		return true, p.parseJSON(text, r)
	}
	words := strings.Split(text, " ")
	if header := p.header(words); header != nil {
		p.fields = header
		return false, nil
	}
	if p.fields == nil {
		return false, errHeadless
	}
	if len(words) != len(p.fields) {
		return false, fmt.Errorf("it has %d fields, and the header line %d", len(words), len(p.fields))
	}
	for i, word := range words {
		if err := p.fields[i].set(r, word); err != nil {
			return false, err
		}
	}
	return true, nil
}

// header is the fields of a header line; nil for any other line.
func (p *Parser) header(words []string) (header []field) {
	for _, word := range words {
		f := find(p.known, func(f *field) bool { return f.name == word })
		if f == nil {
			return nil
		}
		header = append(header, *f)
	}
	return header
}

func find(list []field, which func(*field) bool) *field {
	for i := range list {
		if which(&list[i]) {
			return &list[i]
		}
	}
	return nil
}

// set takes a field's text into the record.
func (f *field) set(r *Record, word string) error {
	if word == "-" {
		return nil
	}
	if err := f.parse(r, word); err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	return nil
}

// parseJSON reads an object. Keys that are none of the fields are left out, among them what only repeats the others.
func (p *Parser) parseJSON(text string, r *Record) error {
	var values map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &values); err != nil {
		return fmt.Errorf("it is not JSON: %w", err)
	}
	for i := range p.known {
		raw, ok := values[p.known[i].key()]
		if !ok || string(raw) == "null" {
			continue
		}
		word := string(raw)
		if raw[0] == '"' {
			if err := json.Unmarshal(raw, &word); err != nil {
				return fmt.Errorf("%s: %w", p.known[i].key(), err)
			}
		}
		if err := p.known[i].set(r, word); err != nil {
			return err
		}
	}
	return nil
}

// LineError is a line that cannot be understood, such as one that a full disk cut off. Those behind it can be read.
type LineError struct {
	Line int // from 1
	Err  error
}

// Error has the number of the line.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns what is wrong with the line.
func (e *LineError) Unwrap() error { return e.Err }

// Reader reads the records of a file.
type Reader struct {
	from   *bufio.Reader
	parser Parser
	line   int
}

// NewReader reads from the beginning of a file, where a header line stands, or JSON.
func NewReader(r io.Reader) *Reader { return &Reader{from: bufio.NewReaderSize(r, maxLine)} }

// Read reads the next record. The error is io.EOF at the end, a *LineError for a line that cannot be understood, after which
// reading goes on, or that of the file.
func (r *Reader) Read(rec *Record) error {
	for {
		line, err := r.next()
		if len(line) > 0 || err == nil {
			r.line++
		}
		if err != nil && (len(line) == 0 || !errors.Is(err, io.EOF)) {
			return err
		}
		switch ok, err := r.parser.Parse(line, rec); {
		case err != nil:
			return &LineError{Line: r.line, Err: err}
		case ok:
			return nil
		}
	}
}

// next is the next line; of one that is too long, only so much that Parse sees it.
func (r *Reader) next() (line []byte, err error) {
	line, err = r.from.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = r.from.ReadSlice('\n')
	}
	return bytes.Repeat([]byte("?"), maxLine+1), err
}

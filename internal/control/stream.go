package control

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// chunk is how much of a document is made before it is written, in bytes.
const chunk = 64 << 10

// WriteJSON writes the status as encoding/json would, but piece by piece: of 100,000 relays it has more than 100 MB, and
// an encoder makes all of it, and then a copy to indent, before it writes the first byte.
func (s *Status) WriteJSON(w io.Writer, indent string) error {
	out := &stream{w: bufio.NewWriterSize(w, chunk), indent: indent}
	out.json = json.NewEncoder(&out.made)
	out.json.SetEscapeHTML(false)
	// What may be long is left out of the frame, and written where the frame has null for it.
	frame := *s
	frame.Relays, frame.Gateways, frame.Statics, frame.Names = nil, nil, nil, nil
	text, err := out.encode(&frame, "")
	if err != nil {
		return fmt.Errorf("encode the status: %w", err)
	}
	text = bytes.Clone(text) // its room is needed for what comes in between
	text = list(out, text, "relays", s.Relays)
	text = list(out, text, "gateways", s.Gateways)
	text = list(out, text, "statics", s.Statics)
	text = list(out, text, "names", s.Names)
	out.write(text)
	if out.err == nil {
		out.err = out.w.Flush()
	}
	if out.err != nil {
		return fmt.Errorf("write the status: %w", out.err)
	}
	return nil
}

// stream is a document in the making. The first error stays.
type stream struct {
	w      *bufio.Writer
	indent string
	made   bytes.Buffer // by json
	json   *json.Encoder
	err    error
}

// encode makes the text of a value, that is good until the next call.
func (o *stream) encode(v any, prefix string) ([]byte, error) {
	o.made.Reset()
	o.json.SetIndent(prefix, o.indent)
	err := o.json.Encode(v)
	return bytes.TrimSuffix(o.made.Bytes(), []byte("\n")), err
}

func (o *stream) write(text []byte) {
	if o.err == nil {
		_, o.err = o.w.Write(text)
	}
}

// list writes the frame up to the key, which stands in it once and in this order, and the list. It returns what comes after it. A text
// in the frame cannot look like a key, for its quotes are escaped.
func list[T any](o *stream, frame []byte, key string, items []T) []byte {
	colon, newline := `":`, ""
	if o.indent != "" {
		colon, newline = `": `, "\n"
	}
	before, after, _ := bytes.Cut(frame, []byte(`"`+key+colon+"null"))
	o.write(before)
	o.write([]byte(`"` + key + colon))
	if len(items) == 0 { // null or []
		text, err := o.encode(items, "")
		o.write(text)
		o.err = first(o.err, err)
		return after
	}
	open := "["
	for i := range items {
		text, err := o.encode(&items[i], o.indent+o.indent)
		if o.err = first(o.err, err); o.err != nil {
			return nil
		}
		o.write([]byte(open + newline + o.indent + o.indent))
		o.write(text)
		open = ","
	}
	o.write([]byte(newline + o.indent + "]"))
	return after
}

// first is the error that came first.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"
)

func TestDecodeRequest(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		line string
		code int    // 0 = it is understood
		want string // in the error, or the operation
	}{
		"status":            {`{"version":1,"op":"status"}`, 0, OpStatus},
		"args":              {`{"version":1,"op":"connections","args":{"relay":"web"}}`, 0, OpConnections},
		"drain":             {`{"version":1,"op":"drain","args":{"relay":"web","backend":"10.3.0.1"}}`, 0, OpDrain},
		"spaces":            {"  { \"op\" : \"flush\", \"version\" : 1 }\r\n", 0, OpFlush},
		"newer":             {`{"version":2,"op":"status","colour":"red"}`, CodeFailed, "protocol version 2 is not supported: natd speaks version 1"},
		"no version":        {`{"op":"status"}`, CodeFailed, "protocol version 0 is not supported"},
		"null":              {`null`, CodeFailed, "protocol version 0 is not supported"},
		"unknown field":     {`{"version":1,"op":"status","colour":"red"}`, CodeUsage, `unknown field "colour"`},
		"unknown operation": {`{"version":1,"op":"dance"}`, CodeUsage, `unknown operation "dance": natd knows status, connections, known, plan, reload, flush, drain and enable`},
		"no operation":      {`{"version":1}`, CodeUsage, `unknown operation ""`},
		"long operation":    {`{"version":1,"op":"` + strings.Repeat("x", 5000) + `"}`, CodeUsage, `unknown operation "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx": natd`},
		"forged log line":   {`{"version":1,"op":"x\nlevel=INFO"}`, CodeUsage, `unknown operation "x\nlevel=INFO"`},
		"two documents":     {`{"version":1,"op":"status"}{}`, CodeUsage, "not a JSON object"},
		"empty":             {``, CodeUsage, "not a JSON object"},
		"not JSON":          {`GET / HTTP/1.1`, CodeUsage, "not a JSON object"},
		"array":             {`[1]`, CodeUsage, "not a JSON object"},
		"NUL":               {"\x00\x00", CodeUsage, "not a JSON object"},
		"deep":              {strings.Repeat("[", maxRequest-1), CodeUsage, "not a JSON object"},
		"deep in args":      {`{"version":1,"op":"status","args":` + strings.Repeat(`{"a":`, 11000), CodeUsage, "not a JSON object"},
		"wrong type":        {`{"version":"1","op":"status"}`, CodeUsage, "not a JSON object"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := decodeRequest([]byte(test.line))
			if test.code == 0 {
				if err != nil || r.Op != test.want {
					t.Errorf("got %+v, %v", r, err)
				}
				return
			}
			if err == nil {
				t.Fatalf("got %+v, want an error", r)
			}
			if got := AsError(err); got.Code != test.code || !strings.Contains(got.Message, test.want) {
				t.Errorf("got %d %q, want %d with %q", got.Code, got.Message, test.code, test.want)
			}
		})
	}
}

func TestDecodeArgs(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ args, relay, err string }{
		"none":    {``, "", ""},
		"null":    {`null`, "", ""},
		"empty":   {`{}`, "", ""},
		"relay":   {`{"relay":"web"}`, "web", ""},
		"unknown": {`{"relai":"web"}`, "", `the arguments of connections are not understood: json: unknown field "relai"`},
		"number":  {`{"relay":1}`, "", "the arguments of connections are not understood"},
		"array":   {`[]`, "", "the arguments of connections are not understood"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := request{Op: OpConnections, Args: json.RawMessage(test.args)}
			var args ConnectionsArgs
			err := r.decodeArgs(&args)
			if (err == nil) != (test.err == "") || (err != nil && !strings.Contains(err.Error(), test.err)) {
				t.Errorf("error %v, want %q", err, test.err)
			}
			if args.Relay != test.relay {
				t.Errorf("relay %q, want %q", args.Relay, test.relay)
			}
		})
	}
}

// What strangers write is refused with words and a code, or understood; nothing else happens.
func FuzzDecodeRequest(f *testing.F) {
	for _, seed := range []string{
		`{"version":1,"op":"status"}`, `{"version":1,"op":"connections","args":{"relay":"web"}}`, `{"version":2}`,
		`{"version":1,"op":"drain","args":{"relay":"web","backend":"10.3.0.1:80"}}`,
		`{"version":1,"op":"flush","args":[[[[`, "\x00", "[[[[", `{"version":1e0,"op":"\ud800"}`, `{"Version":1,"OP":"reload"}`, "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := decodeRequest(line)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Code == CodeOK || e.Message == "" || strings.ContainsAny(e.Message, "\n\r\x00\x1b") {
				t.Fatalf("%q: error %#v", line, err)
			}
			return
		}
		if r.Version != ProtocolVersion || (privileged(r.Op) && handlingTime(r.Op) < 2*time.Minute) {
			t.Fatalf("%q: understood as %+v", line, r)
		}
		_ = r.decodeArgs(new(ConnectionsArgs))
		_ = r.decodeArgs(new(BackendArgs))
	})
}

func TestErrors(t *testing.T) {
	t.Parallel()
	refused := Errorf(CodeConfig, "line 3: %w", fs.ErrInvalid)
	tests := map[string]struct {
		err  error
		want Error
	}{
		"own":     {refused, Error{Code: CodeConfig, Message: "line 3: invalid argument"}},
		"wrapped": {fmt.Errorf("reload: %w", refused), Error{Code: CodeConfig, Message: "reload: line 3: invalid argument"}},
		"foreign": {fs.ErrExist, Error{Code: CodeFailed, Message: "file already exists"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := AsError(test.err)
			if got.Code != test.want.Code || got.Message != test.want.Message {
				t.Errorf("got %+v, want %+v", *got, test.want)
			}
			if !errors.Is(got, test.err) && !errors.Is(got, fs.ErrInvalid) {
				t.Errorf("the cause is lost")
			}
		})
	}
}

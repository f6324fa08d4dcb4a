package main

import (
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"natd/internal/control"
	"natd/internal/logfile"
	"natd/internal/record"
)

// joined is a flow with the lines that its records stand in.
type joined struct {
	record.Flow
	lines []string
}

// flowReader makes flows of lines. Its memory is that of the records of one flow.
type flowReader struct {
	times bool // those who ask need to know when
	skip  bool // only headers count: what is there already is not shown
	each  func(*joined) error

	lenient bool // lines that do not tell enough for a flow are given alone

	parser record.Parser
	join   record.Joiner
	lines  []string
	header string
	lacks  []string // what the last header does not have
	wrong  int      // lines that are not understood
	first  error    // the first of these

	damaged []error // of parts that cannot be read to their end
}

// line takes the next line of a file, and its number; 0 where lines are not counted.
func (r *flowReader) line(line []byte, path string, number int) error {
	if len(line) == 0 || r.skip && (line[0] < 'a' || line[0] > 'z') {
		return nil // a header begins with the name of a field
	}
	var rec record.Record
	ok, err := r.parser.Parse(line, &rec)
	switch {
	case err != nil && r.skip:
		return nil
	case err != nil:
		if r.wrong++; r.wrong == 1 {
			place := path
			if number > 0 {
				place = fmt.Sprintf("%s:%d", path, number)
			}
			r.first = fmt.Errorf("%s: %w", place, err)
		}
		return nil
	case !ok:
		r.header, r.lacks = string(line), r.parser.Lacks(r.times)
		return r.idle()
	case r.skip:
		return nil
	case len(r.lacks) > 0 && line[0] != '{' && r.lenient:
		return r.each(&joined{lines: []string{string(line)}})
	case len(r.lacks) > 0 && line[0] != '{':
		return lackError(path, r.lacks)
	}
	r.lines = append(r.lines, string(line))
	if f, ok := r.join.Add(&rec); ok {
		return r.give(f)
	}
	return nil
}

func lackError(path string, lacks []string) error {
	fields := make([]string, len(lacks))
	for i, name := range lacks {
		fields[i] = "${" + name + "}"
	}
	return fmt.Errorf("the format of %s lacks %s, without which it does not tell who spoke to whom: add them to format in [flow_log]; --raw shows the lines as they are",
		path, strings.Join(fields, " "))
}

// idle gives what waits for more records when none come.
func (r *flowReader) idle() error {
	if f, ok := r.join.Flush(); ok {
		return r.give(f)
	}
	return nil
}

func (r *flowReader) give(f record.Flow) error {
	j := &joined{f, r.lines[:f.Records]}
	err := r.each(j)
	r.lines = slices.Delete(r.lines, 0, f.Records)
	return err
}

// flowLog is a flow log with all of its parts.
type flowLog struct {
	path  string
	since time.Time // parts that were put aside before are not looked into
	stdin io.Reader
}

// standardInput is the path for it.
const standardInput = "-"

// read gives every flow to the reader, the oldest first. It stops when ctx ends.
func (l *flowLog) read(ctx context.Context, r *flowReader) error {
	if l.path == standardInput {
		return readLines(ctx, l.stdin, "standard input", r)
	}
	// The log itself is opened first, and read last: when it is put aside meanwhile it is still the one that is open.
	current, err := logfile.Open(l.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return l.openError(err)
	}
	if current != nil {
		defer current.Close()
	}
	found, listErr := l.readParts(ctx, r, current)
	switch {
	case listErr != nil:
		return listErr
	case current == nil && !found:
		return l.openError(err)
	case current == nil:
		return nil
	}
	return readLines(ctx, current, l.path, r)
}

// readParts reads what was put aside, and tells whether there was any.
func (l *flowLog) readParts(ctx context.Context, r *flowReader, current *logfile.Reader) (found bool, err error) {
	parts, err := logfile.Files(l.path)
	if err != nil {
		return false, l.openError(err)
	}
	for _, part := range parts {
		found = true
		if part.Last.Before(l.since) || current != nil && current.Is(part) {
			continue
		}
		if err := l.readPart(ctx, r, part.Path); err != nil {
			return true, err
		}
	}
	return found, nil
}

func (l *flowLog) readPart(ctx context.Context, r *flowReader, path string) error {
	f, err := logfile.OpenPart(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // deleted for its age
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		r.damaged = append(r.damaged, err)
		return nil
	case err != nil:
		return l.openError(err)
	}
	defer f.Close()
	err = readLines(ctx, f, path, r)
	if broken, ok := errors.AsType[*readError](err); ok {
		r.damaged = append(r.damaged, broken)
		return r.idle()
	}
	return err
}

// readError is a file that cannot be read on.
type readError struct {
	path string
	err  error
}

// Error names the file.
func (e *readError) Error() string { return fmt.Sprintf("read %s: %v", e.path, e.err) }

// Unwrap returns what is wrong with it.
func (e *readError) Unwrap() error { return e.err }

func readLines(ctx context.Context, from io.Reader, path string, r *flowReader) error {
	lines := logfile.NewLines(from)
	for n := 1; ; n++ {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("interrupted: %w", err)
		}
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return r.idle()
		}
		if err != nil {
			return &readError{path, err}
		}
		if err := r.line(line, path, n); err != nil {
			return err
		}
	}
}

// look is how long --follow waits for more.
const lookAgain = 200 * time.Millisecond

// follow gives flows as they are written, until ctx ends. What is there already is left out unless a time was given.
func (l *flowLog) follow(ctx context.Context, r *flowReader) error {
	tail, err := logfile.Follow(l.path)
	if err != nil {
		return l.openError(err)
	}
	defer tail.Close()
	if r.skip = l.since.IsZero(); !r.skip {
		current, err := logfile.Open(l.path)
		if err != nil {
			return l.openError(err)
		}
		defer current.Close()
		if _, err := l.readParts(ctx, r, current); err != nil {
			return err
		}
	}
	for quiet := 0; ctx.Err() == nil; {
		line, err := tail.Next()
		switch {
		case err == nil:
			quiet = 0
			if err := r.line(line, l.path, 0); err != nil {
				return err
			}
			continue
		case !errors.Is(err, logfile.ErrIdle):
			return fmt.Errorf("read %s: %w", l.path, err)
		}
		r.skip = false
		// The records of a flow are written at once, but a disk may be slow.
		if quiet++; quiet == 2 {
			if err := r.idle(); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookAgain):
		}
	}
	return nil
}

func (l *flowLog) openError(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return control.Errorf(control.CodeNotPermitted, "not permitted to read the flow log: %w: you need to be root or in group natd (sudo, or usermod -aG natd USER and a new login)", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no flow log at %s: natd makes it with its first record; [flow_log] in the configuration says where: %w", l.path, err)
	}
	return fmt.Errorf("read the flow log: %w", err)
}

// findLog is the flow log that was named, or that of the natd that runs. The status is nil where natd was not needed and does not answer.
func (a *app) findLog(ctx context.Context, file string) (*flowLog, *control.Status, error) {
	s, err := a.status(ctx, nil)
	l := &flowLog{path: file, stdin: os.Stdin}
	switch {
	case file != "":
		return l, s, nil
	case err != nil:
		return nil, nil, fmt.Errorf("%w; without natd, --file names the flow log", err)
	case s.FlowLog == nil || s.FlowLog.Path == "":
		return nil, nil, fmt.Errorf("%s has no [flow_log], so natd writes no records: add a line [flow_log] to it, then natctl reload; natctl connections shows what is open now",
			cmp.Or(s.Config.Path, "the configuration"))
	case s.FlowLog.Path == "stdout":
		return nil, nil, errors.New(`the flow log goes to natd's standard output: journalctl -u natd -o cat | natctl flows --file -`)
	}
	l.path = s.FlowLog.Path
	return l, s, nil
}

package metrics

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"natd/internal/control"
)

// ContentType is that of what [Write] writes: version 0.0.4 of Prometheus' text format ("Exposition formats" in its documentation).
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Write writes what the status of the natd of that version says. A nil status says that natd did not answer: natd_up is 0.
func Write(w io.Writer, version string, s *control.Status) error {
	out := &series{out: bufio.NewWriterSize(w, 64<<10)}
	v := newView(version, s)
	metrics := Catalogue()
	if s == nil {
		metrics = aboutAnswers()
	}
	for i := range metrics {
		out.metric, out.begun = &metrics[i], false
		metrics[i].read(v, out)
	}
	if err := out.out.Flush(); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

// series writes the series of one metric after the other. An error of the writer stays with it until the end.
type series struct {
	out    *bufio.Writer
	metric *Metric
	begun  bool     // its help and type are written
	line   []byte   // in the making
	labels []string // likewise, of a line that needs more than it was given
}

// add writes a series with its value. There are as many values of labels as the metric has labels.
func (s *series) add(value float64, labels ...string) {
	s.begin("", labels)
	s.end(strconv.AppendFloat(s.line, value, 'g', -1, 64))
}

// count is add for a number that may be too large to be exact as a float.
func (s *series) count(n uint64, labels ...string) {
	s.begin("", labels)
	s.end(strconv.AppendUint(s.line, n, 10))
}

// sum is count for what must not fall. While natd cannot tell what connections carried that have ended, it is left out.
func (s *series) sum(exact bool, n uint64, labels ...string) {
	if exact {
		s.count(n, labels...)
	}
}

// flag is add for a value that is 1 or 0.
func (s *series) flag(on bool, labels ...string) {
	s.begin("", labels)
	s.end(append(s.line, digit(on)))
}

func digit(on bool) byte {
	if on {
		return '1'
	}
	return '0'
}

// time is add for a point in time, in seconds since 1970. The zero time is 0: it never was.
func (s *series) time(t time.Time, labels ...string) {
	if t.IsZero() {
		s.add(0, labels...)
		return
	}
	s.begin("", labels)
	s.end(strconv.AppendFloat(s.line, float64(t.UnixNano())/1e9, 'f', 3, 64))
}

// states writes a series for each state that there can be: 1 for the one that is, 0 for the others. The last label is the state.
func (s *series) states(is string, all []string, labels ...string) {
	s.labels = append(append(s.labels[:0], labels...), "")
	for _, state := range all {
		s.labels[len(labels)] = state
		s.begin("", s.labels)
		s.end(append(s.line, digit(state == is)))
	}
}

// volume is sum for both directions. The last label is the direction.
func (s *series) volume(exact bool, v *control.Volume, labels ...string) {
	s.labels = append(append(s.labels[:0], labels...), "to_target")
	s.sum(exact, v.ToTarget, s.labels...)
	s.labels[len(labels)] = "to_client"
	s.sum(exact, v.ToClient, s.labels...)
}

// histogram writes all series of a histogram without labels.
func (s *series) histogram(h *control.Histogram) {
	for _, b := range h.Buckets {
		s.bucket(strconv.FormatFloat(b.Most, 'g', -1, 64), b.Count)
	}
	s.bucket("+Inf", h.Count)
	s.begin("_sum", nil)
	s.end(strconv.AppendFloat(s.line, h.Sum, 'g', -1, 64))
	s.begin("_count", nil)
	s.end(strconv.AppendUint(s.line, h.Count, 10))
}

func (s *series) bucket(most string, n uint64) {
	s.begin("_bucket", nil)
	s.line = append(append(append(s.line[:len(s.line)-1], `{le="`...), most...), `"} `...)
	s.end(strconv.AppendUint(s.line, n, 10))
}

// begin writes what stands before a value. Help and type of a metric come before its first series: a metric without any is left out.
func (s *series) begin(suffix string, labels []string) {
	if !s.begun {
		s.begun = true
		fmt.Fprintf(s.out, "# HELP %s %s\n# TYPE %s %s\n", s.metric.Name, s.metric.Help, s.metric.Name, s.metric.Type)
	}
	s.line = append(append(s.line[:0], s.metric.Name...), suffix...)
	for i, value := range labels {
		if i == 0 {
			s.line = append(s.line, '{')
		} else {
			s.line = append(s.line, ',')
		}
		s.line = append(append(s.line, s.metric.Labels[i]...), `="`...)
		s.line = append(appendEscaped(s.line, value), '"')
	}
	if len(labels) > 0 {
		s.line = append(s.line, '}')
	}
	s.line = append(s.line, ' ')
}

func (s *series) end(line []byte) {
	s.line = append(line, '\n')
	_, _ = s.out.Write(s.line) // an error stays until Flush
}

// appendEscaped appends the value of a label.
func appendEscaped(line []byte, value string) []byte {
	if !strings.ContainsAny(value, "\\\"\n") {
		return append(line, value...)
	}
	for i := range len(value) {
		switch c := value[i]; c {
		case '\\', '"':
			line = append(line, '\\', c)
		case '\n':
			line = append(line, `\n`...)
		default:
			line = append(line, c)
		}
	}
	return line
}

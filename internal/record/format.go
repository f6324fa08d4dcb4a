package record

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The formats that have a name. Anything else is text with ${field}s.
const (
	V2   = "vpc-v2" // AWS's default format
	V5   = "vpc-v5" // every field up to version 5, in the order of AWS's example
	JSON = "json"   // an object on each line
)

// The fields of the formats with a name: Amazon VPC User Guide, "Flow log records", "Default format", and "Flow log record
// examples" for version 5.
const (
	fieldsV2 = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${packets} " +
		"${bytes} ${start} ${end} ${action} ${log-status}"
	fieldsV5 = "${version} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${start} ${end} ${type} ${packets} ${bytes} " +
		"${account-id} ${vpc-id} ${subnet-id} ${instance-id} ${interface-id} ${region} ${az-id} ${sublocation-type} " +
		"${sublocation-id} ${action} ${tcp-flags} ${pkt-srcaddr} ${pkt-dstaddr} ${pkt-src-aws-service} " +
		"${pkt-dst-aws-service} ${traffic-path} ${flow-direction} ${log-status}"
)

// least is the version of a line whose fields are all of the first ones, or natd's own.
const least = 2

// Format is how records become lines. It is made by ParseFormat, and does not change.
type Format struct {
	fields  []field
	version int
	json    bool
}

// ParseFormat understands "vpc-v2", "vpc-v5", "json", and text with fields as AWS has it: "${srcaddr} ${dstaddr}". Errors name
// the field and what would be right.
func ParseFormat(text string) (*Format, error) {
	switch text {
	case V2:
		text = fieldsV2
	case V5:
		text = fieldsV5
	case JSON:
		return &Format{fields: fields(), version: highest(fields()), json: true}, nil
	}
	if !strings.Contains(text, "${") {
		return nil, fmt.Errorf("must be %q, %q, %q or text with fields such as ${srcaddr} ${dstaddr}", V2, V5, JSON)
	}
	known := fields()
	f := &Format{}
	for word := range strings.SplitSeq(text, " ") {
		name, err := placeholder(word)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(known, func(k field) bool { return k.name == name })
		switch {
		case i < 0:
			return nil, unknown(name, known)
		case slices.ContainsFunc(f.fields, func(k field) bool { return k.name == name }):
			return nil, fmt.Errorf("${%s} stands twice", name)
		}
		f.fields = append(f.fields, known[i])
	}
	f.version = highest(f.fields)
	return f, nil
}

// placeholder is the name within a ${name}.
func placeholder(word string) (string, error) {
	name, isField := strings.CutPrefix(word, "${")
	name, ends := strings.CutSuffix(name, "}")
	switch {
	case word == "":
		return "", errors.New("has a space too many: fields are separated by one space, and nothing stands before or after them")
	case !isField || !ends || strings.ContainsAny(name, "${}"):
		return "", fmt.Errorf("has %q between its fields: there is room only for fields such as ${srcaddr}, separated by one space", word)
	}
	return name, nil
}

// unknown tells why a field cannot be written.
func unknown(name string, known []field) error {
	if v := laterVersion(name); v > 0 {
		return fmt.Errorf("has ${%s}, which came with version %d of VPC Flow Logs: natd knows the fields up to version %d, and its own",
			name, v, highest(known))
	}
	for _, k := range known {
		if near(name, k.name) {
			return fmt.Errorf("has ${%s}, which natd does not know; did you mean ${%s}?", name, k.name)
		}
	}
	return fmt.Errorf("has ${%s}, which is not a field of VPC Flow Logs that natd knows", name)
}

// laterVersion is the version that brought a field that natd does not write, 0 for what is none.
func laterVersion(name string) int {
	switch {
	case name == "resource-type", strings.HasPrefix(name, "tgw-"), strings.HasPrefix(name, "packets-lost-"):
		return 6
	case strings.HasPrefix(name, "ecs-"):
		return 7
	case name == "reject-reason":
		return 8
	case name == "resource-id":
		return 9
	case name == "encryption-status":
		return 10
	}
	return 0
}

// near tells whether a name was probably meant: it is so but for case, for what separates its words, or for a missing beginning.
func near(wrong, name string) bool {
	plain := func(s string) string {
		return strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(s))
	}
	w, n := plain(wrong), plain(name)
	return w == n || len(w) > 2 && (strings.HasPrefix(n, w) || strings.HasSuffix(n, w)) || len(w) > 3 && oneOff(w, n)
}

// oneOff tells whether one letter that is changed, missing or too many, or two that are swapped, make the difference.
func oneOff(a, b string) bool {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	a, b = a[i:], b[i:]
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return len(a) <= 1 && len(b) <= 1 || len(a) == 2 && len(b) == 2 && a[0] == b[1] && a[1] == b[0]
}

// highest is the highest version among the fields: what AWS calls the version of a line.
func highest(list []field) int {
	version := least
	for _, f := range list {
		version = max(version, f.version)
	}
	return version
}

// Header is the line that stands before the records and names their fields; "" for JSON, whose lines name them.
func (f *Format) Header() string {
	if f.json {
		return ""
	}
	names := make([]string, len(f.fields))
	for i := range f.fields {
		names[i] = f.fields[i].name
	}
	return strings.Join(names, " ") + "\n"
}

// Append appends the record's line.
func (f *Format) Append(dst []byte, r *Record) []byte {
	if f.json {
		return f.appendJSON(dst, r)
	}
	for i := range f.fields {
		if i > 0 {
			dst = append(dst, ' ')
		}
		before := len(dst)
		if dst = f.value(dst, i, r); len(dst) == before {
			dst = append(dst, '-')
		}
	}
	return append(dst, '\n')
}

// value appends what the record has for a field, nothing when it is missing. The version is that of the line.
func (f *Format) value(dst []byte, i int, r *Record) []byte {
	if f.fields[i].name == "version" {
		return strconv.AppendInt(dst, int64(f.version), 10)
	}
	return f.fields[i].append(dst, r)
}

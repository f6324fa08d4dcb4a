package config

import (
	"errors"
	"fmt"
	"strings"
)

// The longest name and the longest part of one, in characters: RFC 1035, 2.3.4, where a name of 255 octets is 253 characters.
const (
	maxHostname = 253
	maxLabel    = 63
)

// parseName reads a DNS name, and returns it in lower case and without the last dot. Besides what RFC 1123, 2.1 gives host
// names, it may have underscores: DNS admits them (RFC 2181, 11), and names inside private networks have them.
func parseName(s string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	if len(name) > maxHostname {
		return "", fmt.Errorf("the name has %d characters, and DNS knows none of more than %d", len(name), maxHostname)
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if err := checkLabel(s, label); err != nil {
			return "", err
		}
		last = label
	}
	switch {
	case strings.Trim(last, "0123456789") == "": // RFC 1123, 2.1: so an address is never taken for a name
		return "", fmt.Errorf("%s is not an IP address, and the last part of a name is no number", show(s))
	case last == "localhost": // RFC 6761, 6.3
		return "", fmt.Errorf("%s is this host itself: nothing can be relayed to it", show(s))
	}
	return strings.Clone(name), nil // see table.name
}

// checkLabel checks a part of a name between dots.
func checkLabel(name, label string) error {
	switch {
	case name == "" || strings.ContainsFunc(label, func(r rune) bool { return r <= 0x7f && !isBare(byte(r)) }):
		return fmt.Errorf(`%s is neither an IP address nor a name of letters, digits, "-", "_" and dots`, show(name))
	case strings.ContainsFunc(label, func(r rune) bool { return r > 0x7f }):
		return fmt.Errorf(`%s: write the name as DNS has it, in the form that begins with "xn--"`, show(name))
	case label == "":
		return fmt.Errorf("%s is not a name: nothing stands before a dot", show(name))
	case len(label) > maxLabel:
		return fmt.Errorf("a part of the name has %d characters, and DNS knows none of more than %d", len(label), maxLabel)
	case label[0] == '-' || label[len(label)-1] == '-':
		return errors.New(`no part of a name begins or ends with "-"`)
	}
	return nil
}

package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"natd/nat"
)

// checkWidth holds the backend's ports against those that clients dial. A listen that is wrong itself is no measure.
func checkWidth(ports, listen nat.PortRange) error {
	if listen.First == 0 || ports.Width() == listen.Width() {
		return nil
	}
	return fmt.Errorf("%s, but listen has %s: both must have the same number", portCount(ports), portCount(listen))
}

func portCount(r nat.PortRange) string {
	if r.Width() == 1 {
		return "1 port"
	}
	return fmt.Sprintf("%d ports", r.Width())
}

// parsePorts reads PORT or FIRST-LAST.
func parsePorts(s string) (nat.PortRange, error) {
	firstText, lastText, isRange := strings.Cut(s, "-")
	first, err := parsePort(firstText)
	if err != nil || !isRange {
		return nat.PortRange{First: first, Last: first}, err
	}
	last, err := parsePort(lastText)
	if err != nil {
		return nat.PortRange{}, err
	}
	if first > last {
		return nat.PortRange{}, fmt.Errorf("the first port of %d-%d is above the last; did you mean %d-%d?", first, last, last, first)
	}
	return nat.PortRange{First: first, Last: last}, nil
}

func parsePort(s string) (uint16, error) {
	if s == "" {
		return 0, errors.New("a port is missing")
	}
	if strings.Contains(s, "/") {
		return 0, fmt.Errorf("%s has more than a port: the protocol is a key of its own, as in protocol = \"udp\"", show(s))
	}
	if strings.Trim(s, "0123456789") != "" {
		return 0, fmt.Errorf("port %s is not a number in 1-65535", show(s))
	}
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("port %s is not in 1-65535", shorten(head(s), ""))
	}
	return uint16(port), nil
}

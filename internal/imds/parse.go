package imds

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

const (
	maxName  = 64   // the ids of AWS have a prefix and 17 digits, names of types and zones are shorter
	maxToken = 1024 // that of EC2 has 56 characters
	maxList  = 512  // more than any interface has addresses (50) or a VPC has blocks
)

// parseName accepts what AWS makes ids, zones and types of.
func parseName(text string) (string, error) {
	name := strings.TrimSuffix(text, "\n")
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return !isNameRune(r) }) {
		return "", fmt.Errorf("%.80q is not a name: 1-%d letters, digits, dots, underscores and hyphens", text, maxName)
	}
	return name, nil
}

func isNameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_'
}

// parseToken accepts what may stand in a header.
func parseToken(text string) (string, error) {
	token := strings.TrimSpace(text)
	if token == "" || len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New("it is not a token") // which is a secret: it stays out of errors
	}
	return token, nil
}

// parseNumber accepts a device number.
func parseNumber(text string) (int, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%.80q is not a number below 65536", text)
	}
	return int(n), nil
}

// parseMAC accepts a MAC address, with the slash that ends it in the list of interfaces.
func parseMAC(text string) (string, error) {
	mac, err := net.ParseMAC(strings.TrimSuffix(text, "/"))
	if err != nil || len(mac) != 6 {
		return "", fmt.Errorf("%.80q is not a MAC address", text)
	}
	return mac.String(), nil
}

func parseAddr(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%.80q is not an address", text)
	}
	return a.Unmap(), nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil || p != p.Masked() || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%.80q is not a network", text)
	}
	return p, nil
}

// listOf parses a list, one item a line.
func listOf[T any](most int, parse func(string) (T, error)) func(string) ([]T, error) {
	return func(text string) ([]T, error) {
		lines := strings.Fields(text)
		if len(lines) > most {
			return nil, fmt.Errorf("%d items are more than the %d that there can be", len(lines), most)
		}
		var list []T
		for _, line := range lines {
			item, err := parse(line)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		return list, nil
	}
}

// document is the part of the instance identity document that natd shows.
type document struct {
	AccountID        string `json:"accountId"`
	AvailabilityZone string `json:"availabilityZone"`
	ImageID          string `json:"imageId"`
	InstanceType     string `json:"instanceType"`
	Region           string `json:"region"`
}

func parseDocument(text string) (d document, err error) {
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return document{}, fmt.Errorf("the instance identity document: %w", err)
	}
	for _, name := range []*string{&d.AccountID, &d.AvailabilityZone, &d.ImageID, &d.InstanceType, &d.Region} {
		if *name == "" {
			continue // null, or left out
		}
		if *name, err = parseName(*name); err != nil {
			return document{}, fmt.Errorf("the instance identity document: %w", err)
		}
	}
	return d, nil
}

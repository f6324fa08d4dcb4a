package imds

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Identity is what the service says of the instance. What it does not say is zero.
type Identity struct {
	ID      string // i-...
	Type    string
	Account string
	Region  string
	Zone    string // eu-west-1a: differs between accounts for the same place
	ZoneID  string // euw1-az2: does not
	Image   string // ami-...

	Interfaces []Interface // by device number
}

// Interface is an elastic network interface (ENI) that is attached to the instance. It has ids and at least one address.
type Interface struct {
	MAC      string // in lower case with colons, as the kernel prints it
	ID       string // eni-...
	Device   int
	VPC      string         // vpc-...
	Subnet   string         // subnet-...
	Addrs    []netip.Addr   // private IPv4 addresses, the primary one first, then the IPv6 addresses
	Prefixes []netip.Prefix // delegated to the ENI as a whole, both families

	SubnetBlocks []netip.Prefix // of the subnet, both families
	VPCBlocks    []netip.Prefix // of the VPC, both families
	Public       []Association  // by public address
}

// Association is a public or Elastic IP address, which AWS translates before a packet reaches the instance.
type Association struct{ Public, Private netip.Addr }

// Owns tells whether AWS delivers packets for the address to the interface.
func (i *Interface) Owns(a netip.Addr) bool {
	return slices.Contains(i.Addrs, a) || slices.ContainsFunc(i.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Equal tells whether two answers agree.
func (i *Identity) Equal(o *Identity) bool { return reflect.DeepEqual(i, o) }

const (
	// identityPatience bounds all the requests for an Identity together.
	identityPatience = 10 * time.Second
	// maxInterfaces is more than any instance type has (Amazon EC2 Instance Types Guide, "Networking specifications").
	maxInterfaces = 128
	// maxAssociations is more than an interface can have private addresses.
	maxAssociations = 64
)

// errHalf is the answer about an interface that comes or goes: its MAC address is listed before its keys are, or still.
var errHalf = errors.New("missing, as it is while the network interface is being attached or detached")

// Identity asks for everything. Either the whole answer is good or there is none: half an answer would look like
// addresses that were taken away.
func (c *Client) Identity(ctx context.Context) (*Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, identityPatience)
	defer cancel()
	defer c.http.CloseIdleConnections()
	r := &reader{ctx: ctx, client: c}
	id := r.identity()
	if r.err != nil {
		c.token = "" // and the endpoints are tried from the first one again
		return nil, fmt.Errorf("ask for the instance's metadata: %w", r.err)
	}
	return id, nil
}

// reader reads keys until the first error, which it keeps.
type reader struct {
	ctx    context.Context
	client *Client
	err    error
}

// read returns the parsed value of a key; the zero value for a key that the instance does not have, and after an error.
func read[T any](r *reader, path string, parse func(string) (T, error)) (value T) {
	if r.err != nil {
		return value
	}
	text, err := r.client.get(r.ctx, path)
	if errors.Is(err, errAbsent) {
		return value
	}
	if err == nil {
		value, err = parse(text)
	}
	if err != nil {
		r.err = fmt.Errorf("%s: %w", path, err)
	}
	return value
}

// must is read for a key that has to be there.
func must[T any](r *reader, path string, parse func(string) (T, error)) T {
	there := false
	value := read(r, path, func(text string) (T, error) { there = true; return parse(text) })
	if r.err == nil && !there {
		r.err = fmt.Errorf("%s: %w", path, errHalf)
	}
	return value
}

const (
	documentPath = "/latest/dynamic/instance-identity/document"
	idPath       = "/latest/meta-data/instance-id"
	zoneIDPath   = "/latest/meta-data/placement/availability-zone-id"
	macsPath     = "/latest/meta-data/network/interfaces/macs/"
)

func (r *reader) identity() *Identity {
	id := &Identity{ID: read(r, idPath, parseName)}
	if r.err == nil && id.ID == "" {
		r.err = fmt.Errorf("%w: it does not know the key %s, so it is not that of EC2", ErrNoService, idPath)
	}
	d := read(r, documentPath, parseDocument)
	id.Type, id.Account, id.Region, id.Zone, id.Image = d.InstanceType, d.AccountID, d.Region, d.AvailabilityZone, d.ImageID
	id.ZoneID = read(r, zoneIDPath, parseName)
	for _, mac := range read(r, macsPath, listOf(maxInterfaces, parseMAC)) {
		id.Interfaces = append(id.Interfaces, r.networkInterface(mac))
	}
	slices.SortFunc(id.Interfaces, func(a, b Interface) int {
		return cmp.Or(cmp.Compare(a.Device, b.Device), strings.Compare(a.MAC, b.MAC))
	})
	return id
}

func (r *reader) networkInterface(mac string) Interface {
	key := func(name string) string { return macsPath + mac + "/" + name }
	addrs, prefixes := listOf(maxList, parseAddr), listOf(maxList, parsePrefix)
	both := func(name4, name6 string) []netip.Prefix {
		return append(read(r, key(name4), prefixes), read(r, key(name6), prefixes)...)
	}
	i := Interface{
		MAC:          mac,
		VPC:          must(r, key("vpc-id"), parseName),
		Subnet:       must(r, key("subnet-id"), parseName),
		Device:       read(r, key("device-number"), parseNumber),
		Addrs:        append(read(r, key("local-ipv4s"), addrs), read(r, key("ipv6s"), addrs)...),
		Prefixes:     both("ipv4-prefix", "ipv6-prefix"),
		SubnetBlocks: both("subnet-ipv4-cidr-block", "subnet-ipv6-cidr-blocks"),
		VPCBlocks:    both("vpc-ipv4-cidr-blocks", "vpc-ipv6-cidr-blocks"),
	}
	if r.err == nil && len(i.Addrs) == 0 { // an interface has an IPv4 address, unless its subnet is for IPv6 alone
		r.err = fmt.Errorf("%s and ipv6s: %w", key("local-ipv4s"), errHalf)
	}
	for _, public := range read(r, key("ipv4-associations/"), listOf(maxAssociations, parseAddr)) {
		for _, private := range read(r, key("ipv4-associations/"+public.String()), addrs) {
			i.Public = append(i.Public, Association{public, private})
		}
	}
	slices.SortFunc(i.Public, func(a, b Association) int { return cmp.Or(a.Public.Compare(b.Public), a.Private.Compare(b.Private)) })
	// The last, as the networks are the first: keys that come or go while the others are read are noticed at either end.
	i.ID = must(r, key("interface-id"), parseName)
	return i
}

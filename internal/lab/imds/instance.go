package imds

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
)

// Instance is what the stand-in tells. What is empty is not there, and asking for it is answered with 404.
type Instance struct {
	ID         string      `json:"id"`
	Type       string      `json:"type"`
	Account    string      `json:"account"`
	Region     string      `json:"region"`
	Zone       string      `json:"zone"`
	ZoneID     string      `json:"zone_id"`
	Image      string      `json:"image"`
	Interfaces []Interface `json:"interfaces"`

	// Keys are added to the others by their whole path ("/latest/meta-data/mac"); one that is null takes a key away.
	Keys map[string]*string `json:"keys"`
}

// Interface is one network interface of the instance.
type Interface struct {
	MAC          string            `json:"mac"`
	ID           string            `json:"id"`
	Device       int               `json:"device_number"`
	VPC          string            `json:"vpc"`
	Subnet       string            `json:"subnet"`
	IPv4         []string          `json:"ipv4"` // the first is the primary private address
	IPv6         []string          `json:"ipv6"`
	IPv4Prefixes []string          `json:"ipv4_prefixes"` // delegated
	IPv6Prefixes []string          `json:"ipv6_prefixes"`
	SubnetIPv4   string            `json:"subnet_ipv4"`
	SubnetIPv6   []string          `json:"subnet_ipv6"`
	VPCIPv4      []string          `json:"vpc_ipv4"`
	VPCIPv6      []string          `json:"vpc_ipv6"`
	Public       map[string]string `json:"public"` // public address: private address
}

// keys is everything that there is to ask for, by path.
func (i *Instance) keys() (map[string]string, error) {
	keys := map[string]string{
		"/latest/meta-data/instance-id":                    i.ID,
		"/latest/meta-data/instance-type":                  i.Type,
		"/latest/meta-data/ami-id":                         i.Image,
		"/latest/meta-data/placement/region":               i.Region,
		"/latest/meta-data/placement/availability-zone":    i.Zone,
		"/latest/meta-data/placement/availability-zone-id": i.ZoneID,
	}
	document, err := json.MarshalIndent(map[string]any{
		"accountId": i.Account, "availabilityZone": i.Zone, "imageId": i.Image, "instanceId": i.ID,
		"instanceType": i.Type, "region": i.Region, "version": "2017-09-30", "billingProducts": nil,
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the instance identity document: %w", err)
	}
	keys["/latest/dynamic/instance-identity/document"] = string(document)
	for n := range i.Interfaces {
		maps.Copy(keys, i.Interfaces[n].keys())
		if i.Interfaces[n].Device == 0 {
			keys["/latest/meta-data/mac"] = i.Interfaces[n].MAC
		}
	}
	for path, value := range i.Keys {
		keys[path] = ""
		if value != nil {
			keys[path] = *value
		}
	}
	maps.DeleteFunc(keys, func(_, value string) bool { return value == "" })
	return keys, nil
}

func (i *Interface) keys() map[string]string {
	own := map[string]string{
		"mac":                     i.MAC,
		"interface-id":            i.ID,
		"device-number":           fmt.Sprint(i.Device),
		"vpc-id":                  i.VPC,
		"subnet-id":               i.Subnet,
		"local-ipv4s":             strings.Join(i.IPv4, "\n"),
		"ipv6s":                   strings.Join(i.IPv6, "\n"),
		"ipv4-prefix":             strings.Join(i.IPv4Prefixes, "\n"),
		"ipv6-prefix":             strings.Join(i.IPv6Prefixes, "\n"),
		"subnet-ipv4-cidr-block":  i.SubnetIPv4,
		"subnet-ipv6-cidr-blocks": strings.Join(i.SubnetIPv6, "\n"),
		"vpc-ipv4-cidr-blocks":    strings.Join(i.VPCIPv4, "\n"),
		"vpc-ipv6-cidr-blocks":    strings.Join(i.VPCIPv6, "\n"),
	}
	for public, private := range i.Public {
		own["ipv4-associations/"+public] = private
	}
	keys := make(map[string]string, len(own))
	for name, value := range own {
		keys["/latest/meta-data/network/interfaces/macs/"+i.MAC+"/"+name] = value
	}
	return keys
}

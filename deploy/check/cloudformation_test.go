package check

import (
	"maps"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// template is what the checks need of the CloudFormation template.
type template struct {
	Parameters map[string]struct {
		Default string `yaml:"Default"`
	} `yaml:"Parameters"`
	Resources map[string]struct {
		Type       string         `yaml:"Type"`
		Properties map[string]any `yaml:"Properties"`
	} `yaml:"Resources"`
}

func parseTemplate(t *testing.T) template {
	t.Helper()
	var parsed template
	if err := yaml.Unmarshal([]byte(read(t, deploy("cloudformation", "transitive-peering.yaml"))), &parsed); err != nil {
		t.Fatalf("parse the template: %v", err)
	}
	return parsed
}

// TestTemplateIsValid asks AWS's own validator, which has the schemas of all resources and the rules of cfn-lint: types
// and properties exist, references resolve, no parameter is unused.
func TestTemplateIsValid(t *testing.T) {
	need(t, "node")
	out, err := exec.Command("node", "validate.mjs", deploy("cloudformation", "transitive-peering.yaml")).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestTemplateNetworks holds the defaults together: each subnet lies in its VPC, each host in its subnet, outside of the
// first four addresses and the last, which AWS keeps, and no two VPCs overlap, or they could not be peered.
func TestTemplateNetworks(t *testing.T) {
	parameters := parseTemplate(t).Parameters
	var vpcs []netip.Prefix
	for letter, host := range map[string]string{"A": "ClientAddress", "B": "RelayAddress", "C": "ServerAddress"} {
		vpc := netip.MustParsePrefix(parameters["Vpc"+letter+"Cidr"].Default)
		subnet := netip.MustParsePrefix(parameters["Subnet"+letter+"Cidr"].Default)
		address := netip.MustParseAddr(parameters[host].Default)
		if !vpc.Contains(subnet.Addr()) || subnet.Bits() < vpc.Bits() {
			t.Errorf("subnet %s is not in %s, VPC %s", subnet, vpc, letter)
		}
		reserved := subnet.Masked().Addr()
		for range 4 {
			if address == reserved {
				t.Errorf("%s is reserved by AWS in %s", address, subnet)
			}
			reserved = reserved.Next()
		}
		if !subnet.Contains(address) || !subnet.Contains(address.Next()) {
			t.Errorf("%s %s is no host address of %s", host, address, subnet)
		}
		for _, other := range vpcs {
			if vpc.Overlaps(other) {
				t.Errorf("VPCs %s and %s overlap", vpc, other)
			}
		}
		vpcs = append(vpcs, vpc)
	}
}

// TestTemplateSecurityGroups holds who may call whom: nobody from the internet anything, the server only the relay, and
// to the internet only HTTPS.
func TestTemplateSecurityGroups(t *testing.T) {
	resources := parseTemplate(t).Resources
	want := map[string]string{
		"ClientSecurityGroup ingress": "icmp 3 VpcBCidr",
		"ClientSecurityGroup egress":  "tcp ListenPort ${RelayAddress}/32, tcp 443 0.0.0.0/0",
		"RelaySecurityGroup ingress":  "tcp ListenPort VpcACidr, icmp 3 VpcACidr, icmp 3 VpcCCidr",
		"RelaySecurityGroup egress":   "tcp ServerPort ${ServerAddress}/32, tcp 443 0.0.0.0/0",
		"ServerSecurityGroup ingress": "tcp ServerPort ${RelayAddress}/32, icmp 3 VpcBCidr",
		"ServerSecurityGroup egress":  "tcp 443 0.0.0.0/0",
	}
	got := map[string]string{}
	for name, resource := range resources {
		if resource.Type != "AWS::EC2::SecurityGroup" {
			continue
		}
		got[name+" ingress"] = rules(resource.Properties["SecurityGroupIngress"])
		got[name+" egress"] = rules(resource.Properties["SecurityGroupEgress"])
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got[key] != want[key] {
			t.Errorf("%s: %s\nwant: %s", key, got[key], want[key])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d lists of rules, want %d", len(got), len(want))
	}
}

// rules writes rules of a security group as "protocol first-port network".
func rules(value any) string {
	list, _ := value.([]any)
	texts := make([]string, 0, len(list))
	for _, item := range list {
		rule, _ := item.(map[string]any)
		port, _ := yaml.Marshal(rule["FromPort"])
		network, _ := rule["CidrIp"].(string)
		protocol, _ := rule["IpProtocol"].(string)
		texts = append(texts, protocol+" "+strings.TrimSpace(string(port))+" "+network)
	}
	return strings.Join(texts, ", ")
}

// TestTemplateInstances holds what every instance must have.
func TestTemplateInstances(t *testing.T) {
	instances := 0
	for name, resource := range parseTemplate(t).Resources {
		if resource.Type != "AWS::EC2::Instance" {
			continue
		}
		instances++
		metadata, _ := resource.Properties["MetadataOptions"].(map[string]any)
		if metadata["HttpTokens"] != "required" {
			t.Errorf("%s does not ask for IMDSv2", name)
		}
		if check, given := resource.Properties["SourceDestCheck"]; given {
			t.Errorf("%s sets SourceDestCheck to %v: a relay needs no exception", name, check)
		}
		disks, _ := resource.Properties["BlockDeviceMappings"].([]any)
		if len(disks) != 1 {
			t.Errorf("%s has %d disks, want 1", name, len(disks))
			continue
		}
		disk, _ := disks[0].(map[string]any)
		if volume, _ := disk["Ebs"].(map[string]any); volume["Encrypted"] != true {
			t.Errorf("the disk of %s is not encrypted", name)
		}
	}
	if instances != 3 {
		t.Errorf("%d instances, want client, relay and server", instances)
	}
}

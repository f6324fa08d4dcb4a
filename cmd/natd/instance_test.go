package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"natd/internal/control"
	"natd/internal/lab"
	"natd/internal/lab/imds"
)

// imdsStandin is the instance metadata service of a box: a program in the router, as the real one is outside of the instance.
type imdsStandin struct {
	*lab.Process
	b    *box
	file string
}

// standin starts the stand-in at the address. What it tells is set by tell.
func (b *box) standin(at string, instance *imds.Instance, flags ...string) *imdsStandin {
	b.t.Helper()
	s := &imdsStandin{b: b, file: filepath.Join(b.t.TempDir(), "instance.json")}
	s.tell(instance)
	address := netip.MustParseAddr(at)
	lab.Check(b.t, b.R.AddAddr("lo", netip.PrefixFrom(address, address.BitLen())))
	listen := netip.AddrPortFrom(address, 80).String()
	p, err := b.R.Start(filepath.Join(b.bin, "standin"), append([]string{"--listen", listen, "--instance", s.file}, flags...)...)
	lab.Check(b.t, err)
	s.Process = p
	lab.Check(b.t, p.AwaitLog(b.t.Context(), patience, "serving on"))
	return s
}

// tell changes what the stand-in says.
func (s *imdsStandin) tell(instance *imds.Instance) {
	s.b.t.Helper()
	text, err := json.Marshal(instance)
	lab.Check(s.b.t, err)
	lab.Check(s.b.t, os.WriteFile(s.file+".next", text, 0o600))
	lab.Check(s.b.t, os.Rename(s.file+".next", s.file))
}

// requests is how many requests there have been.
func (s *imdsStandin) requests() int { return strings.Count(s.Log(), " /latest/") }

// metadataAddress is where the service is.
const metadataAddress = "169.254.169.254"

// instance is host B as AWS would describe it, with the addresses assigned to its network interface.
func (b *box) instance(addresses ...string) *imds.Instance {
	b.t.Helper()
	mac := strings.TrimSpace(b.B.Output(b.t, "cat", "/sys/class/net/"+lab.Device+"/address"))
	return &imds.Instance{
		ID: "i-0123456789abcdef0", Type: "t3.nano", Account: "123456789012", Region: "eu-west-1", Zone: "eu-west-1a", ZoneID: "euw1-az2",
		Interfaces: []imds.Interface{{
			MAC: mac, ID: "eni-0abc", VPC: "vpc-0b", Subnet: "subnet-0b", IPv4: addresses,
			SubnetIPv4: "10.2.0.0/24", VPCIPv4: []string{"10.2.0.0/16"}, Public: map[string]string{"203.0.113.5": "10.2.0.100"},
		}},
	}
}

// awaitInstance waits until status shows the instance, or none.
func (b *box) awaitInstance(cond func(*control.Instance) error) {
	b.t.Helper()
	b.awaitStatus(func(s *control.Status) error { return cond(s.Host.Instance) })
}

// TestInstance follows what AWS says: an address that it does not deliver here degrades its relay, which works on, until AWS
// does.
func TestInstance(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	echo(t, b.C, "tcp", "10.3.0.100:7")
	echo(t, b.C, "tcp", "10.3.0.100:8")
	service := b.standin(metadataAddress, b.instance("10.2.0.100"))
	lab.Check(t, b.B.AddAddr(lab.Device, netip.MustParsePrefix("10.2.0.101/24")))
	config := echoRelay() + relayText("second", "10.2.0.101:8", "tcp") + relayText("public", "203.0.113.5:9", "tcp")
	want := map[string]string{
		"echo":   "",
		"second": "10.2.0.101 is set on ens5, but eni-0abc owns only 10.2.0.100: AWS drops its packets; run: aws ec2 assign-private-ip-addresses ",
		"public": "203.0.113.5 is the public address of 10.2.0.100: listen on 10.2.0.100",
	}
	b.startRelays(config, want)
	b.wantInstance("10.2.0.100")
	if _, _, code := b.natctl("status"); code != control.CodeDegraded {
		t.Errorf("natctl status exits %d, want %d", code, control.CodeDegraded)
	}
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.101:8", patience))

	service.tell(b.instance("10.2.0.100", "10.2.0.101"))
	want["second"] = ""
	b.awaitRelays(want)
	b.wantInstance("10.2.0.100 10.2.0.101")
	if n := b.status().Ruleset.DriftRepairs; n != 0 {
		t.Errorf("%d repairs are counted, want none: nothing changed on the host", n)
	}

	lab.Check(t, service.Kill())
	lab.Check(t, b.B.AddAddr("lo", netip.MustParsePrefix("192.0.2.7/32"))) // a change of the host is a reason to ask
	b.awaitInstance(func(i *control.Instance) error {
		if i == nil || i.ID != "i-0123456789abcdef0" || i.Error == "" {
			return fmt.Errorf("the instance is %+v, want the last good answer and why there is no newer one", i)
		}
		return nil
	})
	b.reload("[host]\nmetadata = \"off\"\n" + config)
	want["public"] = "listen address 203.0.113.5 is on no interface"
	b.awaitRelays(want)
	if i := b.status().Host.Instance; i != nil {
		t.Errorf("the instance is %+v, want none when natd may not ask", i)
	}
}

// wantInstance wants status to show host B with the addresses, for programs and for people.
func (b *box) wantInstance(addresses string) {
	b.t.Helper()
	i := b.status().Host.Instance
	if i == nil || i.ID != "i-0123456789abcdef0" || i.Type != "t3.nano" || i.Account != "123456789012" || i.Region != "eu-west-1" ||
		i.Zone != "eu-west-1a" || i.ZoneID != "euw1-az2" || i.Error != "" || len(i.Interfaces) != 1 {
		b.t.Fatalf("the instance is %+v", i)
	}
	if n := i.Interfaces[0]; n.Device != lab.Device || n.ID != "eni-0abc" || n.VPC != "vpc-0b" || n.Subnet != "subnet-0b" ||
		strings.Join(n.Addresses, " ") != addresses {
		b.t.Errorf("the network interface is %+v", n)
	}
	out, _, _ := b.natctl("status")
	if line := "  instance  i-0123456789abcdef0 t3.nano in eu-west-1a, ens5 = eni-0abc (vpc-0b, subnet-0b)\n"; !strings.Contains(out, line) {
		b.t.Errorf("natctl status does not say %q:\n%s", line, out)
	}
}

// TestInstanceDelaysNothing has a service that takes requests and never answers: natd is ready before it gives up on the
// first, and ends while it waits.
func TestInstanceDelaysNothing(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	echo(t, b.C, "tcp", "10.3.0.100:7")
	service := b.standin(metadataAddress, b.instance("10.2.0.100"), "--silent")
	b.configure("[daemon]\nlog_level = \"debug\"\n" + echoRelay())
	const gaveUp = "the instance metadata service does not answer"
	inOrder := false
	for range 3 { // a machine that is busy for the whole second until natd gives up proves nothing
		if b.natd != nil {
			lab.Check(t, b.natd.Stop())
		}
		b.launch()
		b.awaitReady()
		lab.Check(t, b.natd.AwaitLog(t.Context(), patience, gaveUp))
		log := b.natd.Log()
		if inOrder = strings.Index(log, "msg=ready") < strings.Index(log, gaveUp); inOrder {
			break
		}
	}
	if !inOrder {
		t.Errorf("natd was ready only when it had given up on the service:\n%s", b.natd.Log())
	}
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:7", patience))
	before := service.requests()
	lab.Check(t, b.B.AddAddr("lo", netip.MustParsePrefix("192.0.2.7/32")))
	lab.Check(t, service.Await(t.Context(), patience, func() error {
		if service.requests() == before {
			return errors.New("natd does not ask again")
		}
		return nil
	}))
	lab.Check(t, b.natd.Stop())
	if err := b.natd.Err(); err != nil {
		t.Errorf("natd ends with %v", err)
	}
}

// TestInstanceOff wants no packet to the service until the configuration allows it. The service is that of a subnet without
// IPv4 here, where the kernel has IPv6.
func TestInstanceOff(t *testing.T) {
	t.Parallel()
	lab.Require(t, "tcpdump")
	b := newBox(t)
	echo(t, b.C, "tcp", "10.3.0.100:7")
	address := metadataAddress
	if b.B.Addr6.IsValid() {
		address = "fd00:ec2::254"
	}
	service := b.standin(address, b.instance("10.2.0.100"))
	capture, err := b.R.Capture(t.Context(), "b", "host 169.254.169.254 or host fd00:ec2::254")
	lab.Check(t, err)
	b.start("[host]\nmetadata = \"off\"\n" + echoRelay())
	second := netip.MustParsePrefix("10.2.0.101/24")
	lab.Check(t, b.B.AddAddr(lab.Device, second))
	lab.Check(t, reach(t, b.A, "tcp", "10.2.0.100:7", patience))
	lab.Check(t, b.B.DelAddr(lab.Device, second))
	b.awaitReady()
	if packets := capture.Packets(); len(packets) > 0 || service.requests() > 0 {
		t.Errorf("metadata is off, and natd sends %v", packets)
	}
	b.reload("[host]\nmetadata = \"auto\"\n" + echoRelay())
	b.awaitInstance(func(i *control.Instance) error {
		if i == nil {
			return errors.New("status shows no instance")
		}
		return nil
	})
	lab.Check(t, capture.Await(t.Context(), patience, func(packets []lab.Packet) error {
		if len(packets) == 0 {
			return errors.New("the capture has nothing of what natd sent")
		}
		return nil
	}))
}

// TestInstance6 is TestInstance for an IPv6 address: AWS gives those away one by one, too.
func TestInstance6(t *testing.T) {
	t.Parallel()
	b := newDualBox(t)
	describe := func(addresses ...string) *imds.Instance {
		i := b.instance("10.2.0.100")
		i.Interfaces[0].IPv6, i.Interfaces[0].SubnetIPv6, i.Interfaces[0].VPCIPv6 = addresses, []string{"fd00:10:2::/64"}, []string{"fd00:10:2::/56"}
		return i
	}
	service := b.standin(metadataAddress, describe("fd00:10:2::100"))
	lab.Check(t, b.B.AddAddr(lab.Device, netip.MustParsePrefix("fd00:10:2::101/64")))
	const first = "snat = \"fd00:10:2::100\"\n" // of two addresses the kernel takes the last (net/ipv6/addrconf.c)
	second := "[[relay]]\nname = \"second\"\nlisten = \"[fd00:10:2::101]:8\"\nto = [\"[fd00:10:3::100]:7\"]\n" + first
	want := map[string]string{
		"six":    "",
		"second": "fd00:10:2::101 is set on ens5, but eni-0abc owns only fd00:10:2::100: AWS drops its packets; run: aws ec2 assign-ipv6-addresses ",
	}
	b.startRelays(sixRelay+first+second, want)
	lab.Check(t, reach(t, b.A, "tcp", "[fd00:10:2::101]:8", patience))
	service.tell(describe("fd00:10:2::100", "fd00:10:2::101"))
	want["second"] = ""
	b.awaitRelays(want)
}

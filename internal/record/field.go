package record

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// field is one that a line can have.
type field struct {
	name    string // as AWS writes it; with underscores it is the key in JSON, as in AWS's Parquet files
	version int    // of VPC Flow Logs that brought it
	number  bool   // without quotes in JSON
	append  func([]byte, *Record) []byte
	parse   func(*Record, string) error
}

func (f *field) key() string { return strings.ReplaceAll(f.name, "-", "_") }

// fields is every field that natd writes, in the order in which AWS brought them. Values that consist of several fields of a
// Record, or of none, stand here; the rest is of the shapes below.
func fields() []field {
	return []field{
		number("version", 2, func(r *Record) *int { return &r.Version }, always),
		text("account-id", 2, func(r *Record) *string { return &r.AccountID }),
		text("interface-id", 2, func(r *Record) *string { return &r.InterfaceID }),
		addr("srcaddr", 2, func(r *Record) *netip.Addr { return &r.Src }),
		addr("dstaddr", 2, func(r *Record) *netip.Addr { return &r.Dst }),
		number("srcport", 2, func(r *Record) *uint16 { return &r.SrcPort }, carried),
		number("dstport", 2, func(r *Record) *uint16 { return &r.DstPort }, carried),
		number("protocol", 2, func(r *Record) *uint8 { return &r.Protocol }, carried),
		number("packets", 2, func(r *Record) *uint64 { return &r.Packets }, carried),
		number("bytes", 2, func(r *Record) *uint64 { return &r.Bytes }, carried),
		number("start", 2, func(r *Record) *int64 { return &r.Start }, always),
		number("end", 2, func(r *Record) *int64 { return &r.End }, always),
		text("action", 2, func(r *Record) *Action { return &r.Action }),
		text("log-status", 2, func(r *Record) *Status { return &r.Status }),

		text("vpc-id", 3, func(r *Record) *string { return &r.VPCID }),
		text("subnet-id", 3, func(r *Record) *string { return &r.SubnetID }),
		text("instance-id", 3, func(r *Record) *string { return &r.InstanceID }),
		number("tcp-flags", 3, func(r *Record) *uint8 { return &r.TCPFlags }, carried),
		{name: "type", version: 3, append: appendType, parse: parseType},
		addr("pkt-srcaddr", 3, func(r *Record) *netip.Addr { return &r.PktSrc }),
		addr("pkt-dstaddr", 3, func(r *Record) *netip.Addr { return &r.PktDst }),

		text("region", 4, func(r *Record) *string { return &r.Region }),
		text("az-id", 4, func(r *Record) *string { return &r.AZID }),
		text("sublocation-type", 4, func(r *Record) *string { return &r.SublocationType }),
		text("sublocation-id", 4, func(r *Record) *string { return &r.SublocationID }),

		text("pkt-src-aws-service", 5, func(r *Record) *string { return &r.PktSrcService }),
		text("pkt-dst-aws-service", 5, func(r *Record) *string { return &r.PktDstService }),
		text("flow-direction", 5, func(r *Record) *Direction { return &r.Direction }),
		number("traffic-path", 5, func(r *Record) *uint8 { return &r.TrafficPath }, given),

		text("natd-relay", ours, func(r *Record) *string { return &r.Relay }),
		text("natd-kind", ours, func(r *Record) *string { return &r.Kind }),
		number("natd-leg", ours, func(r *Record) *uint8 { return &r.Leg }, given),
		addrPort("natd-client", func(r *Record) *netip.AddrPort { return &r.Client }),
		addrPort("natd-listen", func(r *Record) *netip.AddrPort { return &r.Listen }),
		addrPort("natd-snat", func(r *Record) *netip.AddrPort { return &r.SNAT }),
		addrPort("natd-target", func(r *Record) *netip.AddrPort { return &r.Target }),
	}
}

// ours is the version that fields of natd's own ask for: none.
const ours = 0

func text[T ~string](name string, version int, of func(*Record) *T) field {
	return field{
		name: name, version: version,
		append: func(dst []byte, r *Record) []byte { return appendWord(dst, string(*of(r))) },
		parse:  func(r *Record, s string) error { *of(r) = T(s); return nil },
	}
}

// appendWord appends a value so that it stays one word, which needs no quotes in JSON either.
func appendWord(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			dst = append(dst, '_')
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

type integer interface {
	~int | ~int64 | ~uint8 | ~uint16 | ~uint64
}

// number is a field that is missing unless known says otherwise.
func number[T integer](name string, version int, of func(*Record) *T, known func(*Record, T) bool) field {
	return field{
		name: name, version: version, number: true,
		append: func(dst []byte, r *Record) []byte {
			if n := *of(r); known(r, n) {
				return strconv.AppendUint(dst, uint64(n), 10)
			}
			return dst
		},
		parse: func(r *Record, s string) error {
			n, err := strconv.ParseUint(s, 10, 64)
			if *of(r) = T(n); err != nil || *of(r) < 0 || uint64(*of(r)) != n {
				return fmt.Errorf("%q is not a number, or too large", s)
			}
			return nil
		},
	}
}

// always is for what every record has.
func always[T integer](*Record, T) bool { return true }

// carried is for what a record has that tells of traffic, be it zero.
func carried[T integer](r *Record, _ T) bool { return r.Src.IsValid() }

// given is for what is known unless it is zero.
func given[T integer](_ *Record, n T) bool { return n != 0 }

func addr(name string, version int, of func(*Record) *netip.Addr) field {
	return field{
		name: name, version: version,
		append: func(dst []byte, r *Record) []byte { return of(r).AppendTo(dst) },
		parse: func(r *Record, s string) (err error) {
			*of(r), err = netip.ParseAddr(s)
			return err
		},
	}
}

func addrPort(name string, of func(*Record) *netip.AddrPort) field {
	return field{
		name: name, version: ours,
		append: func(dst []byte, r *Record) []byte {
			if !of(r).IsValid() {
				return dst
			}
			return of(r).AppendTo(dst)
		},
		parse: func(r *Record, s string) (err error) {
			*of(r), err = netip.ParseAddrPort(s)
			return err
		},
	}
}

// appendType and parseType are for "type", which the addresses say, too.
func appendType(dst []byte, r *Record) []byte {
	switch {
	case !r.Src.IsValid():
		return dst
	case r.Src.Is4():
		return append(dst, "IPv4"...)
	}
	return append(dst, "IPv6"...)
}

func parseType(_ *Record, s string) error {
	if s != "IPv4" && s != "IPv6" {
		return fmt.Errorf("%q is neither IPv4 nor IPv6", s)
	}
	return nil
}

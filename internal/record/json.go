package record

import (
	"net/netip"
	"strconv"
)

// appendJSON appends the record as an object: the fields by AWS's names with underscores, as in AWS's Parquet files, and beside
// them the two ends as the Elastic Common Schema has them.
func (f *Format) appendJSON(dst []byte, r *Record) []byte {
	dst = append(dst, '{')
	for i := range f.fields {
		mark := len(dst)
		dst = appendKey(dst, f.fields[i].name)
		if !f.fields[i].number {
			dst = append(dst, '"')
		}
		before := len(dst)
		if dst = f.value(dst, i, r); len(dst) == before {
			dst = dst[:mark]
			continue
		}
		if !f.fields[i].number {
			dst = append(dst, '"')
		}
	}
	dst = appendEnds(dst, r)
	return append(dst, "}\n"...)
}

// appendKey appends a key, and a comma unless it is the first of its object.
func appendKey(dst []byte, name string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(dst, '"')
	for i := range len(name) {
		if name[i] == '-' {
			dst = append(dst, '_')
		} else {
			dst = append(dst, name[i])
		}
	}
	return append(dst, `":`...)
}

// appendEnds appends "source" and "destination" of the Elastic Common Schema: who sent a packet of the record and to whom it went,
// both with what natd made of them in "nat". They are the same on both legs of a direction. They are nested objects: "your
// fields must be nested objects, not strings containing dots" (ECS, "Guidelines and best practices").
func appendEnds(dst []byte, r *Record) []byte {
	if !r.Client.IsValid() || !r.Listen.IsValid() {
		return dst
	}
	from, as, to, really := r.Client, r.SNAT, r.Listen, r.Target
	if r.Leg > 2 {
		from, as, to, really = r.Target, r.Listen, r.SNAT, r.Client
	}
	return appendEnd(appendEnd(dst, "source", from, as), "destination", to, really)
}

func appendEnd(dst []byte, name string, end, translated netip.AddrPort) []byte {
	if !end.IsValid() {
		return dst
	}
	dst = append(appendKey(dst, name), '{')
	dst = appendPlace(dst, end)
	if translated.IsValid() && translated != end {
		dst = append(appendKey(dst, "nat"), '{')
		dst = append(appendPlace(dst, translated), '}')
	}
	return append(dst, '}')
}

func appendPlace(dst []byte, at netip.AddrPort) []byte {
	dst = append(appendKey(dst, "ip"), '"')
	dst = append(at.Addr().AppendTo(dst), '"')
	if at.Port() != 0 {
		dst = strconv.AppendUint(appendKey(dst, "port"), uint64(at.Port()), 10)
	}
	return dst
}

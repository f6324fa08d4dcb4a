package record

import "slices"

// Lacks is the fields that flows cannot be put together without, and that lines of text of the last header do not have; nil
// where there are enough. JSON has all. With times, those that say when are among them.
func (p *Parser) Lacks(times bool) (lacking []string) {
	has := func(name string) bool { return find(p.fields, func(f *field) bool { return f.name == name }) != nil }
	wire := []string{"srcaddr", "srcport", "dstaddr", "dstport"}
	own := []string{"natd-client", "natd-listen", "natd-snat", "natd-target"}
	missing := func(names []string) []string {
		return slices.DeleteFunc(slices.Clone(names), has)
	}
	if len(missing(own)) > 0 || len(missing(wire)) > 0 && !has("natd-leg") {
		lacking = missing(wire)
	}
	if times {
		lacking = append(lacking, missing([]string{"start", "end"})...)
	}
	return lacking
}

package nat

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// rule puts a rule together: what `nft list` shows as its comment, and its parts.
func rule(comment string, parts ...part) Rule {
	whole := join(parts...)
	exprs := encodeExprs(whole.exprs)
	return Rule{Comment: comment, Text: whole.text, exprs: exprs, canon: canonical(exprs)}
}

// encodeExprs is the payload of NFTA_RULE_EXPRESSIONS.
func encodeExprs(exprs []expr.Any) []byte {
	var b nfnl.Builder
	for _, e := range exprs {
		b.Bytes(unix.NLA_F_NESTED|unix.NFTA_LIST_ELEM, encodeExpr(e))
	}
	return b.Payload()
}

func encodeExpr(e expr.Any) []byte {
	if ct, ok := e.(*expr.Ct); ok && slices.Contains([]expr.CtKey{unix.NFT_CT_DST_IP, unix.NFT_CT_DST_IP6, expr.CtKeyPKTS}, ct.Key) {
		return encodeCtDirected(ct)
	}
	data, err := expr.Marshal(unix.NFPROTO_INET, e)
	if err != nil {
		// The expressions are natd's own and fixed: one that cannot be encoded is a mistake in this package.
		panic(fmt.Sprintf("encode %T: %v", e, err))
	}
	return data
}

// encodeCtDirected writes what the library cannot: it leaves out the direction for these keys, and the kernel wants it, or takes
// both together.
func encodeCtDirected(ct *expr.Ct) []byte {
	var b nfnl.Builder
	b.String(unix.NFTA_EXPR_NAME, "ct")
	data := b.Nest(unix.NFTA_EXPR_DATA)
	b.Uint32(unix.NFTA_CT_DREG, ct.Register)
	b.Uint32(unix.NFTA_CT_KEY, uint32(ct.Key))
	b.Uint8(unix.NFTA_CT_DIRECTION, uint8(ct.Direction))
	b.Unnest(data)
	return b.Payload()
}

// canonical is the text of encoded expressions that is the same for the form natd sends and the form the kernel dumps:
// attributes sorted, without those that are zero, which the kernel adds or leaves out as it likes, and without what the
// kernel derives from others.
func canonical(list []byte) string {
	var out strings.Builder
	for _, element := range nfnl.Attrs(list) {
		out.WriteString(canonicalExpr(element))
	}
	return out.String()
}

func canonicalExpr(element []byte) string {
	name := nfnl.String(nfnl.Attr(element, unix.NFTA_EXPR_NAME))
	data := nfnl.Attr(element, unix.NFTA_EXPR_DATA)
	var attrs []string
	for typ, value := range nfnl.Attrs(data) {
		if value = essential(name, typ, value, data); !allZero(value) {
			attrs = append(attrs, fmt.Sprintf("%d=%s", typ, hex.EncodeToString(value)))
		}
	}
	slices.Sort(attrs)
	return fmt.Sprintf("[%s %s]", name, strings.Join(attrs, " "))
}

// essential is what of an attribute's value was asked for and not derived by the kernel; nil when nothing was.
func essential(name string, typ uint16, value, siblings []byte) []byte {
	same := func(other uint16) []byte {
		if bytes.Equal(value, nfnl.Attr(siblings, other)) {
			return nil
		}
		return value
	}
	switch {
	case name == "lookup" && typ == unix.NFTA_LOOKUP_SET_ID:
		return nil // the number of a set within its transaction
	case name == "immediate" && typ == unix.NFTA_IMMEDIATE_DATA:
		// The kernel's dump lacks the flag on the nested attribute that was sent with it.
		return slices.Concat(nfnl.Attr(value, unix.NFTA_DATA_VERDICT), nfnl.Attr(value, unix.NFTA_DATA_VALUE))
	case name == "dynset" && typ == unix.NFTA_DYNSET_EXPR:
		return []byte(canonicalExpr(value))
	case name == "dynset" && typ == unix.NFTA_DYNSET_SET_ID:
		return nil
	case name == "nat" && typ == unix.NFTA_NAT_REG_ADDR_MAX:
		return same(unix.NFTA_NAT_REG_ADDR_MIN)
	case name == "nat" && typ == unix.NFTA_NAT_REG_PROTO_MAX:
		return same(unix.NFTA_NAT_REG_PROTO_MIN)
	case name == "nat" && typ == unix.NFTA_NAT_FLAGS:
		// NF_NAT_RANGE_MAP_IPS and NF_NAT_RANGE_PROTO_SPECIFIED follow from the registers that are there.
		return binary.BigEndian.AppendUint32(nil, nfnl.Uint32(value)&^3)
	}
	return value
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// encodeComment is user data that nft prints as a comment. Rules and set elements have the same number for it.
func encodeComment(comment string) []byte {
	return appendComment(nil, comment)
}

// appendComment appends it: type, length, and the text with a zero byte behind it.
func appendComment(b []byte, comment string) []byte {
	b = append(b, byte(userdata.TypeComment), byte(len(comment)+1))
	return append(append(b, comment...), 0)
}

// decodeComment reads the comment from user data; empty when there is none.
func decodeComment(b []byte) []byte {
	for typ, value := range userdataItems(b) {
		if userdata.Type(typ) == userdata.TypeComment {
			if i := bytes.IndexByte(value, 0); i >= 0 {
				value = value[:i]
			}
			return value
		}
	}
	return nil
}

// userdataItems walks user data that anybody may have written: type and value. The library's reader trusts the lengths
// in it.
func userdataItems(b []byte) iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) {
		for len(b) >= 2 {
			size := int(b[1])
			if len(b) < 2+size || !yield(b[0], b[2:2+size]) {
				return
			}
			b = b[2+size:]
		}
	}
}

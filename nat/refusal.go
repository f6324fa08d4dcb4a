package nat

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// refusalOf says what the kernel refused, and whether that is because it cannot do it.
func refusalOf(typ uint16, attrs []byte, refusal *nfnl.Error) error {
	what := fmt.Sprintf("change table inet %s: the kernel refused %s", TableName, messageName(typ, attrs))
	if typ&0xff == unix.NFT_MSG_DELFLOWTABLE && refusal.Errno == unix.ENOENT {
		return ErrStale // an interface went, and the kernel took it out of the flowtable: look again
	}
	if refusesFastPath(typ, attrs) {
		return fmt.Errorf("%s: %w: %w", what, ErrFastPath, refusal)
	}
	if unknown(typ, refusal.Errno) {
		return fmt.Errorf("%s: %w: %w (Linux %s)", what, refusal, ErrUnsupported, release())
	}
	return fmt.Errorf("%s: %w", what, refusal)
}

// unknown tells whether the kernel does not know what a message asks it to make: the type of a chain or an expression, which it
// also looks for among its modules (nf_tables_api.c), or an option of them.
func unknown(typ uint16, errno unix.Errno) bool {
	makes := slices.Contains([]uint16{unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_NEWRULE, unix.NFT_MSG_NEWSET}, typ&0xff)
	return errno == unix.EOPNOTSUPP || errno == unix.ENOENT && makes
}

// release is the kernel's, as uname -r prints it.
func release() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "of unknown release"
	}
	return unix.ByteSliceToString(name.Release[:])
}

// messageName says in words what a message of nf_tables asks for.
func messageName(typ uint16, attrs []byte) string {
	text := func(attr uint16) string { return nfnl.String(nfnl.Attr(attrs, attr)) }
	switch typ & 0xff {
	case unix.NFT_MSG_NEWTABLE:
		return "to make the table"
	case unix.NFT_MSG_DELTABLE:
		return "to delete the table"
	case unix.NFT_MSG_NEWCHAIN:
		return "to make chain " + text(unix.NFTA_CHAIN_NAME)
	case unix.NFT_MSG_DELCHAIN:
		return "to delete chain " + text(unix.NFTA_CHAIN_NAME)
	case unix.NFT_MSG_NEWRULE:
		comment := decodeComment(nfnl.Attr(attrs, unix.NFTA_RULE_USERDATA))
		return fmt.Sprintf("to make the rule %q of chain %s", comment, text(unix.NFTA_RULE_CHAIN))
	case unix.NFT_MSG_DELRULE:
		return "to delete rules of chain " + text(unix.NFTA_RULE_CHAIN)
	case unix.NFT_MSG_NEWSET:
		return "to make set " + text(unix.NFTA_SET_NAME)
	case unix.NFT_MSG_DELSET:
		return "to delete set " + text(unix.NFTA_SET_NAME)
	case unix.NFT_MSG_NEWFLOWTABLE:
		return "to set up flowtable " + text(attrFlowtableName)
	case unix.NFT_MSG_DELFLOWTABLE:
		return "to delete from flowtable " + text(attrFlowtableName)
	case unix.NFT_MSG_NEWSETELEM:
		return "to add elements to set " + text(unix.NFTA_SET_ELEM_LIST_SET)
	case unix.NFT_MSG_DELSETELEM:
		return "to delete elements of set " + text(unix.NFTA_SET_ELEM_LIST_SET)
	}
	return fmt.Sprintf("message %#x", typ)
}

package nfnl

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// HeaderLen is the length in bytes of the two headers in front of a message's attributes:
// struct nlmsghdr and struct nfgenmsg.
const HeaderLen = unix.SizeofNlMsghdr + 4

// MaxAttr is the largest payload of one attribute in bytes: its length field has 16 bits and counts
// its own header. What does not fit is cut off silently, so lists are split before they reach it.
const MaxAttr = 1<<16 - 1 - unix.SizeofNlAttr

// Type is the message type of a subsystem's message: the subsystem in the high byte.
func Type(subsystem, message uint8) uint16 { return uint16(subsystem)<<8 | uint16(message) }

// Builder writes messages one behind the other. The zero value is ready for use.
// Numbers in netfilter attributes are big endian.
type Builder struct {
	buf   []byte
	start int // offset of the message being written
	count int
}

// Begin starts a message. Its length and sequence number are set later.
func (b *Builder) Begin(typ, flags uint16, family uint8, resource uint16) {
	b.start = len(b.buf)
	b.count++
	b.buf = binary.NativeEndian.AppendUint32(b.buf, 0)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, typ)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, flags|unix.NLM_F_REQUEST)
	b.buf = append(b.buf, 0, 0, 0, 0, 0, 0, 0, 0)
	b.buf = append(b.buf, family, unix.NFNETLINK_V0)
	b.buf = binary.BigEndian.AppendUint16(b.buf, resource)
}

// End finishes the message that Begin started.
func (b *Builder) End() {
	binary.NativeEndian.PutUint32(b.buf[b.start:], uint32(len(b.buf)-b.start))
}

// Grow makes room for so many more bytes.
func (b *Builder) Grow(n int) { b.buf = slices.Grow(b.buf, n) }

// Len is the number of bytes written so far.
func (b *Builder) Len() int { return len(b.buf) }

// Count is the number of messages written so far.
func (b *Builder) Count() int { return b.count }

// Reset forgets everything written and keeps the memory.
func (b *Builder) Reset() { *b = Builder{buf: b.buf[:0]} }

// Bytes appends an attribute with the payload as it is.
func (b *Builder) Bytes(attr uint16, payload []byte) {
	b.attr(attr, len(payload))
	b.buf = append(b.buf, payload...)
	b.pad()
}

// Text appends an attribute with the payload as it is, which need not be text.
func (b *Builder) Text(attr uint16, payload string) {
	b.attr(attr, len(payload))
	b.buf = append(b.buf, payload...)
	b.pad()
}

// String appends a zero-terminated string.
func (b *Builder) String(attr uint16, s string) {
	b.attr(attr, len(s)+1)
	b.buf = append(b.buf, s...)
	b.buf = append(b.buf, 0)
	b.pad()
}

// Uint8 appends a number of one byte.
func (b *Builder) Uint8(attr uint16, v uint8) {
	b.attr(attr, 1)
	b.buf = append(b.buf, v)
	b.pad()
}

// Uint16 appends a big-endian number.
func (b *Builder) Uint16(attr, v uint16) {
	b.attr(attr, 2)
	b.buf = binary.BigEndian.AppendUint16(b.buf, v)
	b.pad()
}

// Uint32 appends a big-endian number.
func (b *Builder) Uint32(attr uint16, v uint32) {
	b.attr(attr, 4)
	b.buf = binary.BigEndian.AppendUint32(b.buf, v)
}

// Uint64 appends a big-endian number.
func (b *Builder) Uint64(attr uint16, v uint64) {
	b.attr(attr, 8)
	b.buf = binary.BigEndian.AppendUint64(b.buf, v)
}

// Nest opens an attribute that holds attributes and returns the mark that Unnest closes it with.
func (b *Builder) Nest(attr uint16) (mark int) {
	mark = len(b.buf)
	b.attr(attr|unix.NLA_F_NESTED, 0)
	return mark
}

// Unnest closes the attribute that Nest opened.
func (b *Builder) Unnest(mark int) {
	binary.NativeEndian.PutUint16(b.buf[mark:], uint16(len(b.buf)-mark))
}

func (b *Builder) attr(attr uint16, size int) {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, uint16(unix.SizeofNlAttr+size))
	b.buf = binary.NativeEndian.AppendUint16(b.buf, attr)
}

func (b *Builder) pad() {
	const zeros = "\x00\x00\x00"
	b.buf = append(b.buf, zeros[:-len(b.buf)&(unix.NLA_ALIGNTO-1)]...)
}

// number gives the messages consecutive sequence numbers, the first one being first.
func (b *Builder) number(first uint32) {
	for at := 0; at < len(b.buf); first++ {
		binary.NativeEndian.PutUint32(b.buf[at+8:], first)
		at += align(int(binary.NativeEndian.Uint32(b.buf[at:])))
	}
}

// flagLast adds flags to the header of the message that was ended last.
func (b *Builder) flagLast(flags uint16) {
	at := b.start + 6
	binary.NativeEndian.PutUint16(b.buf[at:], binary.NativeEndian.Uint16(b.buf[at:])|flags)
}

func align(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }

// Payload is what was written so far, for use as the payload of an attribute elsewhere.
func (b *Builder) Payload() []byte { return b.buf }

package lab

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"slices"
)

// The chunks of an association's beginning: RFC 9260, section 3.2.
const (
	sctpInit       = 1
	sctpInitAck    = 2
	sctpCookieEcho = 10
	sctpCookieAck  = 11
)

// sctpCookie is the type of the parameter State Cookie: RFC 9260, section 3.3.3.
const sctpCookie = 7

// sctpPacket is a packet with one chunk.
type sctpPacket struct {
	src, dst uint16
	tag      uint32
	chunk    byte
	value    []byte
}

// initValue is the fixed part of INIT and INIT ACK: a tag, a window, a stream each way and a first number.
func initValue() []byte {
	v := binary.BigEndian.AppendUint32(nil, rand.Uint32()|1) // a tag must not be 0
	v = binary.BigEndian.AppendUint32(v, 1<<16)
	v = binary.BigEndian.AppendUint32(v, 1<<16|1)
	return binary.BigEndian.AppendUint32(v, 1)
}

// bytes is the packet as it is sent: RFC 9260, section 3. The checksum is the only field in little endian (appendix A).
func (p sctpPacket) bytes() []byte {
	b := binary.BigEndian.AppendUint16(nil, p.src)
	b = binary.BigEndian.AppendUint16(b, p.dst)
	b = binary.BigEndian.AppendUint32(b, p.tag)
	b = append(b, 0, 0, 0, 0, p.chunk, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(p.value)))
	b = append(b, p.value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// parseSCTP reads a packet and its first chunk. The value keeps nothing of b.
func parseSCTP(b []byte) (sctpPacket, error) {
	if len(b) < 16 {
		return sctpPacket{}, errors.New("the packet is too short")
	}
	b = slices.Clone(b)
	sum := binary.LittleEndian.Uint32(b[8:])
	clear(b[8:12])
	if sum != crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) {
		return sctpPacket{}, errors.New("the checksum is wrong")
	}
	length := int(binary.BigEndian.Uint16(b[14:]))
	if length < 4 || 12+length > len(b) {
		return sctpPacket{}, errors.New("the chunk is cut off")
	}
	return sctpPacket{
		src: binary.BigEndian.Uint16(b), dst: binary.BigEndian.Uint16(b[2:]), tag: binary.BigEndian.Uint32(b[4:]),
		chunk: b[12], value: b[16 : 12+length],
	}, nil
}

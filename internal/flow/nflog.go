package flow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
	"natd/nat"
)

// Numbers of linux/netfilter/nfnetlink_log.h.
const (
	msgLogPacket = 0 // NFULNL_MSG_PACKET
	msgLogConfig = 1 // NFULNL_MSG_CONFIG

	cfgCommand = 1 // NFULA_CFG_CMD
	cfgMode    = 2 // NFULA_CFG_MODE
	cfgBuffer  = 3 // NFULA_CFG_NLBUFSIZ
	cfgTimeout = 4 // NFULA_CFG_TIMEOUT
	cfgAtOnce  = 5 // NFULA_CFG_QTHRESH
	cfgFlags   = 6 // NFULA_CFG_FLAGS

	commandBind   = 1 // NFULNL_CFG_CMD_BIND
	copyPacket    = 2 // NFULNL_COPY_PACKET
	flagConntrack = 4 // NFULNL_CFG_F_CONNTRACK

	logDevice    = 4  // NFULA_IFINDEX_INDEV
	logPayload   = 9  // NFULA_PAYLOAD
	logPrefix    = 10 // NFULA_PREFIX
	logConntrack = 18 // NFULA_CT
)

// copyRange is how many bytes of each packet the kernel hands over: an IPv4 header of any length, or an IPv6 header with
// more extension headers than an honest packet has, and the ports.
const copyRange = 256

// logBuffer is the room for reports that wait to be read, in bytes.
const logBuffer = 4 << 20

// Dialled is the first packet of a connection, as the client sent it.
type Dialled struct {
	Client netip.AddrPort
	Listen nat.Endpoint
}

// Log hears of new connections to relays that are logged.
type Log struct {
	socket *nfnl.Socket
}

// OpenLog binds nat.LogGroup. Only one program in a network namespace can.
func OpenLog() (*Log, error) {
	s, err := bindGroup(nat.LogGroup, "new connections", func(*nfnl.Builder) {})
	if err != nil {
		return nil, err
	}
	return &Log{socket: s}, nil
}

// bindGroup subscribes to what the rules send to an nflog group; more sets further options.
func bindGroup(group uint16, reported string, more func(*nfnl.Builder)) (*nfnl.Socket, error) {
	s, err := nfnl.Dial(logBuffer)
	if err != nil {
		return nil, err
	}
	if err := bindTo(s, group, reported, more); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// bindTo is bindGroup with a socket that there is.
func bindTo(s *nfnl.Socket, group uint16, reported string, more func(*nfnl.Builder)) error {
	var b nfnl.Builder
	b.Begin(nfnl.Type(unix.NFNL_SUBSYS_ULOG, msgLogConfig), unix.NLM_F_ACK, unix.AF_UNSPEC, group)
	b.Bytes(cfgCommand, []byte{commandBind})
	b.Bytes(cfgMode, append(binary.BigEndian.AppendUint32(nil, copyRange), copyPacket, 0)) // struct nfulnl_msg_config_mode
	more(&b)
	b.End()
	var refused error
	if err := s.Do(&b, func(e *nfnl.Error) { refused = e }); err != nil || refused != nil {
		return fmt.Errorf("bind nflog group %d, which %s are reported by and only one program can have: %w", group, reported, errors.Join(err, refused))
	}
	return nil
}

// Close ends the subscription.
func (l *Log) Close() error { return l.socket.Close() }

// Run calls each for the first packet of every logged connection until ctx ends; lost when the kernel dropped some.
func (l *Log) Run(ctx context.Context, each func(Dialled), lost func()) error {
	return l.socket.Follow(ctx, func(m nfnl.Message) error {
		if d, ok := decodePacket(nfnl.Attr(m.Attrs(), logPayload)); ok {
			each(d)
		}
		return nil
	}, lost)
}

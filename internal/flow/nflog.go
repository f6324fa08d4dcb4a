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
	msgLogConfig = 1 // NFULNL_MSG_CONFIG

	cfgCommand = 1 // NFULA_CFG_CMD
	cfgMode    = 2 // NFULA_CFG_MODE

	commandBind = 1 // NFULNL_CFG_CMD_BIND
	copyPacket  = 2 // NFULNL_COPY_PACKET

	logPayload = 9 // NFULA_PAYLOAD
)

// copyRange is how many bytes of each packet the kernel hands over: an IPv4 header of any length, or an IPv6 header with
// more extension headers than an honest packet has, and the ports.
const copyRange = 256

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
	s, err := nfnl.Dial(4 << 20)
	if err != nil {
		return nil, err
	}
	var b nfnl.Builder
	b.Begin(nfnl.Type(unix.NFNL_SUBSYS_ULOG, msgLogConfig), unix.NLM_F_ACK, unix.AF_UNSPEC, nat.LogGroup)
	b.Bytes(cfgCommand, []byte{commandBind})
	b.Bytes(cfgMode, append(binary.BigEndian.AppendUint32(nil, copyRange), copyPacket, 0)) // struct nfulnl_msg_config_mode
	b.End()
	var refused error
	if err := s.Do(&b, func(e *nfnl.Error) { refused = e }); err != nil || refused != nil {
		err = fmt.Errorf("bind nflog group %d, which new connections are reported by and only one program can have: %w", nat.LogGroup, errors.Join(err, refused))
		return nil, errors.Join(err, s.Close())
	}
	return &Log{socket: s}, nil
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

package nat

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/google/nftables/expr"
)

// RepeatedGroup is the nflog group that packets of translated connections are sent to which connection tracking lets through
// and does not count, where a Spec asks for it.
const RepeatedGroup = LogGroup + 2

// RepeatedBurst is how many packets each rule reports in a second, and at once: who repeats packets as fast as they can be sent
// must not keep natd busy.
const RepeatedBurst = 5000

// repeats makes the rules that report what is not counted. Connection tracking counts a packet where it renews the connection's timeout
// (nf_ct_refresh_acct), and there are packets that it accepts before it gets there. Of what begins a connection:
//
//   - the first packet again while nobody has answered: SYN since Linux 6.2 (commit e15d4cdf27cb, which the stable series 4.19 to 6.1 have since
//     January 2023), SCTP's INIT since 5.17 (likewise carried back);
//   - SYN again once it was answered, with any kernel ("ignored" in nf_conntrack_tcp_packet);
//   - SYN-ACK again, likewise, unless it is the first one behind a repeated SYN.
//
// No rule asks for the version of the kernel: each matches what this kernel has not counted, but for the last: once a SYN-ACK behind a
// repeated SYN was counted, all that come are reported, and whoever reads the reports knows by AnsweredPrefix when there was a SYN before
// it. Time does not tell: a SYN and a SYN-ACK of whose answers no side has heard cross, and the answer to that SYN is another SYN-ACK some
// microseconds later. All stand behind the rule for established connections, and cost these nothing.
type repeats struct {
	answer time.Duration // see Placements.Answered
}

// unanswered reports what the client sends again while nobody has answered. The first packet was counted, so that a second one would have
// made it two. Where the connection is not counted at all it is none.
func (r *repeats) unanswered() []Rule {
	if r == nil {
		return nil
	}
	return []Rule{rule("reports repetitions without an answer that are not counted", ctNew(), ctConfirmed(), ctTranslated(),
		ctSent("original", 0, "1", expr.CmpOpEq), reportRepeated(""))}
}

// answered reports what is sent again before the connection is established.
func (r *repeats) answered() []Rule {
	if r == nil {
		return nil
	}
	synACK := []part{
		tcpFlags("syn,ack / syn,ack", tcpSYN|tcpACK, expr.CmpOpEq, tcpSYN|tcpACK),
		ctStateIs("established", expr.CtStateBitESTABLISHED), ctTranslated(), ctFrom("reply", 1),
	}
	rules := []Rule{
		rule("reports repeated SYN that is not counted", tcpFlags("syn / syn,ack", tcpSYN|tcpACK, expr.CmpOpEq, tcpSYN),
			ctStateIs("established", expr.CtStateBitESTABLISHED), ctTranslated(), ctFrom("original", 0), reportRepeated(AnsweredPrefix)),
		rule("reports SYN-ACK behind one that was counted", append(slices.Clone(synACK), ctSent("reply", 1, "!= 1", expr.CmpOpNeq), reportRepeated(""))...),
	}
	// What was counted has just renewed the timeout. SYN-ACK is repeated after a second or more (RFC 6298, section 2), and what happens
	// between the two hooks takes some microseconds.
	const moment = 500 * time.Millisecond
	if r.answer <= moment {
		return rules
	}
	return append(rules, rule("reports repeated SYN-ACK that is not counted",
		append(synACK, ctSent("reply", 1, "1", expr.CmpOpEq), ctExpiresWithin(r.answer-moment), reportRepeated(""))...))
}

// AnsweredPrefix marks the report of a SYN that was repeated although it was answered.
const AnsweredPrefix = "answered"

func reportRepeated(prefix string) part {
	return join(rateWithin(RepeatedBurst), logAs(prefix, RepeatedGroup))
}

// ctConfirmed matches packets of a connection whose first packet has left the host.
func ctConfirmed() part { return ctStatusHas("confirmed", ipsConfirmed) }

// ctFrom matches packets of one direction (enum ip_conntrack_dir).
func ctFrom(word string, direction byte) part {
	return part{"ct direction " + word, []expr.Any{
		&expr.Ct{Key: expr.CtKeyDIRECTION, Register: firstReg}, compare(expr.CmpOpEq, []byte{direction}),
	}}
}

// ctSent compares the packets of one direction that connection tracking has counted with one.
func ctSent(word string, direction uint32, than string, op expr.CmpOp) part {
	return part{"ct " + word + " packets " + than, []expr.Any{
		&expr.Ct{Key: expr.CtKeyPKTS, Register: firstReg, Direction: direction}, compare(op, binary.NativeEndian.AppendUint64(nil, 1)),
	}}
}

// ctExpiresWithin matches when connection tracking forgets the connection in less than the time, unless a packet comes.
func ctExpiresWithin(d time.Duration) part {
	return part{"ct expiration < " + timeText(d), []expr.Any{
		&expr.Ct{Key: expr.CtKeyEXPIRATION, Register: firstReg},
		&expr.Byteorder{SourceRegister: firstReg, DestRegister: firstReg, Op: expr.ByteorderHton, Len: 4, Size: 4},
		compare(expr.CmpOpLt, binary.BigEndian.AppendUint32(nil, uint32(d.Milliseconds()))),
	}}
}

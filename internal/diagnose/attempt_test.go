package diagnose

import (
	"strings"
	"testing"

	"natd/internal/trace"
)

// TestTranscriptOnce follows a client that sends its SYN three times: the first one is told, the others are counted.
func TestTranscriptOnce(t *testing.T) {
	t.Parallel()
	dialled := trace.End{Addr: addr("10.2.0.100"), Proto: trace.TCP, First: 80, Last: 80}
	f := following{relay: trace.Relay{Listen: []trace.End{dialled}}}
	syn := trace.Packet{Device: "ens5", Index: 2, Flags: trace.SYN, Tuple: trace.Tuple{Proto: trace.TCP, Src: addrPort("10.1.0.100:40000"), Dst: addrPort("10.2.0.100:80")}}
	for range 3 {
		if !f.see(syn) {
			t.Fatal("the packet is none of the attempt")
		}
	}
	a := f.attempt(0)
	if len(a.Transcript) != 2 || !strings.HasPrefix(a.Transcript[1], "and 2 more packets; ") || !strings.HasSuffix(a.Transcript[1], " 3 times") {
		t.Errorf("the transcript is %q", a.Transcript)
	}
}

package nat

import "fmt"

// manyRelays is a spec of so many relays, every second one for one source network, with long names.
func manyRelays(n int) scenario {
	s := scenario{relays: make([]Relay, n)}
	for i := range n {
		edits := []func(*Relay){backendPort(uint16(8000 + i%1000)), listen(fmt.Sprintf("10.2.%d.1", i/60000))}
		if i%2 == 1 {
			edits = append(edits, from(clientNet))
		}
		name := fmt.Sprintf("customer-%06d-of-the-western-region-web-frontend", i)
		s.relays[i] = relayOf(name, uint16(1+i%60000), fmt.Sprintf("10.3.%d.%d", i>>8&0xff, i&0xff), edits...)
	}
	return s
}

package lab

import (
	"context"
	"fmt"
	"net/netip"
)

// Backend is one of several nginx of a host. It has addresses and an access log of its own, and can be killed and started
// again (Restart) without the others.
type Backend struct {
	*Nginx
	Name  string       // what its page says
	Addrs []netip.Addr // one of each family
}

// StartBackends gives the host its first n extra addresses and starts an nginx on each: the first is backend-1 on
// 10.x.0.101 and fd00:10:x::101. The page of each is its name.
func (h *Host) StartBackends(ctx context.Context, n int, port uint16) ([]*Backend, error) {
	if err := h.AddExtra(n); err != nil {
		return nil, err
	}
	var all []*Backend
	for i := range n {
		b := &Backend{Name: fmt.Sprintf("backend-%d", i+1), Addrs: h.Extra(i + 1)}
		var listen []netip.AddrPort
		for _, a := range b.Addrs {
			listen = append(listen, netip.AddrPortFrom(a, port))
		}
		var err error
		if b.Nginx, err = h.StartNginx(ctx, listen...); err != nil {
			return nil, err
		}
		if err := b.Publish("index.html", b.Name+"\n"); err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

package rival

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"natd/bench/arena"
	"natd/internal/lab"
)

// nftlbKey is what its API asks for.
const nftlbKey = "bench"

// Nftlb relays with nftlb, which writes rules of nftables: one farm with one backend for each relay, in its mode that changes both
// addresses. Its README calls for forwarding in the kernel, which B does.
func Nftlb() arena.Candidate {
	return Program{
		name: "nftlb",
		unfit: func(j arena.Job) string {
			if j.Prefixes > 0 {
				return "its lists drop sources or exempt them, and none says who is served"
			}
			return ""
		},
		files:  func(arena.Job) int { return 0 },
		config: func(_ string, j arena.Job) string { return farms(j, 0) },
		command: func(file string) []string {
			return []string{"nftlb", "-H", "127.0.0.1", "-k", nftlbKey, "-L", "2", "-l", "3", "-c", file}
		},
		reload: nftlbChange,
		clean: func(ctx context.Context, h *lab.Host) error {
			return h.Nft(ctx, "flush ruleset") // nothing but its tables is there
		},
	}
}

type (
	farm struct {
		Name     string    `json:"name"`
		Addr     string    `json:"virtual-addr"`
		Ports    string    `json:"virtual-ports"`
		Source   string    `json:"source-addr"`
		Mode     string    `json:"mode"`
		Protocol string    `json:"protocol"`
		State    string    `json:"state"`
		Backends []backend `json:"backends"`
	}
	backend struct {
		Name  string `json:"name"`
		Addr  string `json:"ip-addr"`
		Port  string `json:"port"`
		State string `json:"state"`
	}
)

// farms are the relays of a job from one on, as nftlb wants them.
func farms(j arena.Job, from int) string {
	all := make([]farm, 0, j.Relays-from)
	for i := from; i < j.Relays; i++ {
		l, t := j.Listen(i), j.Target(i)
		all = append(all, farm{
			Name: fmt.Sprintf("relay-%06d", i), Addr: l.Addr().String(), Ports: fmt.Sprint(l.Port()), Source: "10.2.0.100",
			Mode: "snat", Protocol: j.Protocol(), State: "up",
			Backends: []backend{{Name: "target", Addr: t.Addr().String(), Port: fmt.Sprint(t.Port()), State: "up"}},
		})
	}
	text, _ := json.Marshal(map[string][]farm{"farms": all}) // strings only
	return string(text)
}

// nftlbChange gives the API the one relay that is another.
func nftlbChange(ctx context.Context, p *program, is arena.Job) error {
	answer, err := p.arena.B.Curl(ctx, "http://127.0.0.1:5555/farms", "--header", "Key: "+nftlbKey, "--data", farms(is, is.Hit()))
	if err == nil && !strings.Contains(answer, "success") {
		err = fmt.Errorf("nftlb answers %q", answer)
	}
	return err
}

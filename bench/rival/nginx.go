package rival

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"syscall"

	"natd/bench/arena"
)

// Nginx relays with the stream module of nginx, one server for each relay. The user and a worker for each processor are those of
// Debian's nginx.conf; of connections each worker has enough.
func Nginx() arena.Candidate {
	return Program{
		name:    "nginx",
		unfit:   func(arena.Job) string { return "" },
		files:   nginxFiles,
		config:  nginxConfig,
		command: func(file string) []string { return nginxCommand(file) },
		reload:  nginxReload,
	}
}

// nginxFiles are the sockets that listen. Those with reuseport are one for each worker, and every worker has all of them.
func nginxFiles(j arena.Job) int {
	if j.UDP {
		return j.Relays * runtime.NumCPU()
	}
	return j.Relays
}

const nginxMain = `user www-data;
worker_processes auto;
worker_rlimit_nofile %[1]d;
pid %[2]s/pid;
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
events {
	worker_connections %[1]d;
}
stream {
`

func nginxConfig(dir string, j arena.Job) string {
	var text strings.Builder
	fmt.Fprintf(&text, nginxMain, nginxFiles(j)+forConnections, dir)
	udp := ""
	if j.UDP {
		// "In order to handle packets from the same address and port in the same session, the reuseport parameter should also be
		// specified", says nginx of listen in ngx_stream_core_module.
		udp = " udp reuseport"
	}
	for i := range j.Relays {
		fmt.Fprintf(&text, "\tserver {\n\t\tlisten %v%s;\n", j.Listen(i), udp)
		for _, p := range j.Sources(i) {
			fmt.Fprintf(&text, "\t\tallow %v;\n", p)
		}
		if j.Prefixes > 0 {
			text.WriteString("\t\tdeny all;\n")
		}
		fmt.Fprintf(&text, "\t\tproxy_pass %v;\n\t}\n", j.Target(i))
	}
	return text.String() + "}\n"
}

func nginxCommand(file string, more ...string) []string {
	return append([]string{"nginx", "-c", file, "-e", "stderr", "-g", "daemon off;"}, more...)
}

// nginxReload is "nginx -s reload": it reads the file, and sends the signal. The process id that nginx has written is that of its own
// PID namespace, and must not be used outside.
func nginxReload(ctx context.Context, p *program, _ arena.Job) error {
	check := nginxCommand(p.file(), "-t", "-q")
	if _, err := p.arena.B.Run(ctx, check[0], check[1:]...); err != nil {
		return err
	}
	return p.process.Signal(syscall.SIGHUP)
}

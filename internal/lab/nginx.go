package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// serverPatience is how long a server may take until it listens.
const serverPatience = 10 * time.Second

// Nginx is a running nginx.
type Nginx struct {
	*Process
	Root   string // the directory it serves
	host   *Host
	dir    string
	listen []netip.AddrPort
}

// One process without a master: it keeps the user, and with it the kernel's promise to end it with the lab, which a
// change of user takes away (prctl(2), PR_SET_PDEATHSIG). Every path is the lab's own.
const nginxConf = `daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {}
http {
	log_format ported '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $remote_port';
	access_log access.log ported;
	default_type text/html;
	client_body_temp_path tmp/body;
	proxy_temp_path tmp/proxy;
	fastcgi_temp_path tmp/fastcgi;
	uwsgi_temp_path tmp/uwsgi;
	scgi_temp_path tmp/scgi;
	server {
%s		root %s;
	}
}
`

// StartNginx starts nginx in the host and waits until it listens on the addresses. It serves DefaultPage as index.html,
// and whatever is put into Root.
func (h *Host) StartNginx(ctx context.Context, listen ...netip.AddrPort) (*Nginx, error) {
	dir, err := h.lab.TempDir("nginx")
	if err != nil {
		return nil, err
	}
	n := &Nginx{Root: filepath.Join(dir, "root"), host: h, dir: dir, listen: listen}
	if err := n.writeFiles(); err != nil {
		return nil, fmt.Errorf("preparing nginx: %w", err)
	}
	return n, n.Restart(ctx)
}

// Restart starts nginx again after it was stopped or killed, with its files and its access log as they are, and waits
// until it listens.
func (n *Nginx) Restart(ctx context.Context) (err error) {
	args := []string{"-p", n.dir, "-c", "nginx.conf"}
	// Before it reads its configuration nginx opens the error log that it was built with, unless told otherwise: since 1.19.5.
	if help, err := n.host.Command(ctx, "nginx", "-h").CombinedOutput(); err == nil && strings.Contains(string(help), "-e filename") {
		args = append(args, "-e", "stderr")
	}
	if n.Process, err = n.host.Start("nginx", args...); err != nil {
		return err
	}
	return n.awaitListening(ctx)
}

func (n *Nginx) writeFiles() error {
	var directives strings.Builder
	for _, a := range n.listen {
		fmt.Fprintf(&directives, "\t\tlisten %s;\n", a)
	}
	for _, dir := range []string{"root", "tmp"} {
		if err := os.Mkdir(filepath.Join(n.dir, dir), 0o755); err != nil {
			return err
		}
	}
	for name, content := range map[string]string{
		"nginx.conf":      fmt.Sprintf(nginxConf, directives.String(), n.Root),
		"root/index.html": DefaultPage(),
	} {
		if err := os.WriteFile(filepath.Join(n.dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// awaitListening connects to each address. A connection without a request leaves no line in the access log.
func (n *Nginx) awaitListening(ctx context.Context) error {
	return n.Await(ctx, serverPatience, func() error {
		for _, a := range n.listen {
			c, err := n.host.Dial(ctx, "tcp", a.String())
			if err != nil {
				return err
			}
			if err := c.Close(); err != nil {
				return err
			}
		}
		return nil
	})
}

// Publish puts a file into Root.
func (n *Nginx) Publish(name, content string) error {
	if err := os.WriteFile(filepath.Join(n.Root, name), []byte(content), 0o644); err != nil {
		return fmt.Errorf("giving nginx a page: %w", err)
	}
	return nil
}

// AccessLog is the lines of the access log so far, in nginx's combined format, with the client's port behind it: the
// client's address comes first.
func (n *Nginx) AccessLog() ([]string, error) {
	text, err := os.ReadFile(filepath.Join(n.dir, "access.log"))
	if err != nil {
		return nil, fmt.Errorf("reading nginx's access log: %w", err)
	}
	return lines(string(text)), nil
}

// DefaultPage is the page that a fresh nginx shows: the installed one, or one of the same title.
func DefaultPage() string {
	for _, path := range []string{"/var/www/html/index.nginx-debian.html", "/usr/share/nginx/html/index.html"} {
		if page, err := os.ReadFile(path); err == nil && strings.Contains(string(page), "<title>Welcome to nginx!</title>") {
			return string(page)
		}
	}
	return "<!DOCTYPE html>\n<html>\n<head>\n<title>Welcome to nginx!</title>\n</head>\n" +
		"<body>\n<h1>Welcome to nginx!</h1>\n</body>\n</html>\n"
}

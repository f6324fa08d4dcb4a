package imds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// The addresses of the service. The second is for instances in subnets without IPv4.
const (
	Endpoint4 = "http://169.254.169.254"
	Endpoint6 = "http://[fd00:ec2::254]"
)

// The reasons why there is no answer.
var (
	ErrNoService = errors.New("no instance metadata service")
	ErrDisabled  = errors.New("the instance metadata service is disabled for this instance (HttpEndpoint); " +
		"\"aws ec2 modify-instance-metadata-options --http-endpoint enabled\" enables it, metadata = \"off\" in [host] spares natd the question")
)

// errAbsent is the answer for a key that the instance does not have.
var errAbsent = errors.New("there is no such key")

const (
	tokenPath = "/latest/api/token"
	tokenLife = "21600" // seconds, the most that the service grants
	// requestPatience bounds one request. The service is one hop away and answers within milliseconds.
	requestPatience = time.Second
	// maxAnswer bounds one answer; the longest that is asked for, a list of addresses, stays below a tenth of it.
	maxAnswer = 64 << 10
	// maxRefusal bounds what is read, and not looked at, of the answers that say no. Theirs are short pages.
	maxRefusal = 4 << 10
)

// Client asks one instance's metadata service. It remembers the token, and is not for use by several goroutines.
type Client struct {
	endpoints []string
	http      *http.Client
	endpoint  string // that granted the token
	token     string // "" = none yet, or none that is still good
}

// New makes a client of the first endpoint that there is a route to; without an argument, of Amazon's own.
func New(endpoints ...string) *Client {
	if len(endpoints) == 0 {
		endpoints = []string{Endpoint4, Endpoint6}
	}
	return &Client{endpoints: endpoints, http: &http.Client{
		// Proxy stays nil: a proxy would see the token, and answer for another machine.
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: requestPatience}).DialContext,
			DisableCompression:     true, // a small answer must not unfold into a large one
			MaxResponseHeaderBytes: maxAnswer,
			MaxIdleConnsPerHost:    1,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// get returns the value of a key. A token that the service does not know any more is renewed once.
func (c *Client) get(ctx context.Context, path string) (string, error) {
	renewed := false
	for {
		if c.token == "" {
			if err := c.authorise(ctx); err != nil {
				return "", err
			}
			renewed = true
		}
		status, body, err := c.do(ctx, http.MethodGet, c.endpoint+path, "X-aws-ec2-metadata-token", c.token)
		switch {
		case err != nil:
			return "", fmt.Errorf("%w: %w", ErrNoService, err)
		case status == http.StatusOK:
			return body, nil
		case status == http.StatusUnauthorized && !renewed:
			c.token = ""
		case status == http.StatusNotFound:
			return "", errAbsent
		case status == http.StatusForbidden:
			return "", ErrDisabled
		default:
			return "", fmt.Errorf("the service answers %d %s", status, http.StatusText(status))
		}
	}
}

// authorise gets a token. It goes on to the next endpoint only where there is no way to the one before: a service
// that is silent or refuses is the one that this host has.
func (c *Client) authorise(ctx context.Context) error {
	var failed []error
	for _, endpoint := range c.endpoints {
		status, body, err := c.do(ctx, http.MethodPut, endpoint+tokenPath, "X-aws-ec2-metadata-token-ttl-seconds", tokenLife)
		switch {
		case err != nil:
			failed = append(failed, err)
			if noRoute(err) {
				continue
			}
			return fmt.Errorf("%w: %w", ErrNoService, errors.Join(failed...))
		case status == http.StatusForbidden:
			return ErrDisabled
		case status != http.StatusOK:
			return fmt.Errorf("%w: %s grants no token, it answers %d %s", ErrNoService, endpoint, status, http.StatusText(status))
		}
		if c.token, err = parseToken(body); err != nil {
			return fmt.Errorf("the token of %s: %w", endpoint, err)
		}
		c.endpoint = endpoint
		return nil
	}
	return fmt.Errorf("%w: %w", ErrNoService, errors.Join(failed...))
}

// noRoute tells whether the kernel knew no way to an endpoint (ip(7)).
func noRoute(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH) ||
		errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)
}

// do makes one request with one header and returns the whole answer.
func (c *Client) do(ctx context.Context, method, url, header, value string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return 0, "", fmt.Errorf("make the request: %w", err)
	}
	request.Header.Set(header, value)
	answer, err := c.http.Do(request)
	if err != nil {
		return 0, "", err // it names the method and the URL already
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		// A connection whose answer was not read to its end serves no other request, and many keys are not there.
		_, _ = io.CopyN(io.Discard, answer.Body, maxRefusal) // what is cut short has said enough by its status
		return answer.StatusCode, "", nil
	}
	var text strings.Builder
	switch n, err := io.Copy(&text, io.LimitReader(answer.Body, maxAnswer+1)); {
	case err != nil:
		return 0, "", fmt.Errorf("read the answer to %s %s: %w", method, url, err)
	case n > maxAnswer:
		return 0, "", fmt.Errorf("the answer to %s %s is longer than %d bytes", method, url, maxAnswer)
	}
	return answer.StatusCode, text.String(), nil
}

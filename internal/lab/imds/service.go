package imds

import (
	"crypto/rand"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Service is the stand-in. Its fields are set before it serves.
type Service struct {
	// Source is asked at every request, so that its answer may change.
	Source func() (*Instance, error)
	// Log gets a line for every request, once it is answered.
	Log io.Writer
	// TokenLife is the most that a token lives; 0 = as long as the client asks for.
	TokenLife time.Duration
	// RefuseEvery answers every n-th request that bears a good token with 401, and forgets the tokens; 0 = none.
	RefuseEvery int
	// Disabled answers everything with 403.
	Disabled bool
	// Silent grants tokens, and never answers anything else.
	Silent bool

	mu     sync.Mutex
	tokens map[string]time.Time // and when they end
	served int                  // requests with a good token
}

// The headers, and the longest life of a token.
const (
	headerTTL   = "X-aws-ec2-metadata-token-ttl-seconds"
	headerToken = "X-aws-ec2-metadata-token"
	maxLife     = 21600
)

// ServeHTTP answers one request.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, body := s.answer(r)
	if status == 0 {
		s.log(r, "silence")
		<-r.Context().Done()
		return
	}
	s.log(r, strconv.Itoa(status))
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Server", "EC2ws")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // a client that has gone misses nothing
}

func (s *Service) log(r *http.Request, outcome string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Log != nil {
		fmt.Fprintf(s.Log, "%s %s %s\n", r.Method, r.URL.Path, outcome)
	}
}

// answer is the status and the body, or the status 0 for none.
func (s *Service) answer(r *http.Request) (status int, body string) {
	switch {
	case s.Disabled, r.Header.Get("X-Forwarded-For") != "": // what comes through a proxy is refused
		return http.StatusForbidden, ""
	case r.URL.Path == "/latest/api/token":
		return s.grant(r)
	case r.Method != http.MethodGet:
		return http.StatusMethodNotAllowed, ""
	case s.Silent:
		return 0, ""
	case !s.admits(r.Header.Get(headerToken)):
		return http.StatusUnauthorized, ""
	}
	instance, err := s.Source()
	if err != nil {
		return http.StatusInternalServerError, err.Error()
	}
	keys, err := instance.keys()
	if err != nil {
		return http.StatusInternalServerError, err.Error()
	}
	if value, ok := lookup(keys, r.URL.Path); ok {
		return http.StatusOK, value
	}
	return http.StatusNotFound, "404 - Not Found"
}

// grant makes a token.
func (s *Service) grant(r *http.Request) (status int, body string) {
	seconds, err := strconv.Atoi(r.Header.Get(headerTTL))
	switch {
	case r.Method != http.MethodPut:
		return http.StatusMethodNotAllowed, ""
	case err != nil || seconds < 1 || seconds > maxLife:
		return http.StatusBadRequest, ""
	}
	life := time.Duration(seconds) * time.Second
	if s.TokenLife > 0 {
		life = min(life, s.TokenLife)
	}
	token := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens == nil {
		s.tokens = make(map[string]time.Time)
	}
	s.tokens[token] = time.Now().Add(life)
	return http.StatusOK, token
}

// admits tells whether the token is good.
func (s *Service) admits(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().After(s.tokens[token]) { // the zero time, for one that is unknown
		return false
	}
	if s.served++; s.RefuseEvery > 0 && s.served%s.RefuseEvery == 0 {
		clear(s.tokens)
		return false
	}
	return true
}

// Forget makes every token so far a bad one.
func (s *Service) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// lookup finds a key, or lists what lies below a path: directories end with a slash.
func lookup(keys map[string]string, path string) (string, bool) {
	if value, ok := keys[path]; ok {
		return value, true
	}
	below := make(map[string]bool)
	for key := range keys {
		rest, ok := strings.CutPrefix(key, strings.TrimSuffix(path, "/")+"/")
		if !ok {
			continue
		}
		name, _, directory := strings.Cut(rest, "/")
		if directory {
			name += "/"
		}
		below[name] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(below)), "\n"), len(below) > 0
}

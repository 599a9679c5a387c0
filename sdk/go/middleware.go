package authsvc

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"strings"
)

type contextKey struct{}

// admission is what the context of an admitted request holds. by is nil if NewContext made it.
type admission struct {
	user  *Active
	by    *Introspector
	token string
}

// Middleware protects a handler of net/http. It passes requests with an active token that has what is required, and
// answers all others. The handler finds the user with FromContext.
//
// A CORS preflight carries no token, and handlers of net/http often look at no method. So it is refused as well: put the
// CORS middleware outside of this one.
func (i *Introspector) Middleware(need Require) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, err := i.admit(r, need)
			if err != nil {
				Refuse(err).ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	}
}

// ServeHTTP answers a request with the refusal.
func (r *Refusal) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	maps.Copy(w.Header(), r.Header())
	w.WriteHeader(r.Status)
	_, _ = w.Write(r.Body()) // the client may be gone
}

func (i *Introspector) admit(r *http.Request, need Require) (context.Context, error) {
	ctx := r.Context()
	if admitted, ok := ctx.Value(contextKey{}).(*admission); ok && admitted.by == i {
		return ctx, need.Check(admitted.user) // a middleware around this one has asked
	}
	token, err := i.tokenOf(r)
	if err != nil {
		return nil, err
	}
	return i.authorize(ctx, token, need)
}

// tokenOf finds the token of a request, in a cookie too if a setting names one.
func (i *Introspector) tokenOf(r *http.Request) (string, error) {
	var cookies []string
	// Pages of any site can open a WebSocket to us with the cookies of their visitor.
	if i.settings.Cookie != "" && (!opensWebSocket(r) || sameOrigin(r)) {
		cookies = cookiesIn(r.Header.Values("Cookie"), i.settings.Cookie)
	}
	return tokenIn(r.Header.Values("Authorization"), cookies)
}

// Authorize does what Middleware does, for servers that do not use net/http. authorization: the headers of that name. It
// returns a context for FromContext and WhileActive. The error is a *Refusal.
func (i *Introspector) Authorize(ctx context.Context, authorization []string, need Require) (context.Context, error) {
	token, err := tokenIn(authorization, nil)
	if err != nil {
		return nil, err
	}
	return i.authorize(ctx, token, need)
}

func (i *Introspector) authorize(ctx context.Context, token string, need Require) (context.Context, error) {
	user, err := i.Introspect(ctx, token)
	if err != nil {
		return nil, Refuse(err)
	}
	if err := need.Check(user); err != nil {
		return nil, err
	}
	return context.WithValue(ctx, contextKey{}, &admission{user, i, token}), nil
}

// FromContext returns the user of a request that Middleware or Authorize has admitted. It returns nil for others.
func FromContext(ctx context.Context) *Active {
	if admitted, ok := ctx.Value(contextKey{}).(*admission); ok {
		return admitted.user
	}
	return nil
}

// NewContext returns a context with this user, for tests of handlers.
func NewContext(ctx context.Context, user *Active) context.Context {
	return context.WithValue(ctx, contextKey{}, &admission{user: user})
}

// WhileActive returns a context that ends with the token of an admitted request, for streams and WebSockets. Its
// context.Cause is then a *Refusal: 401 if the token is active no more, 503 if nobody can tell. The promise of the cache
// holds here too. Without the cache, the service is asked every two seconds (Settings.FeedSilence). Each question counts as
// use of the session. Call the returned function when the stream ends.
func WhileActive(ctx context.Context) (context.Context, context.CancelFunc) {
	admitted, ok := ctx.Value(contextKey{}).(*admission)
	watched, end := context.WithCancelCause(ctx)
	switch {
	case !ok:
		end(withoutToken())
	case admitted.by != nil:
		go func() { end(admitted.by.refusalOf(watched, admitted.token)) }()
	}
	return watched, func() { end(context.Canceled) }
}

// refusalOf returns when the token is active no more, or when nobody can tell: why a request would be refused now. It
// returns the error of ctx if ctx ends before.
func (i *Introspector) refusalOf(ctx context.Context, token string) error {
	for pause := firstPause; ; {
		user, err := i.Introspect(ctx, token)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return Refuse(err)
		}
		if i.cache.held(ctx, token, user) {
			pause = firstPause
			continue
		}
		sleep(ctx, pause) // no feed, or a change came while the answer was on its way
		pause = min(2*pause, i.settings.FeedSilence)
	}
}

func opensWebSocket(r *http.Request) bool {
	return r.Header.Get("Upgrade") != "" || r.Method == http.MethodConnect
}

// sameOrigin says whether a page of this host sent the request.
func sameOrigin(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	if len(origins) != 1 {
		return false
	}
	origin, err := url.Parse(origins[0])
	return err == nil && origin.Host != "" && strings.EqualFold(origin.Host, r.Host)
}

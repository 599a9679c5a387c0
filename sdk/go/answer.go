package authsvc

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Active is the user and the session of a token, right now. Requests share answers, so do not change one.
type Active struct {
	Sub       string          `json:"sub"`
	ClientID  string          `json:"client_id"`
	SessionID string          `json:"session_id"`
	Exp       time.Time       `json:"-"`
	Iat       time.Time       `json:"-"`
	AuthTime  time.Time       `json:"-"` // when the user was authenticated; zero if nobody told the service
	Username  string          `json:"username"`
	Roles     []string        `json:"roles"`
	Scope     string          `json:"scope"`      // what the token allows, space-separated (RFC 6749 section 3.3)
	AMR       []string        `json:"amr"`        // how the user logged in (RFC 8176)
	ACR       string          `json:"acr"`        // how strong the login was, such as aal2; empty if it is not known
	VouchedBy string          `json:"vouched_by"` // the client by whose word the user logged in elsewhere, if that is so
	TokenUse  string          `json:"token_use"`  // "key", "client" (it speaks for no user), "exchanged"; empty for a session
	Act       json.RawMessage `json:"act"`        // the client that acts for the user (RFC 8693 section 4.1), if one does
	Clients   []string        `json:"-"`          // those on which the token depends besides ClientID
	Aud       []string        `json:"-"`          // the resource servers that the token is for; empty for all of them
	Version   int64           `json:"version"`    // rises with every change to the user
	Claims    json.RawMessage `json:"claims"`     // the claims of the user, a JSON object; nil if there are none
}

// HasScope says whether the token allows all of these scopes.
func (a *Active) HasScope(wanted ...string) bool {
	return containsAll(strings.Fields(a.Scope), wanted)
}

// HasRole says whether the user has all of these roles.
func (a *Active) HasRole(wanted ...string) bool {
	return containsAll(a.Roles, wanted)
}

func containsAll(all, wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(one string) bool { return !slices.Contains(all, one) })
}

// read reads the service's answer about the token. It also returns when to ask again, by the service's clock, or 0 for
// an active answer that must not be cached. A malformed answer is neither a yes nor a logout.
func read(body json.RawMessage, token, audience string) (answer, int64) {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(body, &members) // what is no object has no members
	switch string(members["active"]) {
	case "true":
	case "false":
		return answer{}, 0
	default:
		return answer{failure: &Unavailable{Reason: "the service's answer is not an introspection"}}, 0
	}
	user, recheckAt, err := userOf(body, members)
	switch {
	case err != nil:
		return answer{failure: &Unavailable{Reason: "the service's answer is incomplete"}}, 0
	case user.SessionID != handleOf(token):
		return answer{failure: &Unavailable{Reason: "the service's answer is about another token"}}, 0
	case string(members["token_type"]) != `"Bearer"`, audience != "" && !slices.Contains(user.Aud, audience):
		return answer{}, 0
	}
	return answer{user: user}, recheckAt
}

// notNull are the members that encoding/json would read as zero values from null. The first five are required.
var notNull = []string{
	"sub", "client_id", "session_id", "exp", "iat", "auth_time", "scope", "roles", "amr", "act", "aud", "version", "claims",
	"cache",
}

func userOf(body json.RawMessage, members map[string]json.RawMessage) (user *Active, recheckAt int64, err error) {
	for at, name := range notNull {
		if value, found := members[name]; string(value) == "null" || !found && at < 5 {
			return nil, 0, errors.New(name)
		}
	}
	var said struct {
		Active
		Exp      int64                      `json:"exp"`
		Iat      int64                      `json:"iat"`
		AuthTime *int64                     `json:"auth_time"`
		Act      map[string]json.RawMessage `json:"act"`
		Claims   map[string]json.RawMessage `json:"claims"`
		Cache    map[string]json.RawMessage `json:"cache"`
	}
	err = json.Unmarshal(body, &said)
	user = &said.Active
	user.Exp, user.Iat = time.Unix(said.Exp, 0), time.Unix(said.Iat, 0)
	user.Act, user.Claims = members["act"], members["claims"]
	if said.AuthTime != nil {
		user.AuthTime = time.Unix(*said.AuthTime, 0)
	}
	audience := members["aud"]
	if strings.HasPrefix(string(audience), `"`) { // one audience may be a string (RFC 7519 section 4.1.3)
		audience = slices.Concat([]byte("["), audience, []byte("]"))
	}
	if audience != nil {
		err = errors.Join(err, json.Unmarshal(audience, &user.Aud))
	}
	deadline := members["recheck_at"]
	if said.Cache != nil {
		deadline = said.Cache["recheck_at"]
		if err = errors.Join(err, json.Unmarshal(said.Cache["clients"], &user.Clients)); user.Clients == nil {
			err = errors.New("clients")
		}
	}
	recheckAt, _ = strconv.ParseInt(string(deadline), 10, 64) // what is no number is no deadline
	return user, recheckAt, err
}

package authsvc

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Active is the user and the session of a token, right now. Requests share answers, so do not change one.
type Active struct {
	Sub       string
	ClientID  string
	SessionID string
	Exp       time.Time
	Iat       time.Time
	AuthTime  time.Time // when the user logged in; zero if the token was issued without a login
	Username  string
	Roles     []string
	Scope     string          // what the token allows, space-separated (RFC 6749 section 3.3)
	AMR       []string        // how the user logged in (RFC 8176)
	ACR       string          // how strong the login was, aal1 or aal2; empty if the service did not say
	VouchedBy string          // the client by whose word the user logged in elsewhere; empty if it was at the service
	Aud       []string        // the resource servers that the token is for; empty for all of them
	Version   int64           // rises with every change to the user
	Claims    json.RawMessage // the claims of the user, a JSON object; nil if there are none
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

// reading is what the service said about one token.
type reading struct {
	user      *Active // nil: the token is inactive
	recheckAt int64   // when to ask again, by the service's clock; 0: an active answer must not be cached
}

// read reads the service's answer about the token. A malformed answer is neither a yes nor a logout.
func read(body json.RawMessage, token, audience string) (reading, *Unavailable) {
	answer := fields{}
	if json.Unmarshal(body, &answer.raw) != nil || answer.raw == nil {
		return reading{}, unavailable("the service's answer is not an introspection")
	}
	recheckAt, err := strconv.ParseInt(string(answer.raw["recheck_at"]), 10, 64)
	if err != nil {
		recheckAt = 0
	}
	switch string(answer.raw["active"]) {
	case "false":
		return reading{nil, recheckAt}, nil
	case "true":
	default:
		return reading{}, unavailable("the service's answer is not an introspection")
	}
	user := answer.active()
	switch {
	case answer.malformed:
		return reading{}, unavailable("the service's answer is incomplete")
	case user.SessionID != handleOf(token):
		return reading{}, unavailable("the service's answer is about another token")
	case string(answer.raw["token_type"]) != `"Bearer"`, audience != "" && !slices.Contains(user.Aud, audience):
		return reading{}, nil
	}
	return reading{user, recheckAt}, nil
}

// fields reads the members of a JSON object. Names are case-sensitive and types are exact, unlike those of a struct in
// encoding/json. A missing or mistyped member makes it malformed.
type fields struct {
	raw       map[string]json.RawMessage
	malformed bool
}

func (f *fields) active() *Active {
	return &Active{
		Sub:       f.text(f.required("sub")),
		ClientID:  f.text(f.required("client_id")),
		SessionID: f.text(f.required("session_id")),
		Exp:       f.time(f.required("exp")),
		Iat:       f.time(f.required("iat")),
		AuthTime:  f.time(f.raw["auth_time"]),
		Username:  f.text(f.nullable("username")),
		Roles:     f.texts(f.raw["roles"]),
		Scope:     f.text(f.raw["scope"]),
		AMR:       f.texts(f.raw["amr"]),
		ACR:       f.text(f.nullable("acr")),
		VouchedBy: f.text(f.nullable("vouched_by")),
		Aud:       f.audience(f.raw["aud"]),
		Version:   f.number(f.raw["version"]),
		Claims:    f.object(f.raw["claims"]),
	}
}

func (f *fields) required(name string) json.RawMessage {
	value, found := f.raw[name]
	f.malformed = f.malformed || !found
	return value
}

func (f *fields) nullable(name string) json.RawMessage {
	if string(f.raw[name]) == "null" {
		return nil
	}
	return f.raw[name]
}

// The following methods return the zero value for a nil message, which stands for an absent member.

func (f *fields) text(value json.RawMessage) string {
	var text string
	f.decode(value, '"', &text)
	return text
}

func (f *fields) texts(value json.RawMessage) []string {
	var items []json.RawMessage
	f.decode(value, '[', &items)
	var texts []string
	for _, item := range items {
		texts = append(texts, f.text(item))
	}
	return texts
}

func (f *fields) audience(value json.RawMessage) []string {
	if bytes.HasPrefix(value, []byte{'"'}) { // one audience may be a string (RFC 7519 section 4.1.3)
		return []string{f.text(value)}
	}
	return f.texts(value)
}

func (f *fields) number(value json.RawMessage) int64 {
	if value == nil {
		return 0
	}
	number, err := strconv.ParseInt(string(value), 10, 64)
	f.malformed = f.malformed || err != nil
	return number
}

func (f *fields) time(value json.RawMessage) time.Time {
	if value == nil {
		return time.Time{}
	}
	return time.Unix(f.number(value), 0)
}

func (f *fields) object(value json.RawMessage) json.RawMessage {
	var object json.RawMessage
	f.decode(value, '{', &object)
	return object
}

// decode decodes a value that begins with this character. Else `null` would become a zero value.
func (f *fields) decode(value json.RawMessage, begins byte, into any) {
	if value == nil {
		return
	}
	if value[0] != begins || json.Unmarshal(value, into) != nil {
		f.malformed = true
	}
}

// answersIn splits the body of a response into one message for each of the tokens.
func answersIn(body []byte, tokens int) ([]json.RawMessage, *Unavailable) {
	if !utf8.Valid(body) || !json.Valid(body) {
		return nil, unavailable("the service's answer is not JSON")
	}
	if tokens == 1 {
		return []json.RawMessage{body}, nil
	}
	var answers []json.RawMessage
	if json.Unmarshal(body, &answers) != nil || len(answers) != tokens {
		return nil, unavailable("the service's response has not one answer for each token")
	}
	return answers, nil
}

package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"hash/crc32"
	"slices"
	"strings"
	"sync"

	"github.com/bytedance/sonic"
)

const (
	digits       = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	digestLength = 27
)

// Service, Client, User and Session are the records, with the members that a decision or an answer needs.
type Service struct {
	Epoch int64 `json:"epoch"`
}

type Secret struct {
	Digest string `json:"digest"`
	Until  *int64 `json:"until"`
}

type Client struct {
	ClientID    string   `json:"client_id"`
	Secrets     []Secret `json:"secrets"`
	Permissions []string `json:"permissions"`
	Audience    []string `json:"audience"`
	Epoch       int64    `json:"epoch"`
}

type User struct {
	Sub      string         `json:"sub"`
	Username string         `json:"username"`
	Status   string         `json:"status"`
	Roles    []string       `json:"roles"`
	Claims   map[string]any `json:"claims"`
	Epoch    int64          `json:"epoch"`
	Spared   string         `json:"spared"`
	Version  int64          `json:"version"`
}

type Previous struct {
	Access      string  `json:"access"`
	AccessUntil int64   `json:"access_until"`
	AccessScope *string `json:"access_scope"`
}

type Session struct {
	Sub         string    `json:"sub"`
	ClientID    string    `json:"cid"`
	Scope       string    `json:"scope"`
	Aud         []string  `json:"aud"`
	Amr         []string  `json:"amr"`
	Origin      string    `json:"by"`
	CreatedMs   int64     `json:"at"`
	Lifetimes   [3]int64  `json:"for"` // of the access token, idle, of the session
	Epochs      [3]int64  `json:"epochs"`
	Access      string    `json:"tok"`
	ProvedAt    *int64    `json:"proved_at"`
	IssuedAt    *int64    `json:"issued_at"`
	UsedAt      *int64    `json:"used_at"`
	AccessScope *string   `json:"access_scope"`
	Previous    *Previous `json:"previous"`
}

// Answer is the answer about an active token. Members without a value are absent.
type Answer struct {
	Active    bool           `json:"active"`
	Sub       string         `json:"sub"`
	ClientID  string         `json:"client_id"`
	TokenType string         `json:"token_type"`
	Exp       int64          `json:"exp"`
	Iat       int64          `json:"iat"`
	Iss       string         `json:"iss"`
	Roles     []string       `json:"roles"`
	SessionID string         `json:"session_id"`
	Scope     string         `json:"scope,omitempty"`
	AuthTime  *int64         `json:"auth_time,omitempty"`
	Version   int64          `json:"version"`
	RecheckAt int64          `json:"recheck_at"`
	Username  string         `json:"username,omitempty"`
	Aud       any            `json:"aud,omitempty"`
	Amr       []string       `json:"amr,omitempty"`
	Acr       string         `json:"acr,omitempty"`
	Claims    map[string]any `json:"claims,omitempty"`
}

type match struct {
	scope string
	exp   int64
}

// parseToken returns the handle of a well-formed access token.
func parseToken(text string) (handle string, ok bool) {
	if len(text) != 49 || !strings.HasPrefix(text, "tok_") {
		return "", false
	}
	for at := 4; at < len(text); at++ {
		c := text[at]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return "", false
		}
	}
	crc := crc32.ChecksumIEEE([]byte(text[:43]))
	for at := 48; at >= 43; at-- {
		if text[at] != digits[crc%62] {
			return "", false
		}
		crc /= 62
	}
	return text[4:16], true
}

// digest is the stored form of a token or secret.
func digest(text string) [digestLength]byte {
	var encoded [44]byte
	sum := sha256.Sum256([]byte(text))
	base64.StdEncoding.Encode(encoded[:], sum[:])
	return [digestLength]byte(encoded[:digestLength])
}

func same(stored string, presented [digestLength]byte) bool {
	return subtle.ConstantTimeCompare([]byte(stored), presented[:]) == 1
}

func (c *Client) opensWith(secret string, now float64) bool {
	presented, found := digest(secret), false
	for _, stored := range c.Secrets {
		alive := stored.Until == nil || now < float64(*stored.Until)
		if same(stored.Digest, presented) && alive {
			found = true
		}
	}
	return found
}

func (c *Client) mayIntrospect() bool {
	return slices.Contains(c.Permissions, "introspect")
}

func (c *Client) covers(audience []string) bool {
	return len(c.Audience) == 0 ||
		slices.ContainsFunc(c.Audience, func(one string) bool { return slices.Contains(audience, one) })
}

func (s *Session) began() int64 { return s.CreatedMs / 1000 }

func (s *Session) iat() int64 {
	if s.IssuedAt != nil {
		return *s.IssuedAt
	}
	return s.began()
}

func (s *Session) seen() int64 {
	if s.UsedAt != nil {
		return *s.UsedAt
	}
	return s.began()
}

func (s *Session) end() int64 { return s.began() + s.Lifetimes[2] }

func (s *Session) match(text string, now float64) (match, bool) {
	presented := digest(text)
	if same(s.Access, presented) {
		exp, scope := min(s.iat()+s.Lifetimes[0], s.end()), s.Scope
		if s.AccessScope != nil {
			scope = *s.AccessScope
		}
		return match{scope, exp}, now < float64(exp)
	}
	if previous := s.Previous; previous != nil && same(previous.Access, presented) {
		scope := s.Scope
		if previous.AccessScope != nil {
			scope = *previous.AccessScope
		}
		return match{scope, previous.AccessUntil}, now < float64(previous.AccessUntil)
	}
	return match{}, false
}

func (s *Session) alive(handle string, user *User, client *Client, service *Service, now float64) bool {
	return now < float64(s.end()) &&
		now < float64(s.seen()+s.Lifetimes[1]) &&
		(user.Status == "" || user.Status == "active") &&
		s.Epochs[2] == service.Epoch &&
		s.Epochs[1] == client.Epoch &&
		(s.Epochs[0] == user.Epoch || handle == user.Spared)
}

func (s *Session) authTime() *int64 {
	if s.ProvedAt != nil {
		return s.ProvedAt
	}
	if (s.Origin == "" || s.Origin == "login") && len(s.Amr) > 0 {
		began := s.began()
		return &began
	}
	return nil
}

// level is the level of assurance that follows from the methods. The clients of the benchmark vouch for nobody.
func level(amr []string) string {
	if slices.Contains(amr, "mfa") {
		return "aal2"
	}
	if len(amr) > 0 {
		return "aal1"
	}
	return ""
}

func (s *Session) recheckAt(now float64, exp int64) int64 {
	idle, seen := s.Lifetimes[1], s.seen()
	interval := idle / 20
	if idle < 1200 {
		interval = max(min(60, idle/2), 1)
	}
	noted := seen
	if now-float64(seen) >= float64(interval) {
		noted = int64(now)
	}
	return min(noted+interval, seen+idle, exp)
}

func described(handle, issuer string, session *Session, user *User, found match, now float64) *Answer {
	answer := &Answer{
		Active:    true,
		Sub:       session.Sub,
		ClientID:  session.ClientID,
		TokenType: "Bearer",
		Exp:       found.exp,
		Iat:       session.iat(),
		Iss:       issuer,
		Roles:     user.Roles,
		SessionID: handle,
		Scope:     found.scope,
		AuthTime:  session.authTime(),
		Version:   max(user.Version, 1),
		RecheckAt: session.recheckAt(now, found.exp),
		Username:  user.Username,
		Amr:       session.Amr,
		Acr:       level(session.Amr),
		Claims:    user.Claims,
	}
	if answer.Roles == nil {
		answer.Roles = []string{}
	}
	if len(session.Aud) == 1 {
		answer.Aud = session.Aud[0]
	} else if len(session.Aud) > 1 {
		answer.Aud = session.Aud
	}
	return answer
}

// remembered keeps parsed records of a few keys. A record is used only while its bytes are the same.
type remembered[R any] struct {
	records sync.Map
}

type record[R any] struct {
	raw    string
	parsed R
}

func (r *remembered[R]) parsed(key, raw string) (*R, error) {
	if held, ok := r.records.Load(key); ok && held.(*record[R]).raw == raw {
		return &held.(*record[R]).parsed, nil
	}
	made := &record[R]{raw: raw}
	if err := sonic.UnmarshalString(raw, &made.parsed); err != nil {
		return nil, err
	}
	r.records.Store(key, made)
	return &made.parsed, nil
}

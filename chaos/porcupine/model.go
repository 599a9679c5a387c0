package main

import (
	"sort"
	"strings"

	"github.com/anishathalye/porcupine"
)

// A call about one user. Token: the access token of the generation that the caller presents, by its name in the journal.
// Roles, Status: what a change sets; empty if it leaves that as it is.
type call struct {
	Kind    string `json:"kind"`
	Session string `json:"session,omitempty"`
	Token   string `json:"token,omitempty"`
	Roles   string `json:"roles,omitempty"`
	Status  string `json:"status,omitempty"`
}

// An answer. OK: an active token, or a success. Session, Token: of a login; Token: of a refresh.
type result struct {
	OK      bool   `json:"ok"`
	Session string `json:"session,omitempty"`
	Token   string `json:"token,omitempty"`
	Roles   string `json:"roles,omitempty"`
	Status  string `json:"status,omitempty"`
}

// What the service knows about one user. sessions: each live session with its current access token, as sorted lines. It
// is text so that states can be compared with ==.
type user struct {
	status, roles, sessions string
}

func (u user) live() map[string]string {
	found := map[string]string{}
	for _, line := range strings.Fields(u.sessions) {
		handle, token, _ := strings.Cut(line, "=")
		found[handle] = token
	}
	return found
}

func (u user) with(sessions map[string]string) user {
	lines := make([]string, 0, len(sessions))
	for handle, token := range sessions {
		lines = append(lines, handle+"="+token)
	}
	sort.Strings(lines)
	u.sessions = strings.Join(lines, "\n")
	return u
}

var model = porcupine.Model{
	Init: func() interface{} { return user{status: "active", roles: "r0"} },
	Step: func(state, input, output interface{}) (bool, interface{}) {
		// A nil result: nobody knows the answer. Such a call takes effect at any time, or after the end of the history.
		legal, next := step(state.(user), input.(call), output.(*result))
		return legal, next
	},
	DescribeOperation: describe,
}

func step(u user, c call, r *result) (bool, user) {
	sessions := u.live()
	token, alive := sessions[c.Session]
	current := alive && token == c.Token
	switch c.Kind {
	case "read":
		return r.OK == current && (!r.OK || r.Roles == u.roles), u
	case "login":
		if r.OK {
			sessions[r.Session] = r.Token
		}
		return r.OK == (u.status == "active"), u.with(sessions)
	case "refresh":
		if current && r == nil {
			sessions[c.Session] = "unknown"
		} else if current {
			sessions[c.Session] = r.Token
		} else { // a spent refresh token ends its session: the experiment runs without a grace
			delete(sessions, c.Session)
		}
		return r == nil || r.OK == current, u.with(sessions)
	case "revoke":
		delete(sessions, c.Session)
		return true, u.with(sessions)
	case "cut-off":
		return true, u.with(nil)
	case "change":
		if c.Roles != "" {
			u.roles = c.Roles
		}
		if c.Status == "suspended" && u.status == "active" {
			u = u.with(nil)
		}
		if c.Status != "" {
			u.status = c.Status
		}
		return r == nil || (r.Roles == u.roles && r.Status == u.status), u
	}
	panic("an unknown kind of call: " + c.Kind)
}

package authsvc

import (
	"context"
	"sync"
	"time"
)

const (
	maxBatch    = 50 // the largest answers about so many tokens fit into one response
	maxInFlight = 8
)

// lookups collects questions into batches: concurrent questions about tokens share few requests. A question joins only
// a batch that still waits. The answer of a batch that was sent before could be older than a revocation which the caller
// has already seen acknowledged.
type lookups struct {
	fetch    func(batch []*question) // sets all answers
	patience time.Duration           // of all callers

	idle     *sync.Cond // no batch is in flight; its lock guards what follows
	waiting  map[string]*question
	queue    []*question // the same, in the order in which they were asked first
	inFlight int
}

type question struct {
	token  string
	until  time.Time     // nobody waits any longer
	done   chan struct{} // closed when answer is set
	answer answer
}

// answer is what is known about one token: its user, nil for an inactive token, or why nobody can tell.
type answer struct {
	user    *Active
	failure *Unavailable
}

// ask returns the answer of the service, or a failure when ctx ends.
func (l *lookups) ask(ctx context.Context, token string) answer {
	asked := l.join(token)
	select {
	case <-asked.done:
		return asked.answer
	case <-ctx.Done():
		cause := context.Cause(ctx)
		return answer{failure: &Unavailable{Reason: cause.Error(), cause: cause}}
	}
}

func (l *lookups) join(token string) *question {
	l.idle.L.Lock()
	defer l.idle.L.Unlock()
	asked := l.waiting[token]
	if asked == nil {
		asked = &question{token: token, done: make(chan struct{})}
		l.waiting[token] = asked
		l.queue = append(l.queue, asked)
		if l.inFlight < maxInFlight {
			l.inFlight++
			go l.work()
		}
	}
	asked.until = time.Now().Add(l.patience)
	return asked
}

// work sends one batch after the other until no question waits.
func (l *lookups) work() {
	for batch := l.next(); len(batch) > 0; batch = l.next() {
		l.fetch(batch)
		for _, asked := range batch {
			close(asked.done)
		}
	}
}

// next takes the next batch. If there is none, the caller is no longer in flight. A question that nobody waits for is
// not asked: in an outage such questions would pile up, and hold up the others after it.
func (l *lookups) next() (batch []*question) {
	l.idle.L.Lock()
	defer l.idle.L.Unlock()
	for len(l.queue) > 0 && len(batch) < maxBatch {
		asked := l.queue[0]
		l.queue = l.queue[1:]
		delete(l.waiting, asked.token)
		if time.Now().Before(asked.until) {
			batch = append(batch, asked)
		}
	}
	if len(batch) == 0 {
		l.inFlight--
		l.idle.Broadcast()
	}
	return batch
}

// wait returns when no batch is in flight.
func (l *lookups) wait() {
	l.idle.L.Lock()
	defer l.idle.L.Unlock()
	for l.inFlight > 0 {
		l.idle.Wait()
	}
}

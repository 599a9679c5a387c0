package authsvc

import (
	"container/list"
	"context"
	"sync"
)

const (
	maxBatch    = 50 // the largest answers about so many tokens fit into one response
	maxInFlight = 8
)

// lookups collects questions into batches: concurrent questions about tokens share few requests. A question joins only a batch that still
// waits. The answer of a batch that was sent before could be older than a revocation which the caller has already seen
// acknowledged.
type lookups struct {
	fetch func(tokens []string) []result // one result for each token, in order

	mu       sync.Mutex
	waiting  map[string]*question
	queue    *list.List // of *question
	inFlight int
	workers  sync.WaitGroup
	closed   bool
}

type question struct {
	token   string
	place   *list.Element
	callers int
	done    chan struct{} // closed when result is set
	result  result
}

// result is the answer about one token: a user, nil for an inactive token, or a failure.
type result struct {
	user    *Active
	failure *Unavailable
}

func newLookups(fetch func([]string) []result) *lookups {
	return &lookups{fetch: fetch, waiting: map[string]*question{}, queue: list.New()}
}

// ask returns the answer of the service, or false if ctx ends before.
func (l *lookups) ask(ctx context.Context, token string) (result, bool) {
	asked := l.join(token)
	select {
	case <-asked.done:
		return asked.result, true
	case <-ctx.Done():
		l.leave(asked)
		return result{}, false
	}
}

func (l *lookups) join(token string) *question {
	l.mu.Lock()
	defer l.mu.Unlock()
	asked := l.waiting[token]
	if l.closed {
		asked = &question{done: make(chan struct{}), result: result{failure: unavailable("closed")}}
		close(asked.done)
	} else if asked == nil {
		asked = &question{token: token, done: make(chan struct{})}
		asked.place = l.queue.PushBack(asked)
		l.waiting[token] = asked
		if l.inFlight < maxInFlight {
			l.inFlight++
			l.workers.Add(1)
			go l.work()
		}
	}
	asked.callers++
	return asked
}

// leave gives a caller up. A question that nobody waits for is not asked, or questions would pile up in an outage.
func (l *lookups) leave(asked *question) {
	l.mu.Lock()
	defer l.mu.Unlock()
	asked.callers--
	if asked.callers == 0 && l.waiting[asked.token] == asked {
		l.queue.Remove(asked.place)
		delete(l.waiting, asked.token)
	}
}

// close waits for the batches in flight, whose requests the caller has ended. Later questions fail.
func (l *lookups) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.workers.Wait()
}

// work sends one batch after the other until no question waits.
func (l *lookups) work() {
	defer l.workers.Done()
	for batch := l.next(); len(batch) > 0; batch = l.next() {
		tokens := make([]string, len(batch))
		for at, asked := range batch {
			tokens[at] = asked.token
		}
		for at, result := range l.fetch(tokens) {
			batch[at].result = result
			close(batch[at].done)
		}
	}
}

// next takes the next batch. If there is none, the caller is no longer in flight.
func (l *lookups) next() (batch []*question) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.queue.Len() > 0 && len(batch) < maxBatch {
		asked := l.queue.Remove(l.queue.Front()).(*question)
		delete(l.waiting, asked.token)
		batch = append(batch, asked)
	}
	if len(batch) == 0 {
		l.inFlight--
	}
	return batch
}

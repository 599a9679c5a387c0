package authsvc

import "encoding/json"

const maxLateS = 5

// brokenFeed is an error of the stream: it is malformed, or so late that it is useless. The client needs a new stream.
type brokenFeed string

func (b brokenFeed) Error() string { return "the feed of changes: " + string(b) }

// feed is one stream of changes, from its request to its end: what each event of `GET /events` does to the cache.
//
// A heartbeat says that all earlier changes have been announced. It may arrive late, so it counts from the moment when
// it was sent. That moment needs no synchronised clocks: each event carries the sender's `at`, in milliseconds of a
// clock that only runs forward. The sender sent the first event after we had requested the stream, so on our own clock
//
//	moment of sending >= moment of the request + (at - first at)
//
// holds, however slow the network is. The estimate is too early by the time that the request took to arrive and the
// service took to answer. The time to connect does not count, because on a busy machine it could use up the whole bound.
type feed struct {
	cache       *cache
	requestedAt float64 // by our clock
	events      parser
	begun       bool
	calibrated  bool
	offset      float64 // our clock minus the sender's; never too large
	late        bool
	lateSince   float64
}

// receive applies the events that this chunk completes.
func (f *feed) receive(chunk []byte) error {
	return f.events.feed(chunk, f.apply)
}

func (f *feed) apply(name, data string) error {
	if name == "everything" {
		f.begun = true
	} else if !f.begun {
		return brokenFeed("it does not begin with `everything`")
	}
	switch name {
	case "everything":
		at, known, err := atIn(data)
		if err != nil {
			return err
		}
		if known {
			f.calibrate(at)
		}
		f.cache.forgetAll()
	case "forget":
		return f.forget(data)
	case "heartbeat":
		at, known, err := atIn(data)
		if err != nil || !known { // a heartbeat without a time proves nothing
			return err
		}
		return f.heartbeat(at)
	} // other names are events of a later version of the service
	return nil
}

func (f *feed) forget(data string) error {
	var texts []string
	if json.Unmarshal([]byte(data), &texts) != nil || texts == nil {
		return brokenFeed("`forget` without a list")
	}
	changed := make([]keyDigest, len(texts))
	for at, text := range texts {
		changed[at] = parseKeyDigest(text)
	}
	f.cache.forget(changed)
	return nil
}

func (f *feed) calibrate(at float64) {
	if !f.calibrated {
		f.calibrated, f.offset = true, f.requestedAt-at
	}
}

func (f *feed) heartbeat(at float64) error {
	f.calibrate(at)
	arrived := now()
	// An event cannot arrive before it was sent, so this corrects the offset where the sender's clock is faster.
	f.offset = min(f.offset, arrived-at)
	sent := at + f.offset
	f.cache.confirm(sent)
	return f.checkDelay(arrived, arrived-sent)
}

// checkDelay ends a stream that stays late. The delay grows if the sender's clock runs slower than ours, or if a queue
// builds up on the way. Only a new stream cures both.
func (f *feed) checkDelay(arrived, delay float64) error {
	switch {
	case delay <= f.cache.silence/4:
		f.late = false
	case !f.late:
		f.late, f.lateSince = true, arrived
	case arrived-f.lateSince >= maxLateS:
		return brokenFeed("heartbeats arrive late")
	}
	return nil
}

// atIn returns when the sender sent an event, in seconds of the sender's clock, if the event says so.
func atIn(data string) (at float64, known bool, err error) {
	var decoded any
	if json.Unmarshal([]byte(data), &decoded) != nil {
		return 0, false, brokenFeed("not an event of the service")
	}
	members, _ := decoded.(map[string]any)
	at, known = members["at"].(float64)
	return at / 1000, known, nil
}

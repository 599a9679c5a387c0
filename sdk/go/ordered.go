package authsvc

import "container/list"

// ordered is a map that remembers the order in which its keys were put.
type ordered[K comparable, V any] struct {
	places map[K]*list.Element
	pairs  *list.List // of pair[K, V]
}

type pair[K comparable, V any] struct {
	key   K
	value V
}

func newOrdered[K comparable, V any]() ordered[K, V] {
	return ordered[K, V]{map[K]*list.Element{}, list.New()}
}

func (o ordered[K, V]) get(key K) (value V, found bool) {
	place, found := o.places[key]
	if found {
		value = place.Value.(pair[K, V]).value
	}
	return value, found
}

// put adds the key at the end, or moves it there.
func (o ordered[K, V]) put(key K, value V) {
	o.remove(key)
	o.places[key] = o.pairs.PushBack(pair[K, V]{key, value})
}

func (o ordered[K, V]) remove(key K) (value V, found bool) {
	place, found := o.places[key]
	if found {
		value = o.pairs.Remove(place).(pair[K, V]).value
		delete(o.places, key)
	}
	return value, found
}

func (o ordered[K, V]) first() (key K, value V) {
	first := o.pairs.Front().Value.(pair[K, V])
	return first.key, first.value
}

func (o ordered[K, V]) len() int { return len(o.places) }

// A Go application: http.FileServer, and a router that cleans the path. Usage: files PORT
package main

import (
	"net/http"
	"os"
	"path"
	"strings"
	"testing/fstest"
)

// area says which part of the site a path belongs to, after the usual cleaning.
func area(cleaned string) string {
	first := strings.SplitN(strings.TrimPrefix(strings.ToLower(cleaned), "/"), "/", 2)[0]
	if first == "edit" || first == "public" {
		return first
	}
	return "other"
}

func main() {
	site := fstest.MapFS{}
	for _, name := range []string{"public/a", "edit/a", "orders/a"} {
		site[name] = &fstest.MapFile{Data: []byte(area(name))}
	}
	files := http.FileServer(http.FS(site))
	serve := func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/a") {
			cleaned := path.Clean("/" + r.URL.Path)
			w.Header().Set("X-Area", area(cleaned))
			files.ServeHTTP(w, r)
			return
		}
		w.Header().Set("X-Area", area(path.Clean("/"+r.URL.Path)))
	}
	if err := http.ListenAndServe("127.0.0.1:"+os.Args[1], http.HandlerFunc(serve)); err != nil {
		panic(err)
	}
}

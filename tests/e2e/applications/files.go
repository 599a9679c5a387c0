// A Go application. Usage: files PORT files|routes
// files: http.FileServer. routes: http.ServeMux. X-Area names the folder of the file, or the route, that was served.
package main

import (
	"io/fs"
	"net/http"
	"os"
	"strings"
	"testing/fstest"
)

// noted is a site that notes in the answer which folder is opened.
type noted struct {
	fs.FS
	header http.Header
}

func (n noted) Open(name string) (fs.File, error) {
	file, err := n.FS.Open(name)
	if err == nil {
		n.header.Set("X-Area", area(strings.SplitN(name, "/", 2)[0]))
	}
	return file, err
}

func area(name string) string {
	if name == "edit" || name == "public" || name == "orders" {
		return name
	}
	return "other"
}

func files() http.Handler {
	site := fstest.MapFS{}
	for _, name := range []string{"public", "edit", "orders"} {
		site[name+"/a"] = &fstest.MapFile{Data: []byte(name)}
		site[name+"/index.html"] = &fstest.MapFile{Data: []byte(name)}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.FileServer(http.FS(noted{site, w.Header()})).ServeHTTP(w, r)
	})
}

func routes() http.Handler {
	mux := http.NewServeMux()
	for _, name := range []string{"public", "edit", "orders", "other"} {
		pattern := "/" + name + "/"
		if name == "other" {
			pattern = "/"
		}
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Area", name) })
	}
	return mux
}

func main() {
	handler := files()
	if os.Args[2] == "routes" {
		handler = routes()
	}
	if err := http.ListenAndServe("127.0.0.1:"+os.Args[1], handler); err != nil {
		panic(err)
	}
}

// The same few routes with chi: what the wire shows must not depend on the framework.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
)

func answer(w http.ResponseWriter, value map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(value)
}

func main() {
	router := chi.NewRouter()
	router.Get("/fast", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok\n") })
	router.Get("/users/{id}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, map[string]any{"id": chi.URLParam(r, "id")})
	})
	router.Post("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Write(body)
	})
	router.Get("/panic", func(w http.ResponseWriter, r *http.Request) { panic("boom") })
	// Its recovery answers 500 where net/http would close the connection.
	router.With(middleware.Recoverer).Get("/recovering/panic", func(w http.ResponseWriter, r *http.Request) {
		panic("boom")
	})
	// ?url= says where to.
	router.Get("/call", func(w http.ResponseWriter, r *http.Request) {
		response, err := http.Get(r.URL.Query().Get("url"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		response.Body.Close()
		answer(w, map[string]any{"status": response.StatusCode})
	})

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening", listener.Addr())
	log.Fatal(http.Serve(listener, router))
}

package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"syscall"
)

// Requests that do not end with a plain answer.
func registerEndings(mux *http.ServeMux) {
	mux.HandleFunc("/panic", func(w http.ResponseWriter, r *http.Request) {
		panic("boom")
	})
	mux.HandleFunc("/panic-error", func(w http.ResponseWriter, r *http.Request) {
		panic(fmt.Errorf("wrapped: %w", io.ErrUnexpectedEOF))
	})
	// The head and the first bytes are already sent.
	mux.HandleFunc("/panic-after-write", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "ten bytes.")
		w.(http.Flusher).Flush()
		panic("boom after write")
	})
	// A panic that the handler recovers itself: the request succeeds.
	mux.HandleFunc("/recover", func(w http.ResponseWriter, r *http.Request) {
		func() {
			defer func() { recover() }()
			panic("kept inside")
		}()
		io.WriteString(w, "recovered\n")
	})
	mux.HandleFunc("/abort", func(w http.ResponseWriter, r *http.Request) {
		panic(http.ErrAbortHandler)
	})
	// Waits until the client has gone.
	mux.HandleFunc("/wait-for-disconnect", func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	})
	// The handler answers by itself on the connection that it took over.
	mux.HandleFunc("/hijack", func(w http.ResponseWriter, r *http.Request) {
		if connection, buffer := hijack(w); connection != nil {
			defer connection.Close()
			fmt.Fprint(buffer, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nhijacked\n")
			buffer.Flush()
		}
	})
	// … and here it answers nothing.
	mux.HandleFunc("/hijack-silent", func(w http.ResponseWriter, r *http.Request) {
		if connection, _ := hijack(w); connection != nil {
			connection.Close()
		}
	})
	// The program starts itself again, as the same process: on another port, without an answer.
	mux.HandleFunc("/exec", func(w http.ResponseWriter, r *http.Request) {
		err := syscall.Exec("/proc/self/exe", os.Args, os.Environ())
		http.Error(w, err.Error(), http.StatusInternalServerError)
	})
	// 101, then an echo of lines that are not HTTP.
	mux.HandleFunc("/upgrade", func(w http.ResponseWriter, r *http.Request) {
		connection, buffer := hijack(w)
		if connection == nil {
			return
		}
		defer connection.Close()
		fmt.Fprint(buffer, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		buffer.Flush()
		for {
			line, err := buffer.ReadString('\n')
			if err != nil {
				return
			}
			buffer.WriteString(line)
			buffer.Flush()
		}
	})
}

func hijack(w http.ResponseWriter) (io.Closer, *bufio.ReadWriter) {
	connection, buffer, err := w.(http.Hijacker).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return nil, nil
	}
	return connection, buffer
}

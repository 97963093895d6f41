package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// number reads an integer query parameter.
func number(r *http.Request, name string, fallback int) int {
	if n, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil {
		return n
	}
	return fallback
}

// goid is what runtime.g.goid holds, as the program itself sees it.
func goid() uint64 {
	var buffer [64]byte
	text := buffer[:runtime.Stack(buffer[:], false)]
	text = bytes.TrimPrefix(text, []byte("goroutine "))
	id, _ := strconv.ParseUint(string(text[:bytes.IndexByte(text, ' ')]), 10, 64)
	return id
}

func spin(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
	}
}

// Plain answers: every framing that a body can have.
func registerAnswers(mux *http.ServeMux) {
	mux.HandleFunc("/fast", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "ok\n")
	})
	// ?us=20: busy for that long, then a small JSON answer.
	mux.HandleFunc("/work", func(w http.ResponseWriter, r *http.Request) {
		spin(time.Duration(number(r, "us", 20)) * time.Microsecond)
		writeJSON(w, map[string]interface{}{"status": "ok", "items": 3})
	})
	// ?ms=100: asleep for that long.
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Duration(number(r, "ms", 100)) * time.Millisecond)
		io.WriteString(w, "slow\n")
	})
	// The goroutine that serves this connection.
	mux.HandleFunc("/goid", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strconv.FormatUint(goid(), 10))
	})
	// The request's headers, as JSON.
	mux.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, r.Header)
	})
	// The whole body is read, then sent back with its length.
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body)
	})
	// Body reads and answer writes interleave. Before Go 1.21 the server reads the rest of the body before it answers,
	// and the handler gets no more of it.
	mux.HandleFunc("/interleave", func(w http.ResponseWriter, r *http.Request) {
		if duplex, ok := w.(interface{ EnableFullDuplex() error }); ok {
			duplex.EnableFullDuplex()
		}
		buffer := make([]byte, 1024)
		for {
			n, err := r.Body.Read(buffer)
			w.Write(buffer[:n])
			w.(http.Flusher).Flush()
			if err != nil {
				return
			}
		}
	})
	// The body is not read at all.
	mux.HandleFunc("/ignore-body", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "ignored\n")
	})
	// ?n=5&bytes=10&ms=1: n chunks of so many bytes, flushed, with a pause between.
	mux.HandleFunc("/chunked", func(w http.ResponseWriter, r *http.Request) {
		chunk := bytes.Repeat([]byte("c"), number(r, "bytes", 10))
		for i := 0; i < number(r, "n", 5); i++ {
			w.Write(chunk)
			w.(http.Flusher).Flush()
			time.Sleep(time.Duration(number(r, "ms", 1)) * time.Millisecond)
		}
	})
	// ?n=1000: a body of n bytes with its length.
	mux.HandleFunc("/bytes", func(w http.ResponseWriter, r *http.Request) {
		n := number(r, "n", 1000)
		w.Header().Set("Content-Length", strconv.Itoa(n))
		w.Write(bytes.Repeat([]byte("b"), n))
	})
	// ?n=100000: a body of n bytes through sendfile.
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		sendFile(w, r, number(r, "n", 100000))
	})
	// ?code=204: an answer with that status; 204 and 304 have no body.
	mux.HandleFunc("/status", func(w http.ResponseWriter, r *http.Request) {
		code := number(r, "code", 200)
		w.WriteHeader(code)
		if code != http.StatusNoContent && code != http.StatusNotModified {
			io.WriteString(w, http.StatusText(code))
		}
	})
	// ?to=/fast
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusFound)
	})
	// An answer after which the server closes the connection.
	mux.HandleFunc("/close", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		io.WriteString(w, "closing\n")
	})
	// ?n=6000: an answer whose head is about n bytes.
	mux.HandleFunc("/large-head", func(w http.ResponseWriter, r *http.Request) {
		for left := number(r, "n", 6000); left > 0; left -= 500 {
			w.Header().Add("X-Filler", string(bytes.Repeat([]byte("h"), 488)))
		}
		io.WriteString(w, "ok\n")
	})
}

func sendFile(w http.ResponseWriter, r *http.Request, n int) {
	folder, err := os.MkdirTemp("", "sonde-server-")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "file.bin")
	if err := os.WriteFile(path, bytes.Repeat([]byte("f"), n), 0o600); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	http.ServeFile(w, r, path)
}

// The same few routes with gin: what the wire shows must not depend on the framework.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"
)

func main() {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.GET("/fast", func(c *gin.Context) { c.String(http.StatusOK, "ok\n") })
	router.GET("/users/:id", func(c *gin.Context) { c.JSON(http.StatusOK, gin.H{"id": c.Param("id")}) })
	router.POST("/echo", func(c *gin.Context) {
		body, err := c.GetRawData()
		if err != nil {
			c.AbortWithStatus(http.StatusBadRequest)
			return
		}
		c.Data(http.StatusOK, "application/octet-stream", body)
	})
	router.GET("/panic", func(c *gin.Context) { panic("boom") })
	// Its recovery answers 500 where net/http would close the connection.
	recovering := router.Group("/recovering", gin.Recovery())
	recovering.GET("/panic", func(c *gin.Context) { panic("boom") })
	// ?url= says where to.
	router.GET("/call", func(c *gin.Context) {
		response, err := http.Get(c.Query("url"))
		if err != nil {
			c.String(http.StatusBadGateway, err.Error())
			return
		}
		response.Body.Close()
		c.JSON(http.StatusOK, gin.H{"status": response.StatusCode})
	})

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening", listener.Addr())
	log.Fatal(http.Serve(listener, router))
}

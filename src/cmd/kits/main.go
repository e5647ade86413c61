// SPDX-License-Identifier: Apache-2.0
// The device "@NJ_ID@" in Go.
//
//	go run .
//
// It connects with its certificate, listens to devices/@NJ_ID@/# and says
// hello there.  The files that it needs are read from the current folder, or
// the one given: client.crt, client.key, ca.crt.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"os"
	"path/filepath"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

const (
	url = "ssl://@NJ_URLHOST@:@NJ_PORT@"
	id  = "@NJ_ID@"
)

func tlsConfig(folder string) *tls.Config {
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(filepath.Join(folder, "ca.crt"))
	if err != nil {
		log.Fatal(err)
	}
	if !roots.AppendCertsFromPEM(pem) {
		log.Fatal("ca.crt has no certificate")
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "client.crt"), filepath.Join(folder, "client.key"))
	if err != nil {
		log.Fatal(err)
	}
	// Only this CA is trusted, and the broker's name is checked.
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}

func main() {
	folder := "."
	if len(os.Args) > 1 {
		folder = os.Args[1]
	}
	options := mqtt.NewClientOptions().AddBroker(url).SetClientID(id).SetTLSConfig(tlsConfig(folder))
	options.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
		fmt.Println(m.Topic(), string(m.Payload()))
	})
	options.SetOnConnectHandler(func(c mqtt.Client) {
		fmt.Println("connected as", id)
		// Waiting for an answer in here would keep the next packets waiting.
		go func() {
			c.Subscribe("devices/"+id+"/#", 1, nil).Wait()
			c.Publish("devices/"+id+"/hello", 1, false, "hello from "+id).Wait()
		}()
	})
	client := mqtt.NewClient(options)
	if t := client.Connect(); t.Wait() && t.Error() != nil {
		log.Fatal(t.Error())
	}
	select {}
}

// SPDX-License-Identifier: Apache-2.0
// The device "@NJ_ID@" for Arduino on an ESP32; library: PubSubClient.
//
// Open sketch/sketch.ino in the Arduino IDE, write the name and password of
// the WLAN below, and upload it.  It connects with its certificate, listens to
// devices/@NJ_ID@/# and says hello there.
#include <PubSubClient.h>
#include <WiFi.h>
#include <WiFiClientSecure.h>

#include "certs.h"

static const char WLAN[] = "wlan";
static const char WLAN_PASSWORD[] = "password";

static WiFiClientSecure tls;
static PubSubClient mqtt(tls);

static void onMessage(char *topic, byte *payload, unsigned int length)
{
  Serial.print(topic);
  Serial.print(" ");
  Serial.write(payload, length);
  Serial.println();
}

static void connectMqtt()
{
  while (!mqtt.connected()) {
    if (mqtt.connect(DEVICE_ID)) {
      Serial.println("connected as " DEVICE_ID);
      mqtt.subscribe("devices/" DEVICE_ID "/#", 1);
      mqtt.publish("devices/" DEVICE_ID "/hello", "hello from " DEVICE_ID);
      return;
    }
    char why[128];
    tls.lastError(why, sizeof why);
    Serial.printf("not connected: MQTT %d, TLS: %s\n", mqtt.state(), why);
    delay(5000);
  }
}

void setup()
{
  Serial.begin(115200);
  WiFi.begin(WLAN, WLAN_PASSWORD);
  while (WiFi.status() != WL_CONNECTED)
    delay(200);
  // Certificates are compared with the clock, which is wrong at first.
  configTime(0, 0, "pool.ntp.org");
  while (time(nullptr) < 1700000000)
    delay(200);
  // With a CA the broker's certificate and name are checked; setInsecure()
  // would take that away.
  tls.setCACert(ca_crt);
  tls.setCertificate(client_crt);
  tls.setPrivateKey(client_key);
  mqtt.setServer(BROKER_NAME, BROKER_PORT);
  mqtt.setCallback(onMessage);
  mqtt.setBufferSize(1024);
}

void loop()
{
  connectMqtt();
  mqtt.loop();
}

// SPDX-License-Identifier: Apache-2.0
//
// Publishes and receives through a broker with MQTT.js.
//
// Usage: node roundtrip.mjs URL VERSION QOS TOPIC COUNT [CA [CERT KEY]]
// URL is mqtt://host:port (or mqtts, ws, wss), VERSION 3, 4 or 5.
// Subscribes to TOPIC, publishes COUNT messages to it, and ends with 0 once
// all of them came back in order at that QoS.
import { readFileSync } from 'node:fs';
import mqtt from 'mqtt';

const [url, version, qosText, topic, countText, ca, cert, key] = process.argv.slice(2);
const qos = Number(qosText);
const count = Number(countText);

function fail(why) {
  console.error(`roundtrip: ${why}`);
  process.exit(1);
}

setTimeout(() => fail('not done within 20 s'), 20000);

const client = await mqtt.connectAsync(url, {
  protocolVersion: Number(version),
  protocolId: version === '3' ? 'MQIsdp' : 'MQTT',
  clientId: `mqttjs-${process.pid}`,
  reconnectPeriod: 0,
  ca: ca && readFileSync(ca),
  cert: cert && readFileSync(cert),
  key: key && readFileSync(key),
}, false).catch((e) => fail(`connect: ${e.message}`));

let received = 0;
client.on('error', (e) => {
  if (received < count) fail(e.message);
});
client.on('message', async (name, payload, packet) => {
  const want = `message ${received}`;
  if (name !== topic || payload.toString() !== want || packet.qos !== qos) {
    fail(`wanted "${want}" at QoS ${qos}, got "${payload}" at ${packet.qos} on ${name}`);
  }
  received += 1;
  if (received === count) {
    await client.endAsync();
    process.exit(0);
  }
});

const granted = await client.subscribeAsync(topic, { qos });
if (granted[0].qos !== qos) {
  fail(`granted QoS ${granted[0].qos}, asked for ${qos}`);
}
for (let i = 0; i < count; i += 1) {
  client.publish(topic, `message ${i}`, { qos });
}

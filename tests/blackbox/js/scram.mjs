// SPDX-License-Identifier: Apache-2.0
//
// Logs in by SCRAM-SHA-256 with MQTT.js, and publishes and receives once.
//
// Usage: node scram.mjs URL USER PASSWORD [CA]
// Ends with 0 when the message came back and the broker's signature was right,
// with 2 when the broker said no.
import { readFileSync } from 'node:fs';
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import mqtt from 'mqtt';

const [url, user, password, ca] = process.argv.slice(2);
const method = 'SCRAM-SHA-256';
const nonce = randomBytes(18).toString('base64');
const bare = `n=${user},r=${nonce}`;
let expected = 'nothing';

function fail(status, why) {
  console.error(`scram: ${why}`);
  process.exit(status);
}

const mac = (key, data) => createHmac('sha256', key).update(data).digest();

function answer(challenge) {
  const fields = Object.fromEntries(challenge.split(',').map((f) => [f[0], f.slice(2)]));
  const salted = pbkdf2Sync(password, Buffer.from(fields.s, 'base64'), Number(fields.i), 32, 'sha256');
  const key = mac(salted, 'Client Key');
  const final = `c=biws,r=${fields.r}`;
  const message = `${bare},${challenge},${final}`;
  const signature = mac(createHash('sha256').update(key).digest(), message);
  expected = `v=${mac(mac(salted, 'Server Key'), message).toString('base64')}`;
  return `${final},p=${Buffer.from(key.map((b, i) => b ^ signature[i])).toString('base64')}`;
}

setTimeout(() => fail(1, 'not done within 20 s'), 20000);

const client = mqtt.connect(url, {
  protocolVersion: 5,
  clientId: `mqttjs-${process.pid}`,
  reconnectPeriod: 0,
  ca: ca && readFileSync(ca),
  properties: { authenticationMethod: method, authenticationData: Buffer.from(`n,,${bare}`) },
});

client.handleAuth = (packet, done) => {
  const { authenticationMethod, authenticationData } = packet.properties;
  if (authenticationMethod !== method) fail(1, `asked for ${authenticationMethod}`);
  done(null, {
    cmd: 'auth',
    reasonCode: 0x18,
    properties: {
      authenticationMethod: method,
      authenticationData: Buffer.from(answer(authenticationData.toString())),
    },
  });
};

client.on('error', (e) => fail(e.code >= 0x80 ? 2 : 1, e.message));
client.on('message', async () => {
  await client.endAsync();
  process.exit(0);
});
client.on('connect', async (connack) => {
  const data = connack.properties.authenticationData.toString();
  if (data !== expected) fail(1, `the broker says ${data}, not ${expected}`);
  await client.subscribeAsync('scram/js');
  client.publish('scram/js', 'x');
});

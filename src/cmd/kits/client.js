// SPDX-License-Identifier: Apache-2.0
// The device "@NJ_ID@" in Node.
//
//     npm install            (once, beside package.json)
//     node client.js
//
// It connects with its certificate, listens to devices/@NJ_ID@/# and says
// hello there.  The files that it needs are beside it: client.crt, client.key,
// ca.crt.
"use strict";

const fs = require("fs");
const path = require("path");
const mqtt = require("mqtt");

const host = "@NJ_HOST@", port = @NJ_PORT@, id = "@NJ_ID@";
const read = (name) => fs.readFileSync(path.join(__dirname, name));

const client = mqtt.connect({
  protocol: "mqtts",
  host,
  port,
  clientId: id,
  // Only this CA is trusted, and the broker's name is checked.
  ca: read("ca.crt"),
  cert: read("client.crt"),
  key: read("client.key"),
  passphrase: process.env.KEY_PASSPHRASE,
  rejectUnauthorized: true,
});

client.on("connect", () => {
  console.log("connected as", id);
  client.subscribe(`devices/${id}/#`, { qos: 1 }, () =>
    client.publish(`devices/${id}/hello`, `hello from ${id}`, { qos: 1 }));
});
client.on("message", (topic, message) => console.log(topic, message.toString()));
client.on("error", (e) => console.error(e.message));
process.on("SIGINT", () => client.end(false, () => process.exit()));

'use strict';
// An event broker for Trunkline in plain Node.js: every event is posted to a URL.
//
// It speaks the protocol of docs/brokers/exec.md: one JSON object per line, in on standard input, out on standard output.
// Events of different conversations are under way at the same time; their outcomes go back in whatever order they come.

const http = require('node:http');
const https = require('node:https');
const readline = require('node:readline');

function answer(message) {
  process.stdout.write(JSON.stringify(message) + '\n');
}

/** Sends a request; resolves with the response, whatever its status. */
function send(method, url, headers, seconds, body) {
  return new Promise((resolve, reject) => {
    const client = url.protocol === 'https:' ? https : http;
    const request = client.request(url, { method, headers, timeout: seconds * 1000 }, (response) => {
      response.resume();
      response.on('end', () => resolve(response));
      response.on('error', reject);
    });
    request.on('timeout', () => request.destroy(new Error(`no answer within ${seconds} s`)));
    request.on('error', reject);
    request.end(body);
  });
}

/** What became of the event, by the status that the receiver gave it. */
async function publish(settings, id, text) {
  try {
    const length = Buffer.byteLength(text);
    const headers = { 'content-type': 'application/json', 'content-length': length, ...settings.headers, 'idempotency-key': id };
    const response = await send('POST', settings.url, headers, 10, text);
    const status = response.statusCode;
    if (status < 300) {
      return { outcome: 'delivered' };
    }
    if (status === 413 || status === 422) {
      return { outcome: 'reject', reason: `the receiver answered ${status}` };
    }
    const after = Number(response.headers['retry-after']);
    return { outcome: 'retry', reason: `the receiver answered ${status}`, ...(after > 0 ? { after } : {}) };
  } catch (error) {
    return { outcome: 'retry', reason: error.message };
  }
}

async function main() {
  const settings = { headers: {} };
  const underWay = new Set();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const message = JSON.parse(line);
    switch (message.type) {
      case 'hello':
        if (message.version !== 1) {
          throw new Error('this program speaks version 1 of the protocol');
        }
        Object.assign(settings, message.settings, { url: new URL(message.settings.url) });
        answer({ type: 'hello', version: 1, name: `poster to ${settings.url.host}` });
        break;
      case 'publish': {
        // The event is the last member of the line, so its own text can be cut out; JSON.stringify would make 1.0 a 1.
        const text = line.slice(line.indexOf('"event":') + '"event":'.length, -1);
        const work = publish(settings, message.id, text).then((outcome) => {
          answer({ type: 'outcome', id: message.id, ...outcome });
          underWay.delete(work);
        });
        underWay.add(work);
        break;
      }
      case 'ready':
        try {
          // Any answer will do: somebody is there. We have 10 seconds to say so.
          await send('HEAD', settings.url, settings.headers, 5);
          answer({ type: 'ready', ready: true });
        } catch (error) {
          answer({ type: 'ready', ready: false, reason: error.message });
        }
        break;
      case 'close':
        await Promise.all(underWay);
        process.exit(0);
    }
  }
}

main().catch((error) => {
  // The last line of standard error is what Trunkline gives as the reason.
  console.error(error.message);
  process.exit(1);
});

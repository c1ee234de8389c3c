// SPDX-License-Identifier: GPL-2.0-or-later
//
// node engine.js ENGINE-FOLDER TRACE QUERY ... : what Perfetto's own trace processor makes of TRACE.
//
// ENGINE-FOLDER has engine_bundle.js and its .wasm, as ui.perfetto.dev serves them; it is a web
// worker, to which we are the page. Requests and answers are protobufs
// (protos/perfetto/trace_processor/trace_processor.proto); prints a JSON list of rows a query.
'use strict';

const fs = require('fs');
const path = require('path');
const vm = require('vm');
const { MessageChannel } = require('worker_threads');

const [folder, trace, ...queries] = process.argv.slice(2);
const node = process;
const APPEND = 1, FINALIZE = 2, QUERY = 3;
const PIECE = 1 << 20;

function die(error) {
  fs.writeSync(2, `${String((error && error.stack) || error).slice(-1500)}\n`);
  node.reallyExit(1);
}
node.on('uncaughtException', die);
node.on('unhandledRejection', die);

// -- protobufs, as far as they are needed

function varint(number) {
  const bytes = [];
  for (; number > 127; number >>>= 7) bytes.push((number & 127) | 128);
  return Buffer.from([...bytes, number]);
}

const scalar = (field, number) => Buffer.concat([varint(field << 3), varint(number)]);
const nested = (field, body) => Buffer.concat([varint((field << 3) | 2), varint(body.length), body]);

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }
  get more() {
    return this.at < this.bytes.length;
  }
  varint() {
    let result = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.bytes[this.at++];
      result |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asIntN(64, result);
    }
  }
  varints() {
    const found = [];
    while (this.more) found.push(this.varint());
    return found;
  }
  // Each field's number and value; the last one of a number.
  fields(visit) {
    while (this.more) {
      const tag = Number(this.varint());
      if ((tag & 7) === 0) visit(tag >> 3, this.varint());
      else if ((tag & 7) === 2) {
        const size = Number(this.varint());
        visit(tag >> 3, this.bytes.subarray(this.at, (this.at += size)));
      } else throw new Error(`wire type ${tag & 7}`);
    }
  }
}

function cells(batch) {
  let types = [], numbers = [], doubles = Buffer.alloc(0), strings = [], last = false;
  new Reader(batch).fields((field, value) => {
    if (field === 1) types = new Reader(value).varints().map(Number);
    else if (field === 2) numbers = new Reader(value).varints();
    else if (field === 3) doubles = value;
    else if (field === 5) strings = value.toString().split('\0');
    else if (field === 6) last = value !== 0n;
  });
  let double = 0;
  const read = { 2: () => Number(numbers.shift()), 4: () => strings.shift() };
  read[3] = () => doubles.readDoubleLE(8 * double++);
  return { last, values: types.map((type) => (read[type] ? read[type]() : null)) };
}

// -- the page's part

const { port1: page, port2: worker } = new MessageChannel();
let answered = () => {}, answers = [], sent = 0;

page.on('message', (data) => {
  new Reader(Buffer.from(data)).fields((_, message) => {
    let method = 0, answer = Buffer.alloc(0), last = true;
    new Reader(message).fields((field, value) => {
      if (field === 3) method = Number(value);
      if (field === 5) throw new Error(value.toString());
      if (field === 201 || field === 203) answer = value;
    });
    if (method === QUERY) {
      last = false;
      new Reader(answer).fields((field, value) => {
        if (field === 2 && value.length) throw new Error(value.toString());
        if (field === 3) last = cells(value).last;
      });
    }
    answers.push(answer);
    if (last) answered(answers.splice(0));
  });
});

function ask(method, ...args) {
  const body = Buffer.concat([scalar(1, sent++), scalar(2, method), ...args]);
  return new Promise((resolve) => {
    answered = resolve;
    page.postMessage(new Uint8Array(nested(1, body)));
  });
}

function rows(parts) {
  const names = [], values = [];
  for (const part of parts) {
    new Reader(part).fields((field, value) => {
      if (field === 1) names.push(value.toString());
      if (field === 3) values.push(...cells(value).values);
    });
  }
  const found = [];
  for (let at = 0; at < values.length; at += names.length) {
    found.push(Object.fromEntries(names.map((name, n) => [name, values[at + n]])));
  }
  return found;
}

// -- what a worker finds around it

const file = (url) => fs.readFileSync(path.join(folder, path.basename(String(url))));

class Request {
  open(_method, url) {
    this.url = url;
  }
  send() {
    const bytes = file(this.url);
    this.status = 200;
    this.response = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
    if (this.onload) setTimeout(() => this.onload(), 0);
  }
}

async function main() {
  const bytes = fs.readFileSync(trace);
  const note = (line) => fs.writeSync(2, `${line}\n`);
  Object.assign(console, { log: note, warn: note, error: note });
  Object.assign(globalThis, {
    self: globalThis,
    WorkerGlobalScope: class {},
    XMLHttpRequest: Request,
    location: { href: 'http://here/engine_bundle.js', protocol: 'http:', host: 'here' },
    fetch: async (url) =>
      new Response(file(url), { headers: { 'content-type': 'application/wasm' } }),
  });
  globalThis.process = undefined; // it must not take itself for a program of node's
  vm.runInThisContext(file('engine_bundle.js').toString());
  globalThis.onmessage({ data: worker });
  for (let at = 0; at < bytes.length; at += PIECE) {
    for (const answer of await ask(APPEND, nested(101, bytes.subarray(at, at + PIECE)))) {
      new Reader(answer).fields((field, value) => {
        if (field === 2 && value.length) throw new Error(value.toString());
      });
    }
  }
  await ask(FINALIZE);
  const found = [];
  for (const query of queries) {
    found.push(rows(await ask(QUERY, nested(103, nested(1, Buffer.from(query))))));
  }
  fs.writeSync(1, `${JSON.stringify(found)}\n`);
  node.reallyExit(0);
}

main().catch(die);

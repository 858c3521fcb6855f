'use strict';
// What the Node tests share: a server of their own, the contract as proto-loader
// sees it, and tensors of typed arrays.

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

const ROOT = path.resolve(__dirname, '..', '..', '..');

// How long to wait for what takes milliseconds, on a machine that is busy.
const PATIENCE_MS = 60000;

const definition = protoLoader.loadSync(
  [
    'attention/v1/attention.proto',
    'google/rpc/status.proto',
    'google/rpc/error_details.proto',
  ],
  {
    includeDirs: [path.join(ROOT, 'proto')],
    keepCase: true, // the contract's names, as the chapter's requests use them
    enums: String,
    longs: Number,
    defaults: true,
    arrays: true,
    oneofs: true,
  }
);
const { AttentionService } = grpc.loadPackageDefinition(definition).attention.v1;

const ARRAYS = {
  DATA_TYPE_FLOAT32: Float32Array,
  DATA_TYPE_FLOAT64: Float64Array,
};

// A typed array as it goes over the wire: its own bytes.
function tensor(array, shape) {
  const [dtype] = Object.entries(ARRAYS).find(([, type]) => array instanceof type);
  const data = Buffer.from(array.buffer, array.byteOffset, array.byteLength);
  return { dtype, shape, data };
}

// The elements of a tensor of the wire. A Buffer may start anywhere in memory, a
// typed array may not: hence the copy.
function elements({ dtype, data, values }) {
  if (values.length > 0) return values;
  const bytes = new Uint8Array(data);
  return Array.from(new ARRAYS[dtype](bytes.buffer));
}

// Starts the server on a free loopback port.
async function startServer(...flags) {
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'attention-node-'));
  const portFile = path.join(scratch, 'port');
  const logFile = path.join(scratch, 'log');
  const log = fs.openSync(logFile, 'w');
  // Settings of whoever runs the tests are not the tests'.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('ATTENTION_'))
  );
  const server = spawn(
    process.env.ATTENTION_SERVER,
    ['--listen', '127.0.0.1:0', '--port-file', portFile, '--store', 'memory', ...flags],
    { stdio: ['ignore', log, log], env }
  );
  fs.closeSync(log);
  const ended = new Promise((resolve) => {
    server.once('error', (error) => resolve(error.message));
    server.once('exit', (code, signal) => resolve(code ?? signal));
  });
  const stop = async () => {
    server.kill('SIGTERM');
    const how = await ended;
    fs.rmSync(scratch, { recursive: true });
    return how;
  };
  const port = () =>
    fs.existsSync(portFile) ? fs.readFileSync(portFile, 'utf8').trim() : '';
  const deadline = Date.now() + PATIENCE_MS;
  while (port() === '') {
    if (server.exitCode !== null || Date.now() > deadline) {
      const said = fs.readFileSync(logFile, 'utf8');
      await stop();
      throw new Error(`no server:\n${said}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { address: `127.0.0.1:${port()}`, stop };
}

// A client; -1 lifts gRPC's limit of 4 MiB on what it receives.
function connect(address, maxReceiveBytes = -1) {
  return new AttentionService(address, grpc.credentials.createInsecure(), {
    'grpc.max_receive_message_length': maxReceiveBytes,
    'grpc.max_send_message_length': -1,
  });
}

// A unary call as a promise.
function call(client, method, request, options = {}) {
  return new Promise((resolve, reject) => {
    const done = (error, reply) => (error ? reject(error) : resolve(reply));
    const deadline = Date.now() + PATIENCE_MS;
    client[method](request, new grpc.Metadata(), { deadline, ...options }, done);
  });
}

// The field violations in the BadRequest detail of an error.
function violations(error) {
  const [bytes] = error.metadata.get('grpc-status-details-bin');
  if (bytes === undefined) return [];
  const status = definition['google.rpc.Status'].deserialize(bytes);
  return status.details
    .filter((detail) => detail.type_url.endsWith('/google.rpc.BadRequest'))
    .flatMap(
      (detail) =>
        definition['google.rpc.BadRequest'].deserialize(detail.value)
          .field_violations
    );
}

module.exports = {
  ROOT,
  call,
  connect,
  elements,
  grpc,
  startServer,
  tensor,
  violations,
};

'use strict';
// The service as a Node program uses it: the chapter replayed, typed arrays,
// errors, streams.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { after, before, describe, it } = require('node:test');
const service = require('./service.js');

const { call, elements, grpc, tensor } = service;

let server;
let client;

before(async () => {
  server = await service.startServer();
  client = service.connect(server.address);
});

after(async () => {
  client.close();
  assert.equal(await server.stop(), 0);
});

// The numbers of a tensor below some leading indices, in row-major order.
function numbersBelow(answer, index) {
  const numbers = elements(answer);
  let first = 0;
  let count = numbers.length;
  index.forEach((at, axis) => {
    count /= answer.shape[axis];
    first += at * count;
  });
  return numbers.slice(first, first + count);
}

// What is wrong with numbers that should be `expected` to some digits, or null.
// Half a unit of the last digit is the rounding of what is printed; the rest is
// what float32 may be off by (the bound of the chapter's results in
// tests/goldens/chapter.json is below 60 * 2^-24).
function mismatch(found, expected, digits) {
  const limit = 0.5 * 10 ** -digits + 60 * 2 ** -24;
  const same =
    found.length === expected.length &&
    found.every((number, i) => Math.abs(number - expected[i]) <= limit);
  return same ? null : `${found}, not ${expected}`;
}

describe('the chapter', () => {
  const chapter = JSON.parse(
    fs.readFileSync(path.join(service.ROOT, 'client', 'chapter.json'), 'utf8')
  );

  for (const example of chapter.cases) {
    it(`gives every number of ${example.id}`, async () => {
      let version = null;
      if (example.set_weights) {
        ({ version } = await call(client, 'SetWeights', example.set_weights));
      }
      if (example.same_weights_from_seed) {
        const seeded = await call(
          client,
          'SetWeights',
          example.same_weights_from_seed
        );
        assert.equal(seeded.version.sha256, version.sha256);
      }
      const reply = await call(client, 'ComputeAttention', example.request);
      if (version) assert.deepEqual(reply.weight_set_used, version);
      assert.ok(example.expect.length > 0);
      for (const { what, path: name, index, values } of example.expect) {
        const found = numbersBelow(reply[name], index);
        const expected = values.flat(Infinity);
        assert.equal(mismatch(found, expected, chapter.digits), null, what);
      }
    });
  }

  it('would not pass with a wrong digit, sign, length or NaN', () => {
    const expected = [0.1385, -0.2379];
    assert.equal(mismatch([0.13854, -0.23786], expected, 4), null);
    const wrong = [[0.1386, -0.2379], [0.1385, 0.2379], [0.1385], [NaN, -0.2379]];
    for (const numbers of wrong) {
      assert.notEqual(mismatch(numbers, expected, 4), null);
    }
  });
});

describe('typed arrays', () => {
  for (const type of [Float32Array, Float64Array]) {
    it(`come back to the bit: ${type.name}`, async () => {
      // One key has the attention weight 1, so the output is the value.
      const value = type.of(1 / 3, type === Float32Array ? 2 ** -149 : 2 ** -1074);
      const reply = await call(client, 'ComputeAttention', {
        query: tensor(type.of(3), [1, 1]),
        key: tensor(type.of(5), [1, 1]),
        value: tensor(value, [1, 2]),
      });
      assert.deepEqual(reply.output.shape, [1, 2]);
      assert.deepEqual(elements(reply.output), Array.from(value));
    });
  }
});

describe('errors', () => {
  it('name the field, what was expected and what came', async () => {
    const request = {
      query: tensor(new Float32Array(8), [2, 4]),
      key: tensor(new Float32Array(6), [2, 3]),
    };
    await assert.rejects(call(client, 'ComputeAttention', request), (error) => {
      assert.equal(error.code, grpc.status.INVALID_ARGUMENT);
      const [violation] = service.violations(error);
      assert.equal(violation.field, 'key.shape[1]');
      assert.match(violation.description, /3.*4/);
      return true;
    });
  });

  it('say which weight set is unknown', async () => {
    const request = {
      query: tensor(new Float32Array(8), [2, 4]),
      weight_set: { name: 'nobody' },
    };
    await assert.rejects(call(client, 'ComputeAttention', request), {
      code: grpc.status.NOT_FOUND,
      details: /nobody/,
    });
  });

  it('meet a reply above the 4 MiB a client receives by default', async () => {
    const request = {
      query: tensor(new Float32Array(1025), [1025, 1]),
      attention_matrix: { stage: 'STAGE_ATTENTION_WEIGHTS' },
    };
    const byDefault = service.connect(server.address, 4 * 2 ** 20);
    await assert.rejects(call(byDefault, 'ComputeAttention', request), {
      code: grpc.status.RESOURCE_EXHAUSTED,
    });
    byDefault.close();
    const { limits } = await call(client, 'GetServerInfo', {});
    const raised = service.connect(server.address, limits.max_result_bytes + 2 ** 20);
    const reply = await call(raised, 'ComputeAttention', request);
    raised.close();
    assert.ok(reply.attention_matrix.data.length > 4 * 2 ** 20);
  });

  it('end a call at its deadline, and the server answers the next', async () => {
    const large = { query: tensor(new Float32Array(8192 * 128), [8192, 128]) };
    const deadline = Date.now() + 50;
    await assert.rejects(call(client, 'ComputeAttention', large, { deadline }), {
      code: grpc.status.DEADLINE_EXCEEDED,
    });
    const { version } = await call(client, 'GetServerInfo', {});
    assert.match(version, /^\d+\.\d+\.\d+$/);
  });
});

describe('weight sets', () => {
  const square = (...numbers) => ({
    weight: tensor(Float32Array.from(numbers), [2, 2]),
  });
  const weights = {
    num_heads: 1,
    layout: 'LAYOUT_IN_OUT',
    query: square(1, 2, 3, 4),
    key: square(5, 6, 7, 8),
    value: square(9, 10, 11, 12),
  };

  it('stream back as they were set', async () => {
    const name = 'node/stream';
    const { version } = await call(client, 'SetWeights', { name, weights });
    const parts = [];
    for await (const part of client.GetWeights({ weight_set: { name } })) {
      parts.push(part);
    }
    assert.equal(parts[0].part, 'header');
    assert.deepEqual(parts[0].header.summary.version, version);
    assert.equal(parts.at(-1).sha256, version.sha256);
    const received = {};
    for (const { chunk } of parts.slice(1, -1)) {
      const before = received[chunk.tensor] ?? Buffer.alloc(0);
      assert.equal(chunk.offset, before.length);
      received[chunk.tensor] = Buffer.concat([before, chunk.data]);
    }
    assert.deepEqual(received, {
      'query.weight': weights.query.weight.data,
      'key.weight': weights.key.weight.data,
      'value.weight': weights.value.weight.data,
    });
  });

  it('let one of two writers win, and labels choose a version', async () => {
    const name = 'node/labels';
    const first = await call(client, 'SetWeights', {
      name,
      weights,
      expected_version: 0,
      labels: ['stable'],
    });
    await assert.rejects(
      call(client, 'SetWeights', { name, weights, expected_version: 0 }),
      { code: grpc.status.ABORTED }
    );
    await call(client, 'SetWeights', { name, weights, expected_version: 1 });
    const reply = await call(client, 'ComputeAttention', {
      query: tensor(Float32Array.of(1, 2), [1, 2]),
      weight_set: { name, label: 'stable' },
    });
    assert.deepEqual(reply.weight_set_used, first.version);
    const page = await call(client, 'ListWeights', { name });
    assert.deepEqual(
      page.versions.map((summary) => [summary.version.version, summary.labels]),
      [
        [1, ['stable']],
        [2, []],
      ]
    );
  });
});

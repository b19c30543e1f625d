// ioredis.js PACKAGE HOST PORT: an ordinary day of an ioredis 5 or 6 client, verified.
'use strict';
const assert = require('assert');
const [, , pkg, host, port] = process.argv;
const Redis = require(`${process.env.NODE_CLIENTS}/node_modules/${pkg}`);

async function main() {
  const redis = new Redis({ host, port: Number(port), maxRetriesPerRequest: 0, connectionName: 'e2e',
    retryStrategy: () => null });
  redis.on('error', (e) => { console.error(e); process.exit(1); });
  assert.equal(await redis.ping(), 'PONG');
  await redis.set('io:a', '1');
  assert.equal(await redis.get('io:a'), '1');
  assert.equal(await redis.get('io:none'), null);
  assert.equal(await redis.incrby('io:a', 41), 42);
  assert.equal(await redis.set('io:e', 'v', 'EX', 100), 'OK');
  assert.ok((await redis.ttl('io:e')) > 90);
  const many = {};
  for (let i = 0; i < 100; i++) many[`io:m${i}`] = `v${i}`;
  assert.equal(await redis.mset(many), 'OK');
  assert.deepEqual(await redis.mget(...Object.keys(many), 'io:none'), [...Object.values(many), null]);
  assert.equal(await redis.exists('io:m1', 'io:m1', 'io:none'), 2);
  await redis.hset('io:h', { a: 1, b: 2 });
  assert.deepEqual(await redis.hgetall('io:h'), { a: '1', b: '2' });
  assert.deepEqual(await redis.hgetall('io:none'), {});
  await redis.zadd('io:z', 1.5, 'a', 2, 'b');
  assert.equal(Number(await redis.zscore('io:z', 'a')), 1.5);
  await redis.sadd('io:s', 'x', 'y');
  assert.deepEqual((await redis.smembers('io:s')).sort(), ['x', 'y']);
  await redis.rpush('io:l', 1, 2, 3);
  assert.deepEqual(await redis.lrange('io:l', 0, -1), ['1', '2', '3']);
  const buffer = Buffer.from([0, 13, 10, 255, 128]);
  await redis.set('io:bin', buffer);
  assert.deepEqual(await redis.getBuffer('io:bin'), buffer);
  // An error in the middle of a pipeline must not shift what follows.
  const got = await redis.pipeline().set('io:p', 'text').incr('io:p').get('io:p').exec();
  assert.equal(got[0][1], 'OK');
  assert.match(got[1][0].message, /not an integer/);
  assert.equal(got[2][1], 'text');
  await assert.rejects(redis.call('NOSUCHCOMMAND', 'x'), /unknown command/);
  assert.equal(await redis.eval('return redis.call("get", KEYS[1])', 1, 'io:p'), 'text');
  assert.equal(await redis.eval('return ARGV[1]', 1, 'io:p', 'arg'), 'arg');
  assert.equal(await redis.del(...Object.keys(many)), 100);
  // Concurrency on one connection: replies belong to their requests.
  const all = await Promise.all(Array.from({ length: 500 }, async (_, i) => {
    await redis.set(`io:c${i}`, i);
    return redis.get(`io:c${i}`);
  }));
  assert.deepEqual(all, Array.from({ length: 500 }, (_, i) => String(i)));
  assert.equal(await redis.quit(), 'OK');
  console.log('ok');
}
main().catch((e) => { console.error(e); process.exit(1); });

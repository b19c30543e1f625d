// node_redis.js PACKAGE HOST PORT [RESP]: an ordinary day of a node-redis 4 or 6 client, verified.
'use strict';
const assert = require('assert');
const [, , pkg, host, port, resp] = process.argv;
const { createClient } = require(`${process.env.NODE_CLIENTS}/node_modules/${pkg}`);

async function main() {
  const options = { socket: { host, port: Number(port), reconnectStrategy: false }, name: 'e2e' };
  if (resp) options.RESP = Number(resp);
  const c = createClient(options);
  c.on('error', (e) => { console.error(e); process.exit(1); });
  await c.connect();
  assert.equal(await c.ping(), 'PONG');
  assert.equal(await c.set('nr:a', '1'), 'OK');
  assert.equal(await c.get('nr:a'), '1');
  assert.equal(await c.get('nr:none'), null);
  assert.equal(await c.incrBy('nr:a', 41), 42);
  await c.set('nr:e', 'v', { EX: 100 });
  assert.ok((await c.ttl('nr:e')) > 90);
  const keys = Array.from({ length: 100 }, (_, i) => `nr:m${i}`);
  assert.equal(await c.mSet(keys.map((k) => [k, `v ${k}`])), 'OK');
  assert.deepEqual(await c.mGet([...keys, 'nr:none']), [...keys.map((k) => `v ${k}`), null]);
  assert.equal(Number(await c.exists(['nr:m1', 'nr:m1', 'nr:none'])), 2);
  await c.hSet('nr:h', { a: '1', b: '2' });
  assert.deepEqual({ ...(await c.hGetAll('nr:h')) }, { a: '1', b: '2' });
  await c.zAdd('nr:z', [{ score: 1.5, value: 'a' }, { score: 2, value: 'b' }]);
  assert.equal(await c.zScore('nr:z', 'a'), 1.5);
  assert.deepEqual(await c.zRangeWithScores('nr:z', 0, -1),
    [{ value: 'a', score: 1.5 }, { value: 'b', score: 2 }]);
  await c.sAdd('nr:s', ['x', 'y']);
  assert.deepEqual([...(await c.sMembers('nr:s'))].sort(), ['x', 'y']);
  await c.rPush('nr:l', ['1', '2', '3']);
  assert.deepEqual(await c.lRange('nr:l', 0, -1), ['1', '2', '3']);
  await c.set('nr:p', 'text');
  await assert.rejects(c.incr('nr:p'), /not an integer/);
  await assert.rejects(c.sendCommand(['NOSUCHCOMMAND', 'x']), /unknown command/);
  assert.equal(await c.eval('return redis.call("get", KEYS[1])', { keys: ['nr:p'], arguments: [] }),
    'text');
  const all = await Promise.all(Array.from({ length: 500 }, async (_, i) => {
    await c.set(`nr:c${i}`, String(i));
    return c.get(`nr:c${i}`);
  }));
  assert.deepEqual(all, Array.from({ length: 500 }, (_, i) => String(i)));
  assert.equal(Number(await c.del(keys)), 100);
  await (c.close ? c.close() : c.quit());
  console.log('ok');
}
main().catch((e) => { console.error(e); process.exit(1); });

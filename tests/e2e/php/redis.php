<?php
// redis.php HOST PORT: an ordinary day of phpredis, verified.
[, $host, $port] = $argv;

function check($what, $got, $want)
{
    if ($got !== $want) {
        fprintf(STDERR, "%s: got %s, want %s\n", $what, var_export($got, true), var_export($want, true));
        exit(1);
    }
}

$r = new Redis();
check('connect', $r->connect($host, (int)$port, 5), true);
check('ping', $r->ping(), true);
check('ping message', $r->ping('hello'), 'hello');
check('select', $r->select(0), true);
check('set', $r->set('pr:a', '1'), true);
check('get', $r->get('pr:a'), '1');
check('miss', $r->get('pr:none'), false);
check('incr', $r->incrBy('pr:a', 41), 42);
check('setex', $r->setex('pr:e', 100, 'v'), true);
check('ttl', $r->ttl('pr:e') > 90, true);
check('nx', $r->set('pr:e', 'w', ['nx', 'ex' => 10]), false);
$values = [];
for ($i = 0; $i < 100; $i++) {
    $values["pr:m$i"] = "v$i";
}
check('mset', $r->mset($values), true);
check('mget', $r->mget(array_merge(array_keys($values), ['pr:none'])),
    array_merge(array_values($values), [false]));
check('exists', $r->exists('pr:m1', 'pr:m1', 'pr:none'), 2);
check('hmset', $r->hMSet('pr:h', ['a' => '1', 'b' => '2']), true);
check('hgetall', $r->hGetAll('pr:h'), ['a' => '1', 'b' => '2']);
check('zadd', $r->zAdd('pr:z', 1.5, 'a', 2, 'b'), 2);
check('zrange', $r->zRange('pr:z', 0, -1, true), ['a' => 1.5, 'b' => 2.0]);
check('rpush', $r->rPush('pr:l', '1', '2', '3'), 3);
check('lrange', $r->lRange('pr:l', 0, -1), ['1', '2', '3']);
check('sadd', $r->sAdd('pr:s', 'x'), 1);
check('smembers', $r->sMembers('pr:s'), ['x']);
check('pipeline', $r->pipeline()->set('pr:p', 'text')->incr('pr:p')->get('pr:p')->exec(),
    [true, false, 'text']);
check('binary', $r->set('pr:bin', "\0\r\n\xff"), true);
check('binary back', $r->get('pr:bin'), "\0\r\n\xff");
check('eval', $r->eval('return redis.call("get", KEYS[1])', ['pr:p'], 1), 'text');
check('unknown', $r->rawCommand('NOSUCHCOMMAND', 'x'), false);
check('error', strpos($r->getLastError(), 'unknown command') !== false, true);
$r->clearLastError();
check('info', isset($r->info()['redis_version']), true);
check('unlink', $r->unlink(array_keys($values)), 100);
check('del', $r->del('pr:a', 'pr:e', 'pr:none'), 2);
$r->close();

ini_set('session.save_handler', 'redis');
ini_set('session.save_path', "tcp://$host:$port");
ini_set('redis.session.locking_enabled', '1');
ini_set('session.use_cookies', '0');
ini_set('session.cache_limiter', '');
session_id('phpsession2');
session_start();
$_SESSION['n'] = 42;
session_write_close();
$_SESSION = [];
session_start();
check('session', $_SESSION['n'], 42);
session_destroy();
echo "ok\n";

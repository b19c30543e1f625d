<?php
// memcached.php HOST PORT: an ordinary day of php-memcached, verified.
[, $host, $port] = $argv;

function check($what, $got, $want)
{
    if ($got !== $want) {
        fprintf(STDERR, "%s: got %s, want %s\n", $what, var_export($got, true), var_export($want, true));
        exit(1);
    }
}

foreach ([false, true] as $nonblocking) {
    $m = new Memcached();
    $m->setOption(Memcached::OPT_BINARY_PROTOCOL, false);
    $m->setOption(Memcached::OPT_NO_BLOCK, $nonblocking);
    $m->addServer($host, (int)$port);
    check('set', $m->set('php:a', ['x' => 1, 'y' => [true, null]], 100), true);
    check('get', $m->get('php:a'), ['x' => 1, 'y' => [true, null]]);
    check('get miss', $m->get('php:none'), false);
    check('miss code', $m->getResultCode(), Memcached::RES_NOTFOUND);
    check('set n', $m->set('php:n', 5), true);
    check('incr', $m->increment('php:n', 10), 15);
    check('decr', $m->decrement('php:n', 3), 12);
    check('add', $m->add('php:n', 1), false);
    check('add code', $m->getResultCode(), Memcached::RES_NOTSTORED);
    check('replace', $m->replace('php:n', 7), true);
    $values = [];
    for ($i = 0; $i < 100; $i++) {
        $values["php:m$i"] = str_repeat("v$i", $i + 1);
    }
    check('setMulti', $m->setMulti($values), true);
    check('getMulti', $m->getMulti(array_keys($values), Memcached::GET_PRESERVE_ORDER), $values);
    $m->get('php:m1', null, Memcached::GET_EXTENDED);
    $x = $m->get('php:m1', null, Memcached::GET_EXTENDED);
    check('cas', $m->cas($x['cas'], 'php:m1', 'new'), true);
    check('cas again', $m->cas($x['cas'], 'php:m1', 'newer'), false);
    check('cas code', $m->getResultCode(), Memcached::RES_DATA_EXISTS);
    check('after cas', $m->get('php:m1'), 'new');
    $m->setOption(Memcached::OPT_COMPRESSION, false);
    check('set text', $m->set('php:t', 'mid'), true);
    check('append', $m->append('php:t', '>'), true);
    check('prepend', $m->prepend('php:t', '<'), true);
    check('appended', $m->get('php:t'), '<mid>');
    check('touch', $m->touch('php:t', 100), true);
    check('delete', $m->delete('php:t'), true);
    check('delete again', $m->delete('php:t'), false);
    check('deleteMulti', $m->deleteMulti(array_keys($values)), array_fill_keys(array_keys($values), true));
    check('big', $m->set('php:big', str_repeat('b', 900000)), true);
    check('big back', strlen($m->get('php:big')), 900000);
    check('too big', $m->set('php:big', random_bytes(3000000)), false);
    check('after too big', $m->set('php:a', 1), true);
    $versions = $m->getVersion();
    check('version', count($versions), 1);
    check('stats', count($m->getStats()), 1);
    check('expired', $m->set('php:x', 1, -1), true);
    check('expired miss', $m->get('php:x'), false);
    $m->quit();
}

// Sessions, in the protocol that a text proxy can serve.
ini_set('memcached.sess_binary_protocol', '0');
ini_set('memcached.sess_locking', '1');
ini_set('session.save_handler', 'memcached');
ini_set('session.save_path', "$host:$port");
ini_set('session.use_cookies', '0');
ini_set('session.cache_limiter', '');
session_id('phpsession1');
session_start();
$_SESSION['n'] = 42;
session_write_close();
$_SESSION = [];
session_start();
check('session', $_SESSION['n'], 42);
session_destroy();
echo "ok\n";

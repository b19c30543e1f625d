/*
 * transition.pml - moving a pool from ring R_old to R_new, CACHE mode.
 *
 * One moving key: node 0 = R_old(k), node 1 = R_new(k).  Keys with the same
 * owner in both rings are routed identically in every step, so one moving key
 * is the whole problem.
 *
 *  step        reads                      mutations
 *  0 STABLE    0                          0
 *  1 PREPARE   0                          0               (agent scrubs node 1)
 *  2 HOLD      0                          delete: 0 THEN 1; add/cas: safe negative;
 *                                         set: parked, on timeout delete 0,1 + error
 *  3 DUAL      1, else 0 + leased         delete 0, THEN mutate 1
 *                 promotion to 1          (add/cas: promote first)
 *  4 DRAIN     1                          delete 0, THEN mutate 1
 *  5 STABLE'   1                          1
 *  abort path (roles swapped):
 *  8 HOLD-R    1                          delete: 1 THEN 0; rest as HOLD
 *  6 DUAL-R    0, else 1 + lease          delete 1, THEN mutate 0
 *  7 DRAIN-R   0                          delete 1, THEN mutate 0
 *
 *  allowed moves: 0-1 1-2 2-3 3-4 4>5   2-8 8-6 6-7 7>0
 *  In one line: the SOURCE of a possible promotion dies before the TARGET is
 *  touched, and authority changes hands only through a step nobody writes in.
 *  (2>1 after a visit to 3 is allowed only for pools that do not rely on add/cas
 *  as locks: it forgets what only node 1 holds.  -DBUG_SHORTABORT shows why.)
 *
 * Variants, by flag:
 *
 * LOST: node 0 is declared lost (ejection, dead source): 0 > 2 > 4 > 5; reads in 2
 *  miss, a delete in 2 is acked only if node 0 confirmed it, no promotion.
 * RELAXED: no HOLD (1 > 3), PREPARE: mutate 0 then delete 1; DUAL set: delete 0,
 *  set 1, delete 0.  Keeps FRESH, gives up MONO/LOCK/CAS.
 * ADD_DELETES: an add in DRAIN deletes 0 first, as every other mutation does.
 * GETS_RELEASES: a gets that misses on both nodes gives its lease back, as a get does.
 * FENCED_EITHER: a fenced delete goes to the nodes in either order; else to 0, 1 and 0 again.
 *  With these three the rules are those of table.txt.
 *
 * Checked:
 *   FRESH  a read begun after mutation w was acked never returns a value whose
 *          set had finished before w began.
 *   MONO   the same with "some read returned w's value" in place of "w acked".
 *   LOCK   (-DOPS_LOCK) an add begun after an acked add, with no delete begun
 *          since and no eviction, is never STORED.
 *   CAS    (-DOPS_CAS) no cas succeeds over a mutation begun after its gets and
 *          acked before the cas began.
 *   ADJ    any two serving proxies are in the same or adjacent steps.
 *
 * Environment: asynchronous proxies; crash of a proxy between any two node
 * actions; eviction; partition of proxy 0 from ZooKeeper, lease expiry, heal;
 * coordinator moving forward and aborting.  The coordinator keeps no state but
 * the znode `pub` (every move = one versioned write), so its crash and restart
 * at any point is the same as it being slow.
 *
 * Every -DBUG_x removes one rule and must yield a counterexample.  runs.txt has all runs.
 */
#ifndef NP
#define NP 2
#endif
#ifndef NOPS
#define NOPS 2              /* operations per proxy                       */
#endif
#ifndef MOVES
#define MOVES 5             /* coordinator moves; 5 = straight through    */
#endif
#ifndef EVICTS
#define EVICTS 0
#endif
#ifndef PARTS
#define PARTS 0
#endif
#ifndef CRASH
#define CRASH 0
#endif

#define LEASE 100           /* val == LEASE+t : placeholder with token t  */
#define BIT(v) (1 << (v))
#define HELD(x) ((x) != 0 && (x) < LEASE)
#define AUTH(s) (s >= 2 && s <= 5)    /* a: authority / promotion target; b = 1-a: source */

byte pub = 0;               /* step in the znode                          */
byte st[NP];                /* step applied by proxy i                    */
bool busy[NP];              /* operation in flight under st[i]            */
bool armed[NP];             /* lease in force (acked a step other than 0, 5)  */
bool part[NP];              /* cut off from ZooKeeper                     */
bool fenced[NP];            /* own lease ran out                          */
bool excl[NP];              /* coordinator stopped waiting for it         */
bool dirty1 = false;        /* node 1 written since its last scrub        */

byte val[2];
byte ltok = 0;
#ifdef JUNK                 /* node 1 still has a copy from an earlier life */
byte nextv = 2; short ended = 2; short dead = 2;
#else
byte nextv = 1; short ended = 0; short dead = 0;
#endif
short F[10];                /* F[v]: versions finished before v began     */
byte cc[2], ic[2];          /* per-server cas counter, cas id of the item */

bool locked = false; byte dels = 0, delfl = 0;     /* LOCK bookkeeping    */
byte holding = 0, dirtied = 0;                     /* CAS bookkeeping     */

#define W(i,x)  val[i] = x; cc[i]++; ic[i] = cc[i]
#define D(i)    val[i] = 0
#define MAXV    8

#include "trace.pml"

/* What a proxy does at a node on behalf of an operation, by name. */
#define GET(i)     r = val[i]; SAY(GET, i)
#define SET(i)     W(i, v);    SAY(SET, i)
#define DEL(i)     D(i);       SAY(DELETE, i)
#define FILL(i)    W(i, r);    SAY(FILL, i)       /* the source's copy, under our lease    */
#define REDEEM(i)  W(i, v);    SAY(REDEEM, i)     /* the client's value, under our lease   */
#define RELEASE(i) D(i);       SAY(RELEASE, i)    /* double miss: the lease is given back  */
#define ADD(i)     if :: val[i] == 0 -> W(i, v); stored() :: else fi; SAY(ADD, i)

#ifdef BUG_NODRAIN
#define DRAINED(i) true
#else
#define DRAINED(i) (!busy[i])      /* ack a step only when older ops are done   */
#endif
#ifdef BUG_FENCEINFLIGHT
#define LEASEMARGIN(i) true
#else
#define LEASEMARGIN(i) (!busy[i])  /* operation deadline < lease safety margin  */
#endif
#if defined(OPS_LOCK) && !defined(BUG_EARLYDRAIN)
#define MOVED(i) (!HELD(val[i]))   /* bulk mover done, or longest lock TTL over */
#else
#define MOVED(i) true
#endif
#if defined(OPS_LOCK) && !defined(BUG_SHORTABORT)
#define SHORTABORT (!dirty1)
#else
#define SHORTABORT true
#endif


/* Every operation is a chain of atomic blocks, one per node action.  The first
 * block also starts the operation, the last one also acknowledges it: starting
 * late and acknowledging early only makes the checks stricter.                 */
#if CRASH
#define MAYCRASH if :: goto died :: skip fi
#else
#define MAYCRASH skip
#endif
#define DUALS(s)  (s == 3 || s == 6)
#define HOLDS(s)  (s == 2 || s == 8)
#ifdef LOST          /* some proxies may still reach the lost node while they are in step 0 */
#define LOSTSRC true
#else
#define LOSTSRC false
#endif
#define CROSS(s)  (s == 3 || s == 4 || s == 6 || s == 7)   /* delete at b first */
#define CAN       (n < NOPS && !fenced[me])
#if defined(BUG_NODRAIN) || defined(BUG_FENCEINFLIGHT)
#define SPLIT     }; atomic { skip;   /* here the merge is not sound: admit, then act */
#else
#define SPLIT
#endif

inline begin_op()  { n++; busy[me] = true; s = st[me]; a = AUTH(s); b = 1 - a }
inline end_op() {
  if :: v != 0 -> ended = ended | BIT(v) :: else fi;
  SHOW(s);
  if :: del -> delfl-- :: else fi;
  busy[me] = false; v = 0; r = 0; t = 0; f = 0; d0 = 0; hm = 0; s = 0; a = 0; b = 0;
  l0 = false; noov = false; dl0 = 0; del = false
}
inline begin_mut() { v = nextv; nextv++; F[v] = ended; f = ended; hm = holding }
inline ack_mut()   { dead = dead | f; dirtied = dirtied | hm; TELL(ACK) }
inline check_read() {
    if
    :: HELD(r) ->
         TELL(VALUE);
         assert((d0 & BIT(r)) == 0);       /* FRESH */
#ifndef NOMONO
         dead = dead | F[r]                /* MONO  */
#endif
    :: else
    fi
}
inline lease(x) {                   /* read x; on a miss take a lease (t) */
    r = val[x]; SAY(LEASE, x);
    if
    :: r == 0 -> ltok++; t = ltok;
#ifndef BUG_NOLEASE
       val[x] = LEASE + t
#endif
    :: else -> t = 0
    fi
}
#ifdef BUG_NOLEASE
#define MINE(x) (t != 0 && val[x] == 0)                 /* plain add     */
#else
#define MINE(x) (t != 0 && val[x] == LEASE + t)         /* ms C<token>   */
#endif
inline stored() {                   /* LOCK */
    assert(!(l0 && dl0 == dels));
    TELL(ACK);
    if :: dl0 == dels && noov -> locked = true :: else fi
}

proctype Proxy(byte me) {
  byte n = 0, s, v, r, t, a, b, hm, dl0; short f, d0;
  byte ctag = 2, ccas = 0; bool l0, noov, del;
#ifdef TRACE
  ctag = tag;
#endif
again:
  do
  /* ------------------------------------------------------------- GET */
  :: atomic { CAN -> begin_op(); OP(GET); TELL(MISS); SPLIT d0 = dead;
       if :: DUALS(s) -> lease(a) :: HOLDS(s) && !LOSTSRC -> GET(b)
          :: HOLDS(s) && LOSTSRC -> r = 0 :: else -> GET(a) fi;
       if :: HELD(r) || !DUALS(s) -> check_read(); end_op(); goto next :: else fi };
     MAYCRASH;
     atomic { GET(b);
       if :: t == 0 -> check_read(); end_op(); goto next :: else fi };
     MAYCRASH;
     atomic {
       if
       :: MINE(a) && HELD(r) -> FILL(a)
       :: MINE(a) && !HELD(r) -> RELEASE(a)
       :: else
       fi;
       check_read(); end_op() }
#if !defined(OPS_LOCK) || defined(TRACE)
  /* ------------------------------------------------------------- SET */
  :: atomic { CAN && nextv < MAXV -> begin_op(); OP(SET); SPLIT begin_mut();
       if
#ifdef RELAXED
       :: s == 1 -> SET(0)
       :: CROSS(s) -> DEL(0)
#else
       :: s == 1 -> SET(a); ack_mut(); end_op(); goto next
#ifdef BUG_SETORDER
       :: CROSS(s) -> SET(a)
#else
       :: CROSS(s) && !LOSTSRC -> DEL(b)
#endif
#endif
       :: s == 0 || s == 5 -> SET(a); ack_mut(); end_op(); goto next
       :: HOLDS(s) -> if :: DEL(b) :: LOSTSRC -> UNREACHED(b); skip fi
#ifdef LOST
       :: s == 4 -> SET(a); ack_mut(); end_op(); goto next
#endif
       fi };
     MAYCRASH;
     atomic {
       if
       :: HOLDS(s) -> DEL(a)                               /* error, no ack */
#ifdef RELAXED
       :: s == 1 -> DEL(1); ack_mut()
       :: CROSS(s) -> SET(1)
#elif defined(BUG_SETORDER)
       :: else -> DEL(b); ack_mut()
#else
       :: else -> SET(a); ack_mut()
#endif
       fi;
#ifdef RELAXED
       if :: CROSS(s) -> skip :: else -> end_op(); goto next fi };
     MAYCRASH;
     atomic { DEL(0); ack_mut();
#endif
       end_op() }
#endif
  /* ------------------------------------------------------------- DELETE */
  :: atomic { CAN && nextv < MAXV -> begin_op(); OP(DELETE); SPLIT begin_mut();
       locked = false; dels++; delfl++; del = true;
       if
#ifdef RELAXED
       :: s == 1 -> DEL(0)
#else
       :: s == 1 -> DEL(0); ack_mut(); end_op(); goto next
#endif
       :: s == 0 || s == 5 -> DEL(a); ack_mut(); end_op(); goto next
#ifdef BUG_DELORDER
       :: CROSS(s) -> DEL(a)
#else
       :: CROSS(s) -> if :: !LOSTSRC -> DEL(b) :: LOSTSRC -> skip fi
#endif
#ifdef BUG_HOLDORDER
       :: HOLDS(s) -> DEL(a)
#else
       :: HOLDS(s) -> if :: DEL(b)
#ifdef BUG_LOSTACK
          :: LOSTSRC -> UNREACHED(b); skip         /* acked all the same */
#else
          :: LOSTSRC -> UNREACHED(b); DEL(a);      /* error, no ack */
                        end_op(); goto next
#endif
          fi
#endif
       fi };
     MAYCRASH;
     atomic {
       if
       :: s <= 1 -> DEL(1)
#ifdef BUG_DELORDER
       :: CROSS(s) -> DEL(b)
#else
       :: CROSS(s) -> DEL(a)
#endif
#ifdef BUG_HOLDORDER
       :: HOLDS(s) -> DEL(b)
#else
       :: HOLDS(s) -> DEL(a)
#endif
       fi;
       ack_mut(); end_op() }
#ifdef OPS_LOCK
  /* ------------------------------------------------------------- ADD */
  :: atomic { CAN && nextv < MAXV -> begin_op(); OP(ADD); begin_mut();
       l0 = locked; dl0 = dels; noov = (delfl == 0);
       if
       :: HOLDS(s) -> end_op(); goto next                   /* NOT_STORED */
       :: DUALS(s) -> lease(a); if :: t == 0 -> end_op(); goto next :: else fi
#ifdef ADD_DELETES
       :: CROSS(s) && !DUALS(s) -> DEL(b)
#endif
       :: else -> ADD(a); end_op(); goto next
       fi };
     MAYCRASH;
#ifdef ADD_DELETES
     atomic { if :: !DUALS(s) -> ADD(a); end_op(); goto next :: else fi; GET(b) };
#else
     atomic { GET(b) };
#endif
     MAYCRASH;
     atomic {
       if
       :: MINE(a) && HELD(r) -> FILL(a)                     /* promoted, NOT_STORED */
       :: MINE(a) && !HELD(r) -> REDEEM(a); stored()
       :: else
       fi; end_op() }
#endif
#ifdef OPS_CAS
  /* ------------------------------------------------------------- GETS */
  :: atomic { CAN && ctag == 2 -> begin_op(); OP(GETS); TELL(MISS); d0 = dead;
       if :: DUALS(s) -> lease(a); ctag = a; ccas = ic[a]
          :: HOLDS(s) -> GET(b); ctag = b; ccas = ic[b]
          :: else -> GET(a); ctag = a; ccas = ic[a] fi;
       if :: HELD(r) || !DUALS(s) -> goto gotit :: else fi };
     MAYCRASH;
     atomic { GET(b); ctag = b; ccas = ic[b];
#ifdef GETS_RELEASES
       if :: t == 0 -> goto gotit :: else fi };
     MAYCRASH;
     atomic { if :: MINE(a) && !HELD(r) -> RELEASE(a) :: else fi;
              if :: !HELD(r) -> goto gotit :: else fi;
#else
       if :: !HELD(r) || t == 0 -> goto gotit :: else fi };
     MAYCRASH;
     atomic {
#endif
              if :: MINE(a) -> FILL(a); ctag = a; ccas = ic[a] :: else fi };
gotit:
     atomic {
       if :: HELD(r) -> holding = holding | BIT(me); dirtied = dirtied & ~BIT(me)
          :: else -> ctag = 2 fi;
       check_read(); end_op() }
  /* ------------------------------------------------------------- CAS */
  :: atomic { CAN && ctag != 2 && nextv < MAXV -> begin_op(); OP(CAS); begin_mut();
       l0 = ((dirtied & BIT(me)) != 0);
       if :: HOLDS(s) -> goto casx :: else fi;               /* EXISTS */
#ifndef BUG_CASTAG
       if :: ctag != a -> goto casx :: else fi;              /* token of another node */
#endif
       if :: CROSS(s) -> DEL(b) :: else fi };
     MAYCRASH;
     atomic {
       if :: HELD(val[a]) && ic[a] == ccas -> W(a, v); assert(!l0); ack_mut() :: else fi;
       SAY(CAS, a) };
casx:
     atomic { ctag = 2; ccas = 0; holding = holding & ~BIT(me); end_op() }
#endif
  /* ------------------------------------------------------------- FENCED */
  /* a client's delete: never acked, best effort on both; anything else: error */
  :: atomic { n < NOPS && fenced[me] -> n++; busy[me] = true; OP(DELETE);
#ifdef FENCED_EITHER
       if :: a = 0 :: a = 1 fi;
       locked = false; dels++; delfl++; DEL(a) };
     atomic { DEL(1 - a); a = 0; delfl--; busy[me] = false; SHOW(FENCED_STEP) }
#else
       locked = false; dels++; delfl++; DEL(0) };
     atomic { DEL(1) };
     atomic { DEL(0); delfl--; busy[me] = false; SHOW(FENCED_STEP) }
#endif
  :: n >= NOPS -> break
  od;
  goto stop;
died: atomic { ctag = 2; ccas = 0; holding = holding & ~BIT(me); end_op() };
next: goto again;
stop: skip
}

proctype Agent(byte me) {      /* applies whatever step it can see */
  do
  :: atomic { (!part[me] && (st[me] != pub || fenced[me] || excl[me]) && DRAINED(me)) ->
       st[me] = pub; armed[me] = (pub != 0 && pub != 5);
       fenced[me] = false; excl[me] = false }
  od
}

proctype Coordinator() {
  byte m = 0; bool ok;
  do
  :: m < MOVES ->
     atomic {
       ((excl[0] || st[0] == pub) && (excl[1] || st[1] == pub)) ->   /* barrier */
       m++;
       if
#ifdef LOST
       :: pub == 0 -> D(1); SAY(SCRUB, 1); pub = 2
       :: pub == 2 -> pub = 0
       :: pub == 2 -> pub = 4
       :: pub == 4 -> pub = 5
       :: pub == 5 -> m = MOVES
#else
       :: pub == 0 -> pub = 1
#if defined(BUG_NOHOLD) || defined(RELAXED)
       :: pub == 1 -> D(1); SAY(SCRUB, 1); dirty1 = true; pub = 3
       :: pub == 3 -> pub = 1
#else
       :: pub == 1 ->
#ifndef BUG_NOSCRUB
          D(1); SAY(SCRUB, 1);  /* in PREPARE nobody writes node 1 */
#endif
          dirty1 = false; pub = 2
       :: pub == 2 && SHORTABORT -> pub = 1
       :: pub == 2 -> dirty1 = true; pub = 3
       :: pub == 2 && dirty1 -> pub = 8
       :: pub == 8 -> pub = 2
       :: pub == 8 -> pub = 6
       :: pub == 3 -> pub = 2
#endif
       :: pub == 1 -> pub = 0
#ifdef BUG_NODRAINSTEP
       :: pub == 3 -> pub = 5
#else
       :: pub == 3 && MOVED(0) -> pub = 4
#endif
       :: pub == 4 -> pub = 3
       :: pub == 4 -> pub = 5
       :: pub == 6 -> pub = 8
       :: pub == 6 && MOVED(1) -> pub = 7
       :: pub == 7 -> pub = 6
       :: pub == 7 -> pub = 0
#ifdef BUG_BACK5
       :: pub == 5 -> pub = 4
#else
       :: pub == 5 -> m = MOVES
#endif
#endif /* LOST */
       fi;
       SHOW_MOVE
     }
  :: m >= MOVES -> break
  od
}

/* proxy 0 may lose ZooKeeper.  The coordinator stops waiting for it only after
 * its lease has certainly run out, and only if that proxy had been armed.      */
proctype Lease() {
  do
  :: atomic { (part[0] && armed[0] && !fenced[0] && LEASEMARGIN(0)) -> fenced[0] = true }
#ifdef BUG_NOFENCE
  :: atomic { (part[0] && !excl[0]) -> excl[0] = true }
#else
  :: atomic { (part[0] && fenced[0] && !excl[0]) -> excl[0] = true }
#endif
  od
}

proctype Env() {
  byte e = 0, p = 0;
  do
  :: atomic { (e < EVICTS && val[0] != 0) -> D(0); e++ }
  :: atomic { (e < EVICTS && val[1] != 0) -> D(1); e++ }
  :: atomic { (p < PARTS && !part[0]) -> part[0] = true; p++ }
  :: atomic { part[0] -> part[0] = false }
  od
}

#define EDGE(x,y) ((x < 5 && y == x + 1) || (LOSTSRC && x < 5 && y == x + 2 && x != 1) || \
                   (x == 2 && y == 8) || (x == 8 && y == 6) || \
                   (x == 6 && y == 7) || (x == 7 && y == 0))
#define NEAR(x,y) (x == y || EDGE(x,y) || EDGE(y,x))
#ifndef NOADJ
active proctype Adjacent() {
  atomic { (!fenced[0] && !fenced[1] && !excl[0] && !excl[1] && !NEAR(st[0], st[1]))
           -> assert(false) }
}
#endif

#ifdef TRACE
#if defined(LOST)
#define TRACED(s) (s == 0 || s == 2 || s == 4 || s == 5)
#elif defined(RELAXED)
#define TRACED(s) (s != 2 && s <= 5)
#else
#define TRACED(s) true
#endif
init {
  atomic {
    any_of(from, 8); TRACED(from); pub = from; st[0] = from; st[1] = from;
    any_of(was[0], 2); val[0] = (was[0] == 2 -> LEASE + 9 : was[0]);
    any_of(was[1], 2); val[1] = (was[1] == 2 -> LEASE + 9 : was[1]);
    any_of(tag, 2); dirty1 = (tag == 1);
    if
    :: run Coordinator()
    :: run Proxy(0)
    :: fenced[0] = true; run Proxy(0)
    fi
  }
}
#else
init {
  atomic {
#ifdef JUNK
    val[1] = 1;
#endif
    run Proxy(0); run Proxy(1); run Agent(0); run Agent(1); run Coordinator();
#if PARTS
    run Lease();
#endif
#if PARTS || EVICTS
    run Env()
#endif
  }
}
#endif

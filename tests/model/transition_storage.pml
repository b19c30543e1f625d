/*
 * transition_storage.pml - moving a pool from R_old to R_new, STORAGE mode
 * (Redis as a data-structure store: nothing may be lost).
 *
 * Node 0 = R_old(k), node 1 = R_new(k).  Steps as in transition.pml:
 *  0 STABLE 1 PREPARE   everything at 0            (PREPARE: agent scrubs node 1)
 *  2 HOLD   (8 HOLD-R)  reads source, then target; writes parked -> TRYAGAIN
 *  3 DUAL   (6 DUAL-R)  import source->authority, then execute at the authority
 *  4 DRAIN 5 STABLE'    everything at 1            (only after the mover emptied 0)
 *  7 DRAIN-R            everything at 0            (only after the mover emptied 1)
 *
 * import(k):  a) DUMP+PTTL at the source; absent -> done
 *             b) at the authority, one script: if epoch==mine and k not yet marked
 *                as moved in this epoch and k absent: RESTORE; mark k
 *             c) at the source, one script: if epoch==mine: UNLINK k
 *             only then d) the client's command runs at the authority.
 * Every 2>3 / 8>6 move takes a fresh epoch, written to both nodes and followed
 * by CLIENT KILL of every proxy connection before the step is published.
 *
 * READ_IMPORTS: a read in DUAL may also import first, and then run at the authority.
 *
 * Zombies: a proxy that dies may leave its last command in the socket buffer of
 * a stalled node, to be executed at any later time.
 *
 * Checked: FRESH / MONO as in transition.pml, where "key absent" is a value too
 * (only a delete, or the initial state, may produce it): no deleted key comes back,
 * and LOSS: no acked write is lost.
 */
#ifndef NOPS
#define NOPS 2
#endif
#ifndef MOVES
#define MOVES 5
#endif
#ifndef PARTS
#define PARTS 0
#endif
#ifndef CRASH
#define CRASH 0
#endif
#define BIT(v) (1 << (v))
#define AUTH(s) (s >= 2 && s <= 5)
#define HOLDS(s) (s == 2 || s == 8)
#define DUALS(s) (s == 3 || s == 6)
#define MAXV 9
#define RESTORE 1
#define UNLINK 2
#define WRITE 3

byte pub = 0, st[2]; bool busy[2], armed[2], part[2], fenced[2], excl[2];
bool dirty1 = false;
byte val[2]; bool mark[2]; byte ep = 0;    /* ep: epoch key on the nodes */
byte zt = 0, zn, zv, ze;                   /* the zombie command         */
bool zdel = false;
short kdel = 1;                            /* ids that mean "absent"     */
#ifdef JUNK                                /* 1 = junk, 2 = live value   */
byte nextv = 3; short ended = 7, dead = 3;
#define LIVE 2
#else
byte nextv = 2; short ended = 3, dead = 1;
#define LIVE 1
#endif
short F[11];

#include "trace.pml"

/* What a proxy does at a node on behalf of an operation, by name. */
#define READ(i)    r = val[i]; SAY(READ, i)
#define DUMP(i)    r = val[i]; SAY(DUMP, i)
#define CHANGES(w) (w == 1 || w == 2)      /* wr: 0 import only, 1 set, 2 del, 3 read */

#ifdef BUG_NODRAIN
#define DRAINED(i) true
#else
#define DRAINED(i) (!busy[i])
#endif
#ifdef BUG_NOMARK
#define MARKED(x) false
#else
#define MARKED(x) mark[x]
#endif
#ifdef BUG_NOEPOCH
#define EPOK(e) true
#else
#define EPOK(e) (ep == e)
#endif
#ifdef BUG_EARLYDRAIN
#define MOVED(i) true
#else
#define MOVED(i) (val[i] == 0)
#endif
#ifdef BUG_SHORTABORT
#define SHORTABORT true
#else
#define SHORTABORT (!dirty1)
#endif
#if CRASH
#define MAYDIE(ty,no,va)  if :: zt == 0 -> zt = ty; zn = no; zv = va; ze = e; goto died \
                             :: goto died :: skip fi
#define MAYCRASH if :: goto died :: skip fi
#else
#define MAYDIE(ty,no,va) skip
#define MAYCRASH skip
#endif

inline begin_op()  { n++; busy[me] = true; s = st[me]; e = ep; a = AUTH(s); b = 1 - a }
inline end_op() {
  if :: v != 0 && !(zt == WRITE && zv == v) -> ended = ended | BIT(v) :: else fi;
  SHOW(s);
  busy[me] = false; v = 0; r = 0; f = 0; d0 = 0; s = 0; e = 0; a = 0; b = 0; wr = 0
}
inline begin_mut() { v = nextv; nextv++; F[v] = ended; f = ended }
inline ack_mut()   { dead = dead | f; TELL(ACK) }
inline check_read() {
  if
  :: r != 0 -> assert((d0 & BIT(r)) == 0); dead = dead | F[r]; TELL(VALUE)
  :: else   -> assert((kdel & ~d0) != 0)
  fi
}
inline restore(x, w, ee) {
  if :: EPOK(ee) -> if :: !MARKED(x) && val[x] == 0 -> val[x] = w :: else fi; mark[x] = true
     :: else fi
}

proctype Proxy(byte me) {
  byte n = 0, s, v, r, a, b, e, wr; short f, d0;
again:
  do
  /* ---------------------------------------------------- READ, no import */
  :: atomic { n < NOPS && !fenced[me] -> begin_op(); OP(READ); TELL(MISS); d0 = dead;
#ifdef BUG_READORDER
       READ(a);
#else
       if :: HOLDS(s) || DUALS(s) -> READ(b) :: else -> READ(a) fi;
#endif
       if :: r != 0 || !(HOLDS(s) || DUALS(s)) -> check_read(); end_op(); goto again :: else fi };
     atomic {
#ifdef BUG_READORDER
       READ(b);
#else
       READ(a);
#endif
       check_read(); end_op() }
  /* -------------------------------- WRITE, DELETE, or a mover or a read that imports */
  :: atomic { n < NOPS && !fenced[me] && nextv < MAXV -> begin_op();
       if :: wr = 0; OP(IMPORT); TELL(DONE)
          :: wr = 1; OP(WRITE)
          :: wr = 2; OP(DELETE)
#ifdef READ_IMPORTS
          :: DUALS(s) -> wr = 3; d0 = dead; OP(READ); TELL(MISS)
#endif
       fi;
       if :: HOLDS(s) -> end_op(); goto again :: else fi; /* TRYAGAIN */
       if :: CHANGES(wr) -> begin_mut() :: !CHANGES(wr) && DUALS(s) -> skip
          :: wr == 0 && !DUALS(s) -> end_op(); goto again fi;
       if :: wr == 2 -> kdel = kdel | BIT(v) :: else fi;
       if :: !DUALS(s) -> goto exec :: else fi;
#ifdef BUG_TARGETFIRST
       if :: val[a] != 0 -> goto exec :: else fi;
#endif
       DUMP(b);
       if :: r == 0 -> goto exec :: else fi };
     atomic { MAYDIE(RESTORE, a, r) };
     atomic { restore(a, r, e); SAY(RESTORE, a) };
     atomic { MAYDIE(UNLINK, b, 0) };
     atomic { if :: EPOK(e) -> val[b] = 0 :: else fi; SAY(UNLINK, b) };
exec:
     atomic { if :: CHANGES(wr) -> MAYDIE(WRITE, a, v) :: else fi };
     atomic {
       if :: wr == 1 -> val[a] = v; ack_mut(); SAY(WRITE, a)
          :: wr == 2 -> val[a] = 0; ack_mut(); SAY(DELETE, a)
#ifdef READ_IMPORTS
          :: wr == 3 -> READ(a); check_read()
#endif
          :: else fi;
       end_op() }
  :: atomic { n < NOPS && fenced[me] -> n++; OP(ANY); SHOW(FENCED_STEP) }   /* error */
  :: n >= NOPS -> break
  od;
  goto stop;
died: atomic { if :: zt == WRITE && zv == v && wr == 2 -> zdel = true :: else fi; end_op() };
  goto again;
stop: skip
}

proctype Agent(byte me) {
  do
  :: atomic { (!part[me] && (st[me] != pub || fenced[me] || excl[me]) && DRAINED(me)) ->
       st[me] = pub; armed[me] = (pub != 0 && pub != 5);
       fenced[me] = false; excl[me] = false }
  od
}

#if CRASH
proctype Zombie() {
  do
  :: atomic { zt != 0 ->
       if
       :: zt == RESTORE -> restore(zn, zv, ze)
       :: zt == UNLINK -> if :: EPOK(ze) -> val[zn] = 0 :: else fi
       :: zt == WRITE -> val[zn] = (zdel -> 0 : zv); ended = ended | BIT(zv); zdel = false
       fi; zt = 0; zn = 0; zv = 0; ze = 0 }
  od
}
#endif

inline newepoch(x) {          /* fresh epoch on both nodes, marks of the target start empty */
  ep++; mark[x] = false; SAY(EPOCH, x);
#ifndef BUG_NOKILL
  if
  :: zt == WRITE -> ended = ended | BIT(zv); zt = 0; zn = 0; zv = 0; ze = 0; zdel = false
  :: else
  fi
#endif
}

proctype Coordinator() {
  byte m = 0;
  do
  :: m < MOVES ->
     atomic {
       ((excl[0] || st[0] == pub) && (excl[1] || st[1] == pub)) -> m++;
       if
       :: pub == 0 -> pub = 1
#ifdef BUG_NOHOLD
       :: pub == 1 -> val[1] = 0; dirty1 = true; newepoch(1); pub = 3
#else
       :: pub == 1 ->
#ifndef BUG_NOSCRUB
          val[1] = 0; SAY(SCRUB, 1);
#endif
          dirty1 = false; pub = 2
#endif
       :: pub == 1 -> pub = 0
       :: pub == 2 && SHORTABORT -> pub = 1
       :: pub == 2 -> dirty1 = true; newepoch(1); pub = 3
       :: pub == 2 && dirty1 -> pub = 8
       :: pub == 8 -> pub = 2
       :: pub == 8 -> newepoch(0); pub = 6
       :: pub == 3 -> pub = 2
       :: pub == 3 && MOVED(0) -> pub = 4
       :: pub == 4 -> pub = 3
       :: pub == 4 -> pub = 5
       :: pub == 6 -> pub = 8
       :: pub == 6 && MOVED(1) -> pub = 7
       :: pub == 7 -> pub = 6
       :: pub == 7 -> pub = 0
       :: pub == 5 -> m = MOVES
       fi;
       SHOW_MOVE
     }
  :: m >= MOVES -> break
  od
}

#if PARTS
proctype Lease() {
  byte p = 0;
  do
  :: atomic { (p < PARTS && !part[0]) -> part[0] = true; p++ }
  :: atomic { part[0] -> part[0] = false }
  :: atomic { (part[0] && armed[0] && !fenced[0] && !busy[0]) -> fenced[0] = true }
#ifdef BUG_NOFENCE
  :: atomic { (part[0] && !excl[0]) -> excl[0] = true }
#else
  :: atomic { (part[0] && fenced[0] && !excl[0]) -> excl[0] = true }
#endif
  od
}
#endif

#ifdef TRACE
init {
  atomic {
    any_of(from, 8); pub = from; st[0] = from; st[1] = from;
    any_of(was[0], 1); val[0] = was[0];
    any_of(was[1], 1); val[1] = was[1];
    any_of(tag, 1); dirty1 = (tag == 1);
    dead = 0;                              /* either value may be read  */
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
    val[0] = LIVE;
#ifdef JUNK
    val[1] = 1;
#endif
    run Proxy(0); run Proxy(1); run Agent(0); run Agent(1); run Coordinator();
#if CRASH
    run Zombie();
#endif
#if PARTS
    run Lease()
#endif
  }
}
#endif

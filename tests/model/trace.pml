/*
 * trace.pml - what the models say while the routing table is drawn from them (-DTRACE).
 *
 * Without TRACE everything here is empty and the models are the bare protocol. With TRACE, init
 * starts one proxy for one operation, or the coordinator for one move, in every step and situation;
 * each node action is noted as it happens, and the end prints one ROW. `check` runs that exhaustively and makes
 * table.txt of the rows. So a rule cannot change in the model without changing in the table.
 */
#ifdef TRACE

/* What is printed for each of these; `check` reads the numbers here. */
#define N_GET      1                /* operations, and actions of the same name       */
#define N_SET      2
#define N_DELETE   3
#define N_ADD      4
#define N_GETS     5
#define N_CAS      6
#define N_READ     7
#define N_WRITE    8
#define N_IMPORT   9
#define N_ANY      10
#define N_MOVE     11
#define N_LEASE    20               /* actions only                                   */
#define N_FILL     21
#define N_REDEEM   22
#define N_RELEASE  23
#define N_DUMP     24
#define N_RESTORE  25
#define N_UNLINK   26
#define N_SCRUB    27
#define N_EPOCH    28
#define N_VALUE    30               /* answers                                        */
#define N_MISS     31
#define N_ACK      32
#define N_REFUSE   33
#define N_DONE     34
#define N_STEP     50               /* 50 + a step: the coordinator went there        */

#define FENCED_STEP 9
#define DOWN        3               /* was[b]: the node did not confirm               */

byte op, told, said[5], at[5], n_said = 0;
byte from, was[2];                  /* the situation before: 0 absent 1 value 2 lease */
byte tag = 2;                       /* cas: whose token, 2 none; move: 1 if dirty1    */

#define OP(o)       op = N_##o; told = N_REFUSE
#define SAY(w, i)   said[n_said] = N_##w; at[n_said] = i; n_said++
#define TELL(t)     told = N_##t
#define UNREACHED(i) was[i] = DOWN
#define SHOW(s) \
    printf("ROW %d %d %d %d %d %d %d %d %d %d %d %d %d %d %d %d %d\n", \
           s, op, told, was[0], was[1], tag, n_said, said[0], at[0], said[1], at[1], \
           said[2], at[2], said[3], at[3], said[4], at[4])

#define SHOW_MOVE   op = N_MOVE; told = N_STEP + pub; SHOW(from)

inline any_of(x, last) {            /* x = any of 0..last */
    x = 0;
    do :: x < last -> x++ :: break od
}

#else
#define OP(o)
#define SAY(w, i)
#define TELL(t)
#define UNREACHED(i)
#define SHOW(s)
#define SHOW_MOVE
#endif

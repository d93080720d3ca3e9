/* The ready queue: which turn runs next, and for how long one may have to wait.
 * The code: meridian/engine/ready.py, and the short cut in meridian/engine/kernel.py, PythonEngine.run.
 *
 * Modelled: a line for each of three bands, first in, first out; smooth weighted round robin over the bands that have work;
 * a band that was passed over too often goes first; the engine's short cut where only NORMAL has work; turns that come at
 * any moment. Not modelled: a turn that changes its band while it waits; how long a slice takes.
 *
 * Bounds of the search: TURNS turns wait in a band at most, with the weights W0 W1 W2. Within them it is complete, for
 * histories of any length: nothing counts up for ever. One turn at a time is measured; which, the checker chooses.
 *
 * From check.py: W0 W1 W2 TURNS, and B0 B1 B2: for how many picks of others a band with work waits at most.
 *
 * A line that begins with STEP is a step of a failure file. WAS is what came of it, and FAIL what should have: a band, and a
 * place in its line as it is then.
 */

#define SUM (W0 + W1 + W2)
#define REQUIRE(cond, band, place) if :: (cond) -> skip :: else -> printf("FAIL READY-202 %d %d\n", band, place); assert(false) fi

byte weight[3];
short saved[3];     /* what the round robin owes a band */
byte waits[3];      /* picks of others while it had work, as the queue counts them */
byte patience[3];   /* at that many it goes first */
byte turns[3];      /* how many wait */

/* What only the property looks at. */
byte bound[3];
byte others[3];     /* picks of others while it had work, as they really were */
bool measured;      /* a turn is measured: */
byte its_band, in_front, picks, most;

byte b, best, late, total;

#define FOUND(cond) if :: (cond) -> printf("FOUND\n"); assert(false) :: else -> skip fi;
#if defined(WITNESS_CONTROL_WAITS)
#define SITUATIONS FOUND(others[0] == bound[0])
#elif defined(WITNESS_HIGH_WAITS)
#define SITUATIONS FOUND(others[1] == bound[1])
#elif defined(WITNESS_NORMAL_WAITS)
#define SITUATIONS FOUND(others[2] == bound[2])
#elif defined(WITNESS_LATE_NORMAL_GOES_FIRST)
#define SITUATIONS FOUND(late == 2)
#elif defined(WITNESS_TWO_ARE_LATE)
#define SITUATIONS FOUND(late == 2 && waits[1] > patience[1])
#elif defined(WITNESS_LAST_IN_LINE_IS_SERVED)
#define SITUATIONS FOUND(!measured && its_band == 2 && most == TURNS * (bound[2] + 1) - 1 && picks > bound[2])
#else
#define SITUATIONS
#endif

/* Who goes next, as ReadyQueue.pick() says. */
inline pick() {
    best = 3; late = 3; total = 0; b = 0;
    do
    :: b < 3 && turns[b] ->
        total = total + weight[b];
        saved[b] = saved[b] + weight[b];
        if
        :: best == 3 -> best = b
        :: best < 3 && saved[b] > saved[best] -> best = b
        :: else -> skip
        fi;
#if defined(BUG_ONLY_CONTROL_IS_LATE)
        if
        :: b == 0 && waits[b] >= patience[b] -> late = b
        :: else -> skip
        fi;
#elif defined(BUG_FIRST_LATE_BAND)
        if
        :: waits[b] >= patience[b] && late == 3 -> late = b
        :: else -> skip
        fi;
#elif !defined(BUG_NO_PATIENCE)
        if
        :: waits[b] >= patience[b] && late == 3 -> late = b
        :: waits[b] >= patience[b] && late != 3 && late != 0 && waits[b] > waits[late] -> late = b
        :: else -> skip
        fi;
#endif
        waits[b]++;
        b++
    :: b < 3 && !turns[b] ->
#ifdef BUG_HOARDS
        saved[b] = (saved[b] < SUM -> saved[b] + weight[b] : saved[b]);
#else
        saved[b] = 0;
#endif
        waits[b] = 0;
        b++
    :: b == 3 -> break
    od;
    if
    :: late < 3 -> best = late
    :: else -> skip
    fi;
#ifdef BUG_STRICT
    best = (turns[0] -> 0 : (turns[1] -> 1 : 2));
#endif
    saved[best] = saved[best] - total;
    waits[best] = 0
}

inline run_one() {
    if
    :: turns[0] || turns[1] -> pick()
    :: else -> best = 2         /* no choice, so the engine doesn't ask */
    fi;
    b = 0;
    do
    :: b < 3 && turns[b] && b != best ->
        others[b]++;
        b++
    :: b < 3 && (!turns[b] || b == best) -> others[b] = 0; b++
    :: b == 3 -> break
    od;
    /* Which turn of the band: the one in front. */
#ifdef BUG_LAST_FIRST
    printf("WAS %d %d\n", best, turns[best] - 1);
#else
    printf("WAS %d 0\n", best);
#endif
    if
    :: measured && its_band == best ->
        picks++;
        if
#ifdef BUG_LAST_FIRST
        :: in_front == turns[best] - 1 -> measured = false
        :: else -> skip
#else
        :: in_front == 0 -> measured = false
        :: else -> in_front--
#endif
        fi
    :: measured && its_band != best -> picks++
    :: else -> skip
    fi;
    turns[best]--;
    REQUIRE(others[0] <= bound[0], 0, 0);
    REQUIRE(others[1] <= bound[1], 1, 0);
    REQUIRE(others[2] <= bound[2], 2, 0);
    REQUIRE(!measured || picks <= most, its_band, in_front);
    SITUATIONS
    if
    :: !measured -> picks = 0; in_front = 0; its_band = 0; most = 0
    :: else -> skip
    fi;
    b = 0; best = 0; late = 0; total = 0
}

active proctype queue() {
    byte x;
    d_step {
        weight[0] = W0; weight[1] = W1; weight[2] = W2;
        bound[0] = B0; bound[1] = B1; bound[2] = B2;
        patience[0] = (SUM - W0 + W0 - 1) / W0;
        patience[1] = (SUM - W1 + W1 - 1) / W1;
        patience[2] = (SUM - W2 + W2 - 1) / W2
    }
    do
    :: atomic {
        if
        :: turns[0] < TURNS -> x = 0
        :: turns[1] < TURNS -> x = 1
        :: turns[2] < TURNS -> x = 2
        fi;
        printf("STEP enqueue %d\n", x);
        if
        :: !measured -> measured = true; its_band = x; in_front = turns[x]; most = (turns[x] + 1) * (bound[x] + 1) - 1
        :: true -> skip
        fi;
        turns[x]++;
        x = 0
    }
    :: d_step {
        turns[0] || turns[1] || turns[2] ->
        printf("STEP pick\n");
        run_one()
    }
    od
}

/* One edge: what it does when it is full, and how those who wait for room are let on.
 * The code: meridian/engine/ring.py (Ring), and PythonEngine.run and _let_on in meridian/engine/kernel.py.
 *
 * Modelled: both lanes; the four policies; those who wait for room in the ring's list; release at the low mark, and of all
 * who wait at once; each then tries again in a turn of its own, which anything may come before; what lets them on where
 * nothing else is due; cancellation of a wait at any moment; closing. Not modelled: limits by bytes and age, policies of
 * your own, other threads, a coalesce function that fails, several messages parked by one node.
 *
 * Bounds of the search: CAPACITY items, WAITERS producers that wait at once. Within them it is complete, for histories of any
 * length: an item's number is used again when the item is gone. It is one process, since the engine has one thread; what
 * happens between the turns is its choice.
 *
 * From check.py: POLICY (0 block, 1 drop, 2 latest, 3 coalesce), CAPACITY, WAITERS. With SETTLED every step is followed by all
 * the turns that it caused, as in the histories that the conformance kit plays, and only data on a blocking edge waits.
 *
 * The ring's own state has plain names. What begins with true_ is the history by the rules: the property compares the two,
 * only where somebody outside could. A line that begins with STEP is a step of a failure file, WAS is what came of it and WOKEN
 * who went on because of it; FAIL names the rule, with what should have come.
 */

#define IDS (CAPACITY + WAITERS + 1)
#define LOW (CAPACITY / 2)
#define NONE 255

#define BLOCK 0
#define DROP 1
#define LATEST 2
#define COALESCE 3

/* Results, in the order of RESULTS in trails.py. */
#define OK 0
#define BLOCKED 1
#define DROPPED 2
#define REPLACED 3
#define COALESCED 4
#define CLOSED 5

#define REQUIRE(rule, cond, want) if :: (cond) -> skip :: else -> printf("FAIL EDGE-%d %d\n", rule, want); assert(false) fi
#define SEEN(cond) if :: (cond) -> printf("FOUND\n"); assert(false) :: else -> skip fi

/* A list of item numbers, oldest first. */
typedef List { byte n; byte at[IDS + 1] };

List data, control;     /* what the ring holds */
List waiters;           /* who waits for room; let on in this order */
List line;              /* who was let on, and tries again in a turn to come */
bool attended;          /* the ring is among those that the engine looks after when nothing is due */
bool no_list;           /* nobody has waited yet since the last release: waiters is None, rather than empty */
bool closed;

List true_data, true_control, true_waiters;
byte state[IDS];        /* of each number: 0 free, 1 held, 2 waits */
bool is_control[IDS];

bool unsettled;         /* something was done since the engine last found nothing due */
byte id, result, i, j, got;

inline append(l, x) { l.at[l.n] = x; l.n++ }

/* Take what is at place p. */
inline take_at(l, p) {
    j = p;
    do
    :: j + 1 < l.n -> l.at[j] = l.at[j + 1]; j++
    :: else -> break
    od;
    l.n--; l.at[l.n] = 0; j = 0
}

/* Take x, where it is. */
inline take_out(l, x) {
    i = 0;
    do
    :: i < l.n && l.at[i] == x -> take_at(l, i); break
    :: i < l.n && l.at[i] != x -> i++
    :: i >= l.n -> break
    od;
    i = 0
}

/* Ring._put() */
inline ring_put(x) {
    if
#ifdef BUG_ONE_TOO_MANY
    :: data.n + control.n < CAPACITY + 1 ->
#elif defined(BUG_CONTROL_NOT_COUNTED)
    :: (is_control[x] && control.n < CAPACITY) || (!is_control[x] && data.n < CAPACITY) ->
#else
    :: data.n + control.n < CAPACITY ->
#endif
        result = OK;
        if
        :: is_control[x] -> append(control, x)
        :: !is_control[x] -> append(data, x)
        fi
    :: else ->
        if
#ifdef BUG_POLICY_LOSES_CONTROL
        :: is_control[x] && POLICY == BLOCK -> result = BLOCKED
        :: is_control[x] && POLICY != BLOCK -> result = DROPPED
#else
        :: is_control[x] -> result = BLOCKED
#endif
        :: !is_control[x] && POLICY == BLOCK -> result = BLOCKED
        :: !is_control[x] && POLICY == DROP ->
            result = DROPPED;
#ifdef BUG_DROPS_THE_OLDEST
            if
            :: data.n -> take_at(data, 0); append(data, x)
            :: else -> skip
            fi
#endif
        :: !is_control[x] && POLICY == LATEST && data.n ->
            result = REPLACED;
#ifdef BUG_REPLACES_THE_NEWEST
            take_at(data, data.n - 1);
#else
            take_at(data, 0);
#endif
            append(data, x)
        :: !is_control[x] && POLICY == COALESCE && data.n ->
            result = COALESCED;
#ifdef BUG_MERGES_INTO_THE_OLDEST
            data.at[0] = x;
#else
            data.at[data.n - 1] = x;    /* the merged item travels in the newer one's envelope */
#endif
        :: !is_control[x] && (POLICY == LATEST || POLICY == COALESCE) && !data.n -> result = DROPPED
        fi
    fi
}

/* What should have come of it, and what did. */
inline put(x) {
    ring_put(x);
    if
    :: true_data.n + true_control.n < CAPACITY ->
        REQUIRE(107, result == OK, OK);
        state[x] = 1;
        if
        :: is_control[x] -> append(true_control, x)
        :: !is_control[x] -> append(true_data, x)
        fi
    :: else ->
        REQUIRE(101, result != OK, (is_control[x] || POLICY == BLOCK -> BLOCKED : POLICY + 1));
        if
        :: is_control[x] -> REQUIRE(108, result == BLOCKED, BLOCKED)
        :: !is_control[x] && POLICY == BLOCK -> REQUIRE(110, result == BLOCKED, BLOCKED)
        :: !is_control[x] && (POLICY == DROP || (POLICY != BLOCK && !true_data.n)) ->
            REQUIRE(104, result == DROPPED, DROPPED);
            state[x] = 0
        :: !is_control[x] && POLICY == LATEST && true_data.n ->
            REQUIRE(112, result == REPLACED, REPLACED);
            state[true_data.at[0]] = 0;
            take_at(true_data, 0);
            append(true_data, x);
            state[x] = 1
        :: !is_control[x] && POLICY == COALESCE && true_data.n ->
            REQUIRE(113, result == COALESCED, COALESCED);
            state[true_data.at[true_data.n - 1]] = 0;
            true_data.at[true_data.n - 1] = x;
            state[x] = 1
        fi
    fi;
    REQUIRE(101, data.n + control.n <= CAPACITY, CAPACITY);
    REQUIRE(103, data.n + control.n == true_data.n + true_control.n, true_data.n + true_control.n);
#ifdef WITNESS_REPLACED
    SEEN(result == REPLACED);
#endif
#ifdef WITNESS_COALESCED
    SEEN(result == COALESCED);
#endif
#ifdef WITNESS_DROPPED
    SEEN(result == DROPPED && data.n);
#endif
#ifdef WITNESS_NOTHING_TO_GIVE_WAY
    SEEN(result == DROPPED && !data.n);
#endif
}

/* Ring.wait() */
inline wait(x) {
#ifdef BUG_ATTENDS_ONLY_THE_FIRST       /* the ring of 2.0 before this model */
    if
    :: no_list -> attended = true; no_list = false
    :: else -> skip
    fi;
#else
    if
    :: !waiters.n -> attended = true; no_list = false
    :: else -> skip
    fi;
#endif
    append(waiters, x)
}

/* Ring.release() */
inline release() {
    i = 0;
    do
    :: i < waiters.n ->
#ifdef BUG_LAST_WAITER_FIRST
        append(line, waiters.at[waiters.n - 1 - i]);
#else
        append(line, waiters.at[i]);
#endif
        i++
    :: i >= waiters.n -> break
    od;
#ifndef BUG_RELEASE_KEEPS_THE_LIST
    do
    :: waiters.n -> take_at(waiters, 0)
    :: !waiters.n -> break
    od;
    no_list = true;
#endif
    i = 0
}

/* It waits no more. */
inline waits_no_more(x) {
    take_out(true_waiters, x);
    state[x] = 0
}

/* The turn of one that was let on: Run.room_on(), then the same put again. */
inline turn() {
    id = line.at[0];
    take_at(line, 0);
    REQUIRE(122, state[id] != 3, NONE);
    REQUIRE(103, state[id] == 2, NONE);
    if
    :: closed ->
        printf("WOKEN %d %d\n", id, CLOSED);
        waits_no_more(id)
    :: !closed ->
        put(id);
        if
        :: result == BLOCKED -> wait(id)
        :: result != BLOCKED ->
            printf("WOKEN %d %d\n", id, result);
#ifdef SETTLED
            REQUIRE(121, true_waiters.at[0] == id, true_waiters.at[0]);
#endif
#ifdef WITNESS_OVERTAKEN
            SEEN(true_waiters.at[0] != id);
#endif
            take_out(true_waiters, id)
        fi;
#ifdef WITNESS_NO_ROOM_AFTER_ALL
        SEEN(result == BLOCKED)
#endif
    fi;
    id = 0; result = 0
}

/* PythonEngine._let_on(), and what must hold when it found nothing to do. */
inline nothing_due() {
#ifndef BUG_NOBODY_LOOKS
    if
    :: attended && !waiters.n -> attended = false
    :: attended && waiters.n && data.n + control.n < CAPACITY ->
        attended = false;
        release();
#ifdef WITNESS_LET_ON_WHEN_NOTHING_IS_DUE
        SEEN(true)
#endif
    :: else -> skip
    fi;
#endif
    if
    :: line.n -> skip
    :: !line.n ->
        unsettled = false;
        REQUIRE(124, !closed || !true_waiters.n, true_waiters.at[0]);
        REQUIRE(120, !true_waiters.n || data.n + control.n == CAPACITY, true_waiters.at[0])
    fi
}

/* Somebody puts item x; may_wait: if there is no room, it waits for some. */
inline put_new(x, may_wait) {
    if
    :: closed -> result = CLOSED
    :: !closed ->
#ifdef WITNESS_NEWCOMER_TAKES_THE_ROOM
        SEEN(true_waiters.n && data.n + control.n < CAPACITY);
#endif
        put(x)
    fi;
    printf("WAS %d\n", result);
    if
    :: result == BLOCKED && may_wait ->
        state[x] = 2;
        append(true_waiters, x);
        wait(x);
#ifdef WITNESS_ALL_WAIT
        SEEN(true_waiters.n == WAITERS);
#endif
#ifdef WITNESS_CONTROL_WAITS
        SEEN(is_control[x]);
#endif
        skip
    :: else -> skip
    fi;
    unsettled = true;
    result = 0
}

/* The consumer takes one: a slice of its turn, Ring.take() or Ring.take_control(). */
inline get() {
    if
#ifdef BUG_CONTROL_LAST
    :: control.n && !data.n ->
#else
    :: control.n ->
#endif
#ifdef WITNESS_CONTROL_OVERTAKES
        SEEN(data.n);
#endif
        got = control.at[0];
        take_at(control, 0);
        if
        :: waiters.n -> release()
        :: else -> skip
        fi
    :: else ->
#ifdef BUG_NEWEST_FIRST
        got = data.at[data.n - 1];
        take_at(data, data.n - 1);
#else
        got = data.at[0];
        take_at(data, 0);
#endif
        if
        :: waiters.n && data.n <= LOW -> release()
        :: else -> skip
        fi
    fi;
    printf("WAS %d\n", got);
    if
    :: true_control.n ->
        REQUIRE(108, got == true_control.at[0], true_control.at[0]);
        take_at(true_control, 0)
    :: !true_control.n ->
        if
        :: POLICY == BLOCK -> REQUIRE(102, got == true_data.at[0], true_data.at[0])
        :: POLICY == DROP -> REQUIRE(111, got == true_data.at[0], true_data.at[0])
        :: POLICY == LATEST -> REQUIRE(112, got == true_data.at[0], true_data.at[0])
        :: POLICY == COALESCE -> REQUIRE(113, got == true_data.at[0], true_data.at[0])
        fi;
        take_at(true_data, 0)
    fi;
    state[got] = 0;
    REQUIRE(103, data.n + control.n == true_data.n + true_control.n, true_data.n + true_control.n);
    unsettled = true;
    got = 0
}

/* One that waits, and may have been let on already, is cancelled: it leaves the line. */
inline cancel(x) {
#ifdef BUG_CANCELLED_STAYS
    take_out(true_waiters, x);
    state[x] = 3;
#else
#ifdef WITNESS_CANCELLED_WHEN_LET_ON
    SEEN(!waiters.n && line.n > 1);
#endif
    take_out(waiters, x);
    take_out(line, x);      /* its turn comes in the code, and does nothing */
    waits_no_more(x);
#endif
    unsettled = true
}

inline close() {
    closed = true;
#ifdef WITNESS_CLOSED_ON_WAITERS
    SEEN(true_waiters.n > 1);
#endif
#ifndef BUG_CLOSE_FORGETS_WAITERS
    release();
#endif
    unsettled = true
}

#ifdef SETTLED
#define AT_REST (!line.n && !unsettled)
#define MAY_WAIT (true_waiters.n < WAITERS && !is_control[x] && POLICY == BLOCK)
#else
#define AT_REST true
#define MAY_WAIT (true_waiters.n < WAITERS)
#endif

active proctype edge() {
    byte x;
    d_step { no_list = true }
    do
    :: atomic { AT_REST ->
        x = 0;
        do
        :: state[x] -> x++
        :: !state[x] -> break
        od;
        if
        :: is_control[x] = false
        :: is_control[x] = true
        fi;
        if
        :: printf("STEP put %d %d\n", x, is_control[x]); d_step { put_new(x, false); x = 0 }
        :: MAY_WAIT -> printf("STEP put_wait %d %d\n", x, is_control[x]); d_step { put_new(x, true); x = 0 }
        fi
    }
    :: d_step { AT_REST && data.n + control.n -> printf("STEP get\n"); get() }
    :: atomic { AT_REST && true_waiters.n > 0 && !closed ->
        x = true_waiters.at[0];
        if
        :: true
        :: true_waiters.n > 1 -> x = true_waiters.at[1]
        :: true_waiters.n > 2 -> x = true_waiters.at[2]
        fi;
        printf("STEP cancel %d\n", x);
        d_step { cancel(x); x = 0 }
    }
    :: d_step { AT_REST && !closed -> printf("STEP close\n"); close() }
    :: d_step { line.n > 0 -> printf("TURN\n"); turn() }
    :: d_step { !line.n && unsettled -> printf("IDLE\n"); nothing_due() }
    od
}

//! Seeded faults: mistakes as somebody might make them, to prove that the conformance kit finds them in this engine, too.
//!
//! They exist with the cargo feature `faults` only, which no wheel that is published is built with; one is chosen by name while
//! the module runs. Without the feature [`fault`] is the constant `false`, and the compiler removes what stands behind it.
//! `ci/rust faults` demands that the kit catches each by the rule that is named here.

macro_rules! faults {
    ($( $(#[doc = $what:literal])+ $name:ident: $rule:literal, )+) => {
        /// One mistake.
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub enum Fault { $( $(#[doc = $what])+ $name, )+ }

        /// All of them: the fault, its name, and the rule that has to catch it.
        #[cfg(feature = "faults")]
        pub const ALL: &[(Fault, &str, &str)] = &[ $( (Fault::$name, stringify!($name), $rule), )+ ];
    };
}

faults! {
    // ---- the ring ------------------------------------------------------------------------------------------------
    /// A full ring takes one item more.
    CapacityPlusOne: "EDGE-101",
    /// Items are taken at the end at which they are put.
    LastInFirstOut: "EDGE-102",
    /// Two items change places where a ring of this capacity would begin anew.
    SwapsTwoOnWrapAround: "EDGE-102",
    /// The seventh item that is put vanishes.
    LosesTheSeventhPut: "EDGE-103",
    /// A dropped item is said to be accepted.
    SaysOkAndDrops: "EDGE-104",
    /// One place is never used.
    FullOneEarly: "EDGE-107",
    /// CONTROL waits behind data.
    ControlWaitsInLine: "EDGE-108",
    /// A full ring takes CONTROL in place of CONTROL.
    ControlIsReplaced: "EDGE-108",
    /// A blocking ring refuses an item, and keeps it in place of the newest.
    OverwritesWhatItHolds: "EDGE-110",
    /// A dropping ring discards the oldest item.
    DropsTheOldest: "EDGE-111",
    /// A latest ring discards the newest item.
    ReplacesTheNewest: "EDGE-112",
    /// A latest ring discards nothing.
    GrowsByOne: "EDGE-112",
    /// The function gets the new item first.
    CoalescesInTheWrongOrder: "EDGE-113",
    /// The function is called twice.
    CoalescesTwice: "EDGE-113",
    /// The merged item takes the place of the oldest.
    CoalescesTheOldest: "EDGE-113",
    /// When the function fails the older item stays.
    KeepsTheOlderWhenCoalesceFails: "EDGE-114",
    /// When the function fails its thread stays inside the gate.
    StaysInsideWhenCoalesceFails: "EDGE-114",
    /// Only items are counted, whatever their bytes.
    IgnoresBytes: "EDGE-115",
    /// Bytes of what leaves stay charged.
    NeverGivesBytesBack: "EDGE-115",
    /// One item is replaced even if more have to leave.
    ReplacesOnlyOne: "EDGE-115",
    /// Nothing ever expires.
    DeliversStaleItems: "EDGE-116",
    /// An item that waited as long as it may is lost.
    ExpiresOneTooMany: "EDGE-116",
    /// Nobody hears that data came to an empty ring.
    ForgetsToWake: "EDGE-120",
    /// Nobody hears that an item left a full ring.
    ForgetsWhoWaits: "EDGE-120",
    /// A replaced item is counted twice.
    CountsReplacedTwice: "EDGE-130",
    /// A dropped item is counted as replaced.
    CountsUnderTheWrongCause: "EDGE-130",
    /// A refused item is counted as delivered.
    CountsRefusedAsAccepted: "EDGE-130",
    // ---- the ready queue -----------------------------------------------------------------------------------------
    /// The fourth turn of a line is lost.
    LosesTheFourthOfALine: "READY-201",
    /// The most urgent band is always served.
    StrictPriority: "READY-202",
    /// A band saves up while it has no work.
    HoardsCredit: "READY-202",
    /// No band is ever late.
    HasNoPatience: "READY-202",
    /// The newest turn of a band is served first.
    NewestFirst: "READY-204",
    /// All weights are one.
    SharesEqually: "READY-205",
    /// NORMAL isn't counted.
    CountsWithoutNormal: "READY-206",
    /// A turn that is given another band stays in the line of the old one.
    StaysInItsOldBand: "READY-207",
    // ---- steps and the loop --------------------------------------------------------------------------------------
    /// There is room for one more than the capacity where results are handed on.
    HoldsMoreThanItsCapacity: "ENGINE-501",
    /// What is merged is also counted as delivered.
    CountsMergedAsDelivered: "ENGINE-501",
    /// A batch keeps no room for what may come back of it.
    KeepsNoRoomForTheRest: "ENGINE-501",
    /// An emission goes to whoever has room, and waits for the others.
    FansOutToWhoHasRoom: "ENGINE-502",
    /// A batch is handled newest first.
    HandlesNewestFirst: "ENGINE-503",
    /// What is left of a batch that was cut short is lost.
    LosesTheRestOfABatch: "ENGINE-501",
    /// A node that is held runs all the same.
    RunsNodesThatAreHeld: "ENGINE-504",
    /// A turn goes to the front of its line.
    ServesTheSameEdgeAgain: "ENGINE-506",
    /// A slice takes as much as there is.
    TakesWhateverThereIs: "ENGINE-507",
    /// A failure isn't recorded.
    DoesNotRecordFailures: "ENGINE-508",
    /// A failure is recorded where it is caught, and again where it is reported.
    RecordsEachFailureTwice: "ENGINE-508",
    /// The batch ends with a failure, and what is left of it is lost.
    LosesTheRestAfterAFailure: "ENGINE-501",
    /// Of those who wait for room only the first is let on.
    ForgetsOneOfTwoWhoWait: "ENGINE-509",
    /// A turn with more to do isn't queued again.
    ForgetsToQueueAgain: "ENGINE-509",
    /// A turn tries again and again instead of waiting for room.
    SpinsWhileItWaits: "ENGINE-511",
    // ---- what ready-made nodes do --------------------------------------------------------------------------------
    /// The first two messages that leave change places.
    SwapsWhatLeaves: "NODE-601",
    /// Only `True` itself holds true.
    KeepsOnlyTrueItself: "NODE-602",
    /// A slice goes where its first message goes.
    SendsASliceOneWay: "NODE-603",
    /// A list leaves when it has one item more than its size.
    GathersOneMore: "NODE-604",
    /// Nothing is set to let go of what is held in time.
    SetsNoAlarm: "NODE-605",
    /// What has no room is lost.
    DropsWhatFindsNoRoom: "NODE-606",
    /// What the node itself would have to be asked about is lost.
    LosesWhatTheNodeIsAsked: "NODE-607",
    /// The test is asked about ERROR messages, too.
    TestsErrorsToo: "NODE-608",
    /// A node with more on its edge isn't queued again.
    LeavesTheRestOnTheEdge: "NODE-609",
    /// Whatever leaves costs no token.
    TokensAreFree: "NODE-610",
}

/// Says whether this mistake is to be made.
#[cfg(not(feature = "faults"))]
#[inline]
pub const fn fault(_fault: Fault) -> bool {
    false
}

#[cfg(feature = "faults")]
pub use seeded::{fault, seed};

#[cfg(feature = "faults")]
mod seeded {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::{Fault, ALL};

    /// The number of the fault that was chosen, or one that none has.
    static CHOSEN: AtomicUsize = AtomicUsize::new(usize::MAX);

    /// Says whether this mistake is to be made.
    #[inline]
    pub fn fault(fault: Fault) -> bool {
        // Relaxed: it is chosen before anything is examined, by the thread that examines.
        CHOSEN.load(Ordering::Relaxed) == fault as usize
    }

    /// Chooses the mistake that is made from now on, or none; says whether there is one of that name.
    pub fn seed(name: Option<&str>) -> bool {
        let chosen = match name {
            None => Some(usize::MAX),
            Some(name) => ALL.iter().find(|(_, known, _)| *known == name).map(|(fault, ..)| *fault as usize),
        };
        if let Some(chosen) = chosen {
            CHOSEN.store(chosen, Ordering::Relaxed); // as above
        }
        chosen.is_some()
    }
}

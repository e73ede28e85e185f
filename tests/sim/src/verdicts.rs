//! How often each invariant was evaluated, and the first that was broken: a run ends there.

/// Declares the invariants, each with the name it is reported by.
macro_rules! invariants {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// What is promised.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Invariant { $(#[doc = $text] $name),* }

        impl Invariant {
            /// All of them.
            pub const ALL: &[Invariant] = &[$(Invariant::$name),*];

            /// The name.
            pub fn name(self) -> &'static str {
                match self { $(Invariant::$name => $text),* }
            }
        }
    };
}

invariants! {
    AckedWriteSurvives = "acked_write_survives",
    AcksAreDurable = "acks_are_durable",
    AcksOutlastLosses = "acks_outlast_losses",
    ReceiptsTellTheTruth = "receipts_tell_the_truth",
    NothingFromNowhere = "nothing_from_nowhere",
    DotsAreUnique = "dots_are_unique",
    MintsSettleWhatTheySaw = "mints_settle_what_they_saw",
    MintersRemember = "minters_remember",
    OpenMintsStayOpen = "open_mints_stay_open",
    FailedLeavesNothing = "failed_leaves_nothing",
    ReadsSeeAckedWrites = "reads_see_acked_writes",
    StrictReadsNeverGoBack = "strict_reads_never_go_back",
    ShownIsDurable = "shown_is_durable",
    SiblingsAreConcurrent = "siblings_are_concurrent",
    RetriesMakeNoSibling = "retries_make_no_sibling",
    SessionsGoForward = "sessions_go_forward",
    QuorumsIntersect = "quorums_intersect",
    ContextsGrow = "contexts_grow",
    SettlingHasNoCycle = "settling_has_no_cycle",
    SettledStaysSettled = "settled_stays_settled",
    StepsGrow = "steps_grow",
    IncarnationsGrow = "incarnations_grow",
    ViewsAgree = "views_agree",
    ReplicasAgree = "replicas_agree",
    StraysAreRefused = "strays_are_refused",
    NothingIsLeftOver = "nothing_is_left_over",
    QueuesAreBounded = "queues_are_bounded",
    StoreOpensAgain = "store_opens_again",
    SyncedIsReadBack = "synced_is_read_back",
    FailedDisksStopShards = "failed_disks_stop_shards",
    DamageIsNoticed = "damage_is_noticed",
    OldFoldersAreKnown = "old_folders_are_known",
    JoiningCopiesAreSilent = "joining_copies_are_silent",
    RefilledCopiesKnow = "refilled_copies_know",
    OnlyCopiesAreKept = "only_copies_are_kept",
    LostCopiesAreRefilled = "lost_copies_are_refilled",
    LeavesAreOfTheData = "leaves_are_of_the_data",
    HealedClusterAnswers = "healed_cluster_answers",
    MachinesDontPanic = "machines_dont_panic",
    TimeoutsAreHarmless = "timeouts_are_harmless",
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    /// Microseconds of virtual time.
    pub at_us: u64,
    /// What was seen.
    pub what: String,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Verdicts {
    evaluated: [u64; Invariant::ALL.len()],
    broken: Option<Violation>,
}

impl Default for Verdicts {
    fn default() -> Verdicts {
        Verdicts { evaluated: [0; Invariant::ALL.len()], broken: None }
    }
}

impl Verdicts {
    /// Takes in what an evaluation came to.
    pub fn judge(&mut self, invariant: Invariant, at_us: u64, result: Result<(), String>) {
        self.evaluated[invariant as usize] += 1;
        if let (Err(what), None) = (result, &self.broken) {
            self.broken = Some(Violation { invariant: invariant.name(), at_us, what });
        }
    }

    /// The first that was broken.
    pub fn broken(&self) -> Option<&Violation> {
        self.broken.as_ref()
    }

    /// How often each was evaluated.
    pub fn evaluated(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Invariant::ALL.iter().map(|invariant| (invariant.name(), self.evaluated[*invariant as usize]))
    }
}

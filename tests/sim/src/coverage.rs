//! What a run met: the faults that were injected, and the situations that should arise sometimes if the runs are to show
//! anything.

/// Declares a closed set of names.
macro_rules! names {
    ($(#[$doc:meta])* $set:ident { $($name:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum $set { $(#[doc = $text] $name),* }

        impl $set {
            /// All of them.
            pub const ALL: &[$set] = &[$($set::$name),*];

            /// The name.
            pub fn name(self) -> &'static str {
                match self { $($set::$name => $text),* }
            }
        }
    };
}

names! {
    /// What is injected.
    Injected {
        Crash = "crash",
        LongCrash = "long_crash",
        PowerLoss = "power_loss",
        Partition = "partition",
        OneWay = "one_way_partition",
        ClientCut = "client_cut",
        Grey = "grey_node",
        Pause = "pause",
        Panic = "panic",
        Poison = "poison",
        Stray = "stray",
        SlowDisk = "slow_disk",
        DiskFailure = "disk_failure",
        BadBlocks = "bad_blocks",
        BadTable = "bad_table",
        ClockJump = "clock_jump",
        Storm = "storm",
        LostFolder = "lost_folder",
        LossAtWrite = "loss_at_write",
        OldCopy = "old_copy",
        FlippedBits = "flipped_bits",
        FullDisk = "full_disk",
        Swizzle = "swizzle",
        LongPartition = "long_partition",
        Lost = "message_lost",
        Doubled = "message_doubled",
        Late = "message_late",
        NotSent = "message_not_sent",
    }
}

names! {
    /// What should arise sometimes.
    Situation {
        CrashBeforeSync = "a crash between append and sync",
        TornWrite = "a crash that kept a part of what was not synced",
        CrashAtTable = "a crash while a table was written",
        PanicInFlight = "an actor panicked with requests in its hands",
        FormerBoot = "a message came for a former boot",
        LostAnswer = "a write's answer was lost, and the write retried",
        RetryKnown = "a retry was found minted already",
        MintedTwice = "a write was minted twice",
        ForgottenRetry = "a retry met what had settled it, at a copy that had forgotten it",
        ReadRepair = "a read repaired a replica",
        RepairRacesWrite = "a read repair met a write of the same key under way",
        Siblings = "a read showed siblings",
        SiblingsSettled = "a write settled siblings",
        Deleted = "a read found a deleted key gone",
        TableWritten = "a memtable became a table",
        TablesMerged = "tables were merged",
        TableGone = "a read met a table that was merged meanwhile",
        CrashAtMerge = "a crash while tables were merged",
        BlockFetched = "a read fetched a block",
        RunFetched = "a page fetched neighbouring blocks at once",
        ReplayedLog = "a shard read its log back",
        Busy = "a request was refused for want of room",
        BadClock = "a write's clock was too far ahead",
        PeerDead = "a node believed another dead",
        Refuted = "a node refuted a rumour about itself",
        Unavailable = "too few replicas seemed alive",
        Unknown = "a write ended unknown",
        Failed = "a write failed",
        Forwarded = "a put was forwarded to its minter",
        TakenBack = "a crash took back what was acknowledged from memory",
        StrictRepair = "a strict read made what it shows durable",
        LargeValue = "a value took several pieces of the log",
        SetAside = "a damaged folder was set aside",
        DamageMet = "a process read what was damaged",
        GroupLost = "a copy lost what it held",
        OldFolderKnown = "an old copy of a folder was recognised",
        GroupWiped = "a group's tables were dropped",
        Refilled = "a copy was refilled",
        CrashAtRefill = "a crash while copies were refilled",
        WriteAtRefill = "a write came to a copy that was being refilled",
        StartedFull = "a process could not start on a full disk",
        StoppedFull = "a store stopped for want of room",
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Coverage {
    injected: Vec<u64>,
    met: Vec<u64>,
}

impl Default for Coverage {
    fn default() -> Coverage {
        Coverage { injected: vec![0; Injected::ALL.len()], met: vec![0; Situation::ALL.len()] }
    }
}

impl Coverage {
    /// A fault was injected.
    pub fn inject(&mut self, what: Injected) {
        self.injected[what as usize] += 1;
    }

    /// A situation arose.
    pub fn sometimes(&mut self, what: Situation) {
        self.met[what as usize] += 1;
    }

    /// How often each fault was injected.
    pub fn injected(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Injected::ALL.iter().map(|what| (what.name(), self.injected[*what as usize]))
    }

    /// How often each situation arose.
    pub fn met(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Situation::ALL.iter().map(|what| (what.name(), self.met[*what as usize]))
    }
}

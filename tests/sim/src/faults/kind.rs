//! The kinds of faults.

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A process ends at once, and starts again.
    Crash,
    /// A process ends, and stays away longer than any operation lasts; sometimes another's folder is lost meanwhile.
    LongCrash,
    /// All processes do.
    PowerLoss,
    /// Two groups of nodes do not reach each other.
    Partition,
    /// One node does not reach another.
    OneWay,
    /// A client does not reach a node, or does not hear its answers.
    ClientCut,
    /// A node is slow in everything.
    Grey,
    /// A process is stopped for a while, and goes on.
    Pause,
    /// An actor panics.
    Panic,
    /// Many actors of all nodes panic at once, as at a request that goes round.
    Poison,
    /// A request goes astray, to a copy that it is not for.
    Stray,
    /// A disk is slow.
    SlowDisk,
    /// A disk fails: the store stops until the process is started again.
    DiskFailure,
    /// Some blocks can't be read for a while.
    BadBlocks,
    /// A table turns out to be damaged while nobody reads it, as a merge finds it.
    BadTable,
    /// A copy loses what it holds while a write is under way that counts on it.
    LossAtWrite,
    /// A wall clock jumps.
    ClockJump,
    /// Much is lost, and late.
    Storm,
    /// A folder is lost: the node starts with an empty one, and is refilled.
    LostFolder,
    /// A folder is put back as it was some time ago.
    OldCopy,
    /// Bits flip in what is stored, or some of it becomes zero.
    FlippedBits,
    /// A disk has no room for a while.
    FullDisk,
    /// Some processes are stopped one by one, and started again in another order.
    Swizzle,
    /// The cluster is in two parts for long.
    LongPartition,
}

impl Kind {
    /// Whether processes or actors end by it.
    pub fn ends_any(self) -> bool {
        match self {
            Kind::Crash
            | Kind::LongCrash
            | Kind::PowerLoss
            | Kind::Panic
            | Kind::Poison
            | Kind::DiskFailure
            | Kind::BadBlocks
            | Kind::BadTable
            | Kind::LossAtWrite
            | Kind::LostFolder
            | Kind::OldCopy
            | Kind::FlippedBits
            | Kind::FullDisk
            | Kind::Swizzle => true,
            Kind::Partition
            | Kind::OneWay
            | Kind::ClientCut
            | Kind::Grey
            | Kind::Pause
            | Kind::Stray
            | Kind::SlowDisk
            | Kind::ClockJump
            | Kind::Storm
            | Kind::LongPartition => false,
        }
    }
}

//! CPU time of processes, as the kernel counts it.

use std::fs;

/// Ticks a second of the times in `/proc`: the same on every Linux that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;
/// Places of user and system time in `/proc/PID/stat`, counted from after the command's name.
const USER: usize = 11;
const SYSTEM: usize = 12;

/// CPU time so far, or between two points.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    pub user_us: f64,
    pub system_us: f64,
}

impl Cpu {
    /// A process's, threads that ended included.
    pub fn of(pid: u32) -> Cpu {
        parse(&fs::read_to_string(format!("/proc/{pid}/stat")).unwrap())
    }

    /// This process's own.
    pub fn of_this_process() -> Cpu {
        Cpu::of(std::process::id())
    }

    /// What was spent since.
    pub fn since(&self, before: &Cpu) -> Cpu {
        Cpu { user_us: self.user_us - before.user_us, system_us: self.system_us - before.system_us }
    }

    /// Both together.
    pub fn plus(&self, other: &Cpu) -> Cpu {
        Cpu { user_us: self.user_us + other.user_us, system_us: self.system_us + other.system_us }
    }

    /// User and system.
    pub fn total_us(&self) -> f64 {
        self.user_us + self.system_us
    }
}

fn parse(stat: &str) -> Cpu {
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let us = |at: usize| fields[at].parse::<f64>().unwrap() / TICKS_PER_SECOND * 1e6;
    Cpu { user_us: us(USER), system_us: us(SYSTEM) }
}

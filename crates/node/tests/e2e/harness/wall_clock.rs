//! A wall clock that is set anew, stepped or smeared, for one process of a test.
//!
//! `wall_clock/shim.c` stands between the process and the C library.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::disk::compile_shim;
use super::let_pass;

const CONTROL: &str = "REHOME_CLOCK_CONTROL";
/// Places in the control file, as the shim has them.
const OFFSET_US: u64 = 0;
const READS: usize = 1;
const PLACES: usize = 2;

/// A smear is so many small steps.
const SMEAR_STEPS: i32 = 100;

/// The wall clock of one process.
#[derive(Debug)]
pub(crate) struct WallClock {
    control: PathBuf,
    shim: PathBuf,
}

impl WallClock {
    /// A clock that is right. What belongs to it is kept in `beside`.
    pub(crate) fn new(beside: &Path) -> Self {
        fs::create_dir_all(beside).expect("the test's folder is writable");
        let clock = Self { control: beside.join("control"), shim: beside.join("shim.so") };
        compile_shim("wall_clock/shim.c", &clock.shim);
        fs::write(&clock.control, [0; 8 * PLACES]).expect("the test's folder is writable");
        clock
    }

    /// The process of this command has the clock.
    pub(crate) fn give(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.shim).env(CONTROL, &self.control);
    }

    /// It is off by so many seconds from now on.
    pub(crate) fn set(&self, offset_s: f64) {
        let control = File::options().write(true).open(&self.control).expect("it is there");
        let offset_us = (offset_s * 1e6) as i64;
        control.write_all_at(&offset_us.to_ne_bytes(), 8 * OFFSET_US).expect("it is writable");
    }

    /// How often the process has read it.
    pub(crate) fn reads(&self) -> u64 {
        let bytes = fs::read(&self.control).expect("it is there");
        u64::from_ne_bytes(bytes[8 * READS..8 * (READS + 1)].try_into().expect("eight bytes"))
    }
}

/// The clocks go from one offset to another as a leap second is smeared: by running slower or
/// faster for `time`.
pub(crate) fn smear(clocks: &[&WallClock], from_s: f64, to_s: f64, time: Duration) {
    for step in 1..=SMEAR_STEPS {
        let done = f64::from(step) / f64::from(SMEAR_STEPS);
        clocks.iter().for_each(|clock| clock.set(from_s + (to_s - from_s) * done));
        let_pass(time / SMEAR_STEPS.unsigned_abs());
    }
}

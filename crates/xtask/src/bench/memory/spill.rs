//! Whether this build of `rehome` can move the records of steady calls to a database, and the
//! settings under which it moves them at once.
//!
//! The program itself is asked: `rehome check` with the settings in the file.

use std::path::Path;

use crate::bench::site::{self, Folder};

/// Records of steady calls leave RAM a second after their put.
pub(crate) const SETTINGS: &str = "[database]\nurl = \"sqlite\"\n[spill]\nafter_ms = 1000\n";

/// `Ok` when the settings are known; else why they are not.
pub(crate) fn is_available(root: &Path, folder: &Folder) -> Result<(), String> {
    site::check(root, folder, SETTINGS).map_err(|said| {
        // Without the file's name, and without the list of words that are known.
        let from = said.find("unknown field").unwrap_or_default();
        let reason = said[from..].split(", expected").next().unwrap_or_default();
        format!("this build does not take the settings for it: {}", reason.trim())
    })
}

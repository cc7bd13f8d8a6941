//! Style and structure as a test: who may depend on whom, what cores may not contain, sizes, words.

mod edges;
mod faults;
mod text;

use std::path::{Path, PathBuf};

/// Runs every check and reports all findings, not only the first.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let mut findings = edges::check(root)?;
    findings.extend(faults::check(root)?);
    for file in rust_files(root)? {
        let source = std::fs::read_to_string(&file)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        let shown = file.strip_prefix(root).unwrap_or(&file);
        findings.extend(text::check(shown, &source));
    }
    if findings.is_empty() {
        println!("tidy: clean");
        return Ok(());
    }
    for finding in &findings {
        println!("{finding}");
    }
    Err(format!("tidy: {} findings", findings.len()))
}

/// All Rust files of the project, sorted; build folders and hidden ones left out.
fn rust_files(root: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(".rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

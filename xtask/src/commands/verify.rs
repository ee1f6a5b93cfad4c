//! `cargo xtask verify`

use camino::Utf8PathBuf;
use netboot_loaders::tree::verify::{Error, verify};
use serde_json::json;

use crate::exit::{DIFFERENT, FAILURE, Failure};
use crate::host::Host;

pub(super) fn run(path: Option<Utf8PathBuf>, host: &Host<'_>) -> Result<(), Failure> {
    let path = path.unwrap_or_else(|| host.project.default_tree());
    if !path.exists() {
        return Err(Failure::new(
            DIFFERENT,
            &format!("there is no tree `{path}`\nhint: run `cargo xtask build-loaders`"),
        ));
    }
    let report = verify(&path).map_err(|error| {
        let code = if matches!(error, Error::Fs(_)) { FAILURE } else { DIFFERENT };
        Failure::of(code, &error)
    })?;
    if !report.differences.is_empty() {
        let lines: Vec<String> = report.differences.iter().map(|difference| format!("  {difference}")).collect();
        let text = format!(
            "`{path}` is not what its manifest says\n{}\nhint: run `cargo xtask build-loaders` to publish it anew",
            lines.join("\n")
        );
        return Err(Failure::new(DIFFERENT, &text));
    }
    let files = report.manifest.files.len();
    host.ui.result(
        &format!("{path}: all {files} files are as in the manifest, and nothing else is there\n"),
        json!({ "path": path, "files": files }),
    );
    Ok(())
}

//! Names of temporary files and folders.

/// What the names of this tool's folders begin with where others have theirs, too, as in /tmp.
pub const TEMPORARY: &str = "netboot-loaders-run-";

/// Whether `name` is that of a temporary folder of this tool.
#[must_use]
pub fn is_temporary(name: &str) -> bool {
    is_random(name.strip_prefix(TEMPORARY))
}

/// Whether this is what makes the name of a temporary file or folder another one each time.
pub(super) fn is_random(suffix: Option<&str>) -> bool {
    suffix.is_some_and(|suffix| suffix.len() == 6 && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Whether `name` is that of a file that was being written, and would have got its own name when it was whole.
#[must_use]
pub fn is_partial(name: &str) -> bool {
    is_random(name.strip_prefix(PARTIAL))
}

/// What the names of files begin with that are being written, before they get their own.
pub const PARTIAL: &str = ".partial-";

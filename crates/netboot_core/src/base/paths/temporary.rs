//! Names of temporary files and folders.

/// Name prefix of this tool's folders in places that other programs also use, such as /tmp.
pub const TEMPORARY: &str = "netboot-loaders-run-";

/// Checks whether `name` is that of a temporary folder of this tool.
#[must_use]
pub fn is_temporary(name: &str) -> bool {
    is_random(name.strip_prefix(TEMPORARY))
}

/// Checks whether `suffix` is a random suffix, which makes the name of a temporary file or folder unique.
pub(super) fn is_random(suffix: Option<&str>) -> bool {
    suffix.is_some_and(|suffix| suffix.len() == 6 && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Checks whether `name` is that of an unfinished file, which gets its final name only when it is complete.
#[must_use]
pub fn is_partial(name: &str) -> bool {
    is_random(name.strip_prefix(PARTIAL))
}

/// Name prefix of files that are being written, before they get their final names.
pub const PARTIAL: &str = ".partial-";

//! Recognises known failures of make, and provides remedies.

use camino::Utf8Path;

use crate::base::diagnostic::{Flag, Help, Subcommand};
use crate::base::fs;

/// A known failure of make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownFailure {
    /// The cause, according to make's output.
    pub finding: String,
    /// The remedies.
    pub help: Vec<Help>,
}

impl KnownFailure {
    fn new(finding: impl Into<String>, help: impl Into<Help>) -> Self {
        Self { finding: finding.into(), help: vec![help.into()] }
    }
}

/// Returns the known failure that the output of a failed make points to; `None` if there is none.
fn known(lines: &[&str]) -> Option<KnownFailure> {
    let find = |needle: &str| lines.iter().copied().find(|line| line.contains(needle));
    if let Some(line) = find("No space left on device") {
        let mut known = KnownFailure::new(line, "free space on the cache's file system (a build takes 300 MB)");
        known.help.push(Flag::CacheDir.into());
        return Some(known);
    }
    if find("lzma.h: No such file").is_some() || find("cannot find -llzma").is_some() {
        return Some(KnownFailure::new("liblzma's headers are missing", Subcommand::InstallDeps));
    }
    for refusal in ["not permitted to be signed", "are missing a FILE_SECBOOT() declaration"] {
        if let Some(line) = find(refusal) {
            let help =
                "leave out what turns it on: a configuration under vendor/ipxe-config, a patch, or `[secure-boot]`";
            return Some(KnownFailure::new(line, help));
        }
    }
    if find("-Werror").is_some() {
        let warning = find("[-Werror").unwrap_or("the compiler warns");
        let finding = format!("a compiler warning stopped the build: {warning}");
        let mut known = KnownFailure::new(finding, "fix the line, if it is one of yours");
        known.help.push(Flag::NoWerror.into());
        return Some(known);
    }
    let missing = lines
        .iter()
        .find_map(|line| line.split_once(": No such file or directory").filter(|_| line.contains("fatal error")));
    if let Some((line, _)) = missing {
        return Some(KnownFailure::new(format!("a header is missing: {line}"), Subcommand::Doctor));
    }
    let error =
        lines.iter().copied().find(|line| line.contains(": error:") || line.contains(": undefined reference"))?;
    let help = "see the log; a configuration under vendor/ipxe-config or a patch may be the cause";
    Some(KnownFailure::new(error, help))
}

/// Returns the known failure that make's log at `log` points to.
#[must_use]
pub fn of_log(log: &Utf8Path) -> Option<KnownFailure> {
    let log = fs::read(log).unwrap_or_default();
    known(&String::from_utf8_lossy(&log).lines().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_failures_say_what_to_do() {
        for (line, remedy) in [
            ("util/zbin.c:7:10: fatal error: lzma.h: No such file or directory", Subcommand::InstallDeps.into()),
            ("core/x.c:1:2: error: unused variable 'x' [-Werror=unused-variable]", Flag::NoWerror.into()),
            ("fatal error: error writing to /tmp/x.s: No space left on device", Flag::CacheDir.into()),
            ("a.c:1:10: fatal error: elf.h: No such file or directory", Subcommand::Doctor.into()),
        ] {
            let help = known(&["  [BUILD] x", line]).unwrap().help;
            assert!(help.contains(&remedy), "{line}: {help:?}");
        }
        let refused = known(&["This build includes files that are not permitted to be signed for UEFI Secure Boot"]);
        assert!(format!("{refused:?}").contains("leave out what turns it on"), "{refused:?}");
        let other = known(&["config/local/general.h:3:2: error: #error no"]).unwrap();
        assert!(format!("{other:?}").contains("vendor/ipxe-config"), "{other:?}");
        assert_eq!(known(&["make: *** [x] Error 1"]), None);
    }
}

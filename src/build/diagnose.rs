//! Known ways in which make fails, in words that say what to do.

use camino::Utf8Path;

use crate::base::fs;

/// What the output of a failed make points at, and the remedy; `None` for what is not known.
#[must_use]
pub fn known(lines: &[String]) -> Option<(String, &'static str)> {
    let find = |needle: &str| lines.iter().find(|line| line.contains(needle));
    if let Some(line) = find("No space left on device") {
        return Some((
            line.clone(),
            "free space on the cache's file system (a build takes 300 MB), or choose another one with `--cache-dir`",
        ));
    }
    if find("lzma.h: No such file").is_some() || find("cannot find -llzma").is_some() {
        return Some(("liblzma's headers are missing".into(), "run `cargo xtask doctor --install-deps`"));
    }
    if find("-Werror").is_some() {
        let warning = find("[-Werror").cloned().unwrap_or_else(|| "the compiler warns".into());
        return Some((
            format!("a warning of the compiler ends the build: {warning}"),
            "if the line is one of yours, mend it; if this compiler is newer than iPXE, build with `--no-werror`: it changes no byte of the loaders",
        ));
    }
    let missing = lines
        .iter()
        .find_map(|line| line.split_once(": No such file or directory").filter(|_| line.contains("fatal error")));
    if let Some((line, _)) = missing {
        return Some((format!("a header is missing: {line}"), "run `cargo xtask doctor`"));
    }
    let error = lines.iter().find(|line| line.contains(": error:") || line.contains(": undefined reference"));
    error
        .map(|line| (line.clone(), "see the log; a configuration under vendor/ipxe-config or a patch may be the cause"))
}

/// The same of what make wrote into `log`.
#[must_use]
pub fn of_log(log: &Utf8Path) -> Option<(String, &'static str)> {
    let log = fs::read(log).unwrap_or_default();
    known(&String::from_utf8_lossy(&log).lines().map(str::to_owned).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_failures_say_what_to_do() {
        for (line, remedy) in [
            ("util/zbin.c:7:10: fatal error: lzma.h: No such file or directory", "doctor --install-deps"),
            ("core/x.c:1:2: error: unused variable 'x' [-Werror=unused-variable]", "--no-werror"),
            ("fatal error: error writing to /tmp/x.s: No space left on device", "--cache-dir"),
            ("a.c:1:10: fatal error: elf.h: No such file or directory", "cargo xtask doctor"),
            ("config/local/general.h:3:2: error: #error no", "vendor/ipxe-config"),
        ] {
            let (_, hint) = known(&["  [BUILD] x".into(), line.into()]).unwrap();
            assert!(hint.contains(remedy), "{line}: {hint}");
        }
        assert_eq!(known(&["make: *** [x] Error 1".into()]), None);
    }
}

//! Version numbers of tags, and iPXE's own version.

/// Version with numeric ordering: `1.21.1` comes after `1.3`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(Vec<u64>);

impl Version {
    /// Parses versions such as `v2.0.0` and `2.0`: at least two numbers, without a pre-release suffix.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
        let numbers: Vec<u64> = bare(name).split('.').map(number).collect::<Option<_>>()?;
        (numbers.len() > 1).then_some(Self(numbers))
    }

    /// Returns the first number.
    #[must_use]
    pub fn major(&self) -> u64 {
        self.0.first().copied().unwrap_or_default()
    }
}

/// Returns `name` without the `v` that tags put before a number.
#[must_use]
pub fn bare(name: &str) -> &str {
    name.strip_prefix('v').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())).unwrap_or(name)
}

/// Returns the version that iPXE reports according to this `src/Makefile`, as in `2.0.0+`. Returns `None` if the
/// makefile asks git.
#[must_use]
pub fn of_makefile(makefile: &str) -> Option<String> {
    let assigned = |name: &str| {
        makefile.lines().find_map(|line| {
            let rest = line.strip_prefix(name)?.trim_start();
            Some(rest.strip_prefix(":=").or_else(|| rest.strip_prefix('='))?.trim())
        })
    };
    let numbers = ["VERSION_MAJOR", "VERSION_MINOR", "VERSION_PATCH"].map(|name| assigned(name).unwrap_or_default());
    let extra = assigned("EXTRAVERSION").unwrap_or_default();
    let version = format!("{}{extra}", numbers.join("."));
    let plain = extra.chars().all(|c| c.is_ascii_alphanumeric() || "+-.~".contains(c));
    (plain && Version::of(&numbers.join(".")).is_some()).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tags_of_ipxe_are_in_order_and_pre_releases_are_none() {
        let mut tags =
            ["v1.21.1", "secboot-ioactive-20221109", "v2.0.0", "v0.9.9", "v1.0.0-rc1", "v1.3", "vv2.0", "v3"];
        tags.sort_by_key(|tag| Version::of(tag));
        assert_eq!(tags[4..], ["v0.9.9", "v1.3", "v1.21.1", "v2.0.0"]);
        assert_eq!(Version::of(tags[3]), None);
        assert_eq!(Version::of("1..2").or(Version::of("v2.0.")).or(Version::of("99999999999999999999.0")), None);
        assert_eq!((bare("v2.1.0-rc1"), bare("vbox")), ("2.1.0-rc1", "vbox"));
    }

    #[test]
    fn the_makefile_says_its_version_unless_it_asks_git() {
        let text = "VERSION_MAJOR\t:= 2\nVERSION_MINOR\t:= 0\nVERSION_PATCH\t:= 0\nEXTRAVERSION\t:= +\nifneq (1,)\n";
        assert_eq!(of_makefile(text).as_deref(), Some("2.0.0+"));
        assert_eq!(of_makefile(&text.replace(" +", "")).as_deref(), Some("2.0.0"));
        // As in v1.21.1, where plain numbers further down replace git's answer.
        let text = format!("VERSION_MAJOR\t:= $(word 1,$(VERSION_TUPLE))\n{text}");
        assert_eq!(of_makefile(&text).or(of_makefile("all:\n")), None);
    }
}

//! Package managers: how to install packages, and which package owns a file.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::need::Need;
use crate::base::closed_set::closed_set;
use crate::base::process::{Command, find_program};
use crate::base::progress::Progress;

closed_set! {
    /// A package manager.
    pub enum Manager {
        /// Debian and Ubuntu.
        Apt = "apt-get",
        /// Fedora and Red Hat.
        Dnf = "dnf",
        /// Arch.
        Pacman = "pacman",
        /// openSUSE.
        Zypper = "zypper",
        /// Alpine.
        Apk = "apk",
    }
}

impl Manager {
    /// Detects the package manager of this system.
    #[must_use]
    pub fn detect(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|manager| find_program(manager.as_str(), path).is_some())
    }

    /// Returns the package that owns each of `files`, by name and version; `None` if the manager does not know the
    /// file.
    #[must_use]
    pub fn owners(self, files: &[&Utf8Path], path: &str, progress: &dyn Progress) -> Vec<Option<String>> {
        let files: Vec<_> = files.iter().map(|file| names(file)).collect();
        let ask = |words: &[&str]| {
            let command = Command::new("ask whose a file is", words[0]).args(words[1..].iter().copied());
            let mut lines = Vec::new();
            // The query fails if one file is unknown, but still prints the owners of the others.
            let answered =
                command.env("PATH", path).env("LC_ALL", "C").run(progress, &mut |line| lines.push(line.into()));
            (answered.is_ok(), lines)
        };
        if self == Self::Apt {
            return dpkg_owners(&files, &|words| ask(words).1);
        }
        let known = |name: &Utf8PathBuf| {
            let words: &[&str] = match self {
                Self::Dnf | Self::Zypper => &["rpm", "-qf", "--qf", "%{NAME} %{EVR}\n"],
                Self::Pacman => &["pacman", "-Qo"],
                Self::Apk | Self::Apt => &["apk", "info", "-W"],
            };
            let (true, lines) = ask(&[words, &[name.as_str()]].concat()) else { return None };
            let answer: String = lines.into_iter().next()?;
            if words[0] == "rpm" { Some(answer) } else { owned(&answer) }
        };
        files.iter().map(|names| names.iter().find_map(known)).collect()
    }

    /// Returns the commands that install `needs`, each a program with its arguments, to be run as root in order. Empty
    /// if there is nothing to install.
    #[must_use]
    pub fn install_commands(self, needs: &[&Need]) -> Vec<Vec<String>> {
        let packages = needs.iter().flat_map(|need| need.packages[self as usize].split_ascii_whitespace());
        let mut packages: Vec<&str> = packages.collect();
        packages.sort_unstable();
        packages.dedup();
        if packages.is_empty() {
            return Vec::new();
        }
        let steps: &[&[&str]] = match self {
            Self::Apt => &[&["apt-get", "update"], &["apt-get", "install", "-y", "--no-install-recommends"]],
            Self::Dnf => &[&["dnf", "install", "-y"]],
            Self::Pacman => &[&["pacman", "-Syu", "--needed", "--noconfirm"]],
            Self::Zypper => &[&["zypper", "--non-interactive", "install"]],
            Self::Apk => &[&["apk", "add"]],
        };
        let mut commands: Vec<Vec<String>> =
            steps.iter().map(|step| step.iter().map(ToString::to_string).collect()).collect();
        if let Some(last) = commands.last_mut() {
            last.extend(packages.iter().map(ToString::to_string));
        }
        commands
    }

    /// Returns the same commands as one line to paste into a shell.
    #[must_use]
    pub fn install_line(self, needs: &[&Need]) -> String {
        let commands = self.install_commands(needs);
        commands.iter().map(|words| format!("sudo {}", words.join(" "))).collect::<Vec<_>>().join(" && ")
    }
}

/// Returns the paths under which a package may have installed `file`: /bin can be a link to /usr/bin. Empty if the file
/// does not exist.
fn names(file: &Utf8Path) -> Vec<Utf8PathBuf> {
    let Ok(file) = file.canonicalize_utf8() else { return Vec::new() };
    let short = file.strip_prefix("/usr").map(|rest| Utf8Path::new("/").join(rest));
    std::iter::once(file.clone()).chain(short).collect()
}

/// Returns the owner of each of `files`, given with all their paths, from two dpkg queries: each query reads dpkg's
/// whole database.
fn dpkg_owners(files: &[Vec<Utf8PathBuf>], ask: &dyn Fn(&[&str]) -> Vec<String>) -> Vec<Option<String>> {
    let asked: Vec<&str> =
        ["dpkg-query", "-S"].into_iter().chain(files.iter().flatten().map(|name| name.as_str())).collect();
    let answers = if asked.len() > 2 { ask(&asked) } else { Vec::new() };
    // `libc6-dev:amd64: /usr/include/elf.h`
    let packages: BTreeMap<&str, &str> =
        answers.iter().rev().filter_map(|line| line.split_once(": ")).map(|(package, name)| (name, package)).collect();
    let found = |names: &Vec<Utf8PathBuf>| names.iter().find_map(|name| packages.get(name.as_str()).copied());
    let owners: Vec<Option<&str>> = files.iter().map(found).collect();
    let asked: BTreeSet<&str> = owners.iter().flatten().copied().collect();
    let words = ["dpkg-query", "-W", "-f=${binary:Package}\t${Package} ${Version}\n"];
    let answers = if asked.is_empty() { Vec::new() } else { ask(&words.into_iter().chain(asked).collect::<Vec<_>>()) };
    let versions: BTreeMap<&str, &str> = answers.iter().filter_map(|line| line.split_once('\t')).collect();
    owners.iter().map(|owner| owner.and_then(|owner| versions.get(owner)).map(ToString::to_string)).collect()
}

/// Parses the package from a line like `/usr/bin/make is owned by make 4.4.1-2`.
fn owned(answer: &str) -> Option<String> {
    answer.split_once(" is owned by ").map(|(_, package)| package.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::progress::Silent;
    use crate::toolchain::needs;

    #[test]
    fn a_file_of_nobody_has_no_owner() {
        let folder = tempfile::tempdir().unwrap();
        let file = Utf8Path::from_path(folder.path()).unwrap().join("file");
        std::fs::write(&file, "").unwrap();
        for manager in Manager::ALL {
            let nowhere = Utf8Path::new("/nowhere");
            assert_eq!(manager.owners(&[&file, nowhere], "/usr/bin:/bin", &Silent), [None, None]);
        }
        assert_eq!(owned("/usr/bin/make is owned by make 4.4.1-2").as_deref(), Some("make 4.4.1-2"));
    }

    #[test]
    fn dpkg_is_asked_twice() {
        let files = ["/usr/bin/sed", "/usr/include/elf.h", "/usr/local/bin/make", "/usr/bin/odd"];
        let names = |file: &&str| vec![Utf8PathBuf::from(*file), Utf8PathBuf::from(file.trim_start_matches("/usr"))];
        let files: Vec<_> = files.iter().map(names).collect();
        let ask = |words: &[&str]| -> Vec<String> {
            let lines: &[&str] = match words[..2] {
                ["dpkg-query", "-S"] => &[
                    "diversion by odd from: /usr/bin/odd",
                    "dpkg-query: no path found matching pattern /usr/bin/sed",
                    "libc6-dev:amd64: /usr/include/elf.h",
                    "sed: /bin/sed",
                ],
                _ => &["libc6-dev:amd64\tlibc6-dev 2.36-9", "sed\tsed 4.9-1"],
            };
            lines.iter().map(ToString::to_string).collect()
        };
        let owners = dpkg_owners(&files, &ask);
        assert_eq!(owners, [Some("sed 4.9-1".to_owned()), Some("libc6-dev 2.36-9".to_owned()), None, None]);
    }

    #[test]
    fn install_lines_name_each_package_once() {
        let needs = needs::build(&needs::BuildScope { trust: true, ..needs::BuildScope::default() });
        let needs: Vec<&Need> = needs.iter().collect();
        assert_eq!(
            Manager::Apt.install_line(&needs),
            "sudo apt-get update && sudo apt-get install -y --no-install-recommends binutils coreutils gcc libc6-dev liblzma-dev make mawk openssl perl sed"
        );
        assert_eq!(
            Manager::Dnf.install_line(&needs),
            "sudo dnf install -y binutils coreutils gawk gcc glibc-devel make openssl perl-Getopt-Long perl-interpreter sed xz-devel"
        );
        assert_eq!(Manager::Apk.install_line(&[]), "");
    }
}

//! Package managers, how each installs, and what each knows of a file.

use camino::{Utf8Path, Utf8PathBuf};

use super::needs::Need;
use crate::process::{Command, find_program};
use crate::progress::Progress;

/// A package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// Debian, Ubuntu.
    Apt,
    /// Fedora, Red Hat.
    Dnf,
    /// Arch.
    Pacman,
    /// openSUSE.
    Zypper,
    /// Alpine.
    Apk,
}

impl Manager {
    /// All of them, in the order of [`Need::packages`].
    pub const ALL: [Self; 5] = [Self::Apt, Self::Dnf, Self::Pacman, Self::Zypper, Self::Apk];

    /// The one that this system has.
    #[must_use]
    pub fn detect(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|manager| find_program(manager.program(), path).is_some())
    }

    fn program(self) -> &'static str {
        match self {
            Self::Apt => "apt-get",
            Self::Dnf => "dnf",
            Self::Pacman => "pacman",
            Self::Zypper => "zypper",
            Self::Apk => "apk",
        }
    }

    /// The package that brought `file`, by name and version; none where the manager does not know it.
    #[must_use]
    pub fn owner(self, file: &Utf8Path, path: &str, progress: &dyn Progress) -> Option<String> {
        let ask = |words: &[&str]| {
            let command = Command::new("ask whose a file is", words[0]).args(words[1..].iter().copied());
            command.env("PATH", path).env("LC_ALL", "C").output(progress).ok()?.into_iter().next()
        };
        let file = file.canonicalize_utf8().ok()?;
        // Where /bin is a link to /usr/bin, a package may have brought the file under either name.
        let names = [file.clone(), Utf8Path::new("/").join(file.strip_prefix("/usr").unwrap_or(&file))];
        let known = |name: &Utf8PathBuf| match self {
            Self::Apt => {
                let answer = ask(&["dpkg-query", "-S", name.as_str()])?;
                let (package, _) = answer.split_once(": ")?;
                ask(&["dpkg-query", "-W", "-f=${Package} ${Version}\n", package])
            }
            Self::Dnf | Self::Zypper => ask(&["rpm", "-qf", "--qf", "%{NAME} %{EVR}\n", name.as_str()]),
            Self::Pacman => owned(&ask(&["pacman", "-Qo", name.as_str()])?),
            Self::Apk => owned(&ask(&["apk", "info", "-W", name.as_str()])?),
        };
        names.iter().find_map(known)
    }

    /// The commands that install what `needs` names, each a program and its arguments, to be run
    /// as root one after the other. None where there is nothing to install.
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

    /// The same as one line to paste into a shell.
    #[must_use]
    pub fn install_line(self, needs: &[&Need]) -> String {
        let commands = self.install_commands(needs);
        commands.iter().map(|words| format!("sudo {}", words.join(" "))).collect::<Vec<_>>().join(" && ")
    }
}

/// The package in `/usr/bin/make is owned by make 4.4.1-2`.
fn owned(answer: &str) -> Option<String> {
    answer.split_once(" is owned by ").map(|(_, package)| package.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use crate::toolchain::needs;

    #[test]
    fn a_file_of_nobody_has_no_owner() {
        let folder = tempfile::tempdir().unwrap();
        let file = Utf8Path::from_path(folder.path()).unwrap().join("file");
        std::fs::write(&file, "").unwrap();
        for manager in Manager::ALL {
            assert_eq!(manager.owner(&file, "/usr/bin:/bin", &Silent), None);
        }
        assert_eq!(owned("/usr/bin/make is owned by make 4.4.1-2").as_deref(), Some("make 4.4.1-2"));
    }

    #[test]
    fn install_lines_name_each_package_once() {
        let needs = needs::build(true);
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

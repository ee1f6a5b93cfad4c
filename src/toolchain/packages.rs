//! Package managers, and how each installs.

use super::needs::Need;
use crate::process::find_program;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolchain::needs;

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

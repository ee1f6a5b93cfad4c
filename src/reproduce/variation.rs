//! Build conditions that can vary without changing a byte of a loader. Each has a name and can be enabled separately.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::closed_set::closed_set;
use crate::base::diagnostic::{Flag, Help, Subcommand};
use crate::base::paths;
use crate::base::process::{Command, find_program};
use crate::base::progress::Progress;
use crate::build::make::{Launcher, MakeEnvironment, Settings};
use crate::toolchain::needs::LIBFAKETIME;

closed_set! {
    /// A build condition that can vary.
    pub enum Variation {
        /// Path of the build tree, and its length.
        Path = "path",
        /// Clock: more than a year ahead.
        Clock = "clock",
        /// Time zone.
        TimeZone = "time-zone",
        /// Locale.
        Locale = "locale",
        /// Permissions of new files.
        Umask = "umask",
        /// Name, ID and home folder of the user.
        User = "user",
        /// Host name.
        Hostname = "hostname",
        /// Number of parallel jobs.
        Jobs = "jobs",
        /// Environment variables that are irrelevant to a build.
        Environment = "environment",
        /// Order in which the source is written, and therefore the order of folder entries.
        FileOrder = "file-order",
        /// Folder for temporary files.
        TemporaryFolder = "temporary-folder",
        /// Compiler cache in front of the compiler.
        CompilerCache = "compiler-cache",
    }
}

impl Variation {
    /// Describes the variation in words.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Path => "another and longer path of the build tree",
            Self::Clock => "a clock that is 400 days ahead (libfaketime)",
            Self::TimeZone => "TZ=Pacific/Kiritimati, 14 hours ahead of UTC",
            Self::Locale => "another locale, of those that the system has; C.UTF-8 where it has no other",
            Self::Umask => "umask 0077",
            Self::User => "another user name, number and HOME (user namespace)",
            Self::Hostname => "another host name (UTS namespace)",
            Self::Jobs => "three more jobs of make",
            Self::Environment => "more variables in the environment",
            Self::FileOrder => "the source written in the reverse order",
            Self::TemporaryFolder => "another and longer TMPDIR",
            Self::CompilerCache => "the compiler called through ccache, with an empty cache",
        }
    }
}

/// User that a build appears to run as, with its ID. It exists on every distribution.
const USER: (&str, &str) = ("daemon", "1");
/// Name of the host that a build appears to run on.
pub const HOSTNAME: &str = "another-host";
/// Home folder that a build appears to have.
pub const HOME: &str = "/home/somebody-else";
/// Offset of the varied clock.
const AHEAD: &str = "+400d";
/// Settings that keep the true times of files. With fake times, make would compare them with each other and start over
/// forever.
const TRUE_FILE_TIMES: [(&str, &str); 2] = [("NO_FAKE_STAT", "1"), ("FAKE_UTIME", "1")];

/// Folder with shared memory.
const SHARED_MEMORY: &str = "/dev/shm";

/// Runs `work` and removes what libfaketime has left in shared memory meanwhile: a semaphore and a page for each
/// process that ended without running destructors, which amounts to several hundred megabytes per build. Files that
/// existed before stay, because `work` did not create them.
pub(super) fn without_stale_faketime<T>(work: impl FnOnce() -> T) -> T {
    without_new_faketime(Utf8Path::new(SHARED_MEMORY), work)
}

fn without_new_faketime<T>(folder: &Utf8Path, work: impl FnOnce() -> T) -> T {
    let before = stale_faketime(folder);
    let done = work();
    for path in stale_faketime(folder).difference(&before) {
        // Other users' files stay, and some may have been removed meanwhile.
        let _ = std::fs::remove_file(path);
    }
    done
}

/// Returns the files of libfaketime in `folder` that belong to processes that have ended.
fn stale_faketime(folder: &Utf8Path) -> BTreeSet<Utf8PathBuf> {
    let ended = |name: &str| {
        let process = name.strip_prefix("faketime_shm_").or_else(|| name.strip_prefix("sem.faketime_sem_"));
        let process = process.and_then(|number| number.parse::<u32>().ok());
        process.is_some_and(|number| !Utf8Path::new("/proc").join(number.to_string()).exists())
    };
    let entries = folder.read_dir_utf8().into_iter().flatten().flatten();
    entries.filter(|entry| ended(entry.file_name())).map(|entry| entry.path().to_owned()).collect()
}

/// Length of a day in seconds.
const DAY: i64 = 24 * 60 * 60;

/// Checks whether programs under the library `faketime` see a different time while the times of files stay unchanged.
/// Not every version supports that.
fn fakes_the_clock_alone(faketime: &Utf8Path, path: &str, progress: &dyn Progress) -> bool {
    let try_it = || {
        let folder = tempfile::Builder::new().prefix(paths::TEMPORARY).tempdir().ok()?;
        let (file, program) = (folder.path().join("file"), "touch \"$0\" && date +%s");
        std::fs::write(folder.path().join("true"), "").ok()?;
        let mut command = Command::new("try libfaketime", "sh").args(["-c", program, file.to_str()?]);
        command = command.env("PATH", path).env("LD_PRELOAD", faketime.as_str()).env("FAKETIME", AHEAD);
        for (name, value) in TRUE_FILE_TIMES {
            command = command.env(name, value);
        }
        let told: i64 = command.output(progress).ok()?.last()?.parse().ok()?;
        let modified = |file: &std::path::Path| Some(std::fs::metadata(file).ok()?.mtime());
        let (touched, now) = (modified(&file)?, modified(&folder.path().join("true"))?);
        Some((touched - now).abs() < DAY && told - now > 300 * DAY)
    };
    without_stale_faketime(try_it).unwrap_or(false)
}

/// Tools for variations that this system provides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    faketime: Option<Utf8PathBuf>,
    ccache: bool,
    locale: String,
    namespaces: bool,
}

impl Capabilities {
    /// Detects the tools in `path`, a list of folders in the format of `PATH`.
    #[must_use]
    pub fn find(path: &str, progress: &dyn Progress) -> Self {
        let run = |words: &[String]| {
            let command = Command::new("try", words[0].as_str()).args(words[1..].iter().cloned());
            command.env("PATH", path).env("LC_ALL", "C").output(progress)
        };
        let wrapped = [&hostname_wrapper()[..], &user_wrapper(), &["true".to_owned()]].concat();
        let locales = run(&["locale".into(), "-a".into()]).unwrap_or_default();
        let mut libraries = LIBFAKETIME.iter().map(Utf8Path::new).filter(|library| library.is_file());
        let faketime = libraries.find(|library| fakes_the_clock_alone(library, path, progress));
        let foreign = |name: &&String| !["C", "POSIX", "C.utf8", "C.UTF-8"].contains(&name.as_str());
        Self {
            faketime: faketime.map(Utf8Path::to_owned),
            ccache: find_program("ccache", path).is_some(),
            locale: locales.iter().find(foreign).cloned().unwrap_or_else(|| "C.UTF-8".to_owned()),
            namespaces: run(&wrapped).is_ok(),
        }
    }

    /// Returns why `variation` is unavailable here and how to fix that; `None` if it is available.
    #[must_use]
    pub fn lacking(&self, variation: Variation) -> Option<(&'static str, Help)> {
        match variation {
            Variation::Clock if self.faketime.is_none() => {
                Some(("found no libfaketime that leaves the times of files alone", Flag::InstallDeps.into()))
            }
            Variation::CompilerCache if !self.ccache => Some(("found no ccache", Flag::InstallDeps.into())),
            Variation::User | Variation::Hostname if !self.namespaces => {
                Some(("`unshare` of util-linux cannot make user namespaces here", Subcommand::PrepareHost.into()))
            }
            _ => None,
        }
    }

    /// Returns `settings` for make with all of `variations` applied. `scratch` is a folder for the files that they
    /// need.
    #[must_use]
    pub fn settings(&self, variations: &BTreeSet<Variation>, settings: &Settings, scratch: &Utf8Path) -> Settings {
        let mut settings = settings.clone();
        for variation in variations {
            self.vary(*variation, &mut settings, scratch);
        }
        settings
    }

    fn vary(&self, variation: Variation, settings: &mut Settings, scratch: &Utf8Path) {
        let MakeEnvironment { env, wrapper, temporary, reverse_file_order } = &mut settings.environment;
        let mut set = |name: &str, value: &str| env.set(name, value);
        match variation {
            // The caller that runs the build chooses its folder.
            Variation::Path => {}
            Variation::Clock => {
                set("LD_PRELOAD", self.faketime.as_deref().map_or("", Utf8Path::as_str));
                set("FAKETIME", AHEAD);
                for (name, value) in TRUE_FILE_TIMES {
                    set(name, value);
                }
            }
            Variation::TimeZone => set("TZ", "Pacific/Kiritimati"),
            Variation::Locale => {
                for name in ["LC_ALL", "LANG", "LANGUAGE"] {
                    set(name, &self.locale);
                }
            }
            Variation::Umask => {
                wrapper.extend(["sh", "-c", "umask 0077 && exec \"$@\"", "sh"].map(str::to_owned));
            }
            Variation::User => {
                wrapper.extend(user_wrapper());
                for (name, value) in [("USER", USER.0), ("LOGNAME", USER.0), ("HOME", HOME)] {
                    set(name, value);
                }
            }
            // Outermost, because setting the host name requires privileges that the other user no longer has.
            Variation::Hostname => {
                wrapper.splice(0..0, hostname_wrapper());
                set("HOSTNAME", HOSTNAME);
            }
            Variation::Jobs => settings.jobs += 3,
            Variation::Environment => {
                for (name, value) in
                    [("EDITOR", "vi"), ("TERM", "vt100"), ("COLUMNS", "33"), ("SHLVL", "7"), ("NOISE", "a b\tc")]
                {
                    set(name, value);
                }
            }
            Variation::FileOrder => *reverse_file_order = true,
            Variation::TemporaryFolder => *temporary = Some(scratch.join("temporary-files-of-another-build")),
            Variation::CompilerCache => {
                let folder = ("CCACHE_DIR".to_owned(), scratch.join("ccache").into_string());
                settings.launcher = Some(Launcher { program: "ccache".into(), env: [folder].into_iter().collect() });
            }
        }
    }
}

/// Returns a command prefix that runs a command with a different host name.
fn hostname_wrapper() -> Vec<String> {
    let script = format!("echo {HOSTNAME} > /proc/sys/kernel/hostname && exec \"$@\"");
    ["unshare", "--map-root-user", "--uts", "sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
}

/// Returns a command prefix that runs a command as a different user, who is the current user outside the namespace.
fn user_wrapper() -> Vec<String> {
    let (user, group) = (format!("--map-user={}", USER.1), format!("--map-group={}", USER.1));
    ["unshare", "--user", &user, &group].map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for variation in Variation::ALL {
            assert_eq!(variation.as_str().parse(), Ok(variation));
        }
        assert!("weather".parse::<Variation>().unwrap_err().starts_with("wanted one of path, clock, "));
    }

    #[test]
    fn each_variation_changes_something_and_only_its_own() {
        let capabilities = Capabilities {
            faketime: Some("/lib/faketime.so".into()),
            ccache: true,
            locale: "tr_TR.utf8".into(),
            namespaces: true,
        };
        let plain = Settings {
            path: "/bin".into(),
            jobs: 2,
            werror: true,
            launcher: None,
            environment: MakeEnvironment::default(),
        };
        let vary = |variations: &[Variation]| {
            capabilities.settings(&variations.iter().copied().collect(), &plain, "/s".into())
        };
        assert_eq!(vary(&[]), plain);
        for variation in Variation::ALL {
            assert_eq!(vary(&[variation]) == plain, variation == Variation::Path, "{variation}");
            assert_eq!(capabilities.lacking(variation), None);
        }
        let all = vary(&Variation::ALL);
        assert_eq!(all.environment.wrapper.join(" ").matches("unshare").count(), 2);
        assert_eq!(all.environment.wrapper[1], "--map-root-user");
        let names: BTreeSet<&str> = all.environment.env.names().collect();
        assert_eq!(names.len(), all.environment.env.names().count(), "each variable is set once");
    }

    #[test]
    fn what_is_lacking_is_named() {
        let lacking = |variation| Capabilities::default().lacking(variation).is_some();
        let found: Vec<_> = Variation::ALL.into_iter().filter(|variation| lacking(*variation)).collect();
        assert_eq!(found, [Variation::Clock, Variation::User, Variation::Hostname, Variation::CompilerCache]);
    }

    #[test]
    fn of_fake_clocks_only_new_ones_of_ended_processes_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let own = format!("faketime_shm_{}", std::process::id());
        // Process IDs never get this large.
        let names = ["faketime_shm_4194305", "sem.faketime_sem_4194305", "faketime_shm_x", "sem.other_4194305", &own];
        std::fs::write(folder.join("faketime_shm_4194304"), "").unwrap();
        without_new_faketime(folder, || {
            for name in names {
                std::fs::write(folder.join(name), "").unwrap();
            }
        });
        let left: BTreeSet<_> = crate::base::fs::entries(folder).unwrap().into_iter().collect();
        let left: BTreeSet<&str> = left.iter().filter_map(|path| path.file_name()).collect();
        assert_eq!(left, BTreeSet::from([&own, "faketime_shm_4194304", "faketime_shm_x", "sem.other_4194305"]));
    }
}

//! The command line of iPXE's make: arguments and environment.

use std::time::Duration;

use camino::Utf8PathBuf;

use crate::base::paths::WorkPaths;
use crate::base::process::{Command, ProgramEnvironment};
use crate::config::ipxe_config::IpxeConfig;
use crate::config::pins::IpxePin;
use crate::config::script::IMAGE_NAME;
use crate::loader::target::{Loader, Platform};
use crate::toolchain::cross::CrossCompiler;

/// Placeholder for the path of the exported tree, in arguments that must not depend on the path.
pub const TREE: &str = "<tree>";

/// A compiler launcher, such as `ccache`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    /// The program.
    pub program: String,
    /// Environment variables for the program.
    pub env: ProgramEnvironment,
}

/// Environment of make. It is empty by default; a rebuild sets it to show that the environment does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MakeEnvironment {
    /// Environment variables, added to the usual ones or replacing them.
    pub env: ProgramEnvironment,
    /// A command that runs make, which is passed as further arguments.
    pub wrapper: Vec<String>,
    /// Folder for temporary files of the programs that make runs, if not the usual one.
    pub temporary: Option<Utf8PathBuf>,
    /// Whether source files are written in reverse order.
    pub reverse_file_order: bool,
}

/// Settings for make; none of them affects the bytes of a loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The `PATH`.
    pub path: String,
    /// Number of parallel jobs.
    pub jobs: usize,
    /// Whether a compiler warning ends the build, which is iPXE's default.
    pub werror: bool,
    /// Launcher that runs the compiler.
    pub launcher: Option<Launcher>,
    /// Environment of make.
    pub environment: MakeEnvironment,
}

/// Returns the make variables that affect the bytes of a loader for `platform`, as arguments. [`TREE`] is a placeholder
/// for the path of the exported tree.
#[must_use]
pub fn variables(pin: &IpxePin, config: &IpxeConfig, platform: Platform) -> Vec<String> {
    // A fresh export needs no dependency files, which take a quarter of a build. For Secure Boot, make finds by them
    // whether everything that it compiles may be signed.
    let mut variables = if config.sbat(platform).is_some() { Vec::new() } else { vec!["AUTO_DEPS=".to_owned()] };
    variables.extend([
        // Without `.git`, make would omit the commit from the version.
        format!("GITVERSION={}", pin.commit),
        // Relative, because make splits it at spaces; an argument, because make ignores the environment variable.
        format!("EMBED={IMAGE_NAME}"),
        // Otherwise the path becomes part of the debug information, and thereby of the build id.
        format!("EXTRA_CFLAGS=-ffile-prefix-map={TREE}=."),
    ]);
    if pin.is_of_series(1) {
        // These versions take the current time, and a random number as the build id.
        variables.push(format!("BUILD_TIMESTAMP={}", pin.epoch));
        variables.push("BUILD_ID_CMD=cat $^ | cksum | cut -d ' ' -f 1".to_owned());
    }
    if !config.trust.is_empty() {
        let files: Vec<String> = (0..config.trust.len()).map(trust_file).collect();
        // `TRUST` embeds only the fingerprint of a certificate. `CERT` embeds the certificate itself, without which
        // each server would have to send its own root.
        variables.extend(["TRUST", "CERT"].map(|name| format!("{name}={}", files.join(","))));
    }
    variables
}

/// Returns the path of the trusted certificate number `index`, relative to the folder in which make runs.
#[must_use]
pub fn trust_file(index: usize) -> String {
    format!("trust-{index}.pem")
}

/// Returns the environment variables that affect the bytes of a loader.
#[must_use]
pub fn environment(pin: &IpxePin) -> [String; 3] {
    ["LC_ALL=C".into(), "TZ=UTC".into(), format!("SOURCE_DATE_EPOCH={}", pin.epoch)]
}

/// Files that make must produce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goals {
    /// Loaders, and the files from which bases are captured.
    Bases,
    /// Loaders only.
    Loaders,
}

/// A run of make, as data.
#[derive(Debug, Clone, Copy)]
pub struct Make<'a> {
    /// The pinned iPXE.
    pub pin: &'a IpxePin,
    /// The configuration.
    pub config: &'a IpxeConfig,
    /// The settings.
    pub settings: &'a Settings,
}

impl Make<'_> {
    /// Returns the command that builds `loaders`, all of one platform, in the tree at `work`.
    #[must_use]
    pub fn command(&self, work: &WorkPaths, loaders: &[Loader], goals: Goals) -> Command {
        let config = self.config;
        let mut targets: Vec<String> = loaders.iter().map(|loader| config.target(*loader)).collect();
        let platform = loaders.first().map_or(Platform::Bios, |loader| loader.platform());
        let mut command = self.without_targets(work, platform, format!("make {}", targets.join(", ")));
        if goals == Goals::Bases {
            command = command.args([KEEP_LINKED]);
            // Make removes intermediate files, but not goals.
            let bios = loaders.iter().filter(|loader| loader.platform() == Platform::Bios);
            let kept = |loader| [image(config, loader), zinfo(config, loader)].map(Utf8PathBuf::into_string);
            targets.extend(bios.flat_map(|loader| kept(*loader)));
        }
        command.args(targets)
    }

    /// Returns the command that builds for `platform` in the tree at `work`, without its targets. Messages show it as
    /// `name`.
    pub(crate) fn without_targets(&self, work: &WorkPaths, platform: Platform, name: String) -> Command {
        let Self { pin, config, settings } = self;
        let tree = work.tree();
        let MakeEnvironment { env, wrapper, temporary, .. } = &settings.environment;
        let mut words = wrapper.iter().cloned().chain(["make".to_owned()]);
        let mut command = Command::new(name, words.next().unwrap_or_default())
            .args(words)
            .args([format!("-j{}", settings.jobs)])
            .args(variables(pin, config, platform).into_iter().map(|variable| variable.replace(TREE, tree.as_str())));
        if !settings.werror {
            command = command.args(["NO_WERROR=1"]);
        }
        // The compiler's temporary files go where there is space for the build.
        let temporary = temporary.clone().unwrap_or_else(|| work.temporary());
        command = command.env("PATH", settings.path.as_str()).env("TMPDIR", temporary);
        for variable in environment(pin) {
            if let Some((name, value)) = variable.split_once('=') {
                command = command.env(name, value);
            }
        }
        let cross = CrossCompiler::of(platform.arch()).map_or("", |cross| cross.prefix(&settings.path));
        if !cross.is_empty() {
            command = command.args([format!("CROSS_COMPILE={cross}")]);
        }
        if let Some(launcher) = &settings.launcher {
            command = command.args([format!("CC={} {cross}gcc", launcher.program)]);
            command.env.extend(launcher.env.clone());
        }
        command.env.extend(env.clone());
        command.dir = Some(work.src());
        command.log = Some(work.log());
        command.deadline = Duration::from_secs(2 * 60 * 60);
        command
    }
}

/// Makes make keep the input of the build id: everything linked, in link order.
const KEEP_LINKED: &str = "BUILD_ID_CMD=cat $^ | tee $@.linked | cksum | cut -d ' ' -f 1";

/// Returns the path of the input of the build id of `loader`, relative to the folder in which make runs.
#[must_use]
pub fn linked(config: &IpxeConfig, loader: Loader) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{}.tmp.linked", config.target(loader)))
}

/// Returns the path of the image of a BIOS loader, relative to the folder in which make runs.
#[must_use]
pub fn image(config: &IpxeConfig, loader: Loader) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{}.bin", config.target(loader)))
}

/// Returns the path of the packing instructions for that image, relative to the folder in which make runs.
#[must_use]
pub fn zinfo(config: &IpxeConfig, loader: Loader) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{}.zinfo", config.target(loader)))
}

/// Paths of the program that packs BIOS loaders, which depend on the version of iPXE, relative to the folder in which
/// make runs.
pub const ZBIN: [&str; 2] = ["util/zbin32", "util/zbin"];

/// Path of the script that makes boot media, relative to the folder in which make runs.
pub const GENFSIMG: &str = "util/genfsimg";

/// Returns the path of the object with the embedded script, relative to the folder in which make runs.
#[must_use]
pub fn embedded_object(config: &IpxeConfig, loader: Loader) -> Utf8PathBuf {
    Utf8PathBuf::from(config.bin_dir(loader.platform())).join("embedded.o")
}

/// Returns the path of the link map of a loader, relative to the folder in which make runs.
#[must_use]
pub fn link_map(config: &IpxeConfig, loader: Loader) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{}.tmp.map", config.target(loader)))
}

/// Returns the path of the list of a platform's objects, which make writes first, relative to the folder in which make
/// runs.
#[must_use]
pub fn object_list(config: &IpxeConfig, loader: Loader) -> Utf8PathBuf {
    object_list_in(&config.bin_dir(loader.platform()))
}

/// Returns the path of the list of all objects in make's output folder `bin_dir`, relative to the folder in which make
/// runs.
pub(crate) fn object_list_in(bin_dir: &str) -> Utf8PathBuf {
    Utf8PathBuf::from(bin_dir).join(".blib.list")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::paths::Cache;
    use crate::config::pins::Pins;

    fn rendered(config: &IpxeConfig, settings: &Settings) -> String {
        let pins = Pins::parse("vendor/pins.toml".into(), include_str!("../../vendor/pins.toml")).unwrap();
        let work = Cache::new("/c").work("w");
        let make = Make { pin: &pins.ipxe, config, settings };
        let text = make.command(&work, &[Loader::IpxePxe, Loader::UndionlyKpxe], Goals::Loaders).to_string();
        text.replace(&pins.ipxe.commit.to_string(), "<commit>").replace(&pins.ipxe.epoch.to_string(), "<epoch>")
    }

    #[test]
    fn the_command_is_what_a_person_would_type() {
        let mut config =
            IpxeConfig { name: "default".into(), headers: BTreeMap::new(), trust: BTreeMap::new(), secure_boot: None };
        let mut settings = Settings {
            path: "/bin".into(),
            jobs: 2,
            werror: true,
            launcher: None,
            environment: MakeEnvironment::default(),
        };
        assert_eq!(
            rendered(&config, &settings),
            "cd /c/trees/w/tree/src && env -i PATH=/bin TMPDIR=/c/trees/w/tmp LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH=<epoch> make -j2 AUTO_DEPS= \
             GITVERSION=<commit> EMBED=embedded.ipxe \
             EXTRA_CFLAGS=-ffile-prefix-map=/c/trees/w/tree=. bin/ipxe.pxe bin/undionly.kpxe"
        );
        config.trust.insert("a.pem".into(), Vec::new());
        config.trust.insert("b.pem".into(), Vec::new());
        settings.werror = false;
        settings.launcher = Some(Launcher {
            program: "ccache".into(),
            env: ProgramEnvironment::inherited([("CCACHE_DIR".into(), "/x".into())]),
        });
        assert_eq!(
            rendered(&config, &settings),
            "cd /c/trees/w/tree/src && env -i PATH=/bin TMPDIR=/c/trees/w/tmp LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH=<epoch> CCACHE_DIR=\"$CCACHE_DIR\" make -j2 \
             AUTO_DEPS= GITVERSION=<commit> EMBED=embedded.ipxe \
             EXTRA_CFLAGS=-ffile-prefix-map=/c/trees/w/tree=. TRUST=trust-0.pem,trust-1.pem \
             CERT=trust-0.pem,trust-1.pem NO_WERROR=1 'CC=ccache gcc' \
             bin/ipxe.pxe bin/undionly.kpxe"
        );
    }

    #[test]
    fn a_version_that_takes_the_current_time_is_told_another() {
        let mut pin = Pins::parse("p".into(), include_str!("../../vendor/pins.toml")).unwrap().ipxe;
        let config =
            IpxeConfig { name: "default".into(), headers: BTreeMap::new(), trust: BTreeMap::new(), secure_boot: None };
        let told =
            |pin: &IpxePin| variables(pin, &config, Platform::Bios).iter().any(|it| it.starts_with("BUILD_TIMESTAMP="));
        assert!(!told(&pin));
        pin.version = "1.21.1".into();
        assert!(told(&pin));
    }

    #[test]
    fn what_surrounds_make_goes_around_it() {
        let config =
            IpxeConfig { name: "default".into(), headers: BTreeMap::new(), trust: BTreeMap::new(), secure_boot: None };
        let environment = MakeEnvironment {
            env: [("TZ".into(), "Asia/Tokyo".into()), ("NOISE".into(), "1".into())].into_iter().collect(),
            wrapper: ["sh", "-c", "umask 077 && exec \"$@\"", "sh"].map(str::to_owned).to_vec(),
            temporary: Some("/t".into()),
            reverse_file_order: true,
        };
        let settings = Settings { path: "/bin".into(), jobs: 2, werror: true, launcher: None, environment };
        let text = rendered(&config, &settings);
        let wanted = "env -i PATH=/bin TMPDIR=/t LC_ALL=C SOURCE_DATE_EPOCH=<epoch> TZ=Asia/Tokyo NOISE=1 sh -c 'umask 077 && exec \"$@\"' sh make -j2 ";
        assert!(text.contains(wanted), "{text}");
    }
}

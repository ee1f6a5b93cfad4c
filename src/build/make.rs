//! iPXE's make as a command: which arguments, which environment.

use std::time::Duration;

use camino::Utf8PathBuf;

use crate::base::paths::WorkPaths;
use crate::base::process::Command;
use crate::config::ipxe_config::IpxeConfig;
use crate::config::pins::IpxePin;
use crate::config::script::IMAGE_NAME;
use crate::loader::target::{Loader, Platform};

/// Where the exported tree stands, in arguments that are the same wherever it stands.
pub const TREE: &str = "<tree>";

/// A compiler launcher, as `ccache`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    /// The program.
    pub program: String,
    /// The variables of the environment that it goes by.
    pub env: Vec<(String, String)>,
}

/// What surrounds make. By default that is nothing; a rebuild puts something there, to show that it does
/// not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MakeEnvironment {
    /// Variables of the environment, besides or instead of the usual ones.
    pub env: Vec<(String, String)>,
    /// A command that runs the one whose words follow, which is make.
    pub wrapper: Vec<String>,
    /// Where programs that make runs put their temporary files, if not in the usual place.
    pub temporary: Option<Utf8PathBuf>,
    /// Whether the source is written file by file in the reverse order.
    pub reverse_file_order: bool,
}

/// How to run make; nothing of this decides about the bytes of a loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The `PATH`.
    pub path: String,
    /// How many jobs at once.
    pub jobs: usize,
    /// Whether a compiler warning ends the build, which is iPXE's own way.
    pub werror: bool,
    /// Through what the compiler is called.
    pub launcher: Option<Launcher>,
    /// What is around it.
    pub environment: MakeEnvironment,
}

/// The variables that decide about the bytes of a loader, as arguments. [`TREE`] stands for the
/// exported tree's path.
#[must_use]
pub fn variables(pin: &IpxePin, config: &IpxeConfig) -> Vec<String> {
    let mut variables = vec![
        // A fresh export needs no dependency files, and they take a quarter of a build.
        "AUTO_DEPS=".to_owned(),
        // Without `.git`, make would leave the commit out of the version.
        format!("GITVERSION={}", pin.commit),
        // Relative, since make splits it at spaces; as an argument, since make ignores the
        // environment's.
        format!("EMBED={IMAGE_NAME}"),
        // Or the path gets into the debug information, and with it into the build id.
        format!("EXTRA_CFLAGS=-ffile-prefix-map={TREE}=."),
    ];
    if !config.trust.is_empty() {
        let files: Vec<String> = (0..config.trust.len()).map(trust_file).collect();
        // Of a certificate in `TRUST`, the loader gets the fingerprint. It gets the certificate itself by `CERT`,
        // without which each server would have to send its own root.
        variables.extend(["TRUST", "CERT"].map(|name| format!("{name}={}", files.join(","))));
    }
    variables
}

/// Where the trusted certificate number `index` stands, from the folder that make runs in.
#[must_use]
pub fn trust_file(index: usize) -> String {
    format!("trust-{index}.pem")
}

/// The environment's part of what decides about the bytes of a loader.
#[must_use]
pub fn environment(pin: &IpxePin) -> [String; 3] {
    ["LC_ALL=C".into(), "TZ=UTC".into(), format!("SOURCE_DATE_EPOCH={}", pin.epoch)]
}

/// What make is to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goals {
    /// Loaders, and all that makes bases of them.
    Bases,
    /// Loaders only.
    Loaders,
}

/// A run of make as data.
#[derive(Debug, Clone, Copy)]
pub struct Make<'a> {
    /// Which iPXE.
    pub pin: &'a IpxePin,
    /// In which configuration.
    pub config: &'a IpxeConfig,
    /// And how.
    pub settings: &'a Settings,
}

impl Make<'_> {
    /// The command that makes `loaders` in the tree at `work`.
    #[must_use]
    pub fn command(&self, work: &WorkPaths, loaders: &[Loader], goals: Goals) -> Command {
        let Self { pin, config, settings } = self;
        let mut targets: Vec<String> = loaders.iter().map(|loader| loader.target()).collect();
        let tree = work.tree();
        let MakeEnvironment { env, wrapper, temporary, .. } = &settings.environment;
        let mut words = wrapper.iter().cloned().chain(["make".to_owned()]);
        let mut command = Command::new(format!("make {}", targets.join(", ")), words.next().unwrap_or_default())
            .args(words)
            .args([format!("-j{}", settings.jobs)])
            .args(variables(pin, config).into_iter().map(|variable| variable.replace(TREE, tree.as_str())));
        if !settings.werror {
            command = command.args(["NO_WERROR=1"]);
        }
        if goals == Goals::Bases {
            command = command.args([KEEP_LINKED]);
            // Make removes what it made on the way, but for goals.
            let bios = loaders.iter().filter(|loader| loader.platform() == Platform::Bios);
            targets.extend(bios.flat_map(|loader| [image(*loader), zinfo(*loader)]).map(Utf8PathBuf::into_string));
        }
        // The compiler's temporary files go where there is room for the build.
        let temporary = temporary.clone().unwrap_or_else(|| work.temporary());
        command = command.env("PATH", settings.path.as_str()).env("TMPDIR", temporary);
        for variable in environment(pin) {
            if let Some((name, value)) = variable.split_once('=') {
                command = command.env(name, value);
            }
        }
        if let Some(launcher) = &settings.launcher {
            command = command.args([format!("CC={} gcc", launcher.program)]);
            command.env.extend(launcher.env.iter().cloned());
        }
        command.env.retain(|(name, _)| env.iter().all(|(other, _)| other != name));
        command.env.extend(env.iter().cloned());
        command.dir = Some(work.src());
        command.log = Some(work.log());
        command.deadline = Duration::from_secs(2 * 60 * 60);
        command.args(targets)
    }
}

/// Makes make keep what it computes a build id of: all that is linked, in its own order.
const KEEP_LINKED: &str = "BUILD_ID_CMD=cat $^ | tee $@.linked | cksum | cut -d ' ' -f 1";

/// Where make leaves what the build id of `loader` was computed of, from the folder that make runs in.
#[must_use]
pub fn linked(loader: Loader) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{}.tmp.linked", loader.target()))
}

/// Where make leaves the image of a BIOS loader, from the folder that make runs in.
#[must_use]
pub fn image(loader: Loader) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{}.bin", loader.target()))
}

/// Where make leaves how that is packed, from the folder that make runs in.
#[must_use]
pub fn zinfo(loader: Loader) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{}.zinfo", loader.target()))
}

/// What the program is called that packs BIOS loaders, in one version of iPXE or another, from the folder that
/// make runs in.
pub const ZBIN: [&str; 2] = ["util/zbin32", "util/zbin"];

/// Where make leaves the object that holds the embedded script, from the folder that make runs in.
#[must_use]
pub fn embedded_object(loader: Loader) -> Utf8PathBuf {
    Utf8PathBuf::from(loader.platform().bin_dir()).join("embedded.o")
}

/// Where make leaves the link map of a loader, from the folder that make runs in.
#[must_use]
pub fn link_map(loader: Loader) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{}.tmp.map", loader.target()))
}

/// Where make lists all objects of a platform when it begins, from the folder that make runs in.
#[must_use]
pub fn object_list(loader: Loader) -> Utf8PathBuf {
    Utf8PathBuf::from(loader.platform().bin_dir()).join(".blib.list")
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
        let mut config = IpxeConfig { name: "default".into(), headers: BTreeMap::new(), trust: BTreeMap::new() };
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
        settings.launcher = Some(Launcher { program: "ccache".into(), env: vec![("CCACHE_DIR".into(), "/x".into())] });
        assert_eq!(
            rendered(&config, &settings),
            "cd /c/trees/w/tree/src && env -i PATH=/bin TMPDIR=/c/trees/w/tmp LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH=<epoch> CCACHE_DIR=/x make -j2 \
             AUTO_DEPS= GITVERSION=<commit> EMBED=embedded.ipxe \
             EXTRA_CFLAGS=-ffile-prefix-map=/c/trees/w/tree=. TRUST=trust-0.pem,trust-1.pem \
             CERT=trust-0.pem,trust-1.pem NO_WERROR=1 'CC=ccache gcc' \
             bin/ipxe.pxe bin/undionly.kpxe"
        );
    }

    #[test]
    fn what_surrounds_make_goes_around_it() {
        let config = IpxeConfig { name: "default".into(), headers: BTreeMap::new(), trust: BTreeMap::new() };
        let environment = MakeEnvironment {
            env: vec![("TZ".into(), "Asia/Tokyo".into()), ("NOISE".into(), "1".into())],
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
